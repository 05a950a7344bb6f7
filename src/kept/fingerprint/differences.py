"""Where two values differ: the way to the first difference, and both sides of it, shown briefly.

What differs is what `fingerprint` tells apart. The way is found by halves, so that each level of the values is looked
through about once, at the speed of fingerprints; and it ends after `_MOST_STEPS`.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

from kept.fingerprint.canonical import Node
from kept.fingerprint.plain import ATOMS, TEXTS
from kept.fingerprint.rules import describe, fingerprint

_MOST_STEPS = 30
_WIDTH = 50
_BEFORE = 20
_ARRAYS = frozenset({"numpy", "pandas", "polars", "pyarrow", "torch"})
_WHOLE = frozenset({"enum", "flag"})
_OURS = "kept.fingerprint."
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

_brief = reprlib.Repr()
_brief.maxlevel = 2
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = _brief.maxfrozenset = 3
_brief.maxstring = _brief.maxother = 2 * _WIDTH


class Difference(NamedTuple):
    """The first place at which two values differ."""

    path: str
    """The way there, as code that begins with the name of the value: `result['rows'][3].price`."""
    old: str
    """What is there in the first value, shown briefly."""
    new: str
    """What is there in the second."""

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


class _Pair(NamedTuple):
    """Two values at one place, whose fingerprints differ."""

    path: str
    old: Any
    new: Any


class _Missing:
    """Stands for what is not there."""

    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


def difference(old: object, new: object, where: str = "result") -> Difference | None:
    """Return where two values differ first, or None if they have the same fingerprint.

    Args:
        old: The value of before.
        new: The value of now.
        where: How the path begins.

    Raises:
        HashError: Something in a value has no stable content. The message names the way to it.

    Example:
        >>> print(difference({"rows": [1, 2.0]}, {"rows": [1, 3.0]}))
        result['rows'][1]: 2.0 -> 3.0
    """
    if _same(old, new, where):
        return None
    pair: _Pair | None = _Pair(where, old, new)
    shown = pair
    for _ in range(_MOST_STEPS):
        if pair is None:
            break
        if not type(pair.old).__module__.startswith(_OURS) or _MISSING in (pair.old, pair.new):
            shown = pair
        pair = _further(pair)
    assert shown is not None
    return _told(*shown)


def _same(old: object, new: object, where: str = "value") -> bool:
    return old is new or fingerprint(old, where=where) == fingerprint(new, where=where)


def _further(pair: _Pair) -> _Pair | None:
    """Return the first part of both values that differs, None if they have no parts or differ as a whole."""
    kind = type(pair.old)
    if kind is not type(pair.new):
        return None
    if kind in TEXTS:
        return _in_text(pair)
    if kind in ATOMS or (_library(pair.old) in _ARRAYS and not hasattr(pair.old, "__len__")):
        return None  # a scalar
    if kind is dict:
        return _in_dict(pair)
    if kind is set or kind is frozenset:
        return _in_set(pair)
    in_sequence = _in_sequence(pair) if kind is list or kind is tuple or _is_array(pair.old) else None
    return in_sequence or _in_node(pair)


def _first_different(length: int, same: Callable[[int, int], bool]) -> int:
    """Return the first place at which two sequences differ, by halves; `length` if they don't.

    Args:
        length: How many places both have.
        same: Says whether they are the same from one place up to another.
    """
    low, high = 0, length
    if same(low, high):
        return length
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if same(low, middle) else (low, middle)
    return low


# --- texts -----------------------------------------------------------------------------------------


def _in_text(pair: _Pair) -> _Pair | None:
    """Return the first line that differs, or of a long line a piece around the first character that does."""
    path, old, new = pair
    at = _first_different(min(len(old), len(new)), lambda low, high: old[low:high] == new[low:high])
    newline: Any = "\n" if type(old) is str else b"\n"
    start = old.rfind(newline, 0, at) + 1
    lines = [text[start:].partition(newline)[0] for text in (old, new)]
    if (newline in old or newline in new) and lines[0] != lines[1]:
        return _Pair(f"{path}, line {old.count(newline, 0, at) + 1}", *lines)
    if max(len(old), len(new)) <= _WIDTH:
        return None
    first = max(0, at - _BEFORE)
    unit = "character" if type(old) is str else "byte"
    return _Pair(f"{path}, {unit} {at + 1}", old[first : first + _WIDTH], new[first : first + _WIDTH])


# --- containers and arrays -------------------------------------------------------------------------


def _in_dict(pair: _Pair) -> _Pair | None:
    path, old, new = pair
    for key in (*old, *new):
        if key not in old or key not in new:
            return _Pair(f"{path}[{_shown(key)}]", old.get(key, _MISSING), new.get(key, _MISSING))
    keys = list(old)
    at = _first_different(
        len(keys), lambda low, high: _same([old[key] for key in keys[low:high]], [new[key] for key in keys[low:high]])
    )
    return None if at == len(keys) else _Pair(f"{path}[{_shown(keys[at])}]", old[keys[at]], new[keys[at]])


def _in_set(pair: _Pair) -> _Pair | None:
    path, old, new = pair
    for one, other in ((old, new), (new, old)):
        alone = [_shown(element) for element in one if element not in other]
        if alone:
            return _Pair(f"{min(alone)} in {path}", one is old, one is new)
    return None


def _is_array(value: Any) -> bool:
    """Say whether a value is a sequence by place, of a library: no frame or series, whose slices go by label."""
    sized = hasattr(value, "__len__") and getattr(value, "shape", None) != ()
    return sized and _library(value) in _ARRAYS and not (hasattr(value, "iloc") or hasattr(value, "columns"))


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _in_sequence(pair: _Pair) -> _Pair | None:
    path, old, new = pair
    if len(old) != len(new):
        return _Pair(f"len({path})", len(old), len(new))
    for name in ("dtype", "type", "shape"):
        kinds = getattr(old, name, None), getattr(new, name, None)
        if kinds[0] != kinds[1]:
            return _Pair(f"{path}.{name}", *kinds)
    at = _first_different(len(old), lambda low, high: _same(old[low:high], new[low:high]))
    return None if at == len(old) else _Pair(f"{path}[{at}]", _element(old[at]), _element(new[at]))


def _element(value: Any) -> Any:
    """Return what a scalar of Arrow stands for; any other element is itself."""
    return value.as_py() if hasattr(value, "as_py") else value


# --- everything else, by what its fingerprint is made of -------------------------------------------


def _in_node(pair: _Pair) -> _Pair | None:
    path, old, new = pair
    nodes = describe(old), describe(new)
    if nodes[0].tag != nodes[1].tag or nodes[0].tag in _WHOLE or any(node.code or node.unordered for node in nodes):
        return None
    here, there = map(_parts, nodes)
    for step in (*here, *there):
        if step not in here or step not in there:
            return _Pair(path + step[0], here.get(step, _MISSING), there.get(step, _MISSING))
    for step, part in here.items():
        if not _same(part, there[step]):
            return _Pair(path + step[0], part, there[step])
    return None


def _parts(node: Node) -> dict[tuple[str, int], Any]:
    """Return the children by the ways to them; of several at one way, the second is number 1."""
    children = [part for piece in node.children for part in piece] if node.sliced else node.children  # type: ignore[attr-defined]
    parts: dict[tuple[str, int], Any] = {}
    counts: dict[str, int] = {}
    for index, child in enumerate(children):
        step = node.step(index) if node.step else f"[{index}]"
        counts[step] = number = counts.get(step, -1) + 1
        parts[step, number] = child
    return parts


# --- showing ---------------------------------------------------------------------------------------


def _told(path: str, old: object, new: object) -> Difference:
    texts = _shown(old), _shown(new)
    if texts[0] == texts[1]:
        kinds = [type(value).__name__ for value in (old, new)]
        texts = (f"{texts[0]} ({kinds[0]})", f"{texts[1]} ({kinds[1] if kinds[0] != kinds[1] else 'another one'})")
    return Difference(path, *texts)


def _shown(value: Any) -> str:
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        return f"a {kind.__qualname__}"
    if _library(value) in _ARRAYS and getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    text = _brief.repr(value)
    if kind not in ATOMS:
        text = " ".join(_ADDRESS.sub("", text).split())
    return text if len(text) <= 2 * _WIDTH else text[: 2 * _WIDTH - 3] + "..."
