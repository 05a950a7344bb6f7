"""BLAKE3 on as many threads as is safe: the one place where kept makes a hasher that may use several."""

from __future__ import annotations

from blake3 import blake3

from kept.utilities.forks import in_forked_child

THREADS_FROM = 1 << 20
"""Below this many bytes, handing work to other threads costs more than it saves."""

_threads = blake3.AUTO


@in_forked_child
def _single_threaded() -> None:
    # BLAKE3's thread pool belongs to the process that first used it: a forked child that uses it waits, for ever,
    # for threads that do not exist there. (blake3 1.0.11: seen here.)
    global _threads
    _threads = 1


def hasher(size: int) -> blake3:
    """A BLAKE3 hasher for `size` bytes in all, which uses several threads where that pays and is safe."""
    return blake3(max_threads=_threads if size >= THREADS_FROM else 1)
