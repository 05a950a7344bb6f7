"""Makes each page of this folder a test: its files are written, its commands run, and what they print is compared.

A fenced block that opens with a comment such as `# report.py` is a file. In a `console` block each line after `$ ` is
a command, run by `sh` with these files around it and a KEPT_HOME of its own; the lines up to the next one are what it
prints to stdout, where `...` stands for anything. Blocks count in the order of the page, so a later one can replace a
file. A page that says `<!-- with S3: my-bucket -->` is run with an S3 server that has this bucket in its environment.
`python -m pytest docs/how-to/retry-on-a-condition.md` runs one page.
"""

from __future__ import annotations

import difflib
import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.servers.moto import Moto

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
SERVER = re.compile(r"^<!-- with S3: ([\w-]+) -->$", re.MULTILINE)
SECONDS = 60


class Untrue(Exception):
    """A page says something that is not so."""


class Page(pytest.File):
    """One page, which is one test."""

    def collect(self) -> Iterator[pytest.Item]:
        yield Recipe.from_parent(self, name="recipe")


class Recipe(pytest.Item):
    """The files and commands of a page, in their order."""

    def runtest(self) -> None:
        folder = self.session.config._tmp_path_factory.mktemp(self.path.stem[:30])  # type: ignore[attr-defined]
        text = self.path.read_text(encoding="utf-8")
        with server(folder, SERVER.search(text)) as around:
            ran = 0
            for language, body in BLOCK.findall(text):
                if language == "console":
                    ran += sum(check(folder, command, printed, around) for command, printed in COMMAND.findall(body))
                elif named := FILE.match(body):
                    (folder / named[1]).write_text(body, encoding="utf-8")
        if not ran:
            raise Untrue(f"{self.path.name} has no console block, so nothing of it was run")

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.path.stem

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, Untrue) else str(super().repr_failure(excinfo))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    """Each page but the index."""
    is_page = file_path.suffix == ".md" and file_path.name != "README.md"
    return Page.from_parent(parent, path=file_path) if is_page else None


@contextmanager
def server(folder: Path, wanted: re.Match[str] | None) -> Iterator[Mapping[str, str]]:
    """What a page finds in its environment: the address of a server of its own, if it wants one."""
    if wanted is None:
        yield {}
        return
    moto = Moto(folder.parent)
    try:
        moto.request("PUT", f"/{wanted[1]}")
        yield moto.environment
    finally:
        moto.stop()


def check(folder: Path, command: str, printed: str, around: Mapping[str, str]) -> bool:
    """Run a command and compare; true, so that commands can be counted."""
    done = run(folder, command, around)
    if done.returncode:
        raise Untrue(f"$ {command}\nended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    if not doctest.OutputChecker().check_output(printed, done.stdout, doctest.ELLIPSIS):
        lines = difflib.unified_diff(printed.splitlines(), done.stdout.splitlines(), "the page", "printed", lineterm="")
        raise Untrue(f"$ {command}\n" + "\n".join(lines) + f"\n{done.stderr}")
    return True


def run(folder: Path, command: str, around: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command in `folder`, as a user would run it there; warnings are errors, and all pages share compiled files."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("KEPT_", "PYTEST_", "PYTHON"))}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={
            **ours,
            **around,
            "KEPT_HOME": str(folder / ".kept"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            # Our plugin, once, whether or not this copy of kept is installed.
            "PYTEST_ADDOPTS": "-p no:kept -p no:cacheprovider",
            "PYTEST_PLUGINS": "kept.testing.pytest_plugin",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode"),
            "PYTHONWARNINGS": "error",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
