"""The task run that this code is part of: `id`, `name`, `task_name`, `parameters`, `tags`, `run_count`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kept.context import TaskRunContext
from kept.runtime.facts import fact

_FACTS: dict[str, Callable[[TaskRunContext], Any]] = {
    "id": lambda c: c.task_run.id,
    "name": lambda c: c.task_run.name,
    "task_name": lambda c: c.task.name,
    "parameters": lambda c: dict(c.parameters),
    "tags": lambda c: sorted(c.task_run.tags),
    "run_count": lambda c: c.task_run.run_count,
    **dict.fromkeys(("api_url", "ui_url"), lambda c: None),  # what only a server could know
}
_OUTSIDE: dict[str, Any] = {"parameters": {}, "tags": [], "run_count": 0}

__all__ = list(_FACTS)


def __getattr__(name: str) -> Any:
    context = TaskRunContext.get()
    return fact("task_run", name, _FACTS, _OUTSIDE, context if context and context.task_run else None)


def __dir__() -> list[str]:
    return list(_FACTS)
