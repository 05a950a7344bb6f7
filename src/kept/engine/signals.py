"""What a signal that ends the process does to the run in the main thread: it crashes, and cleans up undisturbed.

SIGTERM is taken only while an outermost run goes on in the main thread, and only if nobody else has taken it: a handler
of the user's stays theirs to call.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kept.engine.stopping import Stop
from kept.exceptions import TerminationSignal
from kept.logging.loggers import get_logger
from kept.utilities.forks import in_forked_child

# The functions underneath: what turns their numbers into names costs more than they do, and outermost runs call them.
_set: Callable[[int, Any], Any] = getattr(signal.signal, "__wrapped__", signal.signal)
_get: Callable[[int], Any] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_DEFAULT = signal.SIG_DFL.value
_TERM, _INT = int(signal.SIGTERM), int(signal.SIGINT)


class _Sigterm:
    """The one handler of SIGTERM, and the runs for which it is there."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        """For each an asyncio task to cancel, or None for one in plain code."""
        self.arrived = False

    def arrives(self, *_: object) -> None:
        if not self.runs:
            _end_process()
        if self.arrived:  # the clean-up goes on
            return
        self.arrived = True
        tasks = [task for task in self.runs if task is not None]
        if not tasks or any(_is_at_work(task) for task in tasks):
            raise TerminationSignal
        for task in tasks:  # an exception would hit whatever the loop is at
            task.get_loop().call_soon_threadsafe(task.cancel)


_sigterm = _Sigterm()


def catch_sigterm(in_loop: bool) -> list[Any] | None:
    """Turn SIGTERM into an exception in this thread until `release_sigterm` is called with what this returns.

    Arguments:
        in_loop: whether the run is async, so that it is stopped by cancelling it.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    if not _sigterm.runs:
        current = _get(_TERM)
        if current != _sigterm.arrives:
            if current != _DEFAULT:
                return None
            _set(_TERM, _sigterm.arrives)
        _sigterm.arrived = False
    task = _current_task() if in_loop else None
    _sigterm.runs.append(task)
    return [task]


def release_sigterm(caught: list[Any], before_the_end: Callable[[], None], keep: bool) -> None:
    """Give SIGTERM back; if it has arrived meanwhile, the process ends of it now.

    Arguments:
        caught: what `catch_sigterm` returned.
        before_the_end: called if the process ends.
        keep: leave the handler where it is. It does then as if there were none, and the next run need not set it, which
            costs two calls of the system: too much for a task in a loop outside of flows.
    """
    if caught[0] not in _sigterm.runs:  # a forked child has come back through the run of its parent
        return
    _sigterm.runs.remove(caught[0])
    if _sigterm.runs or threading.current_thread() is not threading.main_thread():
        return
    if _sigterm.arrived:
        before_the_end()
        _end_process()
    if not keep:
        _set(_TERM, _DEFAULT)


def _end_process() -> None:
    _set(_TERM, _DEFAULT)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os.kill(os.getpid(), signal.SIGTERM)


@in_forked_child
def _start_anew() -> None:
    # A forked child is another process, which nothing of ours runs in.
    if _sigterm.runs:
        _sigterm.runs.clear()
        _set(_TERM, _DEFAULT)


def _current_task() -> Any:
    import asyncio  # noqa: PLC0415 - only async runs come here

    try:
        return asyncio.current_task()
    except RuntimeError:  # another kind of loop
        return None


def _is_at_work(task: Any) -> bool:
    import asyncio  # noqa: PLC0415 - as above

    return asyncio.current_task(task.get_loop()) is task


class _Sigint:
    """The one handler of SIGINT while anything is cleaned up."""

    def __init__(self) -> None:
        self.depth = 0
        self.before: Any = None

    def arrives(self, *_: object) -> None:
        _set(_INT, signal.default_int_handler)
        get_logger().warning("Cleaning up after the interrupt. Press Ctrl-C once more to leave it undone.")


_sigint = _Sigint()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep one more Ctrl-C from breaking into the clean-up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _sigint.depth:
        _sigint.before = _get(_INT)
        _set(_INT, _sigint.arrives)
    _sigint.depth += 1
    try:
        yield
    finally:
        _sigint.depth -= 1
        if not _sigint.depth:
            _set(_INT, _sigint.before or _DEFAULT)


def crash_message(error: BaseException) -> str:
    """What the state of a run says that was ended by this."""
    name = type(error).__name__
    terminated = isinstance(error, TerminationSignal) or (name == "CancelledError" and _sigterm.arrived)
    if terminated:
        return "Execution was interrupted by SIGTERM: the process was told to end"
    if name == "CancelledError":
        return "Execution was cancelled by the runtime environment: Ctrl-C, task.cancel(), or the end of what is around"
    if isinstance(error, Stop):
        return f"Execution was stopped because {error.why}"
    if isinstance(error, SystemExit) and error.code is not None:
        return f"Execution was interrupted by SystemExit: {error.code}"
    return f"Execution was interrupted by {name}"
