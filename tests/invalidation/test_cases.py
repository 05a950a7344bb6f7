"""Each case of the corpus: a step reruns if the edit could change what it returns, and only then. Nothing is stale."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.invalidation.reading import Case, Version, all_cases
from tests.invalidation.writing import Call, Prober, Workshop, prober_of_kept, runs

CASES = all_cases()
CALL = ["call"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def probers() -> Iterator[tuple[Prober, Prober]]:
    """Two processes that order what is in sets differently."""
    path = os.pathsep.join([str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
    both = [prober_of_kept(PYTHONHASHSEED=seed, PYTHONPATH=path) for seed in ("1", "2")]
    yield both[0], both[1]
    for prober in both:
        prober.close()


def test_there_are_as_many_cases_as_promised_about_half_of_them_reruns() -> None:
    assert len(CASES) >= 200
    assert len({str(case) for case in CASES}) == len(CASES)
    assert 0.4 < sum(case.reruns for case in CASES) / len(CASES) < 0.6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_edit_causes_a_rerun_if_and_only_if_it_could_change_the_result(
    case: Case, tmp_path: Path, probers: tuple[Prober, Prober]
) -> None:
    first, second = probers
    workshop = Workshop(tmp_path, writes_bytecode=bool(zlib.crc32(str(case).encode()) % 2))
    home, empty = tmp_path / "home", tmp_path / "empty"

    work = workshop.write(case.before)
    (before,) = first.calls(runs(work, home, CALL))
    assert before.ran, "the first run of all has nothing to hit"
    unchanged = Call(ran=False, value=before.value)
    assert second.calls(runs(work, home, CALL)) == [unchanged], "a second process hits where nothing was changed"

    work, between = workshop.write(case.after), _between(case.after)
    (fresh,) = first.calls(runs(work, empty, [*between, "call"]))
    assert (fresh.value != before.value) is case.reruns, "the case is wrong: its decision is not what the edit does"
    work = workshop.write(case.after)  # what is run between calls may have changed files
    (*_, after) = second.calls(runs(work, home, ["call", *between, "call"] if between else CALL))
    assert after.value == fresh.value, "a stale value"
    assert after.ran is case.reruns, "it should have run again" if case.reruns else "it ran again, but nothing changed"

    if case.reruns and not between:
        work = workshop.write(case.before)
        assert first.calls(runs(work, home, CALL)) == [unchanged], (
            "what was kept is a hit again when the edit is undone"
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_comments_unused_code_and_another_folder_cause_no_rerun(
    case: Case, tmp_path: Path, probers: tuple[Prober, Prober]
) -> None:
    first, second = probers
    workshop, home = Workshop(tmp_path), tmp_path / "home"
    (before,) = first.calls(runs(workshop.write(case.before), home, CALL))
    work = workshop.write(_with_what_changes_nothing(case.before))
    assert second.calls(runs(work, home, CALL)) == [Call(ran=False, value=before.value)]


def _with_what_changes_nothing(version: Version) -> Version:
    files = {
        name: f"# Above.\n\n{text}\n\ndef unused():\n    return 1\n" if name.endswith(("py", "pyc")) else text
        for name, text in version.files.items()
    }
    return Version((*version.options, ("in", "another/folder")), files)


def _between(version: Version) -> list[str]:
    return [text for name, text in version.files.items() if name == "between"]
