"""What stands for a value that is somewhere else or not there yet; how it is found and replaced inside of others."""

from __future__ import annotations

import copy
import dataclasses
import operator
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class Handle:
    """The base of what stands for a value: futures, states, annotations."""

    __slots__ = ()


class HandleList(list[T]):
    """A list of handles, which is a plain list with values in their places."""


# What can't hold a future. Most arguments are of these types, and are passed over at the cost of one look-up.
_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, type, range, slice},
)
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_SEQUENCES = (list, tuple, set, frozenset, deque)


def can_hold_handles(parameters: dict[str, Any]) -> bool:
    """Whether any of these could be or hold a future, by a look at their types alone."""
    return not _ATOMS.issuperset(map(type, parameters.values()))


def find_handles(expr: Any) -> list[Any]:
    """The futures, states and annotations inside a value: in lists, tuples, sets, deques, dicts, dataclasses,
    classes of attrs and models of pydantic.

    What stands inside an annotation is not listed, only the annotation.
    """
    found: list[Any] = []
    _find(expr, found, {})
    return found


# Both walks hold what they have seen: an id is one of a living object, and a container may make its elements anew.
def _find(value: Any, found: list[Any], seen: dict[int, Any]) -> None:
    if value.__class__ in _ATOMS:
        return
    if isinstance(value, Handle):
        found.append(value)
        return
    children = _children(value)
    # The types of a million numbers are looked at in C.
    if not children or _ATOMS.issuperset(map(type, children)):
        return
    if id(value) not in seen:
        seen[id(value)] = value
        for child in children:
            _find(child, found, seen)


def _children(value: Any) -> Any:
    if isinstance(value, _SEQUENCES):
        return value
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    names = _field_names(value)
    return [getattr(value, name) for name in names if hasattr(value, name)] if names else ()


def _field_names(value: Any) -> Iterable[str]:
    if isinstance(value, type):
        return ()
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if hasattr(type(value), "__attrs_attrs__"):
        return [field.name for field in type(value).__attrs_attrs__]
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return list(type(value).model_fields)
    return ()


def replace_handles(expr: Any, swap: Callable[[Any], Any]) -> Any:
    """`expr` with `swap(handle)` in place of each future, state and annotation.

    Only what holds one is copied; a value without any is returned itself.
    """
    return _replace(expr, swap, {})


def _replace(value: Any, swap: Callable[[Any], Any], done: dict[int, tuple[Any, Any]]) -> Any:
    if value.__class__ in _ATOMS:
        return value
    if isinstance(value, Handle):
        return swap(value)
    if id(value) not in done:
        done[id(value)] = value, value
        done[id(value)] = value, _rebuilt(value, lambda child: _replace(child, swap, done))
    return done[id(value)][1]


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    before = list(_children(value))
    after = [change(child) for child in before]
    if all(map(operator.is_, before, after)):
        return value
    if isinstance(value, dict):
        half = len(after) // 2
        return _same_kind(value, dict(zip(after[:half], after[half:], strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*after)
    if isinstance(value, _SEQUENCES):
        return _same_kind(value, after)
    names = [name for name in _field_names(value) if hasattr(value, name)]
    return _with_fields(value, dict(zip(names, after, strict=True)))


def _same_kind(value: Any, content: Any) -> Any:
    kind = type(value)
    if kind is type(content) or issubclass(kind, HandleList):
        return content
    if kind in _CONTAINERS:
        return kind(content)
    return _refilled(value, content)


def _refilled(value: Any, content: Any) -> Any:
    """A copy of a container of a class of its own, with other content; its constructor is not known."""
    if isinstance(value, (tuple, frozenset)):
        return type(value)(content)
    twin = copy.copy(value)
    twin.clear()
    twin.extend(content) if hasattr(value, "extend") else twin.update(content)
    return twin


def _with_fields(value: Any, changed: dict[str, Any]) -> Any:
    if not (dataclasses.is_dataclass(value) or hasattr(type(value), "__attrs_attrs__")):
        twin = copy.copy(value)
    else:  # without any code of its class, such as __getstate__: that expects values where there are futures
        twin = object.__new__(type(value))
        getattr(twin, "__dict__", {}).update(getattr(value, "__dict__", {}))
    for name, content in changed.items():
        object.__setattr__(twin, name, content)
    return twin


def is_built_in(value: Any, around: tuple[int, ...] = ()) -> bool:
    """Whether a value is a tree of builtin containers, as far as anything stands in it that could hold a future."""
    if value.__class__ in _ATOMS or isinstance(value, Handle):
        return True
    if not (value.__class__ in _CONTAINERS or isinstance(value, HandleList)) or id(value) in around:
        return False
    return all(is_built_in(child, (*around, id(value))) for child in _children(value))
