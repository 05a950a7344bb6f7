"""What all task runners have in common."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from kept.context import FlowRunContext
from kept.engine.mapping import each_call
from kept.engine.plan import flow_rules, task_rules
from kept.engine.spec import TaskSpec
from kept.exceptions import ConfigurationError, MissingContextError
from kept.futures import KeptFuture, KeptFutureList
from kept.settings import get_current_settings

F = TypeVar("F", bound=KeptFuture[Any])
_FEW = 8
_PAUSES = (0.0005, 0.001, 0.002)


class Runnable(Protocol):
    """What a runner needs of a task."""

    @property
    def spec(self) -> Any:
        """What runs."""

    def new_run(self, parameters: dict[str, Any], run: Any = None) -> Any:
        """A run over these arguments: its record as `run`, and its `steps(wait_for)` to drive."""


class TaskRunner(Generic[F]):
    """The base of task runners. A subclass implements `submit`, `pending` and `duplicate`."""

    is_over = False
    """Whether the runner has given back what it held."""
    other_machines = False
    """Whether its runs may be on other machines, which see no results that only this one has."""

    def duplicate(self) -> TaskRunner[F]:
        """A fresh runner with the same options; each flow run gets one of its own."""
        raise NotImplementedError

    def submit(self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None) -> F:
        """Start a task run as soon as its inputs are there.

        Arguments:
            task: what to run.
            parameters: the arguments by name; futures among them are awaited and resolved.
            wait_for: futures to wait for whose values are not passed on.
        """
        raise NotImplementedError

    def map(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptFutureList[Any]:
        """Start one run for each element of the iterables among the parameters."""
        waits = list(wait_for or ()) or None
        return KeptFutureList(self.submit(task, call, waits) for call in each_call(task.spec, parameters))

    def pending(self) -> list[KeptFuture[Any]]:
        """The futures of submitted runs that have not ended."""
        raise NotImplementedError

    def cancel_all(self) -> None:
        """Cancel what has not begun, and stop what has as far as that can be done. The run around it is over."""

    def __enter__(self) -> TaskRunner[F]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        """Give back what the runner holds."""
        self.is_over = True

    def check_open(self, task: Runnable) -> None:
        """Raise `MissingContextError` if the runner has given back what it held: its flow run is over."""
        if self.is_over:
            raise MissingContextError(
                f"{task.spec.name!r} can't be submitted here: the flow run that this code belongs to is over, and its "
                "task runner with it. Use .delay for what may outlive its flow."
            )
        if self.other_machines:
            self._check_reach(task)

    def _check_reach(self, task: Runnable) -> None:
        """Raise `ConfigurationError` if the results of the task are kept where other machines don't see them."""
        rules_of = task_rules if isinstance(task.spec, TaskSpec) else flow_rules
        rules = rules_of(task.spec, get_current_settings(), FlowRunContext.get())
        if rules.persist and rules.store is not None and rules.store.private:
            raise ConfigurationError(
                f"{task.spec.name!r} keeps its results in {rules.store.location}, which only this machine has, and "
                f"{type(self).__name__} runs it on others. Name a place that all of them reach, as in "
                "result_storage='s3://bucket/folder' or KEPT_RESULTS_DEFAULT_STORAGE."
            )


def checked_workers(max_workers: int | None) -> int | None:
    """The option `max_workers` of runners. Raises `ConfigurationError`."""
    if max_workers is not None and (not isinstance(max_workers, int) or max_workers < 1):
        raise ConfigurationError(f"max_workers is {max_workers!r}; it has to be a whole number above 0.")
    return max_workers


class Countdown:
    """Calls a function once all of some futures have ended."""

    def __init__(self, futures: list[KeptFuture[Any]], then: Callable[[], None]) -> None:
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


def let_work(future: KeptFuture[Any], backlog: Callable[[], int]) -> None:
    """Before waiting for a future: look in now and then as long as short runs end one after the other.

    Who is woken by the end of each of them takes the interpreter from the thread that works, each time for nothing
    but to wait for the next.

    Arguments:
        backlog: how many runs wait for a worker.
    """
    for pause in _PAUSES:
        if future.done() or backlog() < _FEW:
            return
        time.sleep(pause)
