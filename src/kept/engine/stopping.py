"""Stopping Python code from outside: what can be stopped, how often it is tried, and what is said if it can't be.

Another thread is stopped by an exception that it meets at its next step of Python. Code that stays in C, as a long
sleep does, is not there to meet it: it is left to itself, on a thread that keeps no process alive.
"""

from __future__ import annotations

import contextvars
import ctypes
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kept.context import RunContext, current_run
from kept.logging.loggers import get_run_logger
from kept.utilities.forks import not_while_forking
from kept.utilities.threads import start

T = TypeVar("T")

WORKER = "kept-task"
"""The name of threads that runs are at work on."""

CLEAN_UP = 3.0
"""How many seconds code that was told to stop may take to clean up before it is told again."""

# How long to wait for the exception to be met, and after the second try.
_MET, _AGAIN = 0.1, 0.5
# Who waits here can itself be stopped, so often.
_SLICE = 0.05
_LIBRARIES = str(Path(threading.__file__).parent)
# A thread that is being started has the identifier of who starts it at first, and would meet what is meant for that.
_starting = not_while_forking(threading.Lock())


class Stop(BaseException):
    """Ends code from outside. No `Exception`: a run inside, and an `except Exception` of the user's, let it pass.

    Each stop is a subclass of its own, so that nobody takes another one's for theirs.
    """

    why = "it was stopped"
    met = False
    """Whether the code that is to be stopped has come across it."""

    def __init__(self) -> None:
        type(self).met = True
        super().__init__(self.why)


def new_stop(why: str = Stop.why) -> type[Stop]:
    """The class of a stop of its own, with a reason that finishes the sentence "... because"."""
    return type("Stop", (Stop,), {"why": why})


def raise_in(thread: threading.Thread, stop: type[Stop]) -> None:
    """Have `thread` meet the exception at its next step of Python."""
    with _starting:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(stop))


def where(thread: threading.Thread) -> str:
    """The line that a thread is at, outside of libraries."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"


def ended_after(thread: threading.Thread, stop: type[Stop]) -> bool:
    """Whether a thread ends when it is told to; twice, if the first time was met and not heeded."""
    raise_in(thread, stop)
    thread.join(_MET)
    if thread.is_alive() and stop.met:
        thread.join(CLEAN_UP)
        if thread.is_alive():
            raise_in(thread, new_stop(stop.why))
            thread.join(_AGAIN)
    return not thread.is_alive()


def say_unstopped(context: RunContext | None, thread: threading.Thread, stop: type[Stop]) -> None:
    """Warn that the code of a run goes on although it was told to stop."""
    reason = "it catches what is raised to stop it" if stop.met else "it is in a call that does not return to Python"
    get_run_logger(context).warning(
        "The code of this run was told to stop because %s, and can't be stopped: %s, at %s. It goes on in the "
        "background until it ends by itself or the process ends; what it returns is not used.",
        stop.why,
        reason,
        where(thread),
    )


class _Aside(threading.Thread):
    """One call on a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(name=WORKER, daemon=True)
        self._call = call
        self._context = contextvars.copy_context()
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._do()
        except Stop:  # came when the call had ended
            pass

    def _do(self) -> None:
        try:
            self.value = self._context.run(self._call)
        except BaseException as error:
            self.error = error

    def wait(self, seconds: float) -> bool:
        """Whether it ends in time."""
        deadline = time.monotonic() + seconds
        while self.is_alive() and (left := deadline - time.monotonic()) > 0:
            self.join(min(left, _SLICE))
        return not self.is_alive()


def call_within(seconds: float, call: Callable[[], T], timed_out: Callable[[], BaseException]) -> T:
    """What `call()` returns or raises, on a thread of its own; it is stopped after so many seconds.

    Raises:
        the exception that `timed_out` makes: it took longer, whether or not it could be stopped.
    """
    aside = _Aside(call)
    with _starting:
        start(aside)
    try:
        in_time = aside.wait(seconds)
    except BaseException:  # this thread is stopped itself
        ended_after(aside, new_stop("the run around it was stopped"))
        raise
    error, aside.error = aside.error, None  # no circle of an error, its traceback and this frame
    try:
        if not in_time:
            stop = new_stop("its time was up")
            if not ended_after(aside, stop):
                say_unstopped(current_run(), aside, stop)
            raise timed_out().with_traceback(aside.error.__traceback__ if isinstance(aside.error, stop) else None)
        if error is not None:
            raise error
        return aside.value  # type: ignore[no-any-return]
    finally:
        del error, aside
