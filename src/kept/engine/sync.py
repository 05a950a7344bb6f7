"""The driver of a run in plain code: does what the steps ask for in the calling thread."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kept.engine.effects import NEXT, Await, Call, Demand, Effect, Io, Lock, RunTimeout, Sleep, Steps, Wait, Yield
from kept.engine.stopping import CLEAN_UP, Stop, call_within, new_stop
from kept.futures import wait
from kept.logging.loggers import get_run_logger

T = TypeVar("T")
_ATTEMPTS = 3


def drive(steps: Steps[T], first: Effect | None = None, thrown: BaseException | None = None) -> T:
    """Run the steps to their end and return what they return.

    Arguments:
        first: what they asked for already.
        thrown: how what they asked for ended, if that was so.
    """
    try:
        if thrown is not None:
            first = steps.throw(thrown)
        effect = next(steps) if first is None else first
        while True:
            try:
                answer = _DO[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def advance(steps: Steps[T], demand: Demand | None = None) -> Yield | Await | T:
    """Run the steps as far as a value of a generator or a coroutine to await, or to their end.

    `demand` is what is wanted of the generator; None to begin.
    """
    try:
        effect = next(steps) if demand is None else steps.send(demand)
        while not isinstance(effect, (Yield, Await)):
            try:
                answer = _DO[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return effect


def drive_to(kind: type[T], steps: Any, effect: Any) -> T:
    """Run the steps from this effect on to the first of a kind that is no business of this driver.

    Raises:
        StopIteration: they came to their end, with what they return.
    """
    while not isinstance(effect, kind):
        try:
            answer = _DO[effect.__class__](effect)
        except BaseException as error:
            effect = steps.throw(error)
        else:
            effect = steps.send(answer)
    return effect


def _call(effect: Call) -> Any:
    if effect.timeout is None:
        return effect.fn(*effect.args, **effect.kwargs)
    call = functools.partial(effect.fn, *effect.args, **effect.kwargs)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _call_with_alarm(effect.timeout, call)
    return call_within(effect.timeout, call, RunTimeout)


def _io(effect: Io) -> Any:
    return effect.fn(*effect.args)


def _lock(effect: Lock) -> None:
    effect.manager.acquire_lock(effect.key, effect.holder)


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


_DO: dict[type, Callable[[Any], Any]] = {
    Call: _call,
    Io: _io,
    Sleep: _sleep,
    Wait: _wait,
    Lock: _lock,
    Await: _await,
    Yield: _pass_over,
}


def _call_with_alarm(seconds: float, call: Callable[[], T]) -> T:
    """What `call()` returns, in the main thread; a signal stops it, which also interrupts a sleep or a read."""
    stop = new_stop("its time was up")
    try:
        with _alarm(seconds, stop):
            value = call()
    except stop as error:
        raise RunTimeout().with_traceback(error.__traceback__) from None
    if stop.met:  # and not heeded
        raise RunTimeout
    return value


@contextlib.contextmanager
def _alarm(seconds: float, stop: type[Stop]) -> Iterator[None]:
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:  # the timeout around this one comes first, and ends this call too
        yield
        return
    attempts = 0

    def end(*_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == _ATTEMPTS:
            signal.setitimer(signal.ITIMER_REAL, 0)
            get_run_logger().warning("The code of this run can't be stopped: it catches what is raised to stop it.")
        raise stop

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, CLEAN_UP)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # a timeout around this one goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)
