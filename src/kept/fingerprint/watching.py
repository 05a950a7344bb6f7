"""What has to stay as it is for a reading of code to hold, and a check of it that costs next to nothing."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import cycle, repeat
from operator import attrgetter, is_
from typing import Any

from kept.fingerprint import rules
from kept.fingerprint.canonical import Node, fingerprint_with
from kept.fingerprint.kinds import ABSENT, is_code, is_dunder, items_of
from kept.fingerprint.plain import plain_bytes


class Watch:
    """What has to stay as it is for a reading to hold."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._cells: dict[int, tuple[Any, Any]] = {}
        self._plain: dict[int, tuple[Any, bytes]] = {}
        self._items: dict[int, tuple[Any, list[Any]]] = {}
        self._functions: dict[int, types.FunctionType] = {}
        self._whole: dict[int, tuple[Mapping[str, Any], frozenset[str]]] = {}
        self._values: dict[int, tuple[Any, str]] = {}
        self._slots: list[tuple[Any, str, Any]] = []

    def name(self, space: Mapping[str, Any], name: str) -> Any:
        """What a name stands for, `ABSENT` if nothing; that must not change."""
        found = space.get(name, ABSENT)
        # Of an object or a class, the view of its names is new each time: the key is what it is a view of.
        self._names.setdefault(id(space), (space, {}))[1][name] = found
        return found

    def all_names(self, space: Mapping[str, Any], owner: Any) -> None:
        """What a class or an object has must not change, nor may it get more."""
        kind = owner if isinstance(owner, type) else type(owner)
        derived = {name for base in kind.__mro__ for name, x in vars(base).items() if type(x) is cached_property}
        self._whole[id(owner)] = (space, frozenset() if kind is owner else frozenset(derived))
        for name in list(space):
            if not is_dunder(name) and (kind is owner or name not in derived):
                self.name(space, name)

    def value(self, value: Any) -> None:
        """The content of a small value of a library's type must not change."""
        with contextlib.suppress(Exception):  # an object may raise anything when it is looked at
            size = getattr(value, "nbytes", None)
            if (size if type(size) is int else sys.getsizeof(value)) <= _LOOKED_THROUGH:
                self._values[id(value)] = (value, _content_digest(value))

    def slot(self, value: Any, name: str) -> Any:
        """What a slot of an object holds, `ABSENT` if nothing; that must not change."""
        found = getattr(value, name, ABSENT)
        self._slots.append((value, name, found))
        return found

    def cell(self, cell: Any) -> Any:
        """The content of a cell, `ABSENT` if it is empty; it must not change."""
        found = _content_of(cell)
        self._cells[id(cell)] = (cell, found)
        return found

    def content(self, value: Any, depth: int = 0) -> None:
        """What a list, a dict or a set holds must not change; an object of the user's must keep its attributes."""
        if type(value) in (list, dict, set) and len(value) <= _MOST_ITEMS:
            content = plain_bytes(value)
            if content is not None:
                self._plain[id(value)] = (value, content)
            elif id(value) not in self._items:
                self._items[id(value)] = (value, items_of(value))
                for item in items_of(value) if depth < _DEEPEST else ():
                    self.content(item, depth + 1)
        elif type(value) is tuple:
            for item in value if depth < _DEEPEST else ():
                self.content(item, depth + 1)

    def function(self, value: types.FunctionType) -> None:
        """The code and the defaults of a function must not be replaced."""
        self._functions[id(value)] = value

    def check(self) -> Callable[[], bool]:
        """What tells, at little cost, whether all is as it was."""
        names = [(space.get, tuple(found), list(found.values())) for space, found in self._names.values()]
        cells, plain, items = list(self._cells.values()), list(self._plain.values()), list(self._items.values())
        every = list(self._functions.values())
        functions = [every[at : at + _A_TURN] for at in range(0, len(every), _A_TURN)] or [[]]
        inner = [list(map(_inner_of, some)) for some in functions]
        turns = cycle(range(len(functions)))
        whole = [(space, derived, len(space.keys() - derived)) for space, derived in self._whole.values()]
        values = list(self._values.values())
        slots = self._slots

        spaces = [space for space, _ in self._names.values()]
        singles = [
            (space.get, name, value)
            for space, found in self._names.values()
            for name, value in found.items()
            if not _is_identical_if_equal(value)
        ]
        snapshots = [(space.values, list(space.values())) for space in spaces]

        def holds() -> bool:
            # Whole namespaces at once, by ==, which is quick where all is as it was. What may be equal to something
            # else (1 and True are, arrays have no answer) is looked at by itself.
            try:
                same = True
                for values_of, before in snapshots:
                    if list(values_of()) != before:
                        same = False
                        break
            except Exception:
                same = False
            if same:
                for get, name, value in singles:
                    if get(name, ABSENT) is not value:
                        return False
            else:
                for get, wanted, found in names:
                    if not all(map(is_, map(get, wanted, repeat(ABSENT)), found)):
                        return False
                snapshots[:] = [(space.values, list(space.values())) for space in spaces]
            # Hardly anything replaces what is inside of a function: of very many, some are looked at each time.
            at = next(turns)
            if list(map(_inner_of, functions[at])) != inner[at]:
                return False
            for value, name, held in slots:
                if getattr(value, name, ABSENT) is not held:
                    return False
            for space, derived, size in whole:
                if (len(space.keys() - derived) if derived else len(space)) != size:
                    return False
            for cell, content in cells:
                if _content_of(cell) is not content:
                    return False
            for value, held in items:
                now = items_of(value)
                if len(now) != len(held) or not all(map(is_, now, held)):
                    return False
            for value, content in plain:
                if plain_bytes(value) != content:
                    return False
            return all(_content_digest(value) == digest for value, digest in values) if values else True

        def still_holds() -> bool:
            try:
                return holds()
            except Exception:  # an object may raise anything when it is looked at
                return False

        return still_holds


def _is_identical_if_equal(value: Any) -> bool:
    return value is ABSENT or type(value) in (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


_inner_of = attrgetter("__code__", "__defaults__", "__kwdefaults__")


_LOOKED_THROUGH = 1 << 20  # bytes of a value that is looked through at each call


_A_TURN = 10
_MOST_ITEMS = 10_000  # of a container that is looked through at each call


def _content_digest(value: Any) -> str:
    """The digest of a value without the code in it, which is watched by itself."""
    return fingerprint_with(_content_node, value, "value", None)


def _content_node(value: Any) -> Node:
    return Node("code", id(value)) if is_code(value) else rules.describe(value)


_DEEPEST = 16
