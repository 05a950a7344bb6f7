"""The same code has the same identity on each Python, wherever it lies, however sets are ordered."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from tests.invalidation.pinning import found, is_pinned, pinned
from tests.invalidation.reading import Case, all_cases
from tests.invalidation.test_cases import probers
from tests.invalidation.writing import Prober

__all__ = ["probers"]

CASES = [case for case in all_cases() if is_pinned(case)]
TOPICS = {topic: list(cases) for topic, cases in groupby(CASES, lambda case: case.topic)}


def test_every_case_is_pinned() -> None:
    assert [str(case) for case in CASES] == list(pinned())


@pytest.mark.parametrize("topic", TOPICS)
def test_the_identity_is_the_pinned_one_on_this_python_in_another_place(
    topic: str, tmp_path: Path, probers: tuple[Prober, Prober]
) -> None:
    wanted, cases = pinned(), TOPICS[topic]
    places = {str(case): tmp_path / str(number) for number, case in enumerate(cases)}
    digests = {str(case): found(case, probers[1], places[str(case)], "another/place") for case in cases}
    assert digests == {name: wanted[name] for name in digests}


def test_what_is_edited_has_another_identity(tmp_path: Path, probers: tuple[Prober, Prober]) -> None:
    def digests(case: Case) -> list[str]:
        versions = (case, case._replace(before=case.after))
        return [found(version, probers[0], tmp_path / str(number)) for number, version in enumerate(versions)]

    (case,) = [case for case in CASES if case.name == "a helper of a helper of a helper"]
    before, after = digests(case)
    assert before != after
