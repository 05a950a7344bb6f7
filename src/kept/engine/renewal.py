"""Results whose time is over: used once more, and computed anew meanwhile in the background of the process."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any

from kept.cache_policies import excluded_names
from kept.context import enter_run
from kept.engine.anew import Repeated
from kept.engine.inputs import copied
from kept.utilities.forks import in_forked_child

if TYPE_CHECKING:
    from kept.engine.steps import RunSteps

# By the ids of entries and their keys: the runs that found a result too old first.
_under_way: dict[tuple[int, str], Any] = {}


def renew(job: RunSteps) -> bool:
    """Begin to compute the result of a hit that is too old anew, if that has not begun; whether it can be done.

    It can't if an argument can't be copied: its owner might change it while it is worked on.
    """
    assert job.identity is not None and job.rules.store is not None
    place = id(job.rules.store.entries), job.identity.key
    if _under_way.setdefault(place, job) is not job:
        return True
    parameters = copied(job.parameters, excluded_names(job.rules.policy))
    if parameters is None:
        del _under_way[place]
        return False
    contextvars.copy_context().run(_begin, job, parameters, place)
    return True


def _begin(job: RunSteps, parameters: dict[str, Any], place: tuple[int, str]) -> None:
    enter_run(job.context.parent)
    again = Repeated(job.owner, functools.partial(_prepared, job.label))
    future = job.owner.runner(deferred=True).submit(again, parameters)
    future.add_done_callback(functools.partial(_ended, job, place))


def _prepared(label: str, run: RunSteps) -> None:
    run.rules = dataclasses.replace(run.rules, serves_stale=False)
    run.write(logging.INFO, f"Renewing what {label} found to be too old.")


def _ended(job: RunSteps, place: tuple[int, str], future: Any) -> None:
    _under_way.pop(place, None)
    if not future.state.is_completed():
        job.write(
            logging.WARNING,
            f"The result kept under {place[1]!r} could not be renewed, so the old one stays and the next call tries "
            f"again: {future.state.message or future.state.name}",
        )


in_forked_child(_under_way.clear)
