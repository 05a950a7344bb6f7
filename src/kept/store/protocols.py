"""The two seams of the store: key -> entry, digest -> blob.

Every implementation passes the same examination, `kept.testing.check_entries` and `kept.testing.check_blobs`.
Trouble with the medium (no space, no permission, a lost server) is raised as `StoreError`; trouble with one
entry or one blob (damaged, missing) is a `Miss`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from kept.store.entry import Entry, Miss


class Entries(Protocol):
    """Key -> entry. Safe to use from any number of threads and processes."""

    def get(self, key: str) -> Entry | Miss:
        """The entry at `key`, or why there is none. Expiry is not judged here."""

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep the entries, replacing those at the same keys.

        Readers see all of them or none, save on file systems that can't delete, where each is seen whole or not at all.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Drop the entries at these keys; a key without an entry is passed over."""

    def scan(self) -> Iterator[Entry]:
        """All readable entries, in no order. Entries put or deleted meanwhile may or may not be seen."""

    def close(self) -> None:
        """Give back files and connections; a later call opens them again."""


class Blobs(Protocol):
    """Digest -> immutable bytes. Safe to use from any number of threads and processes."""

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        """Keep the concatenation of the chunks and return its digest, `b3:` and 64 hex digits.

        The blob is whole and readable under its digest when this returns; before, nothing is.
        """

    def open(self, digest: str) -> memoryview | Miss:
        """The verified bytes as a writable, private view, or why they can't be had.

        What the caller writes into the view is never seen by the store or by another caller.
        """

    def delete(self, digests: Iterable[str]) -> None:
        """Drop these blobs; a digest without a blob is passed over. Views already open stay valid."""

    def scan(self) -> Iterator[tuple[str, int]]:
        """Digest and size in bytes of every blob, in no order."""
