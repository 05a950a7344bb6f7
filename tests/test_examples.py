"""The examples do what their README says, run as a reader would run them."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
VOID = {"input", "link", "meta"}
SUMMARY_STEPS = 5

ZOO = {
    "zoo/__init__.py": '"""A small package."""\n\nfrom .animals import Cat\n',
    "zoo/animals.py": (
        "# Animals.\n\nimport os\n\n\nclass Cat:\n    def speak(self, loud):\n"
        '        """Say it."""\n        return "MIAU" if loud and os else "miau"\n'
    ),
    "zoo/latin.py": "# -*- coding: latin-1 -*-\nNAME = 'lömsk'\n".encode("latin-1"),
    "zoo/broken.py": "def (:\n",
    "zoo/not-a-module.py": "raise SystemExit\n",
    "zoo/tests/test_animals.py": "assert False\n",
}
ZOO_MODULES = 4


class Outcome(NamedTuple):
    """What the last line of the demo says."""

    steps: int
    hits: int
    ran: int
    text: str


class Page(HTMLParser):
    """Reads a page, insisting that each element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for path, content in ZOO.items():
        file = tmp_path / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / "source"


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("source_report.metrics")


def run(tmp_path: Path, *options: str) -> Outcome:
    done = demo(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^([\d,]+) steps: ([\d,]+) hits, ([\d,]+) ran; .* report: .*$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    steps, hits, ran = (int(number.replace(",", "")) for number in found.groups())
    return Outcome(steps, hits, ran, done.stdout + done.stderr)


def demo(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # From another folder than the project's, as nothing in it may depend on where it is run.
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "stdlib_report.py"), *options],
        cwd=tmp_path,
        env={**os.environ, "KEPT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_second_run_over_the_standard_library_hits_everything(tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.html"
    options = ("--limit", "12", "--out", str(report))
    first = run(tmp_path, *options)
    assert first[:3] == (12 + SUMMARY_STEPS, 0, 12 + SUMMARY_STEPS)
    assert "run it again" in first.text
    page = report.read_bytes()
    second = run(tmp_path, *options)
    assert second[:3] == (12 + SUMMARY_STEPS, 12 + SUMMARY_STEPS, 0)
    assert "run it again" not in second.text
    assert report.read_bytes() == page


def test_the_report_is_whole_and_shows_what_is_there(tmp_path: Path, zoo: Path) -> None:
    report = tmp_path / "report.html"
    run(tmp_path, "--source", str(zoo), "--out", str(report))
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.seen.count("figure") == 4
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)
    assert not re.search(r'(?:src|href)="|url\(|@import', text), "the page asks for another file"
    tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", text))
    assert tiles["modules"] == str(ZOO_MODULES)
    assert (tiles["classes"], tiles["functions"]) == ("1", "1")
    assert tiles["files not parsed"] == "1"
    assert re.findall(r'<tr><th scope="row">([\w.]+)</th>', text) == ["zoo.animals", "zoo", "zoo.latin"]
    assert "<code>zoo/broken.py</code>: SyntaxError" in text


def test_editing_a_source_file_measures_that_file_alone(tmp_path: Path, zoo: Path) -> None:
    options = ("--source", str(zoo), "--out", str(tmp_path / "report.html"))
    run(tmp_path, *options)
    with (zoo / "zoo" / "animals.py").open("a") as file:
        file.write("\n\nclass Dog(Cat):\n    pass\n")
    again = run(tmp_path, *options)
    assert (again.hits, again.ran) == (ZOO_MODULES - 1, 1 + SUMMARY_STEPS)
    assert "<dt>classes</dt><dd>2</dd>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_touching_a_source_file_runs_nothing(tmp_path: Path, zoo: Path) -> None:
    options = ("--source", str(zoo), "--out", str(tmp_path / "report.html"))
    run(tmp_path, *options)
    os.utime(zoo / "zoo" / "animals.py", (1, 1))
    assert run(tmp_path, *options).ran == 0


