"""The driver of a run in plain code: does what the steps ask for in the calling thread."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kept.engine.effects import NEXT, Call, Demand, Effect, Io, Lock, RunTimeout, Sleep, Steps, Wait, Yield
from kept.futures import wait

T = TypeVar("T")


def drive(steps: Steps[T], first: Effect | None = None) -> T:
    """Run the steps to their end and return what they return; `first` is what they asked for already."""
    try:
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


def advance(steps: Steps[T], demand: Demand | None = None) -> Yield | T:
    """Run the steps of a generator as far as its next value, or to their end; `demand` is what is wanted of it."""
    try:
        effect = next(steps) if demand is None else steps.send(demand)
        while not isinstance(effect, Yield):
            try:
                answer = _DO[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return effect


def drive_while_quick(steps: Steps[T]) -> Effect:
    """Run the steps as far as they need no more than a quick look into the store; then what they ask for.

    Raises:
        StopIteration: they came to their end, with what they return.
    """
    effect = next(steps)
    while isinstance(effect, Io) and not effect.slow:
        try:
            answer = effect.fn(*effect.args)
        except BaseException as error:
            effect = steps.throw(error)
        else:
            effect = steps.send(answer)
    return effect


class _Stop(BaseException):
    """Ends a call that took too long.

    Each call has a subclass of its own, and it is no `Exception`: a run inside, and an `except Exception` of the
    user's, let it pass to the run whose time is up.
    """


def _call(effect: Call) -> Any:
    if effect.timeout is None:
        return effect.fn(*effect.args, **effect.kwargs)
    stop: type[_Stop] = type("RunTimeout", (_Stop,), {})
    try:
        with _stopped_after(effect.timeout, stop):
            return effect.fn(*effect.args, **effect.kwargs)
    except stop as error:
        raise RunTimeout().with_traceback(error.__traceback__) from None


def _io(effect: Io) -> Any:
    return effect.fn(*effect.args)


def _lock(effect: Lock) -> None:
    effect.manager.acquire_lock(effect.key, effect.holder)


def _sleep(effect: Sleep) -> None:
    time.sleep(effect.seconds)


def _wait(effect: Wait) -> None:
    wait(effect.futures)


def _pass_over(_: Yield) -> Demand:
    return NEXT  # nobody takes the values one by one


_DO: dict[type, Callable[[Any], Any]] = {
    Call: _call,
    Io: _io,
    Sleep: _sleep,
    Wait: _wait,
    Lock: _lock,
    Yield: _pass_over,
}


def _stopped_after(seconds: float, stop: type[_Stop]) -> contextlib.AbstractContextManager[None]:
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _alarm(seconds, stop)
    return _thread_alarm(seconds, stop)


@contextlib.contextmanager
def _alarm(seconds: float, stop: type[_Stop]) -> Iterator[None]:
    """Stop the main thread by a signal, which also interrupts a sleep or a read."""

    left, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:  # the timeout around this one comes first, and ends this call too
        yield
        return

    def end(*_: object) -> None:
        raise stop

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # a timeout around this one goes on
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6))


@contextlib.contextmanager
def _thread_alarm(seconds: float, stop: type[_Stop]) -> Iterator[None]:
    """Stop another thread by an exception, which it meets at its next step of Python.

    Code that stays in C, as a long sleep does, is stopped only when it returns.
    """
    lock, ended = threading.Lock(), False
    raise_in = functools.partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, ctypes.c_ulong(threading.get_ident()))

    def end() -> None:
        with lock:
            if not ended:
                raise_in(ctypes.py_object(stop))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            ended = True
        timer.cancel()
