"""The states of a run: what it is doing or how it ended, and the value or error that came of it.

A state is made once and never changed; a run moves from one to the next.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from kept.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun, UnfinishedRun
from kept.utilities.effects import in_thread
from kept.utilities.handles import Handle

R = TypeVar("R", covariant=True)


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

    # A text like any other, where an enum would do in Python what a text does in C.
    __hash__ = str.__hash__
    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


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

    @property
    def holds_objects(self) -> bool:
        """Whether objects of the user's classes are among what the fingerprint was made of."""
        return False

    @property
    def expires(self) -> float | None:
        """When the value stops being valid, in seconds since the epoch; None for never."""
        return None

    @property
    def slow(self) -> bool:
        """Whether loading it takes so long that an event loop should not wait for it."""
        return False

    @property
    def far(self) -> bool:
        """Whether a copy has to be fetched from a store that is far away."""
        return False

    @property
    def travels(self) -> bool:
        """Whether another process of this machine can read it for itself."""
        return False

    def bring(self) -> None:
        """Fetch the value if it is far away, or begin to compute it anew if that can't be; nothing is raised."""

    def load_result(self) -> Any:
        """The value; raises `MissingResult` if it can't be had any more."""
        raise NotImplementedError

    async def aload_result(self) -> Any:
        """`load_result()`, to await."""
        return await in_thread(self.load_result)

    def load_copy(self) -> Any:
        """A copy of the value, shared with nobody; raises `MissingResult` if it can't be had any more."""
        raise NotImplementedError

    def reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """How another process comes to the value: a function to call there, and its arguments."""
        raise NotImplementedError


class StateDetails(NamedTuple):
    """What is known of a state besides its type, its message and its data; None where it does not apply."""

    flow_run_id: str | None = None
    """The flow run that the state is of, or the one around the task run."""
    task_run_id: str | None = None
    """The task run that the state is of."""
    cache_key: str | None = None
    """The key of the kept result."""
    cache_expiration: datetime | None = None
    """When the kept result stops being valid, in UTC."""
    scheduled_time: datetime | None = None
    """When a scheduled run is to start."""
    pause_timeout: datetime | None = None
    """Until when a paused run waits."""
    pause_reschedule: bool = False
    """Whether a paused run has left its process, to be started again."""
    pause_key: str | None = None
    """What tells one pause from another."""


