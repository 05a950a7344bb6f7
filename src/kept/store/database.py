"""A SQLite file that threads and processes share, and that outlives damage, forks and deletion.

One connection per process, guarded by a lock: measured against a connection per thread it is no slower under
the GIL, and no dead thread leaves a handle behind.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH104, PTH110, PTH116

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kept.exceptions import StoreError, StoreVersionError
from kept.store.guard import exclusive

logger = logging.getLogger("kept.store")

T = TypeVar("T")

_BUSY_SECONDS = 60.0
"""How long to wait for another process's transaction before giving up."""
_BLIND_SECONDS = 0.1
"""How long rows may come from a file that is no longer there: looking each time would cost a quarter of a hit."""
_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "encrypted", "corrupt")
_CACHE_KIBIBYTES = 16_000
"""Of the file's pages, kept in memory at most: enough for the upper levels of an index over a million entries."""
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02
_FLEETING = ("I/O error", "readonly", "unable to open", "locking protocol")
_FILES = ("", "-wal", "-shm")

_open: weakref.WeakSet[Database] = weakref.WeakSet()


class _EarlyVersionError(sqlite3.DatabaseError):
    """The file is of a schema that this version no longer reads."""


class Database:
    """A SQLite file at `path`, made by the statements of `schema` when first written to, in WAL mode.

    Committed transactions survive the death of the process, not always a power cut (`synchronous=NORMAL`);
    the file is consistent after either. A damaged file is moved aside with one warning, and a fresh one
    begun. Nothing is created by reading. `setting` is the name of the setting that moves the file elsewhere.
    """

    def __init__(self, path: Path, schema: str, version: int, setting: str = "KEPT_LOCAL_STORAGE_PATH") -> None:
        self.path = path
        self._name = os.fspath(path)
        self._schema = schema
        self._version = version
        self._setting = setting
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._look_again = 0.0
        _open.add(self)

    def __del__(self) -> None:
        self.close()

    def fetch_one(self, sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The first row, or None; None too when there is no file yet."""
        try:
            with self._lock:
                connection = self._connection
                if connection is not None:
                    row: tuple[Any, ...] | None = connection.execute(sql, parameters).fetchone()
                    if not (row is None or time.monotonic() > self._look_again) or not self._replaced():
                        return row
        except sqlite3.Error:
            pass  # asked again below, where errors are answered
        return self._run(lambda connection: connection.execute(sql, parameters).fetchone(), create=False)

    def fetch_all(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """All rows; none when there is no file yet."""
        rows = self._run(lambda connection: connection.execute(sql, parameters).fetchall(), create=False)
        return rows or []

    def write(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run the statement for each row, all in one transaction, waiting for other writers."""
        rows = list(rows)
        if rows:
            self._run(lambda connection: _execute_all(connection, sql, rows), create=True)

    def close(self) -> None:
        """Give back the connection; the next call opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    connection.close()
                except sqlite3.Error as error:  # a last checkpoint that failed; the log is still there
                    logger.debug("closing %s: %s", self._name, error)

    def _run(self, work: Callable[[sqlite3.Connection], T], *, create: bool) -> T | None:
        for attempt in range(_ATTEMPTS):
            try:
                with self._lock:
                    if self._connection is not None and self._replaced():
                        self.close()
                    connection = self._connection or self._connect(create)
                    return None if connection is None else work(connection)
            except sqlite3.Error as error:
                self._answer(error, attempt)
        raise StoreError(f"the store's {self._name} can't be used: it is damaged again and again")

    def _replaced(self) -> bool:
        """Whether the file was deleted or exchanged behind our back, as `rm -r` and a repair by others do."""
        self._look_again = time.monotonic() + _BLIND_SECONDS
        try:
            status = os.stat(self._name)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    # --- opening

    def _connect(self, create: bool) -> sqlite3.Connection | None:
        if not self._exists():
            if not create:
                return None
            self._create_file()
        connection = self._connect_writable() or self._connect_read_only()
        with _closing_on_error(connection):
            if not self._exists():
                raise sqlite3.OperationalError("unable to open: moved aside meanwhile")
            status = os.stat(self._name)
        self._identity = (status.st_dev, status.st_ino)
        self._connection = connection
        return connection

    def _exists(self) -> bool:
        try:
            os.stat(self._name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreError(f"the store's {self._name} can't be read: {error.strerror}") from error
        return True

    def _create_file(self) -> None:
        # Made here rather than by SQLite, which would make it readable by others.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Not while others move a damaged file aside: what belongs to the new one would go with it.
            with exclusive(self._name + ".lock"):
                os.close(os.open(self._name, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(
                f"nothing can be kept in {self.path.parent}: {error.strerror}. "
                f"Make it writable, or set {self._setting} to another folder."
            ) from error

    def _connect_writable(self) -> sqlite3.Connection | None:
        if not os.access(self._name, os.W_OK) or not os.access(self.path.parent, os.W_OK):
            return None
        connection = self._plain_connection(self.path.absolute().as_uri() + "?mode=rw", uri=True)
        with _closing_on_error(connection):
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES}")
            if self._checked_version(connection) == 0:
                self._set_up(connection)
        return connection

    def _plain_connection(self, target: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(target, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)

    def _connect_read_only(self) -> sqlite3.Connection:
        # A store on a read-only medium still gives hits. `immutable` ignores the write-ahead log: it comes last.
        uri = self.path.absolute().as_uri()
        for query in ("?mode=ro", "?immutable=1"):
            connection = self._plain_connection(uri + query, uri=True)
            try:
                with _closing_on_error(connection):
                    self._checked_version(connection)
                return connection
            except sqlite3.OperationalError as error:
                failure = error
        raise failure

    def _checked_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > self._version:
            raise StoreVersionError(
                f"{self._name} was written by a newer version of kept (its schema is {version}; this "
                f"one knows {self._version}). Upgrade kept, or set {self._setting} to another folder."
            )
        if 0 < version < self._version:
            raise _EarlyVersionError(
                f"was written by an early version of kept (its schema is {version}; this one knows {self._version})"
            )
        return version

    def _set_up(self, connection: sqlite3.Connection) -> None:
        with self._exclusive():
            if self._checked_version(connection) != 0:
                return
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(
                    f"SQLite can't keep a write-ahead log at {self._name} (it offers {mode!r}). "
                    'Use the layout "directory" there.'
                )
            connection.execute("BEGIN IMMEDIATE")
            for statement in self._schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={self._version}")
            connection.execute("COMMIT")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            with exclusive(self._name + ".lock"):
                yield
        except OSError as error:
            raise StoreError(f"the lock beside {self._name} can't be taken: {error.strerror}") from error

    # --- trouble

    def _answer(self, error: sqlite3.Error, attempt: int) -> None:
        """Repair what can be repaired and return, so that the caller tries again; else raise StoreError."""
        text = str(error)
        if isinstance(error, _EarlyVersionError):
            self._set_aside(text, sure=True)
            return
        if isinstance(error, sqlite3.DatabaseError) and any(sign in text for sign in _DAMAGE):
            self._set_aside(f"is damaged ({text})", sure=attempt > 0)
            return
        if attempt < _ATTEMPTS - 1 and any(sign in text for sign in _FLEETING):
            # The file may have been deleted or exchanged while open: look at it afresh, after others are done with it.
            self.close()
            time.sleep(attempt * _PAUSE_SECONDS)
            return
        raise StoreError(f"{self._sentence(text)} ({text}: {self._name})") from error

    def _sentence(self, text: str) -> str:
        if "full" in text:
            return f"the disk that holds {self.path.parent} is full: free some space, or move the store"
        if "readonly" in text or "read-only" in text:
            return f"{self.path.parent} is read-only: what is kept there can be used, nothing new can be kept"
        if "locked" in text or "busy" in text:
            return f"another process has been writing to the store for more than {_BUSY_SECONDS:.0f} s"
        if "unable to open" in text:
            return f"the store in {self.path.parent} can't be opened: look at the permissions of its files"
        return f"the store in {self.path.parent} can't be used"

    def _set_aside(self, reason: str, *, sure: bool) -> None:
        with self._lock:
            self.close()
            with self._exclusive():
                if not self._exists() or ((not sure or self._replaced()) and self._healthy()):
                    return  # another process was here first
                target = self._next_damaged()
                try:
                    for part in _FILES:
                        if os.path.exists(self._name + part):
                            os.rename(self._name + part, target + part)
                except OSError as error:
                    raise StoreError(f"{self._name} {reason} and can't be moved aside: {error.strerror}") from error
            logger.warning(
                "%s %s: moved to %s, and a fresh one is begun without what it held",
                self._name,
                reason,
                target,
            )

    def _next_damaged(self) -> str:
        number = 1
        while os.path.exists(f"{self._name}.damaged-{number}"):
            number += 1
        return f"{self._name}.damaged-{number}"

    def _healthy(self) -> bool:
        connection = self._plain_connection(self._name)
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            # Version 0 is a fresh one, which another process has made and not yet filled.
            return bool(answer == "ok") and self._checked_version(connection) in (0, self._version)
        except sqlite3.Error:
            return False
        finally:
            connection.close()


@contextmanager
def _closing_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _execute_all(connection: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        connection.execute(sql, rows[0])
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(sql, rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# --- forks and exits

# SQLite keeps one account of its file locks per process. A child that inherits it believes that it holds
# locks which the kernel gave to its parent alone, and may go on writing to a log that the parent has deleted.
# So nothing is open while a process forks, and no other thread is inside of SQLite.

_forking = threading.Lock()
_held: list[Database] = []


def _before_fork() -> None:
    _forking.acquire()  # two threads that fork would wait for each other's locks
    for database in list(_open):
        database._lock.acquire()
        database.close()
        _held.append(database)


def _after_fork() -> None:
    while _held:
        _held.pop()._lock.release()
    _forking.release()


def _close_all() -> None:
    for database in list(_open):
        database.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
atexit.register(_close_all)
