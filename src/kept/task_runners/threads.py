"""The runner on threads, which is the default."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from kept.engine.drivers import drive, drive_to_end
from kept.engine.effects import Effect
from kept.engine.inputs import FIXED, unfinished
from kept.engine.signals import crash_message, undisturbed
from kept.engine.stopping import WORKER, Stop, new_stop, raise_in, say_unstopped
from kept.futures import KeptConcurrentFuture, KeptFuture
from kept.settings import get_current_settings
from kept.states import Crashed, State
from kept.task_runners.base import Countdown, Runnable, TaskRunner, checked_workers, let_work
from kept.task_runners.workers import Workers
from kept.utilities.handles import can_hold_handles, find_handles
from kept.utilities.threads import start

# Threads that wait cost little, and tasks that submit tasks and wait for them must not starve each other.
_MANY = 250
_LOOK_AGAIN = 0.05
# How long to wait, in seconds, for runs that were told to stop, and then for those that were told again.
_PATIENCE = (0.4, 0.2)


class ThreadPoolTaskRunner(TaskRunner[KeptConcurrentFuture[Any]]):
    """Runs tasks on threads of this process.

    A run takes a thread only once its inputs have ended, so a chain of futures can't fill the pool with waiting.

    Arguments:
        max_workers: threads at most; by default the setting KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS, or 250.

    Raises:
        ConfigurationError: `max_workers` is not a whole number above 0.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(max_workers)
        self._workers: Workers | None = None
        self._begun: set[_SubmittedRun] = set()
        self._closed = False
        self._process = os.getpid()
        self._starting = threading.Lock()

    def duplicate(self) -> ThreadPoolTaskRunner:
        return type(self)(self.max_workers)

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a task run on a thread as soon as its inputs are there."""
        self.check_open(task)
        waits = list(wait_for) if wait_for is not None else []
        run = _SubmittedRun(task, parameters, waits, self)
        upstream = unfinished(find_handles([parameters, waits])) if waits or can_hold_handles(parameters) else []
        if not upstream and _stays_as_it_is(parameters) and run.advance():
            return run.future
        self._begun.add(run)
        if upstream:
            Countdown(upstream, lambda: self._take_thread(run))
        else:
            self._take_thread(run)
        return run.future

    def pending(self) -> list[KeptFuture[Any]]:
        self._forget_parent()
        return [run.future for run in list(self._begun)]

    def ended(self, run: _SubmittedRun) -> None:
        """Note that a submitted run has ended."""
        self._begun.discard(run)

    def cancel_all(self) -> None:
        """Cancel what has not begun, and stop what has. What can't be stopped goes on unheeded; the log names it."""
        self._closed = True
        with undisturbed():
            for run in list(self._begun):
                run.abandon()
            for patience in _PATIENCE:
                at_work = list(self._begun)
                for run in at_work:
                    run.stop()
                deadline = time.monotonic() + patience
                for run in at_work:
                    run.future.wait(max(0.0, deadline - time.monotonic()))
            for run in list(self._begun):
                run.give_up()

    def _take_thread(self, run: _SubmittedRun) -> None:
        try:
            run.abandon() if self._closed else self.workers().add(run)
        except RuntimeError:  # no thread is to be had: the interpreter is shutting down
            run.abandon()

    def workers(self) -> Workers:
        """The threads, none of which runs before there is something to do."""
        self._forget_parent()
        workers = self._workers
        if workers is None:
            with self._starting:
                workers = self._workers = self._workers or Workers(self._most())
        return workers

    def _forget_parent(self) -> None:
        """In a forked child: it has none of the threads, and none of the runs that they are at."""
        if self._process != os.getpid():
            self._process, self._workers, self._starting = os.getpid(), None, threading.Lock()
            self._begun.clear()

    def _most(self) -> int:
        return self.max_workers or get_current_settings().tasks.runner.thread_pool_max_workers or _MANY

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        """End the threads: when all is done, or after an interrupt at once."""
        if kind is not None:
            self.cancel_all()
        if self._workers is not None:
            self._workers.close(wait=not self._closed)
            self._workers = None
        super().__exit__(kind, error, traceback)


class ConcurrentTaskRunner(ThreadPoolTaskRunner):
    """The name that `ThreadPoolTaskRunner` had before; the same thing."""


