"""What code written once for plain and for async callers asks of whoever drives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Call(NamedTuple):
    """Call the user's function, and await what it returns if it is async."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout: float | None
    """Seconds after which it is stopped with `RunTimeout`."""


class Lock(NamedTuple):
    """Take a lock, however long that lasts. It is given back by a plain call."""

    manager: Any
    key: str
    holder: str


class Io(NamedTuple):
    """Call a function of ours that reads or writes."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    slow: bool
    """Whether an event loop should not wait for it. The embedded store answers in microseconds, a thread in fifty."""
