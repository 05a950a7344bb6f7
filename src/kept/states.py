"""The states of a run: what it is doing or how it ended, and the value or error that came of it.

A state is made once and never changed; a run moves from one to the next.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar, cast

from kept.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun, UnfinishedRun

R = TypeVar("R")


class StateType(str, enum.Enum):
    """What a state means for the run, whatever its name."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"

    def __str__(self) -> str:
        return self.value


TERMINAL_STATES = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED},
)

_DEFAULT_NAMES = {kind: kind.value.capitalize() for kind in StateType}
_RAISED_WITHOUT_EXCEPTION = {
    StateType.FAILED: FailedRun,
    StateType.CRASHED: CrashedRun,
    StateType.CANCELLED: CancelledRun,
}


class Loadable:
    """A value that is somewhere else, in the store as a rule, and can be had."""

    __slots__ = ()

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the value, where it is known without looking at the value."""
        return None

    def load_result(self) -> Any:
        """The value; raises `MissingResult` if it can't be had any more."""
        raise NotImplementedError

    def load_copy(self) -> Any:
        """A copy of the value, shared with nobody; raises `MissingResult` if it can't be had any more."""
        raise NotImplementedError


class State(Generic[R]):
    """One state of a flow run or task run.

    Arguments:
        type: what it means; a `StateType` or its value.
        name: what is shown; the type's own name by default ("Completed").
        message: a sentence about it, or None.
        data: the value of a completed run (or something `Loadable`), the exception of a failed one.
        timestamp: when the run entered the state, in seconds since the epoch; now by default.
        cache_key: the key of the kept result, if there is one.
    """

    __slots__ = ("_time", "cache_key", "data", "message", "name", "type")

    def __init__(
        self,
        type: StateType | str,
        name: str | None = None,
        message: str | None = None,
        data: Any = None,
        timestamp: float | None = None,
        cache_key: str | None = None,
    ) -> None:
        self.type = type if type.__class__ is StateType else StateType(type)
        self.name = name or _DEFAULT_NAMES[self.type]
        self.message = message
        self.data = data
        self.cache_key = cache_key
        self._time = time.time() if timestamp is None else timestamp

    @property
    def timestamp(self) -> datetime:
        """When the run entered this state, in UTC."""
        return datetime.fromtimestamp(self._time, timezone.utc)

    def result(self, raise_on_failure: bool = True) -> R:
        """The value of the run.

        Arguments:
            raise_on_failure: raise the error of a run that failed, crashed or was cancelled (the default);
                when False, return the exception instead.

        Raises:
            UnfinishedRun: the run has not ended.
            MissingResult: the run completed but its value can no longer be had.
        """
        if self.type is StateType.COMPLETED:
            data = self.data
            return cast(R, data.load_result() if isinstance(data, Loadable) else data)
        if self.type not in TERMINAL_STATES:
            kind = PausedRun if self.type is StateType.PAUSED else UnfinishedRun
            raise kind(f"The run is in state {self}, so it has no result yet.")
        if raise_on_failure:
            raise get_state_exception(self)
        return cast(R, get_state_exception(self))

    async def aresult(self, raise_on_failure: bool = True) -> R:
        """`result()`, to await."""
        return self.result(raise_on_failure=raise_on_failure)

    def is_scheduled(self) -> bool:
        """Whether the run is planned for later."""
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        """Whether the run waits for something before it can start."""
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        """Whether the run is being worked on."""
        return self.type is StateType.RUNNING

    def is_completed(self) -> bool:
        """Whether the run ended well; true of kept results as well."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Whether the run ended with an error of its own."""
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        """Whether the run was ended from outside."""
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self.type is StateType.CANCELLED

    def is_cancelling(self) -> bool:
        """Whether the run is being cancelled."""
        return self.type is StateType.CANCELLING

    def is_paused(self) -> bool:
        """Whether the run waits to be resumed."""
        return self.type is StateType.PAUSED

    def is_final(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self.type in TERMINAL_STATES

    def __str__(self) -> str:
        shown = [repr(self.message)] if self.message else []
        if self.name != _DEFAULT_NAMES[self.type]:
            shown.append(f"type={self.type}")
        return f"{self.name}({', '.join(shown)})"

    def __repr__(self) -> str:
        data = self.data.__class__.__name__ if isinstance(self.data, Loadable) else repr(self.data)
        return f"{self.name}(message={self.message!r}, type={self.type}, result={data})"


def Scheduled(**fields: Any) -> State[Any]:
    """A state for a run that is planned for later; fields as those of `State`."""
    return State(StateType.SCHEDULED, **fields)


def Pending(**fields: Any) -> State[Any]:
    """A state for a run that waits before it can start."""
    return State(StateType.PENDING, **fields)


def Running(**fields: Any) -> State[Any]:
    """A state for a run that is being worked on."""
    return State(StateType.RUNNING, **fields)


def Completed(**fields: Any) -> State[Any]:
    """A state for a run that ended well, with its value as `data`."""
    return State(StateType.COMPLETED, **fields)


def Cached(**fields: Any) -> State[Any]:
    """A completed state, named `Cached`, for a run whose result had been kept."""
    return State(StateType.COMPLETED, **{"name": "Cached", **fields})


def Failed(**fields: Any) -> State[Any]:
    """A state for a run that ended with an error, with the exception as `data`."""
    return State(StateType.FAILED, **fields)


def Crashed(**fields: Any) -> State[Any]:
    """A state for a run that was ended from outside."""
    return State(StateType.CRASHED, **fields)


def Cancelling(**fields: Any) -> State[Any]:
    """A state for a run that is being cancelled."""
    return State(StateType.CANCELLING, **fields)


def Cancelled(**fields: Any) -> State[Any]:
    """A state for a run that was cancelled."""
    return State(StateType.CANCELLED, **fields)


def Paused(**fields: Any) -> State[Any]:
    """A state for a run that waits to be resumed."""
    return State(StateType.PAUSED, **fields)


def Retrying(**fields: Any) -> State[Any]:
    """A running state, named `Retrying`, for a run that is at work again after an error."""
    return State(StateType.RUNNING, **{"name": "Retrying", **fields})


def AwaitingRetry(**fields: Any) -> State[Any]:
    """A scheduled state, named `AwaitingRetry`, for a run that waits before it tries again."""
    return State(StateType.SCHEDULED, **{"name": "AwaitingRetry", **fields})


def get_state_exception(state: State[Any]) -> BaseException:
    """The exception that a failed, crashed or cancelled state stands for."""
    data = state.data
    if isinstance(data, BaseException):
        return data
    if isinstance(data, State):
        return get_state_exception(data)
    if isinstance(data, (list, tuple, set)):
        for inner in data:
            if isinstance(inner, State) and inner.type in _RAISED_WITHOUT_EXCEPTION:
                return get_state_exception(inner)
    kind = _RAISED_WITHOUT_EXCEPTION.get(state.type)
    if kind is None:
        raise ValueError(f"The state {state} is not of a run that failed, crashed or was cancelled.")
    return kind(state.message or str(data or f"The run ended in state {state}."))


def raise_state_exception(state: State[Any]) -> None:
    """Raise the error of a run that failed, crashed or was cancelled; do nothing for any other state."""
    if state.type in _RAISED_WITHOUT_EXCEPTION:
        raise get_state_exception(state)


def worst(states: Iterable[State[Any]]) -> State[Any]:
    """One final state for a run that returned these: the worst of them decides, and they are its data."""
    found = list(states)
    of = {kind: [s for s in found if s.type is kind] for kind in StateType}
    for kind in (StateType.CANCELLED, StateType.CRASHED, StateType.FAILED):
        if of[kind]:
            return State(kind, message=_share(of[kind], found), data=found)
    unfinished = [s for s in found if not s.is_final()]
    if unfinished:
        return Failed(message=f"{len(unfinished)}/{len(found)} states are not final.", data=found)
    return Completed(message="All states completed.", data=found)


def _share(bad: list[State[Any]], found: list[State[Any]]) -> str:
    return f"{len(bad)}/{len(found)} states {bad[0].type.value.lower()}."
