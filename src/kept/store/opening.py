"""Which implementation serves a folder, decided by what is in it and by what its file system can do."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kept.exceptions import ConfigurationError
from kept.filesystems import LocalFileSystem
from kept.store.disk import DiskBlobs
from kept.store.guard import exclusive
from kept.store.memory import MemoryBlobs, MemoryEntries
from kept.store.objects import ObjectBlobs, ObjectEntries
from kept.store.protocols import Blobs, Entries
from kept.store.sqlite import SqliteEntries
from kept.utilities.forks import not_while_forking

logger = logging.getLogger("kept.store")

LAYOUTS = ("auto", "embedded", "directory", "memory")

# fmt: off
_NETWORK = frozenset((
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "afs",
    "glusterfs", "orangefs", "pvfs2", "panfs", "ocfs2", "gfs2", "davfs", "acfs", "wekafs",
))
_LOCAL = frozenset((
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay", "f2fs", "jfs", "reiserfs",
    "bcachefs", "nilfs2", "apfs", "hfs", "ufs",
))
# fmt: on


class Store(NamedTuple):
    """Entries and blobs that belong together, and where they are."""

    entries: Entries
    blobs: Blobs
    location: str
    """Where they are, in words; an absolute path if it is a folder of this machine."""
    slow: bool = False
    """Whether reading takes so long that an event loop should not wait for it."""
    shared: bool = False
    """Whether other processes of this machine see the payloads."""
    private: bool = False
    """Whether it is of a kind that nobody else writes to: embedded, or in memory."""
    accepts: tuple[str, ...] = ()
    """The names of the only serializers whose payloads it takes; empty: all."""
    read_only: bool = False
    """Whether nothing that is put gets there."""
    ready: bool = False
    """Whether all is around it that its user wishes for: signatures, a local tier."""
    bare: ObjectEntries | None = None
    """The entries without what is around them, if they are objects."""
    address: str = ""
    """What tells it from other stores, without secrets, if it is far away: a local tier stands in front of it then."""


_stores: dict[tuple[str, str], Store] = {}
_lock = not_while_forking(threading.Lock())


def open_store(path: Path, layout: str = "auto") -> Store:
    """The store in the folder at `path`; the same object for the same folder, within one process.

    Nothing is written before the first put, save where the file system is of an unknown kind and has to be
    tried.

    Arguments:
        layout: "embedded" (entries in SQLite, blobs as files), "directory" (both as files; for network
        disks), "memory" (nothing at `path`, which is but its name: gone with the process), or
            "auto": what is already there, else "embedded" unless the folder is on a network disk or SQLite's
            locks don't work on it, which is said once in the log.

    Raises ConfigurationError for another layout.
    """
    if layout not in LAYOUTS:
        raise ConfigurationError(f"a store has no layout {layout!r}: it is one of {', '.join(LAYOUTS)}")
    location = os.path.realpath(Path(path).expanduser())
    with _lock:
        store = _stores.get((location, layout))
        if store is None:
            decided = _decide(Path(location)) if layout == "auto" else layout
            store = _stores.get((location, decided)) or _make(Path(location), decided)
            _stores[location, decided] = _stores[location, layout] = store
        return store


def close_stores(folder: Path) -> None:
    """Close the stores in `folder` and below it, and forget them and what is in memory only."""
    root = os.path.realpath(folder)
    with _lock:
        for key in [key for key in _stores if key[0] == root or key[0].startswith(root + os.sep)]:
            _stores.pop(key).entries.close()


@contextlib.contextmanager
def memory_of_its_own() -> Iterator[None]:
    """Let what is kept in memory inside, under whatever path, be there for nobody outside, and the other way round."""
    before = _take_memory()
    try:
        yield
    finally:
        _take_memory()
        _stores.update(before)


def _take_memory() -> dict[tuple[str, str], Store]:
    with _lock:
        return {key: _stores.pop(key) for key in list(_stores) if key[1] == "memory"}


def _make(path: Path, layout: str) -> Store:
    if layout == "memory":
        return Store(MemoryEntries(), MemoryBlobs(), f"memory:{path}", private=True)
    if layout == "embedded":
        entries, blobs = SqliteEntries(path / "entries.sqlite"), DiskBlobs(path / "blobs")
        return Store(entries, blobs, os.fspath(path), shared=True, private=True)
    files = LocalFileSystem(basepath=os.fspath(path))
    return Store(
        ObjectEntries(files, prefix="entries/", verbatim=False),
        ObjectBlobs(files, prefix="blobs/"),
        os.fspath(path),
        slow=True,
        shared=True,
    )


def _decide(path: Path) -> str:
    # os.path, not Path: for a path that can't be, such as one that is too long, it says no and does not raise.
    if os.path.exists(path / "entries.sqlite"):  # noqa: PTH110
        return "embedded"
    if os.path.isdir(path / "entries"):  # noqa: PTH112
        return "directory"
    reason = why_not_embedded(path)
    if reason is None:
        return "embedded"
    logger.info(
        'keeping results in %s as plain files (layout "directory"), not in SQLite, because %s',
        path,
        reason,
    )
    return "directory"


def why_not_embedded(path: Path) -> str | None:
    """Why SQLite can't be used in this folder, as the end of a sentence, or None when it can."""
    kind = file_system_type(path)
    if kind in _NETWORK or (kind or "").startswith("fuse."):
        return f"it is on a network disk ({kind})"
    if kind in _LOCAL:
        return None
    return _probe(path)


def file_system_type(path: Path) -> str | None:
    """The type of the file system that holds `path`, as Linux names it; None where that can't be found
    out."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return type_in_mountinfo(os.path.realpath(path), table)


def type_in_mountinfo(path: str, table: str) -> str | None:
    """The type of the last mounted file system of those whose mount point is the nearest above `path`.

    The table's format: https://www.kernel.org/doc/html/latest/filesystems/proc.html (section 3.5).
    """
    best, found = -1, None
    for line in table.splitlines():
        mounted, _, source = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = _unescaped(fields[4])
        if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= best:
            best, found = len(point), source.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _probe(path: Path) -> str | None:
    """Try a lock, and a write-ahead log, in the folder itself."""
    trial = path / f".probe-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive(trial):
            pass
        return _probe_log(trial)
    except OSError as error:
        if not os.access(path, os.W_OK):
            return None  # nothing can be kept in either layout: let the first put say so
        return f"locks don't work there ({error.strerror})"
    finally:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):  # a path that can't be is not there to be removed
                Path(f"{trial}{suffix}").unlink(missing_ok=True)


def _probe_log(trial: Path) -> str | None:
    connection = sqlite3.connect(trial, timeout=5, isolation_level=None)
    try:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            return f"SQLite's write-ahead log doesn't work there (it offers {mode!r})"
        connection.execute("CREATE TABLE trial (x)")
        connection.execute("INSERT INTO trial VALUES (1)")
        return None
    except sqlite3.Error as error:
        return f"SQLite's write-ahead log doesn't work there ({error})"
    finally:
        connection.close()
