"""The digests by which payloads are addressed: `b3:` and 64 hex digits."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from kept.utilities.blake import hasher

PREFIX = "b3:"
_LONGEST_NAME = 180
LENGTH = len(PREFIX) + 64


def digest_of(chunks: Iterable[bytes | bytearray | memoryview], size: int) -> str:
    """The digest of the concatenated chunks, of which `size` is the length in bytes, at least about."""
    running = hasher(size)
    for chunk in chunks:
        running.update(chunk)
    return PREFIX + running.hexdigest()


def size_of(chunks: Iterable[bytes | memoryview]) -> int:
    """How many bytes the chunks are."""
    return sum(memoryview(chunk).nbytes for chunk in chunks)


def name_for(text: str) -> str:
    """A name for any text that a file can have: quoted, or what tells it from others if it is too long for that."""
    name = quote(text, safe="", errors="surrogatepass")
    return name if len(name) <= _LONGEST_NAME and name.strip(".") else f"b3-{hex_of(text)}"


def hex_of(text: str) -> str:
    """The 64 hex digits of the digest of a text."""
    return digest_of([text.encode("utf-8", "surrogatepass")], 0)[len(PREFIX) :]


def is_digest(text: str) -> bool:
    """Whether this is a digest as `digest_of` writes them, and so safe to make a path of."""
    return len(text) == LENGTH and text.startswith(PREFIX) and set(text[3:]) <= set("0123456789abcdef")
