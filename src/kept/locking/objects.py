"""Locks on an object store: leases that are taken, renewed and given back by conditional writes.

Nothing but the store is needed; but each look is a request, so who waits looks about once a second. An object is not
deleted when its lock is given back, since a delete can't be made conditional everywhere: it then says that it is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kept.exceptions import LockError
from kept.locking import polling
from kept.locking.leases import LeaseLockManager, free_record
from kept.store.completing import completed
from kept.store.digests import name_for

T = TypeVar("T")


class ObjectLockManager(LeaseLockManager):
    """Locks as objects of an object store that writes conditionally, each at `prefix` and its key.

    Arguments:
        files: has `tagged_path`, `create_path` and `replace_path`, as buckets have. Whether the server behind keeps
            their promises is told by `kept cache ping`.
        prefix: what the paths of all locks begin with.
        lease_seconds: after how many seconds without a sign of life a lock is free; by default the setting
            KEPT_LOCKING_LEASE_SECONDS.
    """

    slow = True
    _pace = polling.GENTLE

    def __init__(self, files: Any, prefix: str = "locks/", lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds)
        self.files = files
        self.prefix = prefix

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectLockManager):
            return NotImplemented
        return self.prefix == other.prefix and (self.files is other.files or bool(self.files == other.files))

    def __hash__(self) -> int:
        return hash((type(self), self.prefix))

    def __repr__(self) -> str:
        return f"ObjectLockManager({self.files!r}, prefix={self.prefix!r})"

    def _read(self, key: str) -> tuple[bytes, str] | None:
        try:
            found = self._ask("read", key, lambda path: self.files.tagged_path(path))
        except LockError as error:
            if isinstance(error.__cause__, (FileNotFoundError, KeyError)):
                return None
            raise
        return bytes(found[0]), found[1]

    def _create(self, key: str, record: bytes) -> bool:
        return bool(self._ask("written", key, lambda path: self.files.create_path(path, record)))

    def _replace(self, key: str, record: bytes, tag: str) -> bool:
        return bool(self._ask("written", key, lambda path: self.files.replace_path(path, record, tag)))

    def _free(self, key: str, fence: int, tag: str) -> bool:
        return self._replace(key, free_record(fence), tag)

    def _ask(self, verb: str, key: str, action: Callable[[str], T]) -> T:
        try:
            return completed(action(f"{self.prefix}{name_for(key)}.lock"))  # type: ignore[no-any-return]
        except Exception as error:  # a user's file system may raise anything
            raise LockError(f"the lock on {key!r} can't be {verb}: {error}") from error
