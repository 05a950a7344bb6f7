"""What a function is: its own code and everything that it reaches by name, as one digest and as parts.

The body of a function names things: functions, classes, constants, modules and what is in them, other tasks. Each is
followed to what the name stands for now, and described in turn: the user's functions and classes by their syntax in
one normal form, constants and objects by value, what is installed by the version of its distribution, what comes with
Python by its name. What has no stable content (a lock, a client, a random generator), and what the code changes
itself (a counter, a memo), counts by the statement that defines it; what has no such statement by its type. So no
code makes a run fail, and `unknown` names the parts of which no more than that is known.

The digest is that of the whole graph (`canonical.py` walks it, cycles included), and depends neither on the names of
the user's modules nor on where they lie. What a function imports itself is read from the files of those modules, as
their source has it. Only a module in which a name stands for what no source can tell, such as what was read from a
file, is imported for it.

What was found out is remembered with the function, and holds until a name that was followed means something else.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from kept.fingerprint import rules
from kept.fingerprint.canonical import Node
from kept.fingerprint.definitions import bytecode
from kept.fingerprint.functions import named
from kept.fingerprint.kinds import (
    file_of_loaded,
    held_in,
    is_code,
    is_made_up,
    is_plain,
    is_users_class,
    items_of,
    slots_of,
    vars_of,
)
from kept.fingerprint.modules import (
    is_users,
)
from kept.fingerprint.parts import CodeIdentity
from kept.fingerprint.plain import ATOMS, CONTAINERS
from kept.fingerprint.reading import Reading


def code_identity(thing: Any) -> CodeIdentity:
    """Return what a function or class is, with everything that it reaches.

    It is remembered with the thing itself; a call looks only whether a name has been bound to something else since, or
    a container has been changed.

    Example:
        >>> code_identity(lambda x: x + 1).digest == code_identity(lambda x: x + 2).digest
        False
    """
    known = _known.get(id(thing))
    if known is not None and known.holds():
        return known.identity
    reading = Reading()
    identity = reading.identity(thing)
    if len(_known) >= _MOST_KNOWN:  # functions made in a loop
        _known.clear()
    _known[id(thing)] = _Known(thing, identity, reading.watch.check())
    return identity


_MOST_KNOWN = 4096


class _Known(NamedTuple):
    thing: Any
    identity: CodeIdentity
    holds: Callable[[], bool]


_known: dict[int, _Known] = {}


_WITHOUT_CLASSES = ATOMS | {bytearray, memoryview, range}


def classes_among(values: Collection[Any]) -> list[type]:
    """Return the user's classes whose instances are among some values, or in them, in the order of their names.

    What an object does is the code of its class, which is no part of its own fingerprint.
    """
    if _WITHOUT_CLASSES.issuperset(map(type, values)):
        return []
    found: dict[type, None] = {}
    seen: set[int] = set()
    stack = [value for value in values if type(value) not in _WITHOUT_CLASSES]
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in _WITHOUT_CLASSES or id(value) in seen or is_code(value):
            continue
        seen.add(id(value))
        if kind in CONTAINERS:
            items = items_of(value)
            if not _WITHOUT_CLASSES.issuperset(map(type, items)):
                stack.extend(items)
        elif not rules.leaves_out(kind):
            if is_users_class(kind):
                found[kind] = None
                stack.extend(getattr(value, name, None) for base in kind.__mro__ for name in slots_of(base))
            stack.extend(vars_of(value).values())
            stack.extend(held_in(value))
    return sorted(found, key=lambda kind: (kind.__qualname__, kind.__module__))


def _described_function(value: types.FunctionType) -> Node:
    module, filename = value.__globals__.get("__name__") or "", value.__code__.co_filename
    if not is_made_up(filename) and not is_users(module, filename) and not value.__closure__:
        return named(module, value.__qualname__, "function")
    # What is bound to it is part of the value: without stable content it is an error here, as anywhere in a value.
    cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=False))
    own = {name: each for name, each in vars(value).items() if name[:2] != "__" and (is_plain(each) or is_code(each))}
    return _described_code("function", value, (value.__defaults__, value.__kwdefaults__, cells, own))


def _described_class(value: type) -> Node:
    if not is_users_class(value):
        return named(value.__module__, value.__qualname__, "class")
    return _described_code("class", value)


def _described_module(value: types.ModuleType) -> Node:
    if not is_users(value.__name__, file_of_loaded(value)):
        return named(value.__name__, "", "module")
    return _described_code("module", value)


def _described_code(tag: str, value: Any, more: tuple[Any, ...] = ()) -> Node:
    """Describe the user's code among values: it may be another one when it is loaded again."""
    identity = code_identity(value)
    installed = tuple(identity.distributions.items())
    header = (getattr(value, "__qualname__", ""), identity.digest, installed)
    return Node(tag, header, more, _BOUND.__getitem__, code=True)


_BOUND = (".__defaults__", ".__kwdefaults__", ".__closure__", "")


rules.CODE.update(
    {
        types.FunctionType: _described_function,
        type: _described_class,
        types.ModuleType: _described_module,
        types.CodeType: lambda value: Node("code", (value.co_name, bytecode(value)), code=True),
    }
)
