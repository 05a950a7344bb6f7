"""Hashes for users: of values, of texts, of files. BLAKE3 unless another algorithm is named, in hex."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kept.exceptions import HashError
from kept.fingerprint import fingerprint
from kept.utilities.blake import hasher

HashAlgorithm = Callable[..., Any]


def hash_objects(
    *args: object, hash_algo: HashAlgorithm | None = None, raise_on_failure: bool = False, **kwargs: object
) -> str | None:
    """Return one hash of all arguments, or None when one of them has no stable content.

    Args:
        args: Values; their order counts.
        hash_algo: An algorithm such as `hashlib.sha256`, instead of BLAKE3.
        raise_on_failure: Raise `HashError` instead of returning None.
        kwargs: Named values; their order does not count.

    Example:
        >>> hash_objects(1, name="a") == hash_objects(1, name="a")
        True
    """
    try:
        digest = fingerprint((args, kwargs), where="arguments").partition(":")[2]
    except HashError:
        if raise_on_failure:
            raise
        return None
    return digest if hash_algo is None else str(hash_algo(digest.encode()).hexdigest())


def stable_hash(*args: str | bytes, hash_algo: HashAlgorithm | None = None) -> str:
    """Return one hash of texts and bytes; where one ends and the next begins counts.

    Args:
        hash_algo: An algorithm such as `hashlib.sha256`, instead of BLAKE3.

    Example:
        >>> stable_hash("ab", "c") == stable_hash("a", "bc")
        False
    """
    digest = fingerprint(args).partition(":")[2]
    return digest if hash_algo is None else str(hash_algo(digest.encode()).hexdigest())


def file_hash(path: str | Path, hash_algo: HashAlgorithm | None = None) -> str:
    """Return the hash of a file's bytes, without reading it into memory: BLAKE3, or for example `hashlib.sha256`."""
    if hash_algo is None:
        running = hasher(Path(path).stat().st_size)
        running.update_mmap(path)
        return str(running.hexdigest())
    other = hash_algo()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            other.update(piece)
    return str(other.hexdigest())
