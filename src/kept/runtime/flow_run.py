"""The flow run around this code: `id`, `name`, `flow_name`, `parameters`, `tags`, `run_count`, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kept.context import FlowRunContext

_FACTS: dict[str, Callable[[FlowRunContext], Any]] = {
    "id": lambda c: c.flow_run.id,
    "name": lambda c: c.flow_run.name,
    "flow_name": lambda c: c.flow.name,
    "flow_version": lambda c: c.flow.version,
    "parameters": lambda c: dict(c.parameters),
    "tags": lambda c: sorted(c.flow_run.tags),
    "run_count": lambda c: c.flow_run.run_count,
    "scheduled_start_time": lambda c: c.flow_run.start_time,
    "parent_flow_run_id": lambda c: c.flow_run.flow_run_id,
    "root_flow_run_id": lambda c: _root(c).flow_run.id,
}
_OUTSIDE: dict[str, Any] = {"parameters": {}, "tags": [], "run_count": 0}

__all__ = list(_FACTS)


def __getattr__(name: str) -> Any:
    if name not in _FACTS:
        raise AttributeError(f"kept.runtime.flow_run has no attribute {name!r}. It has: {', '.join(_FACTS)}.")
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return _OUTSIDE.get(name)
    return _FACTS[name](context)


def __dir__() -> list[str]:
    return list(_FACTS)


def _root(context: FlowRunContext) -> FlowRunContext:
    around = context.parent
    while around is not None:
        if isinstance(around, FlowRunContext):
            context = around
        around = around.parent
    return context