def _stays_as_it_is(parameters: dict[str, Any]) -> bool:
    # The key of anything else is made where the run goes on at once, so that what is kept is what the key says.
    return FIXED.issuperset(map(type, parameters.values()))


class _SubmittedRun:
    """One submitted run: begun by whoever submits it, taken to a thread only if it has something to do there.

    A hit needs no thread, so mapping over what is kept costs little more than the look-ups. All of a run happens in
    one copy of the context in which it was submitted, whichever thread is at it.
    """

    __slots__ = (
        "_cancel",
        "_claim",
        "_context",
        "_first",
        "_is_async",
        "_run",
        "_runner",
        "_steps",
        "_stop",
        "_thread",
        "future",
    )

    def __init__(
        self, task: Runnable, parameters: dict[str, Any], wait_for: list[Any], runner: ThreadPoolTaskRunner
    ) -> None:
        self._runner = runner
        self._is_async = task.spec.is_async
        self._context = contextvars.copy_context()
        self._run = run = task.new_run(parameters)
        run.lazy = True
        self._steps = run.steps(wait_for)
        self._first: Effect | None = None
        self._claim = [True]
        self._thread: threading.Thread | None = None
        self._cancel: Callable[[], object] | None = None
        self._stop = Stop
        self.future: KeptConcurrentFuture[Any] = KeptConcurrentFuture(run.run, help=self._help)

    def advance(self) -> bool:
        """Go on as long as that takes next to no time; whether that was to the end."""
        try:
            self._first = self._context.run(next, self._steps)
        except StopIteration as end:
            self.future.end(end.value)
            return True
        return False

    def finish(self) -> None:
        """Go on to the end, and give the state to the future; nothing if somebody else is at it."""
        try:
            self._claim.pop()
        except IndexError:
            return
        self._thread = threading.current_thread()
        try:
            state = self._context.run(drive_to_end, self._steps, self._first, self._is_async, self._is_on_loop)
        except BaseException as error:
            state = self._state_or(Crashed(message=crash_message(error), data=error))
        self._end(state)

    def _help(self, timeout: float | None) -> None:
        """Before somebody waits for this run: see that it is not in vain, nor too early.

        A task in the pool that waits for a run that no thread is left for lends it its place: the run goes on at once,
        on a thread of its own. So tasks that submit tasks and wait for them, in whatever way, can't starve each other,
        however few threads there are. A thread of its own, because the one that waits may have an event loop or a
        limit to its time, and because runs inside of runs would reach the limit of recursion.
        """
        workers = self._runner.workers()
        if threading.current_thread().name != WORKER:
            workers.hurry()
            if timeout is None:
                let_work(self.future, workers.backlog)
            return
        while not self.future.done():
            if workers.is_full():
                if self._claim:
                    start(threading.Thread(target=self.finish, name=WORKER, daemon=True))
                return
            if timeout is not None:
                return
            self.future.sleep(_LOOK_AGAIN)

    def abandon(self) -> None:
        """End before the start, because the flow run is over; nothing if it has begun."""
        try:
            self._claim.pop()
        except IndexError:
            return
        self._context.run(self._steps.close)
        self._end(self._context.run(drive, self._run.cancelled("The flow run ended before this run began.")))

    def _is_on_loop(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def stop(self) -> None:
        """Tell the code of the run to stop."""
        if self._cancel is not None:
            self._cancel()
        elif self._thread is not None:
            self._stop = new_stop("the flow run around it has ended")
            raise_in(self._thread, self._stop)

    def give_up(self) -> None:
        """End the run though its code goes on: give back what it holds, note how it ended, and say so."""
        context = self._context.copy()  # the thread at work is inside of the run's own
        if self._thread is not None:
            context.run(say_unstopped, self._run.context, self._thread, self._stop)
        error = self._stop()
        with contextlib.suppress(Stop, ValueError):  # ours comes back; or our own part of the run is at work
            context.run(drive, self._steps, thrown=error)
        self._end(self._state_or(Crashed(message=crash_message(error), data=error)))

    def _state_or(self, state: State[Any]) -> State[Any]:
        noted = self._run.run.state
        return noted if noted is not None and noted.is_final() else state

    def _end(self, state: State[Any]) -> None:
        try:
            self._runner.ended(self)
            self.future.end(state)
        except Stop:  # too late for the run, but somebody waits for its future
            self._end(state)
