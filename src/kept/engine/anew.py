"""What can't be fetched: bringing what is far away before it is wanted, and computing anew what is lost there."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kept.context import enter_run, flow_context_of
from kept.engine.effects import Io, Steps, Wait
from kept.engine.inputs import FIXED
from kept.exceptions import MissingContextError, MissingResult
from kept.results import KeptResult, LazyResult
from kept.run_notes import RECOMPUTED
from kept.states import Loadable, State
from kept.store import Miss
from kept.transactions import activate
from kept.utilities.aside import together

if TYPE_CHECKING:
    from kept.engine.steps import RunSteps


def bringing(wanted: Iterable[Loadable]) -> Steps[dict[int, Any]]:
    """Copies of the values of kept results that are far away, many at a time, by the ids of the results.

    What can't be fetched is computed anew; instead of a copy there is a `Miss` then, for the value is in memory only,
    or can't be had.
    """
    far = list({id(data): data for data in wanted if isinstance(data, KeptResult)}.values())
    if not far:
        return {}
    copies = yield Io(together, (KeptResult.fetched, far), True)
    lost = [(data, copy.reason) for data, copy in zip(far, copies, strict=True) if isinstance(copy, Miss)]
    anew = [data for data, reason in lost if isinstance(data, LazyResult) and data.slow and _begun(data, reason)]
    if anew:
        yield Wait([data.anew("") for data in anew])
    return {id(data): copy for data, copy in zip(far, copies, strict=True)}


def _begun(data: LazyResult, reason: str) -> bool:
    try:
        data.anew(reason)
    except MissingResult:  # raised again by who wants its value
        return False
    return True


class Anew:
    """How the result of a run that was a hit is computed after all: as a run on the runner of its flow.

    Arguments:
        job: the run that was a hit.
    """

    def __init__(self, job: RunSteps) -> None:
        assert job.identity is not None
        self._owner, self._parameters, self._key = job.owner, job.parameters, job.identity.key
        self._around = job.context.parent
        self._label, self._context = job.label, contextvars.copy_context()
        self._run: Any = None
        self._future: Any = None

    def begin(self, reason: str) -> Any:
        """Start it."""
        self._future = self._context.run(self._submitted, reason)
        return self._future

    def ended(self) -> State[Any]:
        """How it ended. Raises `MissingResult` if its arguments may not be those of the run that was a hit."""
        identity, fixed = self._run.identity, FIXED.issuperset(map(type, self._parameters.values()))
        if not fixed and (identity is None or identity.key != self._key):
            raise MissingResult("its key is not the same any more, so its arguments may have changed since")
        return self._future.state  # type: ignore[no-any-return]

    def _submitted(self, reason: str) -> Any:
        enter_run(self._around)
        activate(None)  # it stands for a result that was there already, and waits for no transaction
        again, flow = Repeated(self._owner, functools.partial(self._prepared, reason)), flow_context_of(self._around)
        if flow is not None and flow.task_runner is not None:
            try:
                return flow.task_runner.submit(again, self._parameters)
            except MissingContextError:  # it is over
                pass
        return self._owner.runner(deferred=True).submit(again, self._parameters)

    def _prepared(self, reason: str, run: RunSteps) -> None:
        reason = f"its kept payload can't be read: {reason.rstrip('.')}"
        run.rules = dataclasses.replace(run.rules, refresh=reason)
        level = logging.WARNING if run.is_news(RECOMPUTED, reason) else logging.DEBUG
        run.write(level, f"Computing the result of {self._label} anew: {reason}.")
        self._run = run


class Repeated:
    """A task or flow whose runs are prepared by a function; in another process it is the task or flow."""

    def __init__(self, owner: Any, prepare: Any) -> None:
        self._owner, self._prepare = owner, prepare

    @property
    def spec(self) -> Any:
        """What runs."""
        return self._owner.spec

    def new_run(self, parameters: dict[str, Any], run: Any = None) -> Any:
        """A run over these arguments."""
        steps = self._owner.new_run(parameters, run)
        self._prepare(steps)
        return steps

    def __reduce__(self) -> Any:
        return _itself, (self._owner,)


def _itself(owner: Any) -> Any:
    return owner
