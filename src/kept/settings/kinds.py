"""What a setting may hold: one `Kind` per type, which turns text or a Python value into a checked value.

A kind is strict: what it can't read for certain it refuses, so that a typing error never passes as a value.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_NOTHING = frozenset({"none", "null"})
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)B?")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Kind(Generic[T]):
    """The type of a setting: its name, what it allows in words, and how it reads a value."""

    __slots__ = ("allowed", "name", "read")

    def __init__(self, name: str, allowed: str, read: Callable[[object], T]) -> None:
        self.name = name
        """One word or two, as `kept config view` shows it: "boolean", "path"."""
        self.allowed = allowed
        """What is allowed, to end a sentence that begins with "allowed is"."""
        self.read = read
        """Gives the checked value of a text or a Python object, or raises ValueError."""


def one_of(*words: str, fold: Callable[[str], str] = str.lower) -> Kind[str]:
    """One of a few words, upper and lower case being the same; `fold` gives the case of `words`."""

    def read(value: object) -> str:
        if isinstance(value, str) and fold(value.strip()) in words:
            return fold(value.strip())
        raise ValueError

    return Kind("string", "one of " + ", ".join(words), read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """What `kind` takes, or None; in text the word `none`."""

    def read(value: object) -> T | None:
        if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING):
            return None
        return kind.read(value)

    return Kind(f"{kind.name} or none", f"{kind.allowed}, or none", read)


def text_of(value: object) -> str:
    """The text that stands for a value in the environment and on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def expand_path(path: Path, *, folder: Path, home: Path | None) -> Path:
    """The absolute path that a setting means.

    Args:
        path: the value as it is set; `~`, `$KEPT_HOME` and `${KEPT_HOME}` stand for folders in it.
        folder: what a relative path is relative to.
        home: the folder of kept; None while that folder itself is being found out.

    Raises:
        ValueError: it names a user or a variable that is not known here.
    """
    text = str(path)
    if home is not None:
        text = text.replace("${KEPT_HOME}", str(home)).replace("$KEPT_HOME", str(home))
    if "$KEPT_HOME" in text or "${" in text:
        raise ValueError
    return Path(os.path.normpath(folder / _with_user_folder(text)))


def _read_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value) if type(value) is int else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _read_whole_number(value: object) -> int:
    if isinstance(value, str):
        value = int(value)
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _read_positive_number(value: object) -> int:
    number = _read_whole_number(value)
    if number == 0:
        raise ValueError
    return number


def _read_seconds(value: object) -> float:
    if isinstance(value, str):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def _read_share(value: object) -> float:
    share = _read_seconds(value)
    if share > 1:
        raise ValueError
    return share


def _read_delays(value: object) -> float | list[float]:
    if isinstance(value, str) and ("," in value or value.strip().startswith("[")):
        value = _split(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if not value:
            raise ValueError
        return [_read_seconds(item) for item in value]
    return _read_seconds(value)


def _read_names(value: object) -> list[str]:
    if isinstance(value, str):
        value = _split(value)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise ValueError
    names = [item.strip() if isinstance(item, str) else "" for item in value]
    if not all(names):
        raise ValueError
    return names


def _split(text: str) -> list[str]:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return [item.strip().strip("\"'") for item in text.split(",") if item.strip()]


def _read_text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError


def _read_size(value: object) -> int:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip().upper())
        if match is None:
            raise ValueError
        value = int(float(match[1]) * _UNITS[match[2]])
    return _read_whole_number(value)


def _read_path(value: object) -> Path:
    text = _read_text(str(value) if isinstance(value, Path) else value)
    _with_user_folder(text)
    # Another variable would become a folder of that name, made without a word.
    if "${" in text.replace("${KEPT_HOME}", ""):
        raise ValueError
    return Path(text)


def _with_user_folder(text: str) -> str:
    expanded = os.path.expanduser(text)  # noqa: PTH111 - `Path` would first fold "./~" into "~"
    if expanded.startswith("~"):
        raise ValueError
    return expanded


BOOLEAN = Kind("boolean", "true or false (also 1 or 0, yes or no, on or off)", _read_boolean)
WHOLE_NUMBER = Kind("number", "a whole number, 0 or more", _read_whole_number)
POSITIVE_NUMBER = Kind("number", "a whole number, 1 or more", _read_positive_number)
DELAYS = Kind("seconds", "seconds, 0 or more, or a list of them such as 1,10,60", _read_delays)
NAMES = Kind("names", "names with commas between them", _read_names)
TEXT = Kind("string", "a text that is not empty", _read_text)
SHARE = Kind("number", "a share of all, from 0 for none to 1 for all", _read_share)
SECONDS = Kind("seconds", "seconds, 0 or more", _read_seconds)
SIZE = Kind("size", "a number of bytes, or a size such as 500MB, 10GB, 1.5TB (powers of 1000)", _read_size)
SECRET = Kind("secret", "a text that is not empty", _read_text)
"""A text that is not shown where settings are."""
PATH = Kind("path", "a path; ~ and ${KEPT_HOME} may be used in it", _read_path)
