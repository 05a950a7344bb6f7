"""What a run may ask for: the steps that take time, or that sync and async code do differently."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, NamedTuple, TypeVar

from kept.futures import KeptFuture
from kept.utilities.effects import Call, Io, Lock

__all__ = [
    "CLOSE",
    "NEXT",
    "Await",
    "Call",
    "Demand",
    "Effect",
    "Io",
    "Lock",
    "RunTimeout",
    "Sleep",
    "Steps",
    "Wait",
    "Yield",
]


class Sleep(NamedTuple):
    """Do nothing for a while."""

    seconds: float


class Wait(NamedTuple):
    """Wait until these have ended."""

    futures: list[KeptFuture[Any]]


class Await(NamedTuple):
    """Await the coroutine that a function returned although Python does not know it as async."""

    work: Coroutine[Any, Any, Any]
    timeout: float | None
    """Seconds after which it is stopped with `RunTimeout`."""


class Yield(NamedTuple):
    """Give the caller of a generator its next value; the answer is the `Demand` that the caller makes then."""

    value: Any


class Demand(NamedTuple):
    """What the caller of a generator does to it: `send` a value, `throw` an error, or `close` it."""

    verb: str
    argument: Any = None


NEXT = Demand("send")
CLOSE = Demand("close")

Effect = Call | Sleep | Wait | Lock | Io | Await | Yield
T = TypeVar("T")
Steps = Generator[Effect, Any, T]


class RunTimeout(TimeoutError):
    """A run was stopped because it took longer than its `timeout_seconds`."""
