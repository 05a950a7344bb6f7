"""kept runs Python workflows and keeps what their steps return.

Importing this does nothing but define where each name lives; a name is loaded when it is first used.

    0 words      exceptions, states, utilities
    1 identity   fingerprint: what a thing is
    2 bytes      settings, serializers, blocks, filesystems, store, locking, files
    3 records    history
    4 rules      cache_policies, surroundings
    5 runs       context, results, transactions, logging, runtime, futures, engine, task_runners
    6 users      tasks, flows, assets
    7 surfaces   cli, testing
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kept import runtime
    from kept.context import tags
    from kept.files import Dir, File
    from kept.flows import Flow, flow
    from kept.logging import get_run_logger
    from kept.states import State
    from kept.tasks import Task, task
    from kept.transactions import transaction
    from kept.utilities.annotations import Ignore, allow_failure, unmapped

__version__ = "0.1.0"

_HOMES = {
    "Dir": "kept.files",
    "File": "kept.files",
    "Flow": "kept.flows",
    "Ignore": "kept.utilities.annotations",
    "State": "kept.states",
    "Task": "kept.tasks",
    "allow_failure": "kept.utilities.annotations",
    "flow": "kept.flows",
    "get_run_logger": "kept.logging",
    "runtime": "kept.runtime",
    "tags": "kept.context",
    "task": "kept.tasks",
    "transaction": "kept.transactions",
    "unmapped": "kept.utilities.annotations",
}

__all__ = [
    "Dir",
    "File",
    "Flow",
    "Ignore",
    "State",
    "Task",
    "__version__",
    "allow_failure",
    "flow",
    "get_run_logger",
    "runtime",
    "tags",
    "task",
    "transaction",
    "unmapped",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kept' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if name == "runtime" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
