"""Entries and blobs in memory: for tests, for notebooks, and for results that should not outlive the
process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from kept.store.digests import digest_of
from kept.store.entry import Entry, Miss

_NOT_KEPT = Miss("not kept yet")


class MemoryEntries:
    """Entries in a dict."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[MemoryEntries], tuple[()]]:
        return (type(self), ())  # another process has a memory of its own

    def get(self, key: str) -> Entry | Miss:
        return self._entries.get(key, _NOT_KEPT)

    def put(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            # One call in C under the interpreter's lock: a reader sees all of the entries or none.
            self._entries.update({entry.key: entry for entry in entries})

    def delete(self, keys: Iterable[str]) -> None:
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)

    def scan(self) -> Iterator[Entry]:
        with self._lock:
            entries = list(self._entries.values())
        return iter(entries)

    def close(self) -> None:
        """Nothing to give back."""


class MemoryBlobs:
    """Blobs in a dict; what `open` gives is a copy."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def __reduce__(self) -> tuple[type[MemoryBlobs], tuple[()]]:
        return (type(self), ())  # as above

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        content = b"".join(chunks)
        digest = digest_of([content], len(content))
        self._blobs.setdefault(digest, content)
        return digest

    def open(self, digest: str) -> memoryview | Miss:
        content = self._blobs.get(digest)
        if content is None:
            return Miss(f"missing: there is no blob {digest}")
        return memoryview(bytearray(content))

    def delete(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._blobs.pop(digest, None)

    def scan(self) -> Iterator[tuple[str, int]]:
        return iter([(digest, len(content)) for digest, content in list(self._blobs.items())])
