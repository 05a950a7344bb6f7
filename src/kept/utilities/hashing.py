"""Hashes for users: of values, of texts, of files. All BLAKE3, in hex."""

from __future__ import annotations

from pathlib import Path

from kept.exceptions import HashError
from kept.fingerprint import fingerprint
from kept.utilities.blake import hasher


def hash_objects(*args: object, raise_on_failure: bool = False, **kwargs: object) -> str | None:
    """Return one hash of all arguments, or None when one of them has no stable content.

    Args:
        args: Values; their order counts.
        raise_on_failure: Raise `HashError` instead of returning None.
        kwargs: Named values; their order does not count.

    Example:
        >>> hash_objects(1, name="a") == hash_objects(1, name="a")
        True
    """
    try:
        return fingerprint((args, kwargs), where="arguments").partition(":")[2]
    except HashError:
        if raise_on_failure:
            raise
        return None


def stable_hash(*args: str | bytes) -> str:
    """Return one hash of texts and bytes; where one ends and the next begins counts.

    Example:
        >>> stable_hash("ab", "c") == stable_hash("a", "bc")
        False
    """
    return fingerprint(args).partition(":")[2]


def file_hash(path: str | Path) -> str:
    """Return the BLAKE3 hash of a file's bytes, without reading it into memory."""
    running = hasher(Path(path).stat().st_size)
    running.update_mmap(path)
    return str(running.hexdigest())