class State(Handle, Generic[R]):
    """One state of a flow run or task run.

    Arguments:
        type: what it means; a `StateType` or its value.
        name: what is shown; the type's own name by default ("Completed").
        message: a sentence about it, or None.
        data: the value of a completed run (or something `Loadable`), the exception of a failed one.
        timestamp: when the run entered the state; now by default.
        cache_key: the key of the kept result, if there is one.
        state_details: what else is known of it.
    """

    __slots__ = ("_about", "_time", "cache_key", "data", "message", "name", "type")

    def __init__(
        self,
        type: StateType | str,
        name: str | None = None,
        message: str | None = None,
        data: Any = None,
        timestamp: datetime | None = None,
        cache_key: str | None = None,
        state_details: StateDetails | None = None,
    ) -> None:
        self.type = type if type.__class__ is StateType else StateType(type)
        self.name = name or _DEFAULT_NAMES[self.type]
        self.message = message
        self.data = data
        self.cache_key = cache_key
        self._time = time.time() if timestamp is None else timestamp.timestamp()
        # Two ids in a plain tuple are all that a run pays for its details.
        self._about: StateDetails | tuple[str | None, str | None] | None = state_details

    def note_run(self, flow_run_id: str | None, task_run_id: str | None) -> None:
        """Note whose state this is, unless that is known: a returned state may be that of another run."""
        about = self._about
        if about is None:
            self._about = (flow_run_id, task_run_id)
        elif isinstance(about, StateDetails) and about.flow_run_id is None and about.task_run_id is None:
            self._about = about._replace(flow_run_id=flow_run_id, task_run_id=task_run_id)

    @property
    def state_details(self) -> StateDetails:
        """The ids of the run, the key and the expiration of a kept result, and the like."""
        about = self._about or ()
        details = about if isinstance(about, StateDetails) else StateDetails(*about)
        if self.cache_key is None:
            return details
        expires = self.data.expires if isinstance(self.data, Loadable) else None
        return details._replace(cache_key=self.cache_key, cache_expiration=None if expires is None else moment(expires))

    def fresh_copy(self, **fields: Any) -> State[R]:
        """The same state entered now, with other `fields` if any are given, for another run."""
        kept = {name: getattr(self, name) for name in ("type", "name", "message", "data", "cache_key")}
        return State(**{**kept, **fields})

    @property
    def timestamp(self) -> datetime:
        """When the run entered this state, in UTC."""
        return datetime.fromtimestamp(self._time, timezone.utc)

    @overload
    def result(self, raise_on_failure: Literal[True] = True) -> R: ...

    @overload
    def result(self, raise_on_failure: bool = True) -> R | BaseException: ...

    def result(self, raise_on_failure: bool = True) -> R | BaseException:
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
        return get_state_exception(self)

    @overload
    async def aresult(self, raise_on_failure: Literal[True] = True) -> R: ...

    @overload
    async def aresult(self, raise_on_failure: bool) -> R | BaseException: ...

    async def aresult(self, raise_on_failure: bool = True) -> R | BaseException:
        """`result()`, to await."""
        if self.type is StateType.COMPLETED and isinstance(self.data, Loadable) and self.data.slow:
            return cast(R, await self.data.aload_result())
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


def Scheduled(*, scheduled_time: datetime | None = None, **fields: Any) -> State[Any]:
    """A state for a run that is planned for `scheduled_time`, which is now by default; fields as those of `State`."""
    details = StateDetails(scheduled_time=scheduled_time or datetime.now(timezone.utc))
    return State(StateType.SCHEDULED, **{"state_details": details, **fields})


def Late(**fields: Any) -> State[Any]:
    """A scheduled state, named `Late`, for a run that has not started in time."""
    return Scheduled(**{"name": "Late", **fields})


def AwaitingConcurrencySlot(**fields: Any) -> State[Any]:
    """A scheduled state, named so, for a run that waits until fewer others run."""
    return Scheduled(**{"name": "AwaitingConcurrencySlot", **fields})


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


def Paused(
    *,
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    reschedule: bool = False,
    pause_key: str | None = None,
    **fields: Any,
) -> State[Any]:
    """A state for a run that waits to be resumed, for `timeout_seconds` or until `pause_expiration_time`."""
    if timeout_seconds is not None and pause_expiration_time is not None:
        raise ValueError("Paused() takes timeout_seconds or pause_expiration_time, not both.")
    if timeout_seconds is not None:
        pause_expiration_time = datetime.now(timezone.utc) + timedelta(seconds=timeout_seconds)
    details = StateDetails(pause_timeout=pause_expiration_time, pause_reschedule=reschedule, pause_key=pause_key)
    return State(StateType.PAUSED, **{"state_details": details, **fields})


def Suspended(**fields: Any) -> State[Any]:
    """A paused state, named `Suspended`, for a run whose process has ended meanwhile; fields as those of `Paused`."""
    return Paused(**{"name": "Suspended", "reschedule": True, **fields})


def Retrying(**fields: Any) -> State[Any]:
    """A running state, named `Retrying`, for a run that is at work again after an error."""
    return State(StateType.RUNNING, **{"name": "Retrying", **fields})


def AwaitingRetry(**fields: Any) -> State[Any]:
    """A scheduled state, named `AwaitingRetry`, for a run that waits before it tries again."""
    return Scheduled(**{"name": "AwaitingRetry", **fields})


def moment(seconds: float) -> datetime:
    """The moment, in UTC; the last one that there is for those beyond it."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=timezone.utc)


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
