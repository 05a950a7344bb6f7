"""What plain code does for a run: all that its steps ask for, in the calling thread."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kept.engine.effects import NEXT, Await, Call, Demand, RunTimeout, Sleep, Wait, Yield
from kept.engine.stopping import CLEAN_UP, Stop, call_within, new_stop
from kept.futures import wait
from kept.logging.loggers import get_run_logger
from kept.utilities.effects import PLAIN, Does

T = TypeVar("T")
_ATTEMPTS = 3


def _call(effect: Call) -> Any:
    if effect.timeout is None:
        return effect.fn(*effect.args, **effect.kwargs)
    call = functools.partial(effect.fn, *effect.args, **effect.kwargs)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _call_with_alarm(effect.timeout, call)
    return call_within(effect.timeout, call, RunTimeout)


def _sleep(effect: Sleep) -> None:
    time.sleep(effect.seconds)


def _wait(effect: Wait) -> None:
    wait(effect.futures)


def _await(effect: Await) -> Any:
    import asyncio  # noqa: PLC0415 - 30 ms that only async functions need

    from kept.engine import aio  # noqa: PLC0415 - it imports asyncio

    return asyncio.run(aio.awaited(effect))


def _pass_over(_: Yield) -> Demand:
    return NEXT  # nobody takes the values one by one


DOES: Does = {**PLAIN, Call: _call, Sleep: _sleep, Wait: _wait, Await: _await, Yield: _pass_over}


def _call_with_alarm(seconds: float, call: Callable[[], T]) -> T:
    """What `call()` returns, in the main thread; a signal stops it, which also interrupts a sleep or a read."""
    stop = new_stop("its time was up")
    try:
        value = _with_alarm(seconds, stop, call)
    except stop as error:
        raise RunTimeout().with_traceback(error.__traceback__) from None
    if stop.met:  # and not heeded
        raise RunTimeout
    return value


def _with_alarm(seconds: float, stop: type[Stop], call: Callable[[], T]) -> T:
    # No context manager: one that is stopped on its way out would leave the alarm on.
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:  # the timeout around this one comes first, and ends this call too
        return call()
    attempts = 0
    over = False

    def end(*_: object) -> None:
        nonlocal attempts
        if over:  # it was on its way when the call ended: nobody is there to be stopped
            return
        attempts += 1
        if attempts == _ATTEMPTS:
            signal.setitimer(signal.ITIMER_REAL, 0)
            get_run_logger().warning("The code of this run can't be stopped: it catches what is raised to stop it.")
        raise stop

    began = time.monotonic()
    handler = signal.getsignal(signal.SIGALRM)
    try:
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, seconds, CLEAN_UP)
        return call()
    finally:
        over = True  # before any call: signals are heard between them only
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # a timeout around this one goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)
