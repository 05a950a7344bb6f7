"""The runner on threads, which is the default."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
import types
from collections.abc import Iterable
from typing import Any

from kept.context import TaskRun
from kept.engine.drivers import drive_to_end
from kept.engine.spec import TaskSpec
from kept.engine.steps import TaskRunSteps, begin
from kept.exceptions import ConfigurationError
from kept.futures import KeptConcurrentFuture, KeptFuture, find_handles, unfinished
from kept.settings import get_current_settings
from kept.states import Crashed, State
from kept.task_runners.base import Runnable, TaskRunner

# Threads that wait cost little, and tasks that submit tasks and wait for them must not starve each other.
_MANY = 250


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

    def duplicate(self) -> ThreadPoolTaskRunner:
        """A fresh runner with the same options."""
        return type(self)(self.max_workers)

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a task run on a thread as soon as its inputs are there."""
        run = begin(task.spec)
        wrapped: concurrent.futures.Future[State[Any]] = concurrent.futures.Future()
        future = KeptConcurrentFuture(run, wrapped)
        self._pending.add(future)
        wrapped.add_done_callback(lambda _: self._pending.discard(future))
        work = _Work(task, parameters, list(wait_for or ()), run, wrapped, contextvars.copy_context())
        upstream = unfinished(find_handles([parameters, work.wait_for]))
        if upstream:
            _Countdown(upstream, lambda: self._start(work))
        else:
            self._start(work)
        return future

    def pending(self) -> list[KeptFuture[Any]]:
        """The futures of submitted runs that have not ended."""
        return list(self._pending)

    def _start(self, work: _Work) -> None:
        if self._pool is None:
            most = self.max_workers or get_current_settings().tasks.runner.thread_pool_max_workers or _MANY
            self._pool = concurrent.futures.ThreadPoolExecutor(most, thread_name_prefix="kept-task")
        self._pool.submit(work)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
            self._pool = None


class ConcurrentTaskRunner(ThreadPoolTaskRunner):
    """The name that `ThreadPoolTaskRunner` had before; the same thing."""


class _Work:
    """One submitted run: called on a thread, it runs and gives its state to the future."""

    __slots__ = ("context", "parameters", "run", "task", "wait_for", "wrapped")

    def __init__(
        self,
        task: Runnable,
        parameters: dict[str, Any],
        wait_for: list[Any],
        run: TaskRun,
        wrapped: concurrent.futures.Future[State[Any]],
        context: contextvars.Context,
    ) -> None:
        self.task = task
        self.parameters = parameters
        self.wait_for = wait_for
        self.run = run
        self.wrapped = wrapped
        self.context = context

    def __call__(self) -> None:
        self.wrapped.set_running_or_notify_cancel()
        try:
            state = self.context.run(self._run)
        except BaseException as error:
            state = self.run.state or Crashed(message=f"The run could not start: {error!r}", data=error)
        self.wrapped.set_result(state)

    def _run(self) -> State[Any]:
        spec: TaskSpec = self.task.spec
        steps = TaskRunSteps(spec, self.task, self.parameters, self.run).steps(self.wait_for)
        return drive_to_end(steps, spec.is_async)


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
