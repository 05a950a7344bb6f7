"""What a process remembers of a store that is far away: that it can't be reached, that it takes nothing.

A server that is down must not cost each of a thousand tasks its timeout. After a failure that says so, the store is
not asked again for two seconds, then four, and so on up to half a minute; what is asked meanwhile fails at once.
Both ends are said once in the log. A store that refuses to be written to is not written to again for five minutes.

A store that answers others meanwhile is not down, only slow at one thing. And no more is asked of it at once than it
can answer in time: of 250 threads that ask together, many would wait for longer than a request may take.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

from kept.exceptions import StoreError, StoreRefused, StoreUnreachable
from kept.store.entry import Entry, Miss
from kept.store.protocols import Blobs, Entries
from kept.utilities.forks import in_forked_child

logger = logging.getLogger("kept.store")

T = TypeVar("T")

_MOST_AT_ONCE = 64
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
_REFUSED_SECONDS = 300.0
_ASK_FROM = 1_000_000
"""Of a blob of at least so many bytes the store is asked first whether it has it: sending it takes longer."""

_UNREACHABLE = (StoreUnreachable, ConnectionError, TimeoutError, socket.gaierror)
_REFUSED = (StoreRefused, PermissionError)


def is_unreachable(error: BaseException) -> bool:
    """Whether an error means that a store did not answer, as the exceptions that led to it tell."""
    return any(isinstance(one, _UNREACHABLE) for one in causes(error))


def is_refused(error: BaseException) -> bool:
    """Whether an error means that a store answered, and does not allow this."""
    return any(isinstance(one, _REFUSED) for one in causes(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and the exceptions that led to it."""
    while error is not None:
        yield error
        error = error.__cause__


