"""Waiting for a condition that nobody announces, such as a file that another process removes."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from kept.utilities.effects import in_thread


class Pace(NamedTuple):
    """How long to sleep between looks, in seconds."""

    first: float = 0.001
    longest: float = 0.05


QUICK = Pace()
"""For what is looked at in microseconds."""
GENTLE = Pace(0.03, 1.0)
"""For a server far away, which many may be asking."""


def pauses(timeout: float | None, pace: Pace = QUICK) -> Iterator[float]:
    """How long to sleep before each next look, in seconds: short at first, and never past `timeout`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = pace.first
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return
        # Not all at once, for those who wait began together.
        yield min(pause * random.uniform(0.7, 1.0), left)
        pause = min(pause * 2, pace.longest)


def wait(condition: Callable[[], bool], timeout: float | None, pace: Pace = QUICK) -> bool:
    """Whether the condition came true within `timeout` seconds; None for no limit."""
    if condition():
        return True
    for pause in pauses(timeout, pace):
        time.sleep(pause)
        if condition():
            return True
    return False


async def await_(condition: Callable[[], bool], timeout: float | None) -> bool:
    """`wait`, to be awaited."""

    async def answer() -> bool:
        return condition()

    return await await_answer(answer, timeout, QUICK)


async def await_answer(condition: Callable[[], Awaitable[bool]], timeout: float | None, pace: Pace) -> bool:
    """`wait`, to be awaited, for a condition that is itself awaited."""
    import asyncio  # noqa: PLC0415  # 20 ms that programs without a loop never need

    if await condition():
        return True
    for pause in pauses(timeout, pace):
        await asyncio.sleep(pause)
        if await condition():
            return True
    return False


async def aside(attempt: Callable[[], bool], undo: Callable[[], Any]) -> bool:
    """What `attempt()` returns, called in a thread; who is cancelled meanwhile has it undone if it succeeds."""
    import asyncio  # noqa: PLC0415  # as above

    work = asyncio.ensure_future(in_thread(attempt))

    def give_back(done: asyncio.Future[bool]) -> None:
        if not done.cancelled() and done.exception() is None and done.result():
            done.get_loop().run_in_executor(None, undo)

    try:
        return bool(await asyncio.shield(work))
    except asyncio.CancelledError:
        work.add_done_callback(give_back)
        raise
