"""`kept why` and `kept deps`, on small projects that are edited between two runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import Done, kept

# Processes of the command line: another Python tells nothing new of them.
pytestmark = pytest.mark.slow

ETL = """
import sys
from kept import flow, task
from kept.cache_policies import CODE, INPUTS

RATE = 0.1

def scale(x):
    return x * RATE

@task(cache_policy=INPUTS + CODE)
def clean(day, cfg):
    return scale(len(day))

@task
def show(x):
    return x

@flow
def nightly(lr):
    show(clean("monday", {"lr": lr}))

if __name__ == "__main__":
    nightly(float(sys.argv[1]))
"""


class Project:
    """A folder with a program that keeps its results there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "etl.py"
        self.program.write_text(ETL)

    def edit(self, old: str, new: str) -> None:
        text = self.program.read_text()
        assert old in text
        self.program.write_text(text.replace(old, new))

    def run(self, *arguments: str, **environment: str) -> str:
        """Run the program; what it logs."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KEPT_")}
        done = subprocess.run(
            [sys.executable, "etl.py", *arguments],
            cwd=self.folder,
            env={**ours, "KEPT_HOME": str(self.folder / ".kept"), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr

    def kept(self, *arguments: str, **environment: str) -> Done:
        return kept(*arguments, cwd=self.folder, KEPT_HOME=str(self.folder / ".kept"), **environment)

    def why(self, *arguments: str, **environment: str) -> list[dict[str, Any]]:
        done = self.kept("why", *arguments, "--json", **environment)
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(done.out)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder)


def name_of(log: str) -> str:
    found = re.search(r"Flow run '([\w-]+)'", log)
    assert found
    return found[1]


class TestWhy:
    def test_says_which_function_which_constant_and_which_argument_changed(self, project: Project) -> None:
        before = name_of(project.run("0.1"))
        project.edit("x * RATE", "x * RATE + 1  # more")
        project.edit("RATE = 0.1", "RATE = 0.3")
        project.run("0.2")
        done = project.kept("why")
        assert done.code == 0
        assert done.out.splitlines()[0].endswith("of nightly: Completed, 2 runs in it")
        assert f"seconds ago, run {before!r}" in done.out
        for said in ("code.etl.scale changed (etl.py:8)", "code.etl.RATE 0.1 -> 0.3", "inputs.cfg['lr'] 0.1 -> 0.2"):
            assert f"  - {said}" in done.out
        assert "      -    return x * RATE\n      +    return x * RATE + 1\n" in done.out
        assert re.search(r"OFF etl.show show-\w+\n  nothing asks for its result to be kept", done.out)

    def test_logs_the_same_at_the_level_that_was_chosen(self, project: Project) -> None:
        before = name_of(project.run("0.1"))
        project.edit("x * RATE", "x / RATE")
        log = project.run("0.2", KEPT_LOGGING_EXPLAIN="INFO")
        assert "MISS: code.etl.scale changed (etl.py:8), inputs.cfg['lr'] 0.1 -> 0.2; nearest kept result is" in log
        assert f"seconds ago, run {before!r}" in log

    def test_shows_no_secrets_that_stand_in_the_code(self, project: Project) -> None:
        project.edit("RATE = 0.1", "RATE = 0.1\nAPI_KEY = 'hush-1'\nCONFIG = {'password': 'hush-1'}")
        project.edit(
            "return x * RATE", "return x * RATE * len(API_KEY + CONFIG['password'] + dict(token='hush-1')['token'])"
        )
        project.run("0.1")
        project.program.write_text(project.program.read_text().replace("hush-1", "hush-22"))
        log = project.run("0.1", KEPT_LOGGING_EXPLAIN="INFO")
        for shown in (log, project.kept("why").out, project.kept("deps", "etl:clean").out):
            assert "etl.API_KEY" in shown
            assert "hush" not in shown
        folder = project.folder / ".kept"
        assert not any(b"hush" in path.read_bytes() for path in folder.glob("history*"))

    def test_takes_names_ids_keys_and_how_they_begin(self, project: Project) -> None:
        name = name_of(project.run("0.1"))
        (clean, _) = project.why(name)
        assert project.why() == project.why(name[:-1]) == [clean, project.why("show")[0]]
        assert project.why(clean["run"]) == project.why(clean["key"]) == project.why(clean["key"][:8]) == [clean]
        assert (clean["decision"], clean["of"], clean["state"]) == ("MISS", "etl.clean", "Completed")

    def test_says_of_a_hit_who_computed_it(self, project: Project) -> None:
        before = name_of(project.run("0.1"))
        project.run("0.1")
        hit = project.why()[0]
        assert (hit["decision"], hit["nearest"]["flow_run"]) == ("HIT", before)
        assert hit["saved"] > 0
        assert f"in run {before!r}, which took" in project.kept("why").out

    def test_says_of_a_hit_in_a_store_of_its_own_who_computed_it(self, project: Project) -> None:
        project.edit(
            "@task(cache_policy=INPUTS + CODE)", "@task(cache_policy=INPUTS + CODE, result_storage='./elsewhere')"
        )
        before = name_of(project.run("0.1"))
        project.run("0.1")
        assert project.why()[0]["nearest"]["flow_run"] == before

    def test_folds_runs_that_missed_for_the_same_reason(self, project: Project) -> None:
        project.edit('clean("monday", {"lr": lr})', 'clean.map(["monday"] * 5, [{"lr": lr + n} for n in range(5)])[0]')
        project.run("0.1")
        project.run("7")
        assert "  4 more of the same\n" in project.kept("why").out

    def test_says_so_where_there_is_no_such_run(self, project: Project) -> None:
        done = project.kept("why")
        assert (done.code, done.out) == (1, "")
        assert f"No run is recorded in {project.folder / '.kept' / 'history.sqlite'}" in done.err
        assert not (project.folder / ".kept").exists()
        project.run("0.1")
        assert "No run has an id, name or key that begins with 'zzz'" in project.kept("why", "zzz").err

    def test_finds_a_key_that_only_the_store_knows(self, project: Project) -> None:
        project.run("0.1")
        key = project.why("clean")[0]["key"]
        (project.folder / ".kept" / "history.sqlite").unlink()
        (found,) = project.why(key)
        assert (found["of"], found["line"].partition(" ago")[0][:10]) == ("etl.clean", "HIT: kept ")

    def test_explains_the_code_of_others_who_share_the_store(self, project: Project, tmp_path: Path) -> None:
        shared = {"KEPT_RESULTS_DEFAULT_STORAGE": str(tmp_path / "shared"), "KEPT_RESULTS_STORE_LAYOUT": "directory"}
        project.run("0.1", KEPT_HOME=str(tmp_path / "theirs"), **shared)
        project.edit("x * RATE", "x / RATE")
        program = "import etl; print(etl.clean.explain('monday', {'lr': 0.1}).line)"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=project.folder,
            env={**os.environ, "KEPT_HOME": str(tmp_path / "mine"), **shared},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("MISS: code.etl.scale changed (etl.py:8); nearest kept result is from ")


class TestDeps:
    def test_shows_what_the_code_reaches_as_a_tree(self, project: Project) -> None:
        done = project.kept("deps", "etl:clean")
        assert done.code == 0
        first, *below = done.out.splitlines()
        assert first.startswith("etl.clean (etl.py:1")
        assert "└─ etl.scale (etl.py:8)" in below
        assert "   └─ constant etl.RATE = 0.1" in done.out

    @pytest.mark.parametrize("word", ["etl:clean", "etl.py:clean", "./etl.py:clean", "etl.clean"])
    def test_takes_a_task_by_module_or_file(self, word: str, project: Project) -> None:
        assert project.kept("deps", word).out.startswith("etl.clean (etl.py:1")

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("clean", "'clean' names no task or flow: write module:name, file.py:name or module.name."),
            ("etl.py", "'etl.py' names no task or flow"),
            ("etl:claen", "etl has no task or flow 'claen'. Did you mean 'clean'?"),
            ("etl:x", "etl has no task or flow 'x'. It has: clean, nightly, show."),
            ("etl:scale", "'scale' in etl is a function, neither a task nor a flow. It has: clean, nightly, show."),
            ("elt:clean", "there is no module 'elt' in "),
            ("elt.py:clean", "There is no file elt.py in "),
        ],
    )
    def test_says_what_is_wrong_with_a_name(self, word: str, said: str, project: Project) -> None:
        done = project.kept("deps", word)
        assert (done.code, done.out) == (1, "")
        assert said in done.err

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("1 / 0", "ZeroDivisionError: division by zero (etl.py:1)"),
            ("import not_there", "ModuleNotFoundError: No module named 'not_there' (etl.py:1)"),
            ("raise SystemExit(3)", "SystemExit: 3 (etl.py:1)"),
            ("def f(:", "SyntaxError: "),
        ],
    )
    def test_says_what_a_module_raised(self, line: str, said: str, project: Project) -> None:
        project.program.write_text(line + ETL)
        done = project.kept("deps", "etl:clean")
        assert done.code == 1
        assert done.err.startswith(f"Error: etl can't be imported: {said}")

    def test_a_module_that_prints_does_not_disturb_the_answer(self, project: Project) -> None:
        project.program.write_text("print('hello')" + ETL)
        assert project.kept("deps", "etl:clean").out.startswith("etl.clean")
