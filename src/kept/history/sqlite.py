"""The embedded recorder: records go onto a queue at once and into SQLite in batches, by a thread of its own."""

from __future__ import annotations

import atexit
import json
import logging
import threading
import weakref
from collections import deque
from pathlib import Path
from zlib import compress

from kept.exceptions import StoreError
from kept.fingerprint import CodeIdentity
from kept.history import code
from kept.history.reading import SQL, History
from kept.history.records import RunRecord
from kept.store.database import Database
from kept.utilities.forks import in_forked_child
from kept.utilities.threads import start

_log = logging.getLogger("kept.history")
_BATCH = 1000
_BATCH_SECONDS = 0.2
_IDLE_ROUNDS = 5
_SCHEMA_VERSION = 3

# Weakly: handlers at exit and at forks can't be taken off again, and must keep no recorder that is closed.
_recorders: weakref.WeakSet[SqliteRecorder] = weakref.WeakSet()
_opened: dict[Path, SqliteRecorder] = {}


class SqliteRecorder:
    """Writes run records to the SQLite file at `path`.

    The writing thread starts with the first record and ends a second after the last one; what is queued when the
    process ends is written then. A killed process loses the records of its last 0.2 seconds, nothing else.
    Trouble with the file is said once in the log, and recording stops: history never disturbs a run.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SQL["schema"], _SCHEMA_VERSION, setting="KEPT_HOME")
        self._queue: deque[RunRecord] = deque()
        self._codes: deque[CodeIdentity] = deque()
        self._known_codes: set[str] = set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._ended = threading.Event()
        _recorders.add(self)

    def record(self, run: RunRecord) -> None:
        """Take one record."""
        if self._ended.is_set():
            return
        self._queue.append(run)
        if self._thread is None:
            self._start()

    def record_code(self, identity: CodeIdentity) -> None:
        """Take what a code digest stands for; it is written with the next record of a run."""
        if identity.digest not in self._known_codes and not self._ended.is_set():
            self._known_codes.add(identity.digest)
            self._codes.append(identity)

    def history(self) -> History:
        """What was recorded, everything taken so far included."""
        self.flush()
        return History(self._database)

    def flush(self) -> None:
        """Write everything taken so far, now, in the calling thread."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Write everything taken so far, take no more, and let go of the file."""
        self.flush()
        self._ended.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._database.close()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="kept-history", daemon=True)
                try:
                    start(self._thread)
                except RuntimeError:  # the interpreter is shutting down; flush() at exit writes the rest
                    self._thread = None

    def _work(self) -> None:
        idle = 0
        while idle < _IDLE_ROUNDS and not self._ended.wait(_BATCH_SECONDS):
            idle = 0 if self._queue else idle + 1
            self.flush()
        self._thread = None
        if self._queue and not self._ended.is_set():  # taken between the last look and the line above
            self._start()

    def _write(self) -> None:
        try:
            while self._codes and not self._ended.is_set():
                self._database.write(SQL["insert_code"], _code_rows(self._codes.popleft()))
            while self._queue and not self._ended.is_set():
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
                self._database.write(SQL["insert"], [(_as_json(batch),)])
        except StoreError as error:
            self._ended.set()
            _log.warning(
                "The history of runs can't be written: %s. Runs go on; this process records no more of them.",
                str(error).rstrip("."),
            )

    def _start_anew(self) -> None:
        self._queue.clear()
        self._codes.clear()
        self._thread = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()


def _code_rows(identity: CodeIdentity) -> list[tuple[str, bytes]]:
    try:
        return [(identity.digest, compress(code.written(identity.parts).encode()))]
    except Exception as error:  # the parts show objects of the user's, whose repr may raise anything
        _log.debug("What code %s stands for can't be recorded: %r", identity.digest, error)
        return []


def _as_json(batch: list[RunRecord]) -> str:
    # Half a character, as in the name of a file that is no Unicode, could be written but not be read again.
    text = json.dumps(batch, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")


def open_recorder(path: Path) -> SqliteRecorder:
    """The recorder for `path`, one a process."""
    return _opened.get(path) or _opened.setdefault(path, SqliteRecorder(path))


def close_recorders(folder: Path) -> None:
    """Close the recorders of files in `folder`, and forget them."""
    for path in [path for path in list(_opened) if path.parent == folder]:
        _opened.pop(path).close()


def _flush_all() -> None:
    for recorder in list(_recorders):
        recorder.flush()


@in_forked_child
def _start_all_anew() -> None:
    for recorder in list(_recorders):
        recorder._start_anew()


atexit.register(_flush_all)
