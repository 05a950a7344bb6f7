"""A bounded local tier in front of a store that is far away.

An entry is answered from the tier while it is fresh: then the far store is asked again, and if that can't be, the
older copy is used. A blob is valid for ever, as it is addressed by content. What is kept goes to the far store first,
its blob before its entry, unless write-behind is on (`behind.py`). A far store that refuses to be written to is no
reason to lose what was computed: that stays in the tier, and is used there until the far store has something newer.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kept.exceptions import StoreError
from kept.store.behind import Sender
from kept.store.digests import digest_of, size_of
from kept.store.entry import Entry, Miss
from kept.store.opening import Store, why_not_embedded
from kept.store.protocols import Entries
from kept.store.reach import Reach, ReachedBlobs, ReachedEntries, causes, is_refused
from kept.store.tier import OURS, THEIRS, UNSENT, Held, TierBlobs, TierEntries
from kept.utilities.forks import in_forked_child

logger = logging.getLogger("kept.store")


_LARGE = 16 << 20
"""Blobs of at least so many bytes are sent while they are copied."""


class Tier(NamedTuple):
    """Which tier stands in front of far stores."""

    path: Path
    """The folder."""
    size: int
    """How many bytes it may take; 0: there is none."""
    fresh_seconds: float = 300.0
    """For how long a copied entry is used before the far store is asked again."""
    write_behind: bool = False
    """Whether what is put is sent to the far store later, while the program goes on."""


class Link(NamedTuple):
    """What entries and blobs with copies nearby have in common."""

    store: Store
    """The far store."""
    tier: Tier
    reach: Reach
    """What is known of whether the far store answers."""
    sender: Sender | None = None
    """Who sends what is put, later; None: it is sent at once."""


class TieredEntries:
    """Entries of a far store, with copies nearby.

    Arguments:
        near: the copies.
        far: where the entries are.
    """

    def __init__(self, near: TierEntries, far: Entries, link: Link) -> None:
        self._near, self._find, self.far, self._link = near, near.find, far, link
        self._reach, self._sender, self._fresh = link.reach, link.sender, link.tier.fresh_seconds
        self._said: set[str] = set()
        self._asking: dict[str, object] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_arrived, (self._link.store, self._link.tier, "entries"))

    def near(self, key: str) -> Entry | None:
        """What is known of `key` without asking afar: quick; None if that has to be asked. Raises `StoreError`."""
        now = time.time()
        held = self._copy(key, now)
        if held is not None and 0 <= now - held.fetched < self._fresh and not _is_over(held.entry, now):
            return held.entry
        problem = self._reach.problem()
        return None if problem is None else self._without_far(held, problem)

    def get(self, key: str) -> Entry | Miss:
        return self.near(key) or self.ask(key)

    def problem(self) -> StoreError | None:
        """Why the far store is not to be asked now; None if it may be."""
        return self._reach.problem()

    def ask(self, key: str) -> Entry | Miss:
        """What the far store has now, even if there is a fresh copy; the copy if it does not answer."""
        mine = self._asking[key] = object()
        try:
            found = self.far.get(key)
        except StoreError as error:
            return self._without_far(self._copy(key, time.time()), error)
        finally:
            latest = self._asking.pop(key, None) is mine  # else what was put meanwhile may be newer
        held = self._copy(key, time.time())
        if held is not None and held.own != THEIRS and not _is_newer(found, held.entry):
            if held.own == OURS:
                self._keep([held.entry], OURS)  # not to be asked about again before long
            return held.entry
        if not latest:
            return found
        if isinstance(found, Entry):
            self._keep([found])
        elif held is not None:
            self._forget([key])
        return found

    def put(self, entries: Sequence[Entry]) -> None:
        if self._sender is not None and self._keep(entries, UNSENT):
            self._sender.send_entries(entries)
            return
        refusal = self._refusal(entries)
        for entry in entries:
            self._asking.pop(entry.key, None)
        if self._keep(entries, OURS if refusal else THEIRS):
            if refusal:
                self._say("refused", f"{refusal}. What runs compute is kept on this machine only.")
        elif refusal:
            raise refusal
        else:
            self._forget([entry.key for entry in entries])

    def _refusal(self, entries: Sequence[Entry]) -> StoreError | None:
        """Put the entries afar; why the store does not take them, or None. Raises `StoreError` for other trouble."""
        if self._link.store.read_only:
            return StoreError("nothing is written there, as KEPT_RESULTS_READ_ONLY or read_only of its block says")
        if any(digest in _withheld for entry in entries for digest in entry.blobs):
            return StoreError("it has not taken the payload")
        try:
            self.far.put(entries)
        except StoreError as error:
            if not is_refused(error):
                raise
            return error
        return None

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        try:
            self.far.delete(keys)
        finally:
            self._forget(keys)

    def scan(self) -> Iterator[Entry]:
        return self.far.scan()

    def close(self) -> None:
        self._near.close()
        self.far.close()

    def flush(self) -> int:
        """Wait until all that was put is sent; how many entries could not be, which is said in the log."""
        return 0 if self._sender is None else self._sender.flush()

    def _without_far(self, held: Held | None, error: StoreError) -> Entry:
        if held is None:
            raise error
        self._say("old", f"{error}. Older copies on this machine are used meanwhile.")
        return held.entry

    def _copy(self, key: str, now: float) -> Held | None:
        try:
            return self._find(key, now)
        except StoreError as error:
            self._say("near", f"The copies in {self._near.path.parent} can't be used: {error}")
            return None

    def _keep(self, entries: Sequence[Entry], own: int = THEIRS) -> bool:
        try:
            self._near.put(entries, own)
        except StoreError as error:
            self._say("near", f"No copies can be kept in {self._near.path.parent}: {error}")
            return False
        return True

    def _forget(self, keys: Iterable[str]) -> None:
        with contextlib.suppress(StoreError):  # then it is as good as gone when it is no longer fresh
            self._near.delete(keys)

    def _say(self, what: str, sentence: str) -> None:
        """Once in this process: the next thousand runs have the same to say."""
        if what not in self._said:
            self._said.add(what)
            logger.warning("%s: %s", self._reach.location, sentence)


def _is_over(entry: Entry, now: float) -> bool:
    return entry.expires is not None and entry.expires <= now


def _is_newer(found: Entry | Miss, ours: Entry) -> bool:
    return isinstance(found, Entry) and found.created > ours.created


class TieredBlobs:
    """Blobs of a far store, with copies nearby, through which all goes: memory holds no blob as a whole.

    Arguments:
        near: the copies.
        far: where the blobs are.
    """

    def __init__(self, near: TierBlobs, far: ReachedBlobs, link: Link) -> None:
        self._near, self.far, self._link = near, far, link
        self._reach, self._sender, self._read_only = link.reach, link.sender, link.store.read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return (_arrived, (self._link.store, self._link.tier, "blobs"))

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        if self._sender is None and not self._read_only and (problem := self._reach.problem()):
            raise problem  # before much is written for nothing
        size = size_of(chunks)
        if self._sender is None and not self._read_only and size >= _LARGE:
            return self._put_large(chunks, size)
        try:
            digest = self._near.put(chunks)
        except StoreError as error:
            logger.warning("No copy of a large result can be kept nearby: %s", error)
            return self.far.put(chunks)
        if self._sender is not None:
            self._sender.send_blob(digest)
        elif not self._read_only:
            with self._near.lent(digest) as file:
                self._send(digest, self.far.send, file)
        return digest

    def _put_large(self, chunks: Sequence[bytes | memoryview], size: int) -> str:
        """Send the chunks while they are copied into the tier: one after the other would take a quarter longer."""
        digest = digest_of(chunks, size)
        with ThreadPoolExecutor(1, "kept-tier") as aside:
            copying = aside.submit(self._near.put, chunks)
            self._send(digest, self.far.send_chunks, chunks, size)
        try:
            copied = copying.result()
        except StoreError as error:
            logger.warning("No copy of a large result can be kept nearby: %s", error)
            return digest
        if copied != digest:  # another thread has changed the value meanwhile: what was sent may be neither
            self.far.discard(digest)
            with self._near.lent(copied) as file:
                self._send(copied, self.far.send, file)
        return copied

    def _send(self, digest: str, send: Callable[..., None], *content: Any) -> None:
        try:
            send(digest, *content)
        except StoreError as error:
            if not is_refused(error):
                raise
            _withheld.add(digest)  # its entry will stay here, too
        else:
            _withheld.discard(digest)

    def open(self, digest: str) -> memoryview | Miss:
        try:
            found = self._near.open(digest)
            if not isinstance(found, Miss):
                return found
            with _fetching.setdefault(digest, threading.Lock()):
                missing = None if self._near.has(digest) else self._fetch(digest)
            return missing or self._near.open(digest)
        except _NoRoom as error:
            logger.warning("A large result of %s is read into memory: %s", self._reach.location, error)
            return self.far.open(digest)
        finally:
            _fetching.pop(digest, None)

    def _fetch(self, digest: str) -> Miss | None:
        far_error: StoreError | None = None

        def fill(path: str) -> bool:
            nonlocal far_error
            try:
                return self.far.download(digest, path)
            except StoreError as error:
                far_error = None if _is_for_want_of_room(error) else error
                raise

        try:
            missing = self._near.receive(digest, fill)
        except StoreError as error:
            if far_error is not None:
                raise
            raise _NoRoom(str(error)) from error
        if missing is not None and missing.reason.startswith("damaged"):
            return Miss(f"{missing.reason}; {self.far.discard(digest)}")
        return missing

    def is_near(self, digest: str) -> bool:
        """Whether the blob can be opened without asking afar, and quickly."""
        return self._near.has(digest)

    def delete(self, digests: Iterable[str]) -> None:
        digests = list(digests)
        try:
            self.far.delete(digests)
        finally:
            self._near.delete(digests)

    def scan(self) -> Iterator[tuple[str, int]]:
        return self.far.scan()

    def flush(self) -> int:
        """Wait until all that was put is sent; how many entries could not be, which is said in the log."""
        return 0 if self._sender is None else self._sender.flush()


class _NoRoom(StoreError):
    """The tier can't take a blob."""


