"""The drivers, for the layers above; that of async code is imported when the first async run needs it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from kept.engine.effects import Effect, Steps
from kept.engine.sync import drive, drive_while_quick

__all__ = ["drive", "drive_async", "drive_to_end", "drive_while_quick"]

T = TypeVar("T")


def drive_async(steps: Steps[T], first: Effect | None = None) -> Coroutine[Any, Any, T]:
    """A coroutine that runs the steps to their end; `first` is what they asked for already."""
    from kept.engine import aio  # noqa: PLC0415 - it imports asyncio, 30 ms that plain code must not pay

    return aio.drive_async(steps, first)


def drive_to_end(steps: Steps[T], first: Effect | None, is_async: bool) -> T:
    """Run the steps to their end in a thread that has no event loop; `first` is what they asked for already."""
    if not is_async:
        return drive(steps, first)
    import asyncio  # noqa: PLC0415 - as above

    return asyncio.run(drive_async(steps, first))
