"""Types as an editor shows them: mypy and pyright agree with every line of the programs beside this file."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_a_type_checker_sees_in_users_programs_what_they_say(checker: str) -> None:
    if importlib.util.find_spec(checker) is None:
        assert "CI" not in os.environ, f"{checker} is not installed: pip install -e '.[dev]'"
        pytest.skip(f"{checker} is not installed; pip install -e '.[dev]' has it")
    done = subprocess.run([sys.executable, "-m", checker], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
