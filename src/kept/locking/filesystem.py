"""Locks between processes that share a folder, on one machine or over a network disk.

A lock is a file of JSON in the folder, named after its key, with these members:

    holder   who holds it
    expires  when it is free again, in seconds since the epoch, or null
    host, boot, space, pid, started
             the process: its machine and the boot id of it, its process id namespace, its id, and when it was
             started in clock ticks (field 22 of /proc/<pid>/stat, proc(5))

A lock whose process is provably gone (same host and namespace, and no such process or one that was started at
another time; or an earlier boot of the host) is free. Where that can't be known, on another machine, it is
free when its hold timeout has passed.

The file is read, judged and exchanged under a guard (`store/guard.py`), so that two processes that find the
same dead lock don't both take it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kept.exceptions import LockError, LockNotHeldError
from kept.locking import polling
from kept.locking.protocol import LockManager
from kept.store.digests import digest_of
from kept.store.guard import exclusive

_LONGEST_NAME = 180


class FileSystemLockManager(LockManager):
    """Locks as files in `lock_files_directory`, which is made when the first lock is taken."""

    def __init__(self, lock_files_directory: str | os.PathLike[str]) -> None:
        self.lock_files_directory = Path(lock_files_directory).expanduser().absolute()

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return polling.wait(lambda: self._take(key, holder, hold_timeout), acquire_timeout)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return await polling.await_(lambda: self._take(key, holder, hold_timeout), acquire_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        with self._guard():
            if not self.is_lock_holder(key, holder):
                raise LockNotHeldError(key, holder)
            self._path(key).unlink(missing_ok=True)

    def is_locked(self, key: str) -> bool:
        return _holder(self._path(key)) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        return _holder(self._path(key)) == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return polling.wait(lambda: not self.is_locked(key), timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return await polling.await_(lambda: not self.is_locked(key), timeout)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileSystemLockManager):
            return NotImplemented
        return self.lock_files_directory == other.lock_files_directory

    def __hash__(self) -> int:
        return hash(self.lock_files_directory)

    def __repr__(self) -> str:
        return f"FileSystemLockManager(lock_files_directory={str(self.lock_files_directory)!r})"

    def _take(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        with self._guard():
            path = self._path(key)
            present = _holder(path)
            if present is None:
                self._write(path, {"holder": holder, "expires": _expiry(hold_timeout), **_me()})
            return present is None or present == holder

    def _write(self, path: Path, lock: dict[str, Any]) -> None:
        temporary = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.tmp")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                json.dump(lock, file)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise LockError(f"the lock file {path} can't be written: {error.strerror}") from error

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
        name = quote(key, safe="", errors="surrogatepass")
        if len(name) > _LONGEST_NAME:
            name = digest_of([key.encode("utf-8", "surrogatepass")], 0)[3:]
        return self.lock_files_directory / f"{name}.lock"


def _expiry(hold_timeout: float | None) -> float | None:
    return None if hold_timeout is None else time.time() + hold_timeout


def _holder(path: Path) -> str | None:
    """Who holds the lock in this file; None when there is none, or one that no longer counts."""
    try:
        lock = json.loads(path.read_bytes())
        expires = lock["expires"]
        if (expires is not None and time.time() >= expires) or _is_gone(lock):
            return None
        return str(lock["holder"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"the lock file {path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        return None  # not written by us, which write whole files only


def _me() -> dict[str, Any]:
    return {**_here(), "pid": os.getpid(), "started": _started(os.getpid())}


@lru_cache(maxsize=1)
def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot(), "space": _space()}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _is_gone(lock: dict[str, Any]) -> bool:
    here = _here()
    if lock["host"] != here["host"]:
        return False
    if lock["boot"] != here["boot"]:
        return True
    if lock["space"] != here["space"]:
        return False
    started = _started(lock["pid"])
    return not _exists(lock["pid"]) or (started is not None and started != lock["started"])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot: 0 if it is dead, None if nobody says."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the program's name, may itself have spaces and parentheses.
    fields = status.rpartition(b")")[2].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
