"""What a run may ask for: the steps that take time, or that sync and async code do differently."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from kept.futures import KeptFuture
from kept.utilities.effects import Call, Io, Lock

__all__ = ["Call", "Effect", "Io", "Lock", "RunTimeout", "Sleep", "Steps", "Wait"]


class Sleep(NamedTuple):
    """Do nothing for a while."""

    seconds: float


class Wait(NamedTuple):
    """Wait until these have ended."""

    futures: list[KeptFuture[Any]]


Effect = Call | Sleep | Wait | Lock | Io
T = TypeVar("T")
Steps = Generator[Effect, Any, T]


class RunTimeout(TimeoutError):
    """A run was stopped because it took longer than its `timeout_seconds`."""
