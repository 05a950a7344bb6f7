"""What async code does for a run: all that its steps ask for, without holding up the event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable
from typing import Any, TypeVar

from kept.engine.effects import NEXT, Await, Call, Demand, RunTimeout, Sleep, Wait, Yield
from kept.engine.stopping import CLEAN_UP, Stop, new_stop, raise_in
from kept.futures import until_ended
from kept.logging.loggers import get_run_logger
from kept.utilities.effects import ASYNC, Does
from kept.utilities.later import call_later

T = TypeVar("T")
# How many seconds after its time something is still there before it is seen as not to be stopped in the usual way.
_LATE = 0.5


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


async def _sleep(effect: Sleep) -> None:
    await asyncio.sleep(effect.seconds)


async def _wait(effect: Wait) -> None:
    await until_ended(effect.futures)


async def awaited(effect: Await) -> Any:
    """What the coroutine comes to, in time."""
    return await (effect.work if effect.timeout is None else _in_time(effect.work, effect.timeout))


async def _pass_over(_: Yield) -> Demand:
    return NEXT  # nobody takes the values one by one


DOES: Does = {**ASYNC, Call: _call, Sleep: _sleep, Wait: _wait, Await: awaited, Yield: _pass_over}
