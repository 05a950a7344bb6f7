"""What a run may ask for: the steps that take time, or that sync and async code do differently."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from kept.futures import KeptFuture


class Call(NamedTuple):
    """Call the user's function, and await what it returns if it is async."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout: float | None
    """Seconds after which it is stopped with `RunTimeout`."""


class Sleep(NamedTuple):
    """Do nothing for a while."""

    seconds: float


class Wait(NamedTuple):
    """Wait until these have ended."""

    futures: list[KeptFuture[Any]]


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


Effect = Call | Sleep | Wait | Lock | Io
T = TypeVar("T")
Steps = Generator[Effect, Any, T]


class RunTimeout(TimeoutError):
    """A run was stopped because it took longer than its `timeout_seconds`."""
