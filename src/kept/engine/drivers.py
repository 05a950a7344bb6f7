"""The drivers, for the layers above; that of async code is imported when the first async run needs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kept.engine.effects import Demand, Effect, Steps, Yield
from kept.engine.sync import advance, drive, drive_to

__all__ = ["advance", "advance_async", "drive", "drive_async", "drive_to", "drive_to_end"]

T = TypeVar("T")


def drive_async(steps: Steps[T], first: Effect | None = None) -> Coroutine[Any, Any, T]:
    """A coroutine that runs the steps to their end; `first` is what they asked for already."""
    from kept.engine import aio  # noqa: PLC0415 - it imports asyncio, 30 ms that plain code must not pay

    return aio.drive_async(steps, first)


def advance_async(steps: Steps[T], demand: Demand | None = None) -> Coroutine[Any, Any, Yield | T]:
    """A coroutine that runs the steps of a generator as far as its next value, or to their end."""
    from kept.engine import aio  # noqa: PLC0415 - as above

    return aio.advance_async(steps, demand)


def drive_to_end(
    steps: Steps[T],
    first: Effect | None,
    is_async: bool,
    on_loop: Callable[[Callable[[], object]], None] = lambda _: None,
) -> T:
    """Run the steps to their end in a thread that has no event loop.

    Arguments:
        first: what they asked for already.
        is_async: whether they need an event loop, which is then made.
        on_loop: given what cancels them there from another thread.
    """
    if not is_async:
        return drive(steps, first)
    import asyncio  # noqa: PLC0415 - as above

    async def driven() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        on_loop(lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel))
        return await drive_async(steps, first)

    return asyncio.run(driven())
