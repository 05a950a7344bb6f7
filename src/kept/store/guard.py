"""One process, and one thread in it, at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kept.utilities.forks import in_forked_child

try:
    import fcntl
except ImportError:  # Windows: threads are kept apart, processes are not
    fcntl = None  # type: ignore[assignment]

_threads: dict[str, threading.Lock] = {}

# A lock held by a thread that the child does not have would never be released there.
in_forked_child(_threads.clear)


@contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Hold the lock on the file at `path`, made when missing, waiting for others to let go of it.

    A killed process lets go. Not reentrant. Raises OSError when the file can't be made or locked.

    A POSIX record lock rather than `flock`: it works over NFS, and a child forked meanwhile does not inherit
    it. Such a lock belongs to the process, so that threads are kept apart by another one.
    """
    real = os.path.realpath(path)
    with _threads.setdefault(real, threading.Lock()):
        descriptor = os.open(real, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if fcntl is not None:
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
