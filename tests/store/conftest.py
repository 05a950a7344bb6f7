"""Doing things to stores from other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from kept.store import Entry, Miss, open_store
from kept.exceptions import StoreError
from kept.testing import an_entry
"""


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in another Python, with warnings as errors; its standard output and error are captured."""
    code = PRELUDE + textwrap.dedent(script)
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=None, text=True)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a script in another Python and don't wait for it."""
    code = PRELUDE + textwrap.dedent(script)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def forked(work: Callable[[], object]) -> int:
    """Run the function in a forked child, and give the child's process id."""
    with warnings.catch_warnings():
        # From 3.12 on Python warns of forking while other threads run, BLAKE3's among them: this is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def in_child(work: Callable[[], object]) -> None:
    """Run the function in a forked child, and fail if it raised there."""
    _, status = os.waitpid(forked(work), 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
