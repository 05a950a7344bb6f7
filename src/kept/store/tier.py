"""What a local tier keeps: copies of entries and blobs of stores that are far away, within a bound.

    <root>/entries.sqlite       the entries of all far stores, with when each was fetched
    <root>/blobs/               blobs, as `disk.py` keeps them: what is addressed by content is valid for all
    <root>/unsent/<place>/      second links to blobs that the far store of this number has not got yet

What was not used for longest goes first. The time of a blob's last use is its file's access time, which is set here
(its modification time is its seal). A blob with a second link is not thrown away: nobody else has it.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH110, PTH116

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from kept.exceptions import StoreError
from kept.store.database import Database
from kept.store.digests import PREFIX, size_of
from kept.store.disk import DiskBlobs
from kept.store.entry import Entry, Miss
from kept.store.sqlite import entry_of, record_of
from kept.utilities.files import unlink
from kept.utilities.sql import named_queries

SCHEMA_VERSION = 2
THEIRS, OURS, UNSENT = 0, 1, 2
"""Where an entry of the tier is besides: in the far store; nowhere, as that refused it; nowhere yet."""

_QUERIES = named_queries(Path(__file__).with_name("tier.sql"))
_GET, _PUT, _USE = (_QUERIES[name] for name in ("get", "put", "use"))
_USED_SECONDS = 3600.0
"""How exactly the time of the last use is known: writing it with each hit would cost more than the hit."""
_IN_USE_SECONDS = 5.0
"""What was used so short a time ago is not thrown away: it may be about to be sent or read."""
_ABANDONED_SECONDS = 3600.0
"""After so long what is unsent belongs to nobody, though there may be a process of the number that put it."""
_LOOK_AFTER = 20
"""A process looks at what the tier takes when it has added one part in so many of what it may take."""
_ATTEMPTS = 10
_LOW = 0.9
"""What the tier is brought down to, as a part of its bound."""


class Held(NamedTuple):
    """An entry as the tier has it."""

    entry: Entry
    fetched: float
    """When the far store was last known to hold it, in seconds since the epoch."""
    own: int
    """`THEIRS`, `OURS` or `UNSENT`."""


class _Gauge:
    """When to look whether a bound is kept: at first, and each time that a part of it has been added."""

    def __init__(self, bound: int) -> None:
        self._step = bound // _LOOK_AFTER
        self._added = self._step

    def is_due(self, size: int) -> bool:
        self._added += size
        due = self._added > self._step
        if due:
            self._added = 0
        return due


class TierEntries:
    """Copies of the entries of the far store at an address, in a SQLite file that serves any number of them.

    Arguments:
        path: the SQLite file.
        address: where the far store is; a copy is found only under the address that it is from.
        bound: how many bytes the file may take, at least about.
    """

    def __init__(self, path: Path, address: str, bound: int) -> None:
        self.path, self.address, self.bound = path, address, bound
        self._database = Database(path, _QUERIES["schema"], SCHEMA_VERSION, "KEPT_RESULTS_LOCAL_TIER_PATH")
        self._fetch_one = self._database.fetch_one
        self._salt = blake3(address.encode("utf-8", "surrogatepass")).digest(16)
        self._gauge = _Gauge(bound)
        self.place = int.from_bytes(self._salt[:6], "little")
        """The number of the far store in the tier."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.address, self.bound))

    def find(self, key: str, now: float) -> Held | None:
        """The copy of the entry at `key`, if there is one that can be read. Raises `StoreError`."""
        hashed = self._hash(key)
        row = self._fetch_one(_GET, (hashed,))
        if row is None:
            return None
        entry = entry_of(row[0])
        if entry[0] != key or entry.__class__ is not Entry:
            return None
        if now - row[2] > _USED_SECONDS:
            with contextlib.suppress(StoreError):  # a tier that can't be written to still gives hits
                self._database.write(_USE, [(now, hashed)])
        return Held(entry, row[1], row[3])

    def put(self, entries: Sequence[Entry], own: int = THEIRS) -> None:
        """Keep copies, as of now. Raises `StoreError`."""
        now = time.time()
        rows = [(self._hash(entry.key), record_of(entry), now, now, own, self.place, os.getpid()) for entry in entries]
        self._database.write(_PUT, rows)
        if self._gauge.is_due(sum(len(row[1]) for row in rows)):
            self._trim()

    def delete(self, keys: Iterable[str]) -> None:
        """Drop the copies at these keys. Raises `StoreError`."""
        if self.path.exists():
            self._database.write(_QUERIES["delete"], [(self._hash(key),) for key in keys])

    def left_behind(self) -> list[Entry]:
        """What processes that are gone have not sent, nor this one so far. Raises `StoreError`."""
        rows = self._database.fetch_all(_QUERIES["unsent"], (self.place,))
        gone = [record for record, pid, since in rows if _is_gone(pid) or time.time() - since > _ABANDONED_SECONDS]
        return [entry for record in gone if isinstance(entry := entry_of(record), Entry)]

    def settle(self, entry: Entry, own: int) -> None:
        """Note what became of an unsent entry, if it is still the one at its key. Raises `StoreError`."""
        self._database.write(_QUERIES["settle"], [(own, self._hash(entry.key), record_of(entry))])

    def close(self) -> None:
        """Give back the file; a later call opens it again."""
        self._database.close()

    def _hash(self, key: str) -> bytes:
        return blake3(self._salt + key.encode("utf-8", "surrogatepass")).digest(16)

    def _trim(self) -> None:
        while (self._database.fetch_one(_QUERIES["full"], ()) or (0,))[0] > self.bound:
            before = self._count()
            self._database.write(_QUERIES["trim"], [()])
            if self._count() >= before:
                return  # all that is left is to be sent

    def _count(self) -> int:
        row = self._database.fetch_one("SELECT count(*) FROM entry", ())
        return int(row[0]) if row else 0


