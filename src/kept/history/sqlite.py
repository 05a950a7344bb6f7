"""The embedded recorder: records go onto a queue at once and into SQLite in batches, by a thread of its own."""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import sqlite3
import threading
from collections import deque
from pathlib import Path

from kept.history.records import RunRecord
from kept.utilities.sql import named_queries

_log = logging.getLogger("kept.history")
_SQL = named_queries(Path(__file__).with_name("queries.sql"))
_BATCH_SECONDS = 0.2
_IDLE_ROUNDS = 5
_SCHEMA_VERSION = 1


class SqliteRecorder:
    """Writes run records to the SQLite file at `path`.

    The writing thread starts with the first record and ends a second after the last one; what is queued when the
    process ends is written then. A killed process loses the records of its last 0.2 seconds, nothing else.
    Trouble with the file is said once in the log, and recording stops: history never disturbs a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: deque[RunRecord] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._broken = False
        atexit.register(self.flush)
        os.register_at_fork(after_in_child=self._start_anew)

    def record(self, run: RunRecord) -> None:
        """Take one record."""
        if self._broken:
            return
        self._queue.append(run)
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write everything taken so far, now, in the calling thread."""
        with self._writing:
            self._write()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="kept-history", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is shutting down; flush() at exit writes the rest
                    self._thread = None

    def _work(self) -> None:
        pause = threading.Event()
        idle = 0
        while idle < _IDLE_ROUNDS:
            pause.wait(_BATCH_SECONDS)
            idle = 0 if self._queue else idle + 1
            self.flush()
        self._thread = None
        if self._queue:  # taken between the last look and the line above
            self._start()

    def _write(self) -> None:
        if not self._queue or self._broken:
            return
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with _connected(self.path) as connection:
                connection.execute(_SQL["insert"], (json.dumps(batch),))
        except (sqlite3.Error, OSError) as error:
            self._broken = True
            _log.warning(
                "The history of runs can't be written to %s: %s. Runs go on and results are kept, but this process "
                "records no more runs. Free the disk, delete the file if it is damaged, or set KEPT_HOME to a folder "
                "that can be written.",
                self.path,
                error,
            )

    def _start_anew(self) -> None:
        self._queue.clear()
        self._thread = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()


class _connected:
    """A connection for one transaction: committed at the end, and closed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        new = not self._path.exists()
        if new:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
        self._connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            self._prepare()
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._connection.close()
            raise
        return self._connection

    def _prepare(self) -> None:
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError("it was written by a newer version of kept")
        if found < _SCHEMA_VERSION:
            self._connection.execute("PRAGMA journal_mode=WAL")
            for name in ("create", "index_flow_runs"):
                self._connection.execute(_SQL[name])
            self._connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        self._connection.execute("PRAGMA synchronous=NORMAL")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._connection.execute("ROLLBACK" if kind else "COMMIT")
        finally:
            self._connection.close()


@functools.cache
def open_recorder(path: Path) -> SqliteRecorder:
    """The recorder for `path`, one a process."""
    return SqliteRecorder(path)
