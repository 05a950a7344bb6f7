"""Where delayed runs go: one runner on threads for the process, which finishes its work before the process ends."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - what it does at the end of the process has to come after what we do
import contextvars
import copy
import sys
import threading
from collections.abc import Iterable
from typing import Any

from kept.context import FlowRunContext, enter_run
from kept.futures import KeptConcurrentFuture, wait
from kept.task_runners.base import Runnable
from kept.task_runners.threads import ThreadPoolTaskRunner
from kept.transactions import activate
from kept.utilities.forks import in_forked_child

_runner: BackgroundRunner | None = None
_starting = threading.Lock()


class BackgroundRunner(ThreadPoolTaskRunner):
    """Runs what may outlive the run that started it."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = threading.RLock()

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a run that belongs to the flow run around, but neither to its runner nor to a task or transaction."""
        return contextvars.copy_context().run(self._apart, task, parameters, wait_for)

    def ended(self, run: Any) -> None:
        """Note that a run has ended; with the last one end the threads, since no flow does."""
        with self._counting:
            super().ended(run)
            if not self._begun and self._workers is not None:
                self._workers.close(wait=False)
                self._workers = None

    def _take_thread(self, run: Any) -> None:
        with self._counting:
            super()._take_thread(run)

    def _apart(self, task: Runnable, parameters: dict[str, Any], wait_for: Any) -> KeptConcurrentFuture[Any]:
        flow = copy.copy(FlowRunContext.get())
        if flow is not None:
            flow.task_runner = self  # its own ends with it
        enter_run(flow)
        activate(None)
        return super().submit(task, parameters, wait_for)


def background() -> BackgroundRunner:
    """The runner for delayed runs of this process."""
    global _runner
    if _runner is None:
        with _starting:
            if _runner is None:
                _runner = BackgroundRunner()
                # Not atexit: that comes when the threads of the process are gone.
                threading._register_atexit(finish)  # type: ignore[attr-defined]
    return _runner


def finish() -> None:
    """At the end of the process wait for what was delayed, unless an interrupt ends it."""
    runner = _runner
    if runner is None:
        return
    try:
        # What ended a program; at a prompt it is only what interrupted some line.
        if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
            raise KeyboardInterrupt
        while pending := runner.pending():
            wait(pending)
    except KeyboardInterrupt as error:
        runner.__exit__(KeyboardInterrupt, error, None)


@in_forked_child
def _forget() -> None:
    # A forked child has neither the threads nor the work.
    global _runner, _starting
    _runner, _starting = None, threading.Lock()
