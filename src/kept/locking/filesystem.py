"""Locks between processes that share a folder, on one machine or over a network disk.

A lock is a file in the folder, named after its key, with the record that `leases.py` describes. It is there while the
lock is held. The file is read, compared and exchanged under a guard (`store/guard.py`), so that two processes that find
the same dead lock don't both take it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kept.exceptions import LockError
from kept.locking.leases import LeaseLockManager
from kept.store.digests import name_for
from kept.store.guard import exclusive


class FileSystemLockManager(LeaseLockManager):
    """Locks as files in `lock_files_directory`, which is made when the first lock is taken.

    A lock whose process is gone is free: at once on the same machine; on another one, where that can't be seen, when
    its file has not been renewed for the time of a lease.

    Arguments:
        lease_seconds: after how many seconds without a sign of life a lock is free; by default the setting
            KEPT_LOCKING_LEASE_SECONDS.
    """

    def __init__(self, lock_files_directory: str | os.PathLike[str], lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds)
        self.lock_files_directory = Path(lock_files_directory).expanduser().absolute()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileSystemLockManager):
            return NotImplemented
        return self.lock_files_directory == other.lock_files_directory

    def __hash__(self) -> int:
        return hash(self.lock_files_directory)

    def __repr__(self) -> str:
        return f"FileSystemLockManager(lock_files_directory={str(self.lock_files_directory)!r})"

    def _read(self, key: str) -> tuple[bytes, bytes] | None:
        path = self._path(key)
        try:
            record = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LockError(f"the lock file {path} can't be read: {error.strerror}") from error
        return record, record

    def _create(self, key: str, record: bytes) -> bool:
        with self._guard():
            return self._read(key) is None and self._write(self._path(key), record)

    def _replace(self, key: str, record: bytes, tag: bytes) -> bool:
        with self._guard():
            return self._read(key) == (tag, tag) and self._write(self._path(key), record)

    def _free(self, key: str, fence: int, tag: bytes) -> bool:
        with self._guard():
            if self._read(key) != (tag, tag):
                return False
            self._path(key).unlink(missing_ok=True)
            return True

    def _write(self, path: Path, record: bytes) -> bool:
        temporary = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(record)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise LockError(f"the lock file {path} can't be written: {error.strerror}") from error
        return True

    @contextmanager
    def _guard(self) -> Iterator[None]:
        directory = self.lock_files_directory
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with exclusive(directory / ".guard"):
                yield
        except OSError as error:
            raise LockError(f"locks can't be kept in {directory}: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self.lock_files_directory / f"{name_for(key)}.lock"