class TierBlobs(DiskBlobs):
    """Blobs as files, of which those that were not used for longest go first when they take more than `bound` bytes."""

    def __init__(self, root: Path, bound: int) -> None:
        super().__init__(root)
        self.bound = bound
        self._used: dict[str, float] = {}
        self._gauge = _Gauge(bound)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.root, self.bound))

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        digest = super().put(chunks)
        self._make_room(size_of(chunks))
        return digest

    def open(self, digest: str) -> memoryview | Miss:
        view = super().open(digest)
        now = time.monotonic()
        if not isinstance(view, Miss) and now - self._used.get(digest, -_USED_SECONDS) >= _USED_SECONDS:
            self._used[digest] = now
            _touch(self._path(digest))
        return view

    def receive(self, digest: str, fill: Callable[[str], bool]) -> Miss | None:
        missing = super().receive(digest, fill)
        if missing is None:
            self._make_room(os.stat(self._path(digest)).st_size)
        return missing

    # --- what is not sent yet

    @contextlib.contextmanager
    def lent(self, digest: str) -> Iterator[str]:
        """The path of the blob's content, which stays while this lasts, whoever throws the blob away meanwhile."""
        link = self._temporary()
        self._link_to(digest, link)
        try:
            yield link
        finally:
            unlink(link)

    def hold(self, digest: str, place: int) -> None:
        """Don't throw the blob away until the far store of this number has it. Raises `StoreError`."""
        self._link_to(digest, self._mark(digest, place))

    def left_behind(self, place: int) -> list[str]:
        """The digests of blobs that have been held for a far store for so long that nobody is about to send them."""
        folder = self.root.parent / "unsent" / f"{place:x}"
        before = time.time() - _ABANDONED_SECONDS
        links = list(folder.iterdir()) if folder.is_dir() else []
        return [PREFIX + link.name[3:] for link in links if link.stat().st_ctime < before]

    def is_held(self, digest: str, place: int) -> bool:
        """Whether the far store has not got the blob yet."""
        return os.path.exists(self._mark(digest, place))

    def let_go(self, digest: str, place: int) -> None:
        """The far store has the blob, or will never get it."""
        unlink(self._mark(digest, place))

    def _mark(self, digest: str, place: int) -> str:
        return str(self.root.parent / "unsent" / f"{place:x}" / f"b3-{digest[len(PREFIX) :]}")

    def _link_to(self, digest: str, link: str) -> None:
        try:
            Path(link).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for attempt in range(_ATTEMPTS):
                try:
                    os.link(self._path(digest), link)
                    break
                except FileNotFoundError:  # also of a file in whose place another thread has just put its own
                    if attempt == _ATTEMPTS - 1:
                        raise
        except FileExistsError:
            pass  # another thread or process holds it, too; whoever sends it first sends it for all
        except OSError as error:
            raise StoreError(self._sentence(error)) from error

    # --- the bound

    def _make_room(self, size: int) -> None:
        if not self._gauge.is_due(size):
            return
        files = sorted(self._files())
        taken = sum(file.size for file in files)
        if taken > self.bound:
            for path in _surplus(files, taken - int(self.bound * _LOW), time.time() - _IN_USE_SECONDS):
                unlink(path)

    def _files(self) -> Iterator[_File]:
        for digest, size in self.scan():
            path = self._path(digest)
            try:
                status = os.stat(path)
            except OSError:
                continue  # thrown away by another process
            yield _File(status.st_atime, size, path, status.st_nlink > 1)


class _File(NamedTuple):
    used: float
    size: int
    path: str
    held: bool


def _surplus(files: list[_File], size: int, newest: float) -> Iterator[str]:
    """The paths of those to be thrown away so that `size` bytes become free, of files in the order of their use."""
    for file in files:
        if size <= 0 or file.used > newest:
            return
        if not file.held:
            size -= file.size
            yield file.path


def _is_gone(pid: int) -> bool:
    """Whether no other process of this number is there: this one may have the number of one in another container."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return pid == os.getpid()


def _touch(path: str) -> None:
    try:
        os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))
    except OSError:
        pass  # thrown away meanwhile, or another user's
