"""Rules for code as a value: functions, methods, partials, classes, modules, type expressions."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from kept.fingerprint.canonical import Node

Rule = Callable[[Any], Node]


def rule_for(kind: type) -> Rule | None:
    """Return the rule for a type of code."""
    if issubclass(kind, type):
        return _class
    return _RULES.get(kind)


def _class(value: type) -> Node:
    return Node("class", f"{value.__module__}:{value.__qualname__}")


def _function(value: types.FunctionType) -> Node:
    return Node("function", f"{value.__module__}:{value.__qualname__}")


_RULES: dict[type, Rule] = {types.FunctionType: _function}
