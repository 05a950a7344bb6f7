"""The digests by which payloads are addressed: `b3:` and 64 hex digits."""

from __future__ import annotations

from collections.abc import Iterable

from kept.utilities.blake import hasher

PREFIX = "b3:"
LENGTH = len(PREFIX) + 64


def digest_of(chunks: Iterable[bytes | bytearray | memoryview], size: int) -> str:
    """The digest of the concatenated chunks, of which `size` is the length in bytes, at least about."""
    running = hasher(size)
    for chunk in chunks:
        running.update(chunk)
    return PREFIX + running.hexdigest()


def is_digest(text: str) -> bool:
    """Whether this is a digest as `digest_of` writes them, and so safe to make a path of."""
    return len(text) == LENGTH and text.startswith(PREFIX) and set(text[3:]) <= set("0123456789abcdef")
