"""Small values as text, so that later it can be said how they differ; never what looks secret."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_LIMIT = 300
"""How long the text of a value may be."""
_SECRET = re.compile(
    r"(?i)passw|passphrase|pwd|secret|token|credential|private|api_?key|access_?key|"
    r"(?:^|[^a-z])(?:key|auth|pin|dsn|cookie)s?(?:$|[^a-z])"
)
# Bounded, so that the longest line of a table takes no time.
_NAMED_STRING = re.compile(
    r"""(\b([A-Za-z_]\w{0,60})\b['"]?\]?(?:\s{0,9}:[^=\n'"]{0,60})?\s{0,9}[=:]\s{0,9}[bru]{0,2}(['"]))[^'"\n]*(['"])"""
)
"""A string after a name and `=` or `:`, perhaps with an annotation between them."""
_PASSWORD_IN_URL = re.compile(r"(://[^\s/@:'\"]{0,99}:)[^\s/@'\"]{1,99}@")
_ATOMS = frozenset({type(None), bool, float, complex})
_SEQUENCES = frozenset({list, tuple, set})
_BUILT_IN = _ATOMS | _SEQUENCES | {int, str, bytes, dict}
_WITH_FIELDS = ("__dataclass_fields__", "__pydantic_fields__", "__attrs_attrs__")


def remembered(arguments: Mapping[str, Any], parts: Mapping[str, str]) -> dict[str, str] | None:
    """The small plain arguments among those that are parts of a key, as literals of Python; None if there are none.

    A dataclass, or a class like it, is a dict of its fields, each with a dot before its name.

    >>> remembered({"day": "monday", "token": "a1", "debug": True}, {"inputs.day": "b3:5f", "inputs.token": "b3:77"})
    {'day': "'monday'"}
    """
    texts = {}
    for name, value in arguments.items():
        if "inputs." + name not in parts or looks_secret(name):
            continue
        if value.__class__ not in _BUILT_IN and any(hasattr(type(value), mark) for mark in _WITH_FIELDS):
            value = {f".{field}": content for field, content in getattr(value, "__dict__", {}).items()}
        if _left(value, _LIMIT) >= 0:
            text = repr(value)
            if len(text) <= _LIMIT:
                texts[name] = text
    return texts or None


def recalled(text: str) -> Any:
    """The value that a remembered text stands for; the text itself where it is no literal, as `nan` is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@lru_cache(maxsize=1000)
def looks_secret(name: str) -> bool:
    """Whether what has this name is likely to be a secret."""
    return _SECRET.search(name) is not None


def masked(text: str) -> str:
    """Source, or the text of a value, without the strings that look secret by the names before them.

    >>> masked("connect('db', password='hush', user='ada')")
    "connect('db', password='********', user='ada')"
    """

    def hidden(found: re.Match[str]) -> str:
        # In code a bare `key` is what to sort or look up by.
        is_secret = found[2] != "key" and looks_secret(found[2])
        return f"{found[1]}********{found[4]}" if is_secret else found[0]

    return _PASSWORD_IN_URL.sub(r"\1********@", _NAMED_STRING.sub(hidden, text))


def _left(value: Any, room: int) -> int:
    """What is left of so much room for text once this is written there; negative if it does not fit or must not be."""
    kind = value.__class__
    if kind in _ATOMS:
        return room - 4
    if kind is int:
        return room - int(value.bit_length()) // 4 - 1
    if kind is str:
        return -1 if "://" in value and "@" in value else room - len(value) - 2
    if kind is bytes:
        return room - len(value) - 3
    if kind is dict:
        if len(value) > room or any(key.__class__ is str and looks_secret(key) for key in value):
            return -1
        value = [thing for pair in value.items() for thing in pair]
    elif kind not in _SEQUENCES:
        return -1
    room -= 2
    for element in value:
        if room < 0:
            break
        room = _left(element, room)
    return room
