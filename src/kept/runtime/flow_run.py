"""The flow run around this code: `id`, `name`, `flow_name`, `parameters`, `tags`, `run_count`, ..."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from kept.context import FlowRunContext
from kept.runtime.facts import fact

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
    # What only a server and its deployments could know.
    **dict.fromkeys(("parent_deployment_id", "job_variables", "api_url", "ui_url"), lambda c: None),
}

__all__ = list(_FACTS)


def __getattr__(name: str) -> Any:
    context = FlowRunContext.get()
    outside = {"parameters": {}, "tags": [], "run_count": 0, "scheduled_start_time": datetime.now(timezone.utc)}
    return fact("flow_run", name, _FACTS, outside, context if context and context.flow_run else None)


def __dir__() -> list[str]:
    return list(_FACTS)


def _root(context: FlowRunContext) -> FlowRunContext:
    around = context.parent
    while around is not None:
        if isinstance(around, FlowRunContext):
            context = around
        around = around.parent
    return context
