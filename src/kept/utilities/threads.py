"""Starting threads, also where that may fail."""

from __future__ import annotations

import sys
import threading


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        RuntimeError: no thread is to be had, or the interpreter is about to end. Before Python 3.12 it would wait
            forever then for a thread that never comes.
    """
    if sys.is_finalizing():
        raise RuntimeError("no thread can be started any more, as the interpreter is about to end")
    thread.start()
