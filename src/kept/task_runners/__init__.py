"""Where submitted tasks run. A runner starts with the first task and ends with the flow run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kept.task_runners.base import TaskRunner
from kept.task_runners.threads import ConcurrentTaskRunner, ThreadPoolTaskRunner

if TYPE_CHECKING:
    from kept.task_runners.processes import ProcessPoolTaskRunner

__all__ = ["ConcurrentTaskRunner", "ProcessPoolTaskRunner", "TaskRunner", "ThreadPoolTaskRunner"]


def __getattr__(name: str) -> Any:
    if name != "ProcessPoolTaskRunner":
        raise AttributeError(f"module 'kept.task_runners' has no attribute {name!r}")
    from kept.task_runners.processes import ProcessPoolTaskRunner  # noqa: PLC0415 - it imports multiprocessing

    return ProcessPoolTaskRunner
