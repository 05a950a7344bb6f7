"""How values are written on the command line."""

from __future__ import annotations


def text_of(value: object) -> str:
    """The text that stands for a value in the environment and on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
