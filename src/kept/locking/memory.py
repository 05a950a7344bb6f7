"""Locks within this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from kept.exceptions import LockNotHeldError
from kept.locking import polling
from kept.locking.protocol import LockManager
from kept.utilities.forks import in_forked_child


class _Held(NamedTuple):
    holder: str
    until: float
    """When it is free again by itself, on the monotonic clock."""


_locks: dict[str, _Held] = {}
_changed = threading.Condition()


class MemoryLockManager(LockManager):
    """Locks that threads and coroutines of this process take turns with.

    All instances are one: two tasks that each make their own manager still exclude each other.
    """

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return _wait(lambda: self._take(key, holder, hold_timeout), key, acquire_timeout)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return await polling.await_(lambda: self._take(key, holder, hold_timeout), acquire_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        with _changed:
            if not self.is_lock_holder(key, holder):
                raise LockNotHeldError(key, holder)
            del _locks[key]
            _changed.notify_all()

    def is_locked(self, key: str) -> bool:
        return _holder(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        return _holder(key) == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return _wait(lambda: not self.is_locked(key), key, timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return await polling.await_(lambda: not self.is_locked(key), timeout)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryLockManager)

    def __hash__(self) -> int:
        return hash(MemoryLockManager)

    def __repr__(self) -> str:
        return "MemoryLockManager()"

    def _take(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        with _changed:
            present = _holder(key)
            if present is None:
                until = float("inf") if hold_timeout is None else time.monotonic() + hold_timeout
                _locks[key] = _Held(holder, until)
            return present is None or present == holder


def _holder(key: str) -> str | None:
    held = _locks.get(key)
    return held.holder if held and time.monotonic() < held.until else None


def _wait(condition: Callable[[], bool], key: str, timeout: float | None) -> bool:
    """Whether the condition came true within `timeout` seconds; looked at whenever a lock is given back."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with _changed:
        while not condition():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return False
            _changed.wait(_until_next(key, deadline, now))
        return True


def _until_next(key: str, deadline: float | None, now: float) -> float | None:
    """How long to wait at most: until the caller gives up, or until the lock is free by itself."""
    held = _locks.get(key)
    times = [time for time in (deadline, held.until if held else None) if time not in (None, float("inf"))]
    return max(min(times) - now, 0.0) if times else None


@in_forked_child
def _forget() -> None:
    # A forked child has none of the threads that hold these locks.
    global _changed
    _changed = threading.Condition()
    _locks.clear()
