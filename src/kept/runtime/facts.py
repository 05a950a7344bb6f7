"""How a fact is found: an environment variable that stands in for it in tests, else the run around, else nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from kept.exceptions import ConfigurationError


def fact(part: str, name: str, facts: Mapping[str, Callable[[Any], Any]], outside: Mapping[str, Any], run: Any) -> Any:
    """The attribute `name` of `kept.runtime.<part>`, or for `get_<name>` a function that returns it.

    Arguments:
        facts: how each fact is taken from a run.
        outside: what it is where there is no run, if not None.
        run: the context of the run around, or None.
    """
    if name.startswith("get_") and name[4:] in facts:
        return lambda: fact(part, name[4:], facts, outside, run)
    variable = f"KEPT__RUNTIME__{part.upper()}__{name.upper()}"
    text = os.environ.get(variable)
    if name not in facts:
        if text is not None:
            return text
        raise AttributeError(f"kept.runtime.{part} has no attribute {name!r}. It has: {', '.join(facts)}.")
    value = outside.get(name) if run is None else facts[name](run)
    return value if text is None else _as_the_same(value, text, variable)


def _as_the_same(value: Any, text: str, variable: str) -> Any:
    """The text as a value of the type that it stands in for."""
    try:
        if isinstance(value, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if isinstance(value, datetime):
            stated = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return stated if stated.tzinfo else stated.replace(tzinfo=timezone.utc)
        if value is None or isinstance(value, (int, float, str)):
            return text if value is None else type(value)(text)
    except (KeyError, ValueError):
        pass
    raise ConfigurationError(
        f"{variable} is {text!r}, which can't stand in for a {type(value).__name__}. Numbers, texts and ISO 8601 times "
        "can be given so; for anything else use the monkeypatch fixture of pytest."
    )
