"""Write-behind: what a tier holds is sent to its far store on a few threads, while the program goes on.

What is unsent is marked so in the tier until it is sent, so that a killed process loses nothing on this machine, and
the next one that writes behind to the same store sends what is left. A blob is sent before its entry.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from kept.exceptions import KeptException
from kept.store.entry import Entry
from kept.store.protocols import Entries
from kept.store.reach import ReachedBlobs, is_refused
from kept.store.tier import OURS, THEIRS, UNSENT, TierBlobs, TierEntries
from kept.utilities.forks import in_forked_child

logger = logging.getLogger("kept.store")

_THREADS = 8
_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


class Sender:
    """Sends what a tier holds for a far store.

    Arguments:
        near, near_blobs: the tier.
        far, far_blobs: where to.
        location: what the far store is called in sentences.
    """

    def __init__(
        self, near: TierEntries, near_blobs: TierBlobs, far: Entries, far_blobs: ReachedBlobs, location: str
    ) -> None:
        self._near, self._near_blobs, self._far, self._far_blobs = near, near_blobs, far, far_blobs
        self._location = location
        self._start_anew()
        _senders.add(self)
        digests, entries = near_blobs.left_behind(near.place), near.left_behind()
        if digests or entries:
            self._begin(self._resume, digests, entries)

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: set[Future[None]] = set()
        self._blobs: dict[str, Future[None]] = {}
        self._unsent: dict[str, Entry] = {}
        self._refused = 0
        self._reason = ""

    def send_blob(self, digest: str) -> None:
        """Send a blob that the tier has, soon; it holds it until then."""
        self._near_blobs.hold(digest, self._near.place)
        self._blobs[digest] = job = self._begin(self._deliver_blob, digest)
        job.add_done_callback(lambda _: self._blobs.pop(digest, None))

    def send_entries(self, entries: Sequence[Entry]) -> None:
        """Send entries that are unsent in the tier, each after its blob, soon."""
        self._begin(self._deliver, list(entries))

    def flush(self) -> int:
        """Wait until all is sent; how many entries could not be, which is said in the log."""
        self._wait()
        if again := list(self._unsent.values()):
            self._unsent.clear()
            self._begin(self._deliver, again)
            self._wait()
        refused, self._refused = self._refused, 0
        self._say(refused, "It takes nothing from here: what runs compute is kept on this machine only.")
        self._say(len(self._unsent), "Kept on this machine, to be sent by the next run that writes behind to there.")
        return refused + len(self._unsent)

    def _say(self, count: int, rest: str) -> None:
        if count:
            were = "result was" if count == 1 else "results were"
            logger.warning("%d %s not sent to %s: %s. %s", count, were, self._location, self._reason.rstrip("."), rest)

    def _wait(self) -> None:
        while jobs := set(self._jobs):
            wait(jobs)
            self._jobs -= jobs

    def _begin(self, job: Callable[..., None], *args: Any) -> Future[None]:
        with self._lock:
            if self._pool is None:
                _flush_at_exit()
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="kept-sender")
            future = self._pool.submit(job, *args)
            self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        return future

    def _deliver_blob(self, digest: str) -> None:
        try:
            self._send_held(digest)
        except KeptException as error:
            logger.debug("the blob %s is not sent yet: %s", digest, error)  # its entry says so

    def _send_held(self, digest: str) -> None:
        if self._near_blobs.is_held(digest, self._near.place):
            with self._near_blobs.lent(digest) as file:
                try:
                    self._far_blobs.send(digest, file)
                except KeptException as error:
                    if not is_refused(error):
                        raise
            self._near_blobs.let_go(digest, self._near.place)

    def _deliver(self, entries: list[Entry]) -> None:
        try:
            for digest in {digest for entry in entries for digest in entry.blobs}:
                if job := self._blobs.get(digest):
                    wait([job])
                self._send_held(digest)
            current = [entry for entry in entries if self._is_unsent(entry)]
            if current:
                self._far.put(current)
            self._settle(current, THEIRS)
        except KeptException as error:
            self._reason = str(error)
            if is_refused(error):
                self._refused += len(entries)
                self._settle(entries, OURS)
            else:
                self._unsent.update({entry.key: entry for entry in entries})

    def _is_unsent(self, entry: Entry) -> bool:
        """Whether it is still wanted: neither deleted, nor followed by another, nor sent by another process."""
        held = self._near.find(entry.key, 0.0)
        return held is not None and held.own == UNSENT and held.entry == entry

    def _settle(self, entries: list[Entry], own: int) -> None:
        for entry in entries:
            self._near.settle(entry, own)

    def _resume(self, digests: list[str], entries: list[Entry]) -> None:
        """Send what an earlier process has left, unless the far store has something newer."""
        for digest in digests:
            self._deliver_blob(digest)
        wanted: list[Entry] = []
        for entry in entries:
            try:
                found = self._far.get(entry.key)
            except KeptException as error:
                self._reason = str(error)
                self._unsent[entry.key] = entry
                continue
            if isinstance(found, Entry) and found.created >= entry.created:
                self._near.put([found])
            else:
                wanted.append(entry)
        if wanted:  # together, for they may be of one transaction
            self._deliver(wanted)


_registered = False


def _flush_at_exit() -> None:
    global _registered
    if not _registered:
        _registered = True
        # Not atexit: that comes when the threads of the process are gone.
        threading._register_atexit(_flush_all)  # type: ignore[attr-defined]


def _flush_all() -> None:
    for sender in list(_senders):
        sender.flush()


@in_forked_child
def _forget() -> None:
    # A forked child has neither the threads nor the work.
    global _registered
    _registered = False
    for sender in list(_senders):
        sender._start_anew()
