"""Futures of task runs: what `.submit` returns, how to wait for them, and how they are found inside arguments."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import dataclasses
import logging
import operator
import pickle
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar, overload

from kept.context import FlowRun, TaskRun, current_run
from kept.exceptions import ConfigurationError, HashError, MissingResult, ParameterTypeError
from kept.fingerprint import fingerprint
from kept.states import Crashed, Loadable, Pending, State
from kept.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote

R = TypeVar("R", covariant=True)
T = TypeVar("T")
_log = logging.getLogger("kept.futures")


class KeptFuture(Generic[R]):
    """The result of a task run that may not have ended yet. Runners subclass it."""

    __slots__ = ()

    @property
    def task_run_id(self) -> str:
        """The id of the task run."""
        raise NotImplementedError

    @property
    def run(self) -> TaskRun | FlowRun | None:
        """The record of the run, where the runner has one."""
        return None

    @property
    def state(self) -> State[R]:
        """The state of the task run now."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> None:
        """Return when the run has ended, or after `timeout` seconds."""
        raise NotImplementedError

    def done(self) -> bool:
        """Whether the run has ended."""
        return self.state.is_final()

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> R: ...

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R | BaseException: ...

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R | BaseException:
        """The value of the run, once it has ended.

        Arguments:
            timeout: how long to wait at most, in seconds; as long as it takes by default.
            raise_on_failure: raise the run's error (the default), or return it.

        Raises:
            TimeoutError: the run has not ended in time.
        """
        raise NotImplementedError

    @overload
    async def aresult(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> R: ...

    @overload
    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> R | BaseException: ...

    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> R | BaseException:
        """`result()`, to await."""
        await until_ended([self], timeout)
        return self.result(timeout=0 if timeout is not None else None, raise_on_failure=raise_on_failure)

    def add_done_callback(self, fn: Callable[[KeptFuture[R]], Any]) -> None:
        """Call `fn(self)` when the run has ended, at once if it has."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        raise pickle.PicklingError(
            f"{self!r} can't be pickled: a future belongs to the process in which its run was submitted. Pass on its "
            "result() or its state instead."
        )


class KeptConcurrentFuture(KeptFuture[R]):
    """A future of this process, ended by whoever runs the task.

    It needs no lock: what stands in the list of callbacks is taken out once, by who ends the run or, where that was
    earlier, by who put it in.

    Arguments:
        run: the record of the run.
        wrapped: a future whose result is the final state; by default `end` is called with that.
        help: called with the limit before somebody waits, to see that they don't wait in vain.
    """

    __slots__ = ("_callbacks", "_help", "_run", "_state", "_wrapped")

    def __init__(
        self,
        run: TaskRun,
        wrapped: concurrent.futures.Future[State[R]] | None = None,
        help: Callable[[float | None], None] | None = None,
    ) -> None:
        self._run = run
        self._state: State[R] | None = None
        self._callbacks: list[Callable[[KeptFuture[R]], Any]] = []
        self._wrapped = wrapped
        self._help = help
        if wrapped is not None:
            wrapped.add_done_callback(self._take)

    def end(self, state: State[R]) -> None:
        """Note the final state, and tell those who wait. The first one counts."""
        if self._state is None:
            self._state = state
            self._help = None
            self._call_back()

    def _take(self, wrapped: concurrent.futures.Future[State[R]]) -> None:
        try:
            self.end(wrapped.result())
        except BaseException as error:
            self.end(Crashed(message=f"The run was lost: {error!r}", data=error))

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                fn = self._callbacks.pop(0)
            except IndexError:  # somebody else was quicker
                return
            try:
                fn(self)
            except Exception:
                _log.exception("A callback of task run %r raised.", self._run.name)

    @property
    def run(self) -> TaskRun | FlowRun:
        return self._run

    @property
    def task_run_id(self) -> str:
        return self._run.id

    @property
    def wrapped_future(self) -> concurrent.futures.Future[State[R]]:
        """The same as a future of `concurrent.futures`, whose result is the final state."""
        if self._wrapped is None:
            wrapped: concurrent.futures.Future[State[R]] = concurrent.futures.Future()
            self._wrapped = wrapped
            self.add_done_callback(lambda _: wrapped.set_result(self.state))
        return self._wrapped

    @property
    def state(self) -> State[R]:
        return self._state or self._run.state or Pending()

    def done(self) -> bool:
        return self._state is not None

    def wait(self, timeout: float | None = None) -> None:
        help = self._help
        if help is not None:
            help(timeout)
        if self._state is None:
            self.sleep(timeout)

    def sleep(self, timeout: float | None) -> None:
        """Wait without helping."""
        asleep = threading.Lock()
        asleep.acquire()

        def wake(_: KeptFuture[R]) -> None:
            asleep.release()

        self.add_done_callback(wake)
        if not asleep.acquire(timeout=-1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX)):
            with contextlib.suppress(ValueError):  # it ended at this moment
                self._callbacks.remove(wake)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        if self._state is None:
            self.wait(timeout)
        if self._state is None:
            raise TimeoutError(f"Task run '{self._run.name}' did not finish within {timeout} seconds.")
        return self._state.result(raise_on_failure=raise_on_failure)

    def add_done_callback(self, fn: Callable[[KeptFuture[R]], Any]) -> None:
        self._callbacks.append(fn)
        if self._state is not None:
            self._call_back()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._run.name!r}, {self.state})"


class KeptFutureList(list[KeptFuture[T]]):
    """What `.map` returns: the futures, in the order of the inputs."""

    def wait(self, timeout: float | None = None) -> None:
        """Return when all have ended, or after `timeout` seconds."""
        wait(self, timeout)

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> list[T]: ...

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[T | BaseException]: ...

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """The values, in order. The first failure is raised when it happens, whatever still runs before it.

        Raises:
            TimeoutError: they have not all ended within `timeout` seconds.
        """
        for future in as_completed(self, timeout):
            if raise_on_failure and not future.state.is_completed():
                future.result()
        return [future.result(raise_on_failure=raise_on_failure) for future in self]


class DoneAndNotDoneFutures(tuple[set[KeptFuture[T]], set[KeptFuture[T]]], Generic[T]):
    """What `wait` returns: `done, not_done = wait(futures)`."""

    # Not a NamedTuple: on Python 3.10 that can't be generic.

    __slots__ = ()

    @property
    def done(self) -> set[KeptFuture[T]]:
        """Those that have ended."""
        return self[0]

    @property
    def not_done(self) -> set[KeptFuture[T]]:
        """Those that have not."""
        return self[1]


def wait(futures: Iterable[KeptFuture[T]], timeout: float | None = None) -> DoneAndNotDoneFutures[T]:
    """Wait until all futures have ended, or for `timeout` seconds."""
    everyone = _checked(futures, "wait()")
    deadline = None if timeout is None else time.monotonic() + timeout
    for future in everyone:
        future.wait(_left(deadline))
    done = {future for future in everyone if future.done()}
    return DoneAndNotDoneFutures((done, set(everyone) - done))


async def until_ended(futures: Iterable[KeptFuture[Any]], timeout: float | None = None) -> None:
    """Return when all futures have ended, or after `timeout` seconds; the event loop goes on meanwhile.

    No thread waits for them: a loop has few, and what is waited for may need them.
    """
    import asyncio  # noqa: PLC0415 - 30 ms that only async callers need

    waiting = [future for future in futures if not future.done()]
    if not waiting:
        return
    loop = asyncio.get_running_loop()
    all_ended = asyncio.Event()
    left = len(waiting)
    not_helped = iter(waiting)

    def one_less() -> None:
        nonlocal left
        left -= 1
        if not left:
            all_ended.set()
        _help_next(not_helped, 0)

    def note(_: KeptFuture[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed because nobody waits any more
            loop.call_soon_threadsafe(one_less)

    for future in waiting:
        future.add_done_callback(note)
    _help_next(not_helped, 0)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(all_ended.wait(), timeout)


def as_completed(futures: Iterable[KeptFuture[T]], timeout: float | None = None) -> Iterator[KeptFuture[T]]:
    """Give the futures one by one as they end. Raises `TimeoutError` if not all have after `timeout` seconds."""
    everyone = set(_checked(futures, "as_completed()"))
    deadline = None if timeout is None else time.monotonic() + timeout
    ended: queue.SimpleQueue[KeptFuture[T]] = queue.SimpleQueue()
    for future in everyone:
        future.add_done_callback(ended.put)
    not_helped = iter(everyone)
    for count in range(len(everyone)):
        if ended.empty():
            _help_next(not_helped, timeout)
        try:
            future = ended.get(timeout=_left(deadline))
        except queue.Empty:
            raise TimeoutError(
                f"{len(everyone) - count} of {len(everyone)} futures have not ended within {timeout} seconds."
            ) from None
        yield future


def _checked(futures: Iterable[KeptFuture[T]], caller: str) -> list[KeptFuture[T]]:
    everyone: list[Any] = list(futures) if isinstance(futures, Iterable) else [None]
    if all(isinstance(future, KeptFuture) for future in everyone):
        return everyone
    raise ParameterTypeError(
        f"{caller} takes a list of futures, which are what .submit(...) gives and what .map(...) is a list of; "
        f"it got {futures!r:.80}."
    )


def _help_next(futures: Iterator[KeptFuture[Any]], timeout: float | None) -> None:
    """Help the next one that has not ended; who waits for many helps one more whenever one has ended."""
    future = next((future for future in futures if not future.done()), None)
    help = getattr(future, "_help", None)
    if help is not None:
        help(timeout)


@overload
def resolve_futures_to_states(expr: KeptFuture[T]) -> State[T]: ...


@overload
def resolve_futures_to_states(expr: list[KeptFuture[T]]) -> list[State[T]]: ...


@overload
def resolve_futures_to_states(expr: Any) -> Any: ...


def resolve_futures_to_states(expr: Any) -> Any:
    """The same structure with each future, once it has ended, replaced by its state."""

    def swap(handle: Any) -> Any:
        if not isinstance(handle, KeptFuture):
            return handle
        handle.wait()
        return handle.state

    return replace_handles(expr, swap)


@overload
def resolve_futures_to_results(expr: KeptFuture[T] | State[T]) -> T: ...


@overload
def resolve_futures_to_results(expr: list[KeptFuture[T]]) -> list[T]: ...


@overload
def resolve_futures_to_results(expr: Any) -> Any: ...


def resolve_futures_to_results(expr: Any) -> Any:
    """The same structure with each future and state replaced by its value; a failed one raises its error."""

    def swap(handle: Any) -> Any:
        if isinstance(handle, (KeptFuture, State)):
            return handle.result()
        return handle

    return replace_handles(expr, swap)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


# What can't hold a future. Most arguments are of these types, and are passed over at the cost of one look-up.
_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, type, range, slice},
)


def can_hold_handles(parameters: dict[str, Any]) -> bool:
    """Whether any of these could be or hold a future, by a look at their types alone."""
    return not _ATOMS.issuperset(map(type, parameters.values()))


def find_handles(expr: Any) -> list[Any]:
    """The futures, states and annotations inside a value: in lists, tuples, sets, deques, dicts, dataclasses,
    classes of attrs and models of pydantic.

    What stands inside an annotation is not listed, only the annotation.
    """
    found: list[Any] = []
    _find(expr, found, {})
    return found


# Both walks hold what they have seen: an id is one of a living object, and a container may make its elements anew.
def _find(value: Any, found: list[Any], seen: dict[int, Any]) -> None:
    if value.__class__ in _ATOMS:
        return
    if isinstance(value, _HANDLES):
        found.append(value)
        return
    children = _children(value)
    # The types of a million numbers are looked at in C.
    if not children or _ATOMS.issuperset(map(type, children)):
        return
    if id(value) not in seen:
        seen[id(value)] = value
        for child in children:
            _find(child, found, seen)


def _children(value: Any) -> Any:
    if isinstance(value, _SEQUENCES):
        return value
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    names = _field_names(value)
    return [getattr(value, name) for name in names if hasattr(value, name)] if names else ()


def _field_names(value: Any) -> Iterable[str]:
    if isinstance(value, type):
        return ()
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if hasattr(type(value), "__attrs_attrs__"):
        return [field.name for field in type(value).__attrs_attrs__]
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return list(type(value).model_fields)
    return ()


def replace_handles(expr: Any, swap: Callable[[Any], Any]) -> Any:
    """`expr` with `swap(handle)` in place of each future, state and annotation.

    Only what holds one is copied; a value without any is returned itself.
    """
    return _replace(expr, swap, {})


def _replace(value: Any, swap: Callable[[Any], Any], done: dict[int, tuple[Any, Any]]) -> Any:
    if value.__class__ in _ATOMS:
        return value
    if isinstance(value, _HANDLES):
        return swap(value)
    if id(value) not in done:
        done[id(value)] = value, value
        done[id(value)] = value, _rebuilt(value, lambda child: _replace(child, swap, done))
    return done[id(value)][1]


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    before = list(_children(value))
    after = [change(child) for child in before]
    if all(map(operator.is_, before, after)):
        return value
    if isinstance(value, dict):
        half = len(after) // 2
        return _same_kind(value, dict(zip(after[:half], after[half:], strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*after)
    if isinstance(value, _SEQUENCES):
        return _same_kind(value, after)
    names = [name for name in _field_names(value) if hasattr(value, name)]
    return _with_fields(value, dict(zip(names, after, strict=True)))


def _same_kind(value: Any, content: Any) -> Any:
    kind = type(value)
    if kind is type(content) or kind is KeptFutureList:
        return content
    if kind in _CONTAINERS:
        return kind(content)
    return _refilled(value, content)


def _refilled(value: Any, content: Any) -> Any:
    """A copy of a container of a class of its own, with other content; its constructor is not known."""
    if isinstance(value, (tuple, frozenset)):
        return type(value)(content)
    twin = copy.copy(value)
    twin.clear()
    twin.extend(content) if hasattr(value, "extend") else twin.update(content)
    return twin


def _with_fields(value: Any, changed: dict[str, Any]) -> Any:
    if not (dataclasses.is_dataclass(value) or hasattr(type(value), "__attrs_attrs__")):
        twin = copy.copy(value)
    else:  # without any code of its class, such as __getstate__: that expects values where there are futures
        twin = object.__new__(type(value))
        getattr(twin, "__dict__", {}).update(getattr(value, "__dict__", {}))
    for name, content in changed.items():
        object.__setattr__(twin, name, content)
    return twin


def unfinished(handles: Iterable[Any]) -> list[KeptFuture[Any]]:
    """The futures among these, also inside annotations other than `quote`, that have not ended."""
    return [future for future in _futures_among(handles) if not future.done()]


def check_reach(handles: Iterable[Any]) -> None:
    """See that each future among these, also inside annotations other than `quote`, can be waited for here.

    Raises:
        ConfigurationError: one belongs to a flow run that is not around this code, or to a run that this code is part
            of, which would wait for itself.
    """
    around = list(_runs_around())
    for future in _futures_among(handles):
        run = future.run
        if run is None:
            continue
        if any(run is one for one in around):
            raise ConfigurationError(
                f"{_label(run)} would wait for itself: its own future was passed to what it calls. "
                "Pass the value that it needs instead."
            )
        if run.flow_run_id is not None and all(run.flow_run_id != one.id for one in around):
            raise ConfigurationError(
                f"The future of {_label(run)} belongs to another flow run, {run.flow_run_id}. Futures are for the "
                "flow in which they were submitted and for the flows that it calls: return its result, and pass that."
            )


def _runs_around() -> Iterator[Any]:
    context = current_run()
    while context is not None:
        yield getattr(context, "task_run", None) or getattr(context, "flow_run", None)
        context = context.parent


def _label(run: Any) -> str:
    return f"{type(run).__name__.replace('Run', '').lower()} run {run.name!r}"


def _futures_among(handles: Iterable[Any]) -> Iterator[KeptFuture[Any]]:
    for handle in handles:
        if isinstance(handle, KeptFuture):
            yield handle
        elif isinstance(handle, BaseAnnotation) and not isinstance(handle, quote):
            yield from _futures_among(find_handles(handle.value))


class Unread:
    """Stands for a kept value that nobody has looked at yet: its fingerprint is enough to make a key."""

    __slots__ = ("data",)

    def __init__(self, data: Loadable) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return self.data.reference()  # it is the value that is wanted there


class Resolver:
    """Replaces handles by values, as the `swap` of `replace_handles`, and remembers what it learns on the way.

    What is kept is not read here: an `Unread` stands for it until `read` puts a copy in its place. So a run that is
    a hit itself reads nothing that it was passed, and one that is not shares its inputs with nobody.

    Attributes:
        known: the fingerprints of values that came from the store, by id.
        failed: why the run can't start, or empty if it can.
        unread: whether an `Unread` was given.
        changed: whether a value that had to be taken from memory is no longer what was kept.
    """

    def __init__(self) -> None:
        self.known: dict[int, str] = {}
        self.failed = ""
        self.unread = False
        self.changed = False
        self._held: list[Any] = []
        self._nested = self._may_stand_in = self._only_check = False

    def check(self, wait_for: Any) -> None:
        """Note what failed among the handles in `wait_for`, whose values nobody wants."""
        self._only_check = True
        replace_handles(wait_for, self._value_of)
        self._only_check = False

    def resolve(self, value: Any) -> Any:
        """One argument, its handles replaced."""
        self._nested = not isinstance(value, _HANDLES)
        # Code of the user's own, such as a method of a dataclass, must not meet a stand-in.
        self._may_stand_in = not self._nested or _is_built_in(value)
        return replace_handles(value, self._value_of)

    def read(self, value: Any) -> Any:
        """One argument, what was unread in it replaced by a fresh copy."""
        return replace_handles(value, self._read)

    def _value_of(self, handle: Any) -> Any:
        if isinstance(handle, BaseAnnotation):
            return self._annotated(handle)
        return self._of_state(handle.state if isinstance(handle, KeptFuture) else handle, tolerant=False)

    def _annotated(self, handle: Any) -> Any:
        if isinstance(handle, quote):
            return handle.value
        if isinstance(handle, opaque):
            inner = handle.value
            return self._value_of(inner) if isinstance(inner, (KeptFuture, State)) else inner
        return replace_handles(handle.value, self._tolerant if isinstance(handle, allow_failure) else self._value_of)

    def _tolerant(self, handle: Any) -> Any:
        if isinstance(handle, BaseAnnotation):
            return self._annotated(handle)
        return self._of_state(handle.state if isinstance(handle, KeptFuture) else handle, tolerant=True)

    def _of_state(self, state: State[Any], tolerant: bool) -> Any:
        if state.is_completed():
            if self._only_check:
                return None
            return self._later(state.data) if isinstance(state.data, Loadable) else state.data
        if tolerant and state.is_final():
            return state.result(raise_on_failure=False)
        if not self.failed:
            # What waited for a failed run tells of that one: told of each other, the message would double each time.
            told = state.message if state.name == "NotReady" else None
            self.failed = told or f"Upstream run did not reach a 'COMPLETED' state; it is {state}."
        return None

    def _later(self, data: Loadable) -> Any:
        fingerprint = data.fingerprint
        # A plain value inside another argument counts by its content, so it has to be read for the key as well.
        if fingerprint is None or not self._may_stand_in or (self._nested and fingerprint.startswith("b3p:")):
            return self._copied(data)
        self.unread = True
        return self._know(Unread(data), fingerprint)

    def _read(self, handle: Any) -> Any:
        return self._copied(handle.data) if isinstance(handle, Unread) else handle

    def _copied(self, data: Loadable) -> Any:
        expected = data.fingerprint
        try:
            value = data.load_copy()
        except MissingResult:  # dropped from the store meanwhile; the run that computed it may still have it
            value = data.load_result()
            self.changed = self.changed or expected is None or _differs(value, expected)
            return value
        return value if expected is None else self._know(value, expected)

    def _know(self, value: Any, fingerprint: str) -> Any:
        # Held, so that nothing else can come to have its id.
        self._held.append(value)
        self.known[id(value)] = fingerprint
        return value


def _differs(value: Any, expected: str) -> bool:
    try:
        return fingerprint(value) != expected
    except HashError:
        return True


def _is_built_in(value: Any, around: tuple[int, ...] = ()) -> bool:
    """Whether a value is a tree of builtin containers, as far as anything stands in it that could hold a future."""
    if value.__class__ in _ATOMS or isinstance(value, _HANDLES):
        return True
    if value.__class__ not in _CONTAINERS or id(value) in around:
        return False
    return all(_is_built_in(child, (*around, id(value))) for child in _children(value))


_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, KeptFutureList})
_SEQUENCES = (list, tuple, set, frozenset, deque)
_HANDLES = (KeptFuture, State, BaseAnnotation, Unread)