class Reach:
    """What is known of whether the store at a `location` answers, and whether it takes anything.

    What is known has no lock: at worst two threads ask again where one would do.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._pause = 0.0
        self._until = self._since = self._answered = self._refused_until = 0.0
        self._reset()
        _all.add(self)
        self._reason = self._refusal = ""

    def _reset(self) -> None:
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def problem(self) -> StoreError | None:
        """Why the store is not to be asked now; None if it may be."""
        if not self._pause or time.monotonic() >= self._until:
            return None
        again = time.strftime("%H:%M:%S", time.localtime(time.time() + self._until - time.monotonic()))
        return StoreUnreachable(f"{self._reason} (not asked again before {again})")

    def ask(self, function: Callable[..., T], *args: Any) -> T:
        """Call the function, unless the store is known not to answer. Raises `StoreError`."""
        with self._places:
            if self._pause:
                if problem := self.problem():
                    raise problem
                self._until = time.monotonic() + self._pause  # others need not find out at the same time
            began = time.monotonic()
            try:
                result = function(*args)
            except Exception as error:
                if is_unreachable(error):
                    self._note_away(error, began)
                else:
                    self._note_answer()
                raise
            self._note_answer()
            return result

    def write(self, function: Callable[..., T], *args: Any) -> T:
        """The same, unless the store is known to take nothing."""
        if time.monotonic() < self._refused_until:
            raise StoreRefused(self._refusal)
        try:
            return self.ask(function, *args)
        except StoreError as error:
            if is_refused(error):
                self._refusal = str(error)
                self._refused_until = time.monotonic() + _REFUSED_SECONDS
            raise

    def _note_away(self, error: Exception, began: float) -> None:
        now = time.monotonic()
        if began < (self._since if self._pause else self._answered):
            return  # it was asked before this was known, or has answered somebody since
        before, self._since = self._pause, now
        self._pause = min(2 * before or _FIRST_PAUSE, _LONGEST_PAUSE)
        self._reason, self._until = str(error), now + self._pause
        if not before:  # said when it is known, so that of many threads one says it
            logger.warning(
                "%s does not answer: %s. Runs go on without it; it is asked again in %.0f s, then less often.",
                self.location, error, _FIRST_PAUSE,
            )  # fmt: skip

    def _note_answer(self) -> None:
        self._answered = time.monotonic()
        before, self._pause = self._pause, 0.0
        if before:
            logger.warning("%s answers again.", self.location)


_all: WeakSet[Reach] = WeakSet()


@in_forked_child
def _forget() -> None:
    # The threads that hold the places are those of the parent.
    for reach in _all:
        reach._reset()


class ReachedEntries:
    """Entries that are far away, asked only while they are known to answer."""

    def __init__(self, far: Entries, reach: Reach) -> None:
        self.far, self.reach = far, reach

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.far, Reach(self.reach.location)))

    def get(self, key: str) -> Entry | Miss:
        return self.reach.ask(self.far.get, key)

    def problem(self) -> StoreError | None:
        """Why the far store is not to be asked now; None if it may be."""
        return self.reach.problem()

    def put(self, entries: Sequence[Entry]) -> None:
        self.reach.write(self.far.put, entries)

    def delete(self, keys: Iterable[str]) -> None:
        self.reach.write(self.far.delete, keys)

    def scan(self) -> Iterator[Entry]:
        return self.reach.ask(self.far.scan)

    def close(self) -> None:
        self.far.close()


class ReachedBlobs:
    """Blobs that are far away, asked only while they are known to answer."""

    def __init__(self, far: Blobs, reach: Reach) -> None:
        self.far, self.reach = far, reach
        self._rotten: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.far, Reach(self.reach.location)))

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        return self.reach.write(self.far.put, chunks)

    def open(self, digest: str) -> memoryview | Miss:
        return self.reach.ask(self.far.open, digest)

    def delete(self, digests: Iterable[str]) -> None:
        self.reach.write(self.far.delete, digests)

    def scan(self) -> Iterator[tuple[str, int]]:
        return self.reach.ask(self.far.scan)

    def download(self, digest: str, file: str) -> bool:
        """Write the blob, unverified, to a local file; whether there is one. Raises `StoreError`."""
        return self.reach.ask(_download, self.far, digest, file)

    def send(self, digest: str, file: str) -> None:
        """Keep the content of a local file as this blob, unless it is kept already. Raises `StoreError`."""
        self._send(digest, os.stat(file).st_size, _upload, file)  # noqa: PTH116

    def send_chunks(self, digest: str, chunks: Sequence[bytes | memoryview], size: int) -> None:
        """Keep the concatenation of the chunks, `size` bytes, as this blob, unless it is kept already.

        Raises `StoreError`.
        """
        self._send(digest, size, _write, chunks)

    def _send(self, digest: str, size: int, send: Callable[[Any, str, Any], None], content: Any) -> None:
        ask = getattr(self.far, "size_of", None) if size >= _ASK_FROM and digest not in self._rotten else None
        if ask is None or self.reach.ask(ask, digest) != size:
            self.reach.write(send, self.far, digest, content)
            self._rotten.discard(digest)

    def discard(self, digest: str) -> str:
        """Delete a blob that does not hold what was kept, so that it is sent anew; the end of a sentence about it."""
        self._rotten.add(digest)
        try:
            self.delete([digest])
        except StoreError as error:
            return f"it can't be deleted there: {error}"
        return "it is deleted there, and kept anew when it is computed again"


def _download(far: Any, digest: str, file: str) -> bool:
    if verb := getattr(far, "download", None):
        return bool(verb(digest, file))
    view = far.open(digest)
    if isinstance(view, Miss):
        return False
    with open(file, "wb") as out:  # noqa: PTH123
        out.write(view)
    return True


def _upload(far: Any, digest: str, file: str) -> None:
    if verb := getattr(far, "upload", None):
        verb(digest, file)
        return
    with open(file, "rb") as content:  # noqa: PTH123
        far.put([content.read()])


def _write(far: Any, digest: str, chunks: Sequence[bytes | memoryview]) -> None:
    if verb := getattr(far, "write", None):
        verb(digest, chunks)
    else:
        far.put(chunks)
