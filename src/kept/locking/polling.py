"""Waiting for a condition that nobody announces, such as a file that another process removes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

_FIRST = 0.001
_LONGEST = 0.05


def pauses(timeout: float | None) -> Iterator[float]:
    """How long to sleep before each next look, in seconds: short at first, and never past `timeout`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST
    while True:
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return
        yield min(pause, left)
        pause = min(pause * 2, _LONGEST)


def wait(condition: Callable[[], bool], timeout: float | None) -> bool:
    """Whether the condition came true within `timeout` seconds; None for no limit."""
    if condition():
        return True
    for pause in pauses(timeout):
        time.sleep(pause)
        if condition():
            return True
    return False


async def await_(condition: Callable[[], bool], timeout: float | None) -> bool:
    """`wait`, to be awaited."""
    import asyncio  # noqa: PLC0415  # 20 ms that programs without a loop never need

    if condition():
        return True
    for pause in pauses(timeout):
        await asyncio.sleep(pause)
        if condition():
            return True
    return False
