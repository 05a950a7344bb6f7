"""The drivers of runs. What async code does is imported when the first async run needs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kept.engine.effects import Effect, Steps
from kept.engine.sync import DOES
from kept.utilities import effects
from kept.utilities.effects import Kinds

T = TypeVar("T")


def drive(
    steps: Steps[T],
    first: Any = None,
    answer: Any = None,
    thrown: BaseException | None = None,
    until: Kinds = (),
) -> T:
    """Run the steps in plain code: see `kept.utilities.effects.drive`."""
    return effects.drive(steps, DOES, first, answer, thrown, until)


def drive_async(steps: Steps[T], first: Any = None, answer: Any = None, until: Kinds = ()) -> Coroutine[Any, Any, T]:
    """A coroutine that runs the steps: see `kept.utilities.effects.drive`."""
    from kept.engine import aio  # noqa: PLC0415 - it imports asyncio, 30 ms that plain code must not pay

    return effects.drive_async(steps, aio.DOES, first, answer, until)


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
