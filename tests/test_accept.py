"""`kept accept`: a change of code that changes no result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kept.engine.accepted import Accepted, accepted_codes, in_the_end, read_accepted, write_accepted
from kept.exceptions import ConfigurationError
from tests.conftest import Lines
from tests.test_why import Project, project

# Processes of the command line: another Python tells nothing new of them.
pytestmark = pytest.mark.slow

__all__ = ["project"]


def accepted(code: str, stands_for: str) -> Accepted:
    return Accepted("etl.clean", code, stands_for, "ada", "2026-11-29T18:00:00+00:00", "")


class TestACommand:
    def test_lets_earlier_results_stay_valid(self, project: Project) -> None:
        project.run("0.1")
        project.edit("x * RATE", "RATE * x")
        done = project.kept("accept", "etl:clean", "--reason", "factors may be swapped")
        assert done.code == 0, done.err
        assert "etl.clean: what was kept " in done.out
        assert "stays valid" in done.out
        assert "  - code.etl.scale changed (etl.py:8)\n" in done.out
        project.run("0.1")
        assert [one["decision"] for one in project.why()] == ["HIT", "OFF"]

    def test_says_by_whom_when_and_why_in_a_file_to_read(self, project: Project) -> None:
        project.run("0.1")
        project.edit("x * RATE", "RATE * x")
        project.kept("accept", "etl:clean", "--reason", "swapped", LOGNAME="ada")
        (line,) = (project.folder / ".kept" / "accepted.jsonl").read_text().splitlines()
        one = json.loads(line)
        assert (one["task"], one["by"], one["reason"]) == ("etl.clean", "ada", "swapped")
        assert "by ada, 20" in project.kept("accept", "--list").out

    def test_can_write_where_a_setting_says(self, project: Project) -> None:
        (project.folder / "kept.toml").write_text("[cache]\naccepted_path = 'accepted.jsonl'\n")
        project.run("0.1")
        project.edit("x * RATE", "RATE * x")
        project.kept("accept", "etl:clean")
        assert (project.folder / "accepted.jsonl").exists()
        project.run("0.1")
        assert project.why()[0]["decision"] == "HIT"

    def test_can_be_taken_back(self, project: Project) -> None:
        project.run("0.1")
        project.edit("x * RATE", "RATE * x")
        project.kept("accept", "etl:clean", "--reason", "swapped")
        assert project.kept("accept", "--undo", "etl.py:clean").out.startswith("Taken back: etl.clean ")
        project.run("0.1")
        assert project.why()[0]["decision"] == "MISS"
        assert project.kept("accept", "--list").out == ""

    def test_makes_chains(self, project: Project) -> None:
        project.run("0.1")
        for old, new in (("x * RATE", "RATE * x"), ("RATE * x", "(RATE * x)  * 1")):
            project.edit(old, new)
            assert project.kept("accept", "etl:clean").code == 0
            project.run("0.1")
            assert project.why()[0]["decision"] == "HIT"
            assert "This is accepted already: etl.clean" in project.kept("accept", "etl:clean").err

    def test_goes_for_the_classes_of_objects_among_the_arguments(self, project: Project) -> None:
        project.edit("RATE = 0.1", "class Day(str):\n    def size(self):\n        return len(self)\n\nRATE = 0.1")
        project.edit('clean("monday"', 'clean(Day("monday")')
        project.run("0.1")
        project.edit("return len(self)", "return len(self) + 0")
        project.run("0.1")
        assert [one["what"] for one in project.why()[0]["differences"]] == ["code.etl.Day"]
        assert project.kept("accept", "etl:clean").out.endswith("  - code.etl.Day changed (etl.py:6)\n")
        project.run("0.1")
        assert project.why()[0]["decision"] == "HIT"

    @pytest.mark.parametrize(
        ("before", "said"),
        [
            ("nothing", "No result of etl.clean is known to be kept, so there is none to stay valid."),
            ("run", "The code of etl.clean has not changed since its results were kept."),
            ("accepted", "This is accepted already: etl.clean "),
            ("without code", "The results of etl.clean are kept under keys without its code"),
        ],
    )
    def test_says_what_there_is_not_to_accept(self, before: str, said: str, project: Project) -> None:
        if before == "without code":
            project.edit("INPUTS + CODE)", "INPUTS)")
        if before != "nothing":
            project.run("0.1")
        if before == "accepted":
            project.edit("x * RATE", "RATE * x")
            project.kept("accept", "etl:clean")
        done = project.kept("accept", "etl:clean")
        assert done.code == 1
        assert said in done.err

    def test_says_what_there_is_not_to_take_back(self, project: Project) -> None:
        assert "No change of etl.clean is accepted in " in project.kept("accept", "--undo", "etl:clean").err
        assert "Which task? `kept accept TASK` takes " in project.kept("accept").err


def test_switching_back_to_an_earlier_version_hits_again(project: Project) -> None:
    project.run("0.1")
    project.edit("x * RATE", "x / RATE")
    project.run("0.1")
    project.edit("x / RATE", "x * RATE")
    project.run("0.1")
    assert project.why()[0]["decision"] == "HIT"


class TestTheFile:
    def test_is_followed_along_chains_and_not_in_circles(self) -> None:
        assert in_the_end([accepted("c", "b"), accepted("b", "a")]) == {"c": "a", "b": "a"}
        assert in_the_end([accepted("a", "b"), accepted("b", "a")]) == {"a": "b", "b": "a"}

    def test_is_read_again_when_it_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "accepted.jsonl"
        assert accepted_codes(path) == {}
        write_accepted(path, [accepted("b", "a")])
        assert accepted_codes(path) == {"b": "a"}
        write_accepted(path, [accepted("b", "a"), accepted("c", "a")])
        assert accepted_codes(path) == {"b": "a", "c": "a"}
        assert read_accepted(path) == [accepted("b", "a"), accepted("c", "a")]

    @pytest.mark.parametrize("line", ["{", "[]", '{"task": "x"}', json.dumps({"task": "x", "code": 5})])
    def test_with_a_wrong_line_accepts_nothing_and_says_which(self, line: str, tmp_path: Path, log: Lines) -> None:
        path = tmp_path / "accepted.jsonl"
        write_accepted(path, [accepted("b", "a")])
        path.write_text(f"{path.read_text()}{line}\n")
        assert accepted_codes(path) == {}
        assert accepted_codes(path) == {}
        assert len(log.having("WARNING", f"{path}, line 2 is no accepted change")) == 1
        with pytest.raises(ConfigurationError, match="line 2"):
            read_accepted(path)

    def test_that_can_not_be_written_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigurationError, match="can't be written"):
            write_accepted(tmp_path / "file" / "accepted.jsonl", [])
