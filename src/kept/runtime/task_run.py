"""The task run that this code is part of: `id`, `name`, `task_name`, `parameters`, `tags`, `run_count`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kept.context import TaskRunContext

_FACTS: dict[str, Callable[[TaskRunContext], Any]] = {
    "id": lambda c: c.task_run.id,
    "name": lambda c: c.task_run.name,
    "task_name": lambda c: c.task.name,
    "parameters": lambda c: dict(c.parameters),
    "tags": lambda c: sorted(c.task_run.tags),
    "run_count": lambda c: c.task_run.run_count,
}
_OUTSIDE: dict[str, Any] = {"parameters": {}, "tags": [], "run_count": 0}

__all__ = list(_FACTS)


def __getattr__(name: str) -> Any:
    if name not in _FACTS:
        raise AttributeError(f"kept.runtime.task_run has no attribute {name!r}. It has: {', '.join(_FACTS)}.")
    context = TaskRunContext.get()
    if context is None or context.task_run is None:
        return _OUTSIDE.get(name)
    return _FACTS[name](context)


def __dir__() -> list[str]:
    return list(_FACTS)
