"""BLAKE3 digests of payloads, on as many threads as is safe."""

from __future__ import annotations

import os
from collections.abc import Iterable

from blake3 import blake3

PREFIX = "b3:"
LENGTH = len(PREFIX) + 64
_THREADS_FROM = 1 << 20
"""Below this many bytes, handing work to other threads costs more than it saves."""

_threads = blake3.AUTO


def _single_threaded() -> None:
    # BLAKE3's thread pool belongs to the process that first used it: in a forked child it waits for threads
    # that do not exist there, for ever.
    global _threads
    _threads = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_single_threaded)


def digest_of(chunks: Iterable[bytes | bytearray | memoryview], size: int) -> str:
    """`b3:` and the 64 hex digits of the BLAKE3 digest of the chunks, of which `size` is the length in
    bytes."""
    hasher = blake3(max_threads=_threads if size >= _THREADS_FROM else 1)
    for chunk in chunks:
        hasher.update(chunk)
    return PREFIX + hasher.hexdigest()


def is_digest(text: str) -> bool:
    """Whether this is a digest as `digest_of` writes them, and so safe to make a path of."""
    return len(text) == LENGTH and text.startswith(PREFIX) and set(text[3:]) <= set("0123456789abcdef")
