"""The runner on threads, which is the default."""

from __future__ import annotations

import concurrent.futures
import contextvars
import os
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from kept.engine.drivers import drive_to_end, drive_while_quick
from kept.engine.effects import Effect
from kept.exceptions import CancelledRun, ConfigurationError
from kept.futures import EndedFuture, KeptConcurrentFuture, KeptFuture, can_hold_handles, find_handles, unfinished
from kept.settings import get_current_settings
from kept.states import Cancelled, Crashed, State
from kept.task_runners.base import Runnable, TaskRunner

# Threads that wait cost little, and tasks that submit tasks and wait for them must not starve each other.
_MANY = 250
_THREADS = "kept-task"
_LOOK_AGAIN = 0.05

# What nobody can change between submitting and running. The key of anything else is made where the run goes on at
# once, so that what is kept is what the key says.
_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})


class ThreadPoolTaskRunner(TaskRunner[KeptConcurrentFuture[Any]]):
    """Runs tasks on threads of this process.

    A run takes a thread only once its inputs have ended, so a chain of futures can't fill the pool with waiting.

    Arguments:
        max_workers: threads at most; by default the setting KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS, or 250.

    Raises:
        ConfigurationError: `max_workers` is not a whole number above 0.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and (not isinstance(max_workers, int) or max_workers < 1):
            raise ConfigurationError(f"max_workers is {max_workers!r}; it has to be a whole number above 0.")
        self.max_workers = max_workers
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: set[KeptFuture[Any]] = set()
        self._closed = False
        self._process = os.getpid()
        self._free = threading.Semaphore(1)
        self._starting = threading.Lock()

    def duplicate(self) -> ThreadPoolTaskRunner:
        """A fresh runner with the same options."""
        return type(self)(self.max_workers)

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a task run on a thread as soon as its inputs are there."""
        waits = list(wait_for or ())
        run = _SubmittedRun(task, parameters, waits, self._is_full)
        upstream = unfinished(find_handles([parameters, waits])) if waits or can_hold_handles(parameters) else []
        if not upstream and _stays_as_it_is(parameters):
            state = run.advance()
            if state is not None:
                return EndedFuture(run.run, state)
        future = run.future()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        if upstream:
            _Countdown(upstream, lambda: self._take_thread(run))
        else:
            self._take_thread(run)
        return future

    def pending(self) -> list[KeptFuture[Any]]:
        """The futures of submitted runs that have not ended."""
        return list(self._pending)

    def _take_thread(self, run: _SubmittedRun) -> None:
        if self._closed:
            run.abandon()
            return
        try:
            work = self._threads().submit(self._run, run)
        except RuntimeError:  # the interpreter is shutting down
            run.abandon()
        else:
            work.add_done_callback(lambda work: run.abandon() if work.cancelled() else None)

    def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._process != os.getpid():  # a forked child has none of the threads
            self._process, self._pool, self._starting = os.getpid(), None, threading.Lock()
        with self._starting:
            if self._pool is None:
                most = self.max_workers or get_current_settings().tasks.runner.thread_pool_max_workers or _MANY
                self._free = threading.Semaphore(most)
                self._pool = concurrent.futures.ThreadPoolExecutor(most, thread_name_prefix=_THREADS)
            return self._pool

    def _run(self, run: _SubmittedRun) -> None:
        with self._free:
            run.finish()

    def _is_full(self) -> bool:
        """Whether each thread that there may be is at work, or waiting in the middle of it."""
        if not self._free.acquire(blocking=False):
            return True
        self._free.release()
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """End the threads. After an interrupt, what runs is not waited for and what has not begun never does."""
        self._closed = kind is not None
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
            self._pool = None


class ConcurrentTaskRunner(ThreadPoolTaskRunner):
    """The name that `ThreadPoolTaskRunner` had before; the same thing."""


def _stays_as_it_is(parameters: dict[str, Any]) -> bool:
    return _FIXED.issuperset(map(type, parameters.values()))


class _SubmittedRun:
    """One submitted run: begun by whoever submits it, taken to a thread only if it has something to do there.

    A hit needs no thread, so mapping over what is kept costs little more than the look-ups. All of a run happens in
    one copy of the context in which it was submitted, whichever thread is at it.
    """

    __slots__ = ("_claim", "_context", "_first", "_future", "_is_full", "_spec", "_steps", "_wrapped", "run")

    def __init__(
        self, task: Runnable, parameters: dict[str, Any], wait_for: list[Any], is_full: Callable[[], bool]
    ) -> None:
        self._is_full = is_full
        self._spec = task.spec
        self._context = contextvars.copy_context()
        steps = task.new_run(parameters)
        self.run = steps.run
        self._steps = steps.steps(wait_for)
        self._first: Effect | None = None
        self._claim = [True]

    def advance(self) -> State[Any] | None:
        """Go on as long as that takes next to no time; the final state, if that was to the end."""
        try:
            self._first = self._context.run(drive_while_quick, self._steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        return None

    def future(self) -> KeptConcurrentFuture[Any]:
        """The future of the run, which has not ended."""
        self._wrapped: concurrent.futures.Future[State[Any]] = concurrent.futures.Future()
        self._future = KeptConcurrentFuture(self.run, self._wrapped, None if self._spec.is_async else self._help)
        return self._future

    def finish(self) -> None:
        """Go on to the end, and give the state to the future; nothing if somebody else is at it."""
        try:
            self._claim.pop()
        except IndexError:
            return
        try:
            state = self._context.run(drive_to_end, self._steps, self._first, self._spec.is_async)
        except BaseException as error:
            self._crashed(error)
        else:
            self._end(state)

    def _help(self) -> None:
        """Wait, if it is a task in the pool that waits; and if no thread is left for this run, take that task's own.

        So tasks that submit tasks and wait for them can't starve each other, however few threads there are. A thread
        is not taken without need: runs inside of runs would reach the limit of recursion.
        """
        if not threading.current_thread().name.startswith(_THREADS):
            return
        while not self._wrapped.done():
            if self._is_full():
                self.finish()
                return
            concurrent.futures.wait([self._wrapped], _LOOK_AGAIN)

    def abandon(self) -> None:
        """End before the start, because the flow run is over."""
        try:
            self._claim.pop()
        except IndexError:
            return
        self._context.run(self._steps.close)
        message = "The flow run was interrupted before this run began."
        self._end(Cancelled(message=message, data=CancelledRun(message)))

    def _end(self, state: State[Any]) -> None:
        # The future outlives the run, and must not hold on to all that the run needed.
        self._future.forget_help()
        self._wrapped.set_result(state)

    def _crashed(self, error: BaseException) -> None:
        state = self._future.state
        final = state if state.is_final() else Crashed(message=f"The run was interrupted by {error!r}", data=error)
        self._end(final)


class _Countdown:
    """Calls a function once all of some futures have ended."""

    def __init__(self, futures: list[KeptFuture[Any]], then: Any) -> None:
        self._left = len(futures)
        self._lock = threading.Lock()
        self._then = then
        for future in futures:
            future.add_done_callback(self._one_less)

    def _one_less(self, _: KeptFuture[Any]) -> None:
        with self._lock:
            self._left -= 1
            ended = self._left == 0
        if ended:
            self._then()
