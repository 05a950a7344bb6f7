"""Random programs with known dependencies: exactly the tasks that depend on what was edited rerun."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.invalidation.fuzzing import wrong
from tests.invalidation.programs import Program, edited, random_program
from tests.invalidation.reading import Version
from tests.invalidation.test_cases import probers
from tests.invalidation.writing import Prober, Workshop, runs

__all__ = ["probers"]

HUNDREDS = range(4)
PROGRAMS_IN_PROCESSES = 6


@pytest.mark.parametrize("hundred", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in HUNDREDS[1:])])
def test_exactly_the_tasks_that_depend_on_an_edited_node_change(hundred: int, tmp_path: Path) -> None:
    complaints = [line for number in range(hundred * 100, hundred * 100 + 100) for line in wrong(number, tmp_path)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("number", range(PROGRAMS_IN_PROCESSES))
def test_exactly_the_tasks_that_depend_on_an_edited_node_rerun(
    number: int, tmp_path: Path, probers: tuple[Prober, Prober]
) -> None:
    dice = random.Random(f"processes {number}")
    program = random_program(dice)
    other, changed = edited(program, dice)
    workshop, home = Workshop(tmp_path), tmp_path / "home"
    assert ran(workshop, probers[0], program, home) == set(program.tasks)
    assert ran(workshop, probers[1], program, home) == set()
    assert ran(workshop, probers[1], other, home) == changed


def ran(workshop: Workshop, prober: Prober, program: Program, home: Path) -> set[str]:
    """The tasks whose bodies ran when each was called in a process of its own, those that call others last."""
    found = set()
    for task in program.tasks:
        version = Version((("call", f"{task}()"), ("body", task)), program.files())
        (call,) = prober.calls(runs(workshop.write(version), home, ["call"]))
        found |= {task} if call.ran else set()
    return found
