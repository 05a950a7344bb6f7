"""What every lock manager does."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class LockManager(Protocol):
    """Locks on keys, each held by at most one holder. Safe to use from any number of threads.

    A holder is any text that names who works on the key. Locks are reentrant: a holder that takes a lock it
    holds has it at once, and one release gives it back however often it was taken. All times are in seconds.
    """

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock on `key` for `holder`, and say whether that succeeded.

        Arguments:
            acquire_timeout: how long to wait for another holder; 0 not at all, None for ever.
            hold_timeout: after how long the lock is free again if nobody releases it; None for never.
        """

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """`acquire_lock`, to be awaited; the loop goes on meanwhile."""

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back; raises LockNotHeldError when `holder` does not hold it."""

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock on `key`."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether `holder` holds the lock on `key`."""

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock on `key`; False when `timeout` seconds passed before."""

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """`wait_for_lock`, to be awaited; the loop goes on meanwhile."""