def _is_for_want_of_room(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    return any(isinstance(one, OSError) and one.errno in full for one in causes(error))


_withheld: set[str] = set()
"""The digests of blobs that their far store refused."""
_fetching: dict[str, threading.Lock] = {}
"""Two threads that want one blob fetch it once."""

in_forked_child(_fetching.clear)


# --- putting it together


@lru_cache(maxsize=256)  # one object for one store: what is known of it, and what is being sent, is known once
def tiered(store: Store, tier: Tier) -> Store:
    """The far store with a tier in front of it; only with what is known of its being away if the tier's size is 0."""
    reach = Reach(store.location)
    far, far_blobs = ReachedEntries(store.entries, reach), ReachedBlobs(store.blobs, reach)
    why_not = why_not_embedded(tier.path) if tier.size else None
    if why_not:
        logger.warning(
            "There is no local tier in front of %s, as %s can't hold one: %s. Set KEPT_RESULTS_LOCAL_TIER_PATH to a "
            "folder on a disk of this machine, or KEPT_RESULTS_LOCAL_TIER_SIZE to 0.",
            store.location, tier.path, why_not,
        )  # fmt: skip
    if why_not or not tier.size:
        return store._replace(entries=far, blobs=far_blobs, address="")
    near = TierEntries(tier.path / "entries.sqlite", store.address, tier.size // 10)
    near_blobs = TierBlobs(tier.path / "blobs", tier.size - tier.size // 10)
    behind = tier.write_behind and not store.read_only
    sender = Sender(near, near_blobs, far, far_blobs, store.location) if behind else None
    link = Link(store, tier, reach, sender)
    return store._replace(
        entries=TieredEntries(near, far, link),
        blobs=TieredBlobs(near_blobs, far_blobs, link),
        shared=True,
        address="",
    )


_here: dict[tuple[str, Tier], Store] = {}


def _arrived(store: Store, tier: Tier, part: str) -> Any:
    """What stands for this in a process that a pickle has come to: one object for all pickles of one store."""
    return getattr(_here.setdefault((store.address, tier), tiered(store, tier)), part)