def test_a_report_that_was_deleted_comes_back_without_running_a_step(tmp_path: Path, zoo: Path) -> None:
    report = tmp_path / "report.html"
    options = ("--source", str(zoo), "--out", str(report))
    run(tmp_path, *options)
    report.unlink()
    assert run(tmp_path, *options).ran == 0
    assert report.exists()


def test_each_step_is_logged_only_when_asked(tmp_path: Path, zoo: Path) -> None:
    options = ("--source", str(zoo), "--out", str(tmp_path / "report.html"))
    assert "Task run" not in run(tmp_path, *options).text
    verbose = run(tmp_path, *options, "--verbose")
    assert verbose.text.count("Finished in state Cached(type=COMPLETED)") == verbose.steps


def test_wrong_options_are_said_in_a_sentence(tmp_path: Path) -> None:
    empty = demo(tmp_path, "--source", str(tmp_path))
    assert empty.returncode == 2
    assert f"there is no Python module in --source {tmp_path}" in empty.stderr
    none = demo(tmp_path, "--limit", "0")
    assert none.returncode == 2
    assert "--limit is 0" in none.stderr


def test_each_line_counts_once(metrics: ModuleType) -> None:
    source = b'"""Doc.\n\nMore."""\n\n# Note.\nx = """\n# no comment\n"""  # a comment beside code\n\x0c\ny = 1'
    lines = metrics.measure_module("a.py", source).lines
    assert lines == metrics.Lines(code=4, docstrings=3, comments=1, blank=2)


def test_a_function_counts_its_own_decisions_and_not_those_inside_another(metrics: ModuleType) -> None:
    source = b"""
def outer(a, b):
    if a and b:
        return 1
    elif a or b:
        for x in a:
            with x:
                pass
    def inner():
        while True:
            pass
    return [x for x in a if x if b]
"""
    functions = {function.name: function for function in metrics.measure_module("a.py", source).functions}
    assert set(functions) == {"outer", "outer.inner"}
    assert functions["outer"].complexity == 1 + 1 + 1 + 1 + 1 + 1 + 3
    assert functions["outer"].nesting == 3
    assert functions["outer"].length == 11
    assert (functions["outer.inner"].complexity, functions["outer.inner"].nesting) == (2, 1)


def test_imports_are_absolute_and_those_that_wait_are_told_apart(metrics: ModuleType) -> None:
    source = b"""
import a.b
from . import sibling
from ..uncle import *
def f():
    import late, a.b
if __name__ == "__main__":
    import script
"""
    module = metrics.measure_module("top/package/module.py", source)
    assert module.imports == ("a.b", "top.package.sibling", "top.uncle")
    assert module.deferred_imports == ("late", "script")


def test_a_name_that_hides_a_submodule_counts_for_its_package(metrics: ModuleType) -> None:
    summaries = importlib.import_module("source_report.summaries")
    sources = {
        "unit/__init__.py": b"from .main import main",
        "unit/main.py": b"",
        "unit/case.py": b"",
        "user.py": b"from unit import main, case\nimport sys",
    }
    modules = [metrics.measure_module(path, source) for path, source in sources.items()]
    graph = summaries.link_imports(modules)
    assert {importers.name: importers.total for importers in graph.importers} == {
        "unit": 1,
        "unit.main": 1,
        "unit.case": 1,
        "sys": 1,
    }
    assert graph.reach == {"unit": 1, "unit.case": 2, "unit.main": 1, "user": 3}


@pytest.mark.parametrize(
    "source",
    [b"\x00", b"# coding: none-such\n", b"x = '\xff'\n", b"def f(:\n", b"if 1:\nx\n"],
    ids=["null byte", "unknown encoding", "not utf-8", "syntax", "indentation"],
)
def test_what_is_not_python_is_measured_as_such(metrics: ModuleType, source: bytes) -> None:
    module = metrics.measure_module("odd.py", source)
    assert module.error
    assert module.functions == ()


@pytest.mark.parametrize("name", ["charts", "markup"])
def test_what_the_docstrings_show_is_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    result = doctest.testmod(importlib.import_module(f"source_report.{name}"))
    assert result.attempted
    assert not result.failed
