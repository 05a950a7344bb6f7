"""The driver of a run in async code: does what the steps ask for without holding up the event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kept.engine.effects import NEXT, Await, Call, Demand, Effect, Io, Lock, RunTimeout, Sleep, Steps, Wait, Yield
from kept.engine.stopping import CLEAN_UP, Stop, new_stop, raise_in
from kept.futures import until_ended
from kept.logging.loggers import get_run_logger
from kept.utilities.later import call_later

T = TypeVar("T")
# How many seconds after its time something is still there before it is seen as not to be stopped in the usual way.
_LATE = 0.5


async def drive_async(steps: Steps[T], first: Effect | None = None) -> T:
    """Run the steps to their end and return what they return; `first` is what they asked for already."""
    try:
        effect = next(steps) if first is None else first
        while True:
            try:
                answer = await _DO[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def advance_async(steps: Steps[T], demand: Demand | None = None) -> Yield | T:
    """Run the steps of a generator as far as its next value, or to their end; `demand` is what is wanted of it."""
    try:
        effect = next(steps) if demand is None else steps.send(demand)
        while not isinstance(effect, Yield):
            try:
                answer = await _DO[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return effect


async def _call(effect: Call) -> Any:
    answer = effect.fn(*effect.args, **effect.kwargs)
    if not inspect.isawaitable(answer):
        return answer
    return await (answer if effect.timeout is None else _in_time(answer, effect.timeout))


async def _in_time(answer: Awaitable[T], seconds: float) -> T:
    # Not asyncio.wait_for: what it raises can't be told from a TimeoutError of the user's own.
    work = asyncio.ensure_future(answer)
    stop = new_stop("its time was up")
    blocked = functools.partial(_stop_if_at_work, work, asyncio.get_running_loop(), threading.current_thread(), stop)
    alarm = call_later(seconds + _LATE, blocked)
    try:
        done, _ = await asyncio.wait({work}, timeout=seconds)
    except asyncio.CancelledError:
        await _cancelled(work)
        raise
    finally:
        alarm.cancel()
    if not done:
        await _cancelled(work)
        raise RunTimeout
    try:
        return work.result()
    except stop as error:
        raise RunTimeout().with_traceback(error.__traceback__) from None


def _stop_if_at_work(
    work: asyncio.Future[Any], loop: asyncio.AbstractEventLoop, thread: threading.Thread, stop: type[Stop]
) -> None:
    """Stop code that holds up its event loop, so that it can't be cancelled when its time is up."""
    if asyncio.current_task(loop) is work:
        raise_in(thread, stop)


async def _cancelled(work: asyncio.Future[Any]) -> None:
    """Cancel, and again if that was not heeded; then it is left to itself."""
    for seconds in (CLEAN_UP, _LATE):
        work.cancel()
        if (await asyncio.wait({work}, timeout=seconds))[0]:
            return
    get_run_logger().warning(
        "The code of this run was cancelled because its time was up, and goes on: it catches CancelledError. "
        "What it returns is not used."
    )


async def _io(effect: Io) -> Any:
    if effect.slow:
        return await asyncio.to_thread(effect.fn, *effect.args)
    return effect.fn(*effect.args)


async def _lock(effect: Lock) -> None:
    # Not by a thread: those who wait could fill all that the loop has, and who holds the lock may need one.
    if hasattr(effect.manager, "aacquire_lock"):
        await effect.manager.aacquire_lock(effect.key, effect.holder)
    else:
        await asyncio.to_thread(effect.manager.acquire_lock, effect.key, effect.holder)


async def _sleep(effect: Sleep) -> None:
    await asyncio.sleep(effect.seconds)


async def _wait(effect: Wait) -> None:
    await until_ended(effect.futures)


async def awaited(effect: Await) -> Any:
    """What the coroutine comes to, in time."""
    return await (effect.work if effect.timeout is None else _in_time(effect.work, effect.timeout))


async def _pass_over(_: Yield) -> Demand:
    return NEXT  # nobody takes the values one by one


_DO: dict[type, Callable[[Any], Awaitable[Any]]] = {
    Call: _call,
    Io: _io,
    Sleep: _sleep,
    Wait: _wait,
    Lock: _lock,
    Await: awaited,
    Yield: _pass_over,
}
