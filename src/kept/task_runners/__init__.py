"""Where submitted tasks run. A runner starts with the first task and ends with the flow run."""

from __future__ import annotations

from kept.task_runners.base import TaskRunner
from kept.task_runners.threads import ConcurrentTaskRunner, ThreadPoolTaskRunner

__all__ = ["ConcurrentTaskRunner", "TaskRunner", "ThreadPoolTaskRunner"]
