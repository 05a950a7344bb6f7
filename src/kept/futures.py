"""Futures of task runs: what `.submit` returns, how to wait for them, and what they come to."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar, overload

from kept.context import FlowRun, TaskRun
from kept.exceptions import ParameterTypeError
from kept.states import Crashed, Loadable, Pending, State
from kept.utilities.aside import together
from kept.utilities.handles import Handle, HandleList, find_handles, replace_handles

R = TypeVar("R", covariant=True)
T = TypeVar("T")
_log = logging.getLogger("kept.futures")


_NAP = 0.5
"""Seconds."""


class KeptFuture(Handle, Generic[R]):
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
            except BaseException:  # this thread is stopped: whoever ends the run again has to call it
                self._callbacks.insert(0, fn)
                raise

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
        if timeout is None:
            # In naps: a signal that comes in the moment before a wait begins is heard only when that wait is over.
            while not asleep.acquire(timeout=_NAP):
                pass
        elif not asleep.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX)):
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


class KeptFutureList(HandleList[KeptFuture[T]]):
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
        _bring([future.state for future in self])
        return [future.result(raise_on_failure=raise_on_failure) for future in self]


def _bring(states: Iterable[State[Any]]) -> None:
    """See that the values of completed runs that are far away come together, and not one after the other."""
    far = [state.data for state in states if isinstance(state.data, Loadable) and state.data.slow]
    if len(far) > 1:
        together(lambda data: data.bring(), far)


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

    if not isinstance(expr, Handle):
        _bring(h if isinstance(h, State) else h.state for h in find_handles(expr) if isinstance(h, (KeptFuture, State)))
    return replace_handles(expr, swap)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
