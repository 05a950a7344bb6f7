"""Code counts as what runs, whatever its file says by now."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kept.fingerprint import fingerprint
from kept.fingerprint.syntax import is_running_source, running_source

NAME = "module_that_a_test_edits"
MODULE = """
import functools

def step(x):
    return x + 1

class Model:
    def predict(self, x):
        return x + 1

class Constant:
    RATE = 1

class Bare:
    @property
    def rate(self):
        return 1

    class Inner:
        @staticmethod
        def half(x):
            return x / 1

async def one(x, *, by=lambda y: y + 1):
    return [by(z) for z in x]
"""
EDITED = MODULE.replace("1", "2")
KINDS = ["step", "Model", "Constant", "Bare", "one", "Model.predict", "__module__"]
FRESH = """
import importlib, operator, sys
from kept.fingerprint import fingerprint
module = importlib.import_module(sys.argv[1])
module.__dict__["__module__"] = module
print(fingerprint(operator.attrgetter(sys.argv[2])(module)))
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / f"{NAME}.py"
    sys.modules.pop(NAME, None)


@pytest.fixture
def imported(file: Path) -> Callable[[str], Any]:
    """Return a function that writes the module's source and imports it."""

    def load(source: str) -> Any:
        file.write_text(source)
        sys.modules.pop(NAME, None)
        importlib.invalidate_caches()
        return importlib.import_module(NAME)

    return load


def _in_a_fresh_process(file: Path, name: str) -> str:
    command = [sys.executable, "-B", "-c", FRESH, NAME, name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(file.parent), *sys.path])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _of(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = module if part == "__module__" else getattr(module, part)
    return module


@pytest.mark.parametrize("keeps_its_times", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_code_whose_file_was_edited_since_is_not_taken_for_the_edited_code(
    file: Path, imported: Callable[[str], Any], name: str, keeps_its_times: bool
) -> None:
    running = _of(imported(MODULE), name)
    before = file.stat()
    file.write_text(EDITED)
    if keeps_its_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprint(running) != _in_a_fresh_process(file, name)


@pytest.mark.parametrize("name", KINDS)
def test_code_that_is_in_its_file_is_the_same_in_a_fresh_process(
    file: Path, imported: Callable[[str], Any], name: str
) -> None:
    running = _of(imported(MODULE), name)
    file.write_text(MODULE)
    os.utime(file, (1, 1))
    assert fingerprint(running) == _in_a_fresh_process(file, name)


def test_what_was_looked_at_before_the_edit_stays_what_it_was(file: Path, imported: Callable[[str], Any]) -> None:
    running = imported(MODULE).step
    before = fingerprint(running)
    file.write_text(EDITED)
    assert fingerprint(running) == before


def test_functions_at_all_depths_are_found_in_the_text_that_they_were_compiled_from(
    file: Path, imported: Callable[[str], Any]
) -> None:
    module = imported(MODULE)
    codes = [module.step.__code__, module.Bare.Inner.half.__code__, module.one.__kwdefaults__["by"].__code__]
    assert all(is_running_source(code, MODULE) for code in codes)
    assert not any(is_running_source(code, EDITED) for code in codes)
    assert [running_source(code) for code in codes] == [MODULE] * 3
    file.write_text(EDITED)
    assert [running_source(code) for code in codes] == [None] * 3


@pytest.mark.parametrize("text", ["", "def step(:", "\0", "x = (" * 500])
def test_what_is_no_program_is_not_the_source_of_code(imported: Callable[[str], Any], text: str) -> None:
    assert not is_running_source(imported(MODULE).step.__code__, text)


def test_features_that_code_inherits_from_what_compiled_it_do_not_matter() -> None:
    space: dict[str, Any] = {}
    exec(compile(MODULE, "<cell>", "exec"), space)  # under this file's annotations
    assert is_running_source(space["step"].__code__, MODULE)


def test_reading_source_repeats_no_warnings(imported: Callable[[str], Any]) -> None:
    text = "def step(x):\n    return x is 'text' or '\\d'\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step = imported(text).step
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        fingerprint(step)
        assert is_running_source(step.__code__, text)
    assert not raised
