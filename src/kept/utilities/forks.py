"""What forked children do not have of their parent: its threads, and so nobody who gives back a lock that is held."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[[], Any])


def in_forked_child(function: F) -> F:
    """Have the function called in every child that is forked from now on. To be used as a decorator, too."""
    if hasattr(os, "register_at_fork"):  # nothing forks on Windows
        os.register_at_fork(after_in_child=function)
    return function


def not_while_forking(lock: threading.Lock) -> threading.Lock:
    """Let no child be forked while the lock is held; returns the lock."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
