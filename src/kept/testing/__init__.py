"""What users of kept need to test their own code, and their own stores."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kept.testing.contracts import an_entry, check_blobs, check_entries
    from kept.testing.locks import check_lock_manager
    from kept.testing.runners import check_task_runner
    from kept.testing.utilities import kept_test_harness, memory_store

_HOMES = {
    "an_entry": "contracts",
    "check_blobs": "contracts",
    "check_entries": "contracts",
    "check_lock_manager": "locks",
    "check_task_runner": "runners",
    "kept_test_harness": "utilities",
    "memory_store": "utilities",
}

__all__ = [
    "an_entry",
    "check_blobs",
    "check_entries",
    "check_lock_manager",
    "check_task_runner",
    "kept_test_harness",
    "memory_store",
]


# Lazily: pytest loads the plugin beside at each start, in projects that may not use it, and with it this package.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kept.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kept.testing.{_HOMES[name]}"), name)
