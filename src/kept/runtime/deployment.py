"""The deployment that the flow run around this code belongs to: none, for kept runs flows where they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kept.runtime.facts import fact

_FACTS: dict[str, Callable[[Any], Any]] = dict.fromkeys(
    ("id", "name", "version", "flow_run_id", "parameters"), lambda run: None
)
_OUTSIDE: dict[str, Any] = {"parameters": {}}

__all__ = list(_FACTS)


def __getattr__(name: str) -> Any:
    return fact("deployment", name, _FACTS, _OUTSIDE, None)


def __dir__() -> list[str]:
    return list(_FACTS)
