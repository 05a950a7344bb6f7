"""What a function is: its own code and everything that it reaches by name, as one digest and as parts.

The body of a function names things: functions, classes, constants, modules and what is in them, other tasks. Each is
followed to what the name stands for now, and described in turn: the user's functions and classes by their syntax in
one normal form, constants and objects by value, what is installed by the version of its distribution, what comes with
Python by its name. What has no stable content (a lock, a client, a random generator), and what the code changes
itself (a counter, a memo), counts by the statement that defines it; what has no such statement by its type. So no
code makes a run fail, and `unknown` names the parts of which no more than that is known.

The digest is that of the whole graph (`canonical.py` walks it, cycles included), and depends neither on the names of
the user's modules nor on where they lie. What a function imports itself is read from the files of those modules, which
are not imported for it: they count as their source has them.

What was found out is remembered with the function, and holds until a name that was followed means something else.
"""

from __future__ import annotations

import abc
import ast
import builtins
import contextlib
import functools
import importlib
import inspect
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from itertools import cycle, repeat
from operator import attrgetter, is_
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from blake3 import blake3

from kept.exceptions import HashError
from kept.fingerprint import rules, syntax
from kept.fingerprint.canonical import Node, fingerprint_with
from kept.fingerprint.functions import named
from kept.fingerprint.modules import (
    OURS,
    Distribution,
    distribution_of,
    file_of,
    is_of_python,
    is_users,
    name_of,
    source_of_module,
)
from kept.fingerprint.plain import ATOMS, CONTAINERS, PLAIN_TYPES, plain_bytes
from kept.fingerprint.syntax import Chain, File, Form, Import, Key, Uses

Describe = Callable[[Any], Node]


class CodePart(NamedTuple):
    """One thing that code reaches."""

    name: str
    """The last name of its module and its own: "etl.clean"; a second one of the name ends in "#2"."""
    kind: str
    """"function", "class", "constant", "object", "module", "definition", "unknown"."""
    digest: str
    """Of this thing alone, without what it reaches."""
    where: str
    """File and line, "etl.py:14"; empty where nobody knows."""
    text: str
    """The source as it stands in the file, or a constant as it is shown."""
    reaches: tuple[str, ...]
    """The names of the parts that it reaches by itself."""


class CodeIdentity:
    """What a function is, and what it was found out from."""

    digest: str
    """Of the whole graph."""
    distributions: dict[str, str]
    """The versions of the installed distributions that it reaches, by their names."""
    key_parts: dict[str, str]
    """What of it goes into a key: `code`, and `dist.NAME` for each distribution."""

    def __init__(self, digest: str, distributions: dict[str, str], listing: Callable[[], tuple[CodePart, ...]]) -> None:
        self.digest = digest
        self.distributions = dict(sorted(distributions.items()))
        self.key_parts = {"code": digest, **{f"dist.{name}": each for name, each in self.distributions.items()}}
        self._listing = listing

    @cached_property
    def parts(self) -> tuple[CodePart, ...]:
        """What it reaches, itself first; made when somebody asks for it."""
        return self._listing()

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of parts of which nothing but a name or a type is known."""
        return tuple([part.name for part in self.parts if part.kind == "unknown"])

    def __repr__(self) -> str:
        return f"CodeIdentity({self.digest!r})"


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
    reading = _Reading()
    identity = reading.identity(thing)
    if len(_known) >= _MOST_KNOWN:  # functions made in a loop
        _known.clear()
    _known[id(thing)] = _Known(thing, identity, reading.watch.check())
    return identity


# --- what was found out holds until ... ------------------------------------------------------------

_ABSENT = object()
_MOST_KNOWN = 4096


class _Watch:
    """What has to stay as it is for a reading to hold."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._cells: dict[int, tuple[Any, Any]] = {}
        self._plain: dict[int, tuple[Any, bytes]] = {}
        self._items: dict[int, tuple[Any, list[Any]]] = {}
        self._functions: dict[int, types.FunctionType] = {}
        self._whole: dict[int, tuple[Mapping[str, Any], frozenset[str]]] = {}
        self._values: dict[int, tuple[Any, str]] = {}

    def name(self, space: Mapping[str, Any], name: str) -> Any:
        """What a name stands for, `_ABSENT` if nothing; that must not change."""
        found = space.get(name, _ABSENT)
        # Of an object or a class, the view of its names is new each time: the key is what it is a view of.
        self._names.setdefault(id(space), (space, {}))[1][name] = found
        return found

    def all_names(self, space: Mapping[str, Any], owner: Any) -> None:
        """What a class or an object has must not change, nor may it get more."""
        kind = owner if isinstance(owner, type) else type(owner)
        derived = {name for base in kind.__mro__ for name, x in vars(base).items() if type(x) is cached_property}
        self._whole[id(owner)] = (space, frozenset() if kind is owner else frozenset(derived))
        for name in list(space):
            if not _is_dunder(name) and (kind is owner or name not in derived):
                self.name(space, name)

    def value(self, value: Any) -> None:
        """The content of a small value of a library's type must not change."""
        size = getattr(value, "nbytes", None)
        if (sys.getsizeof(value) if size is None else size) <= _LOOKED_THROUGH:
            with contextlib.suppress(HashError):
                self._values[id(value)] = (value, rules.fingerprint(value))

    def cell(self, cell: Any) -> Any:
        """The content of a cell, `_ABSENT` if it is empty; it must not change."""
        found = _content_of(cell)
        self._cells[id(cell)] = (cell, found)
        return found

    def content(self, value: Any) -> None:
        """What a list, a dict or a set holds must not change; an object of the user's must keep its attributes."""
        if type(value) in (list, dict, set):
            content = plain_bytes(value)
            if content is not None:
                self._plain[id(value)] = (value, content)
            elif id(value) not in self._items:
                self._items[id(value)] = (value, _items_of(value))
                for item in _items_of(value):
                    self.content(item)
        elif type(value) is tuple:
            for item in value:
                self.content(item)

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

        spaces = [space for space, _ in self._names.values()]
        singles = [
            (space.get, tuple(own), [found[name] for name in own])
            for space, found in self._names.values()
            if (own := [name for name, value in found.items() if not _is_identical_if_equal(value)])
        ]
        snapshots = [(space.values, list(space.values())) for space in spaces]

        def holds() -> bool:
            # Whole namespaces at once, by ==, which is quick where all is as it was. What may be equal to something
            # else (1 and True are, arrays have no answer) is looked at by itself.
            try:
                same = all(list(values()) == found for values, found in snapshots)
            except Exception:
                same = False
            checked = singles if same else names
            for get, wanted, found in checked:
                if not all(map(is_, map(get, wanted, repeat(_ABSENT)), found)):
                    return False
            if not same:
                snapshots[:] = [(space.values, list(space.values())) for space in spaces]
            # Hardly anything replaces what is inside of a function: of very many, some are looked at each time.
            at = next(turns)
            if list(map(_inner_of, functions[at])) != inner[at]:
                return False
            for space, derived, size in whole:
                if (len(space.keys() - derived) if derived else len(space)) != size:
                    return False
            for cell, content in cells:
                if _content_of(cell) is not content:
                    return False
            for value, held in items:
                now = _items_of(value)
                if len(now) != len(held) or not all(map(is_, now, held)):
                    return False
            if not all(plain_bytes(value) == content for value, content in plain):
                return False
            return all(rules.fingerprint(value) == digest for value, digest in values)

        return holds


def _is_identical_if_equal(value: Any) -> bool:
    return value is _ABSENT or type(value) in (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


def _items_of(value: Any) -> list[Any]:
    return [*value, *value.values()] if type(value) is dict else list(value)


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


_inner_of = attrgetter("__code__", "__defaults__", "__kwdefaults__")
_LOOKED_THROUGH = 1 << 20  # bytes of a value that is looked through at each call
_A_TURN = 20


class _Known(NamedTuple):
    thing: Any
    identity: CodeIdentity
    holds: Callable[[], bool]


_known: dict[int, _Known] = {}


# --- stand-ins for what is no object here ----------------------------------------------------------


class _Outside(NamedTuple):
    """What comes with Python or is installed, by its name."""

    tag: str
    name: str


class _State(NamedTuple):
    """What code changes itself, or what has no stable content, of which no statement is known: a type."""

    name: str


class _Group(NamedTuple):
    """Several things that are reached together."""

    tag: str
    members: dict[str, Any]


class _Whole(NamedTuple):
    """All that a module has."""

    space: dict[str, Any]


class _Defined(NamedTuple):
    """The statements at the top of a module that has been loaded which bind a name."""

    space: dict[str, Any]
    name: str
    file: File
    statements: list[ast.stmt]


class _StaticModule(NamedTuple):
    """A module of the user's as its file has it."""

    name: str
    file: File
    package: str


class _Static(NamedTuple):
    """A name at the top of such a module."""

    module: _StaticModule
    name: str


class _Scope(NamedTuple):
    """Where code looks its names up."""

    space: dict[str, Any]
    looked_up: frozenset[str]
    cells: dict[str, Any]

    @property
    def package(self) -> str:
        """What relative imports start from."""
        package = self.space.get("__package__")
        return package if isinstance(package, str) else str(self.space.get("__name__", "")).rpartition(".")[0]


class _Info(NamedTuple):
    """What is to be told of one thing that was described."""

    name: str
    kind: str
    own: Any
    file: File | None
    node: Any
    where: str
    members: dict[str, Any]


# --- reading ---------------------------------------------------------------------------------------


class _Reading:
    """One look at what a function reaches."""

    def __init__(self) -> None:
        self.watch = _Watch()
        self.distributions: dict[str, str] = {}
        self.known: dict[int, str] = {}
        self._tried: dict[int, tuple[Any, bool]] = {}
        self._described: dict[int, tuple[Any, Node]] = {}
        self._infos: dict[int, _Info] = {}
        self._stand_ins: dict[Any, Any] = {}
        self._texts: dict[int, list[File]] = {}

    def identity(self, thing: Any) -> CodeIdentity:
        child = self.follow(thing)
        digest = fingerprint_with(self.describe, child, "code", self.known)
        listing = _Listing(self._infos, self._described, self._tried)
        return CodeIdentity(digest, self.distributions, lambda: listing.parts(child))

    # What describes each kind of thing to the walk.

    def describe(self, value: Any) -> Node:
        done = self._described.get(id(value))
        if done is None:
            self._described[id(value)] = done = (value, self._describe(value))
        return done[1]

    def _describe(self, value: Any) -> Node:
        kind = type(value)
        if kind in _STAND_INS:
            return _STAND_INS[kind](self, value)
        outside = self._outside(value)
        if outside is not None:
            return Node("same", None, (outside,))
        if kind is types.FunctionType:
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if kind is types.ModuleType:
            return self._namespace(vars(value))
        if kind.__module__.partition(".")[0] in OURS and _is_wrapping(value):
            # A task or flow is its function: how it is run is not what it does.
            return Node("task", None, (self.follow(value.__wrapped__),))
        return self._object(value, kind)

    def _object(self, value: Any, kind: type) -> Node:
        node = rules.describe(value)
        self._note_distribution(kind.__module__, file_of(kind.__module__))
        if not is_users_class(kind):
            return node
        # What an object does is the code of its class; the header names it, which is enough for no one here.
        return node._replace(tag=f"{node.tag}/code", children=(*node.children, kind), step=None, sliced=False)

    # Following what a name stands for.

    def follow(self, value: Any, definition: Any = None) -> Any:
        """What stands for a value in the graph: itself if it has stable content.

        Args:
            definition: the statements that define it, for when it has none.
        """
        kind = type(value)
        if kind in PLAIN_TYPES and plain_bytes(value) is not None:
            return value
        outside = self._outside(value)
        if outside is not None:
            return outside
        if _is_code(value) or (kind not in _STATEFUL and self._has_content(value)):
            return value
        return self._held(value, definition)

    def _held(self, value: Any, definition: Any) -> Any:
        """What stands for a value without stable content: its class, the statements that define it, code in it."""
        kind = type(value)
        self._note_distribution(kind.__module__, file_of(kind.__module__))
        code = [each for each in _code_in(value) if self._outside(each) is None]
        if definition is None and not code:
            return self._stand_in(_State(f"{name_of(kind.__module__)}.{kind.__qualname__}"))
        return self._group(
            "held", {"class": kind if is_users_class(kind) else None, "definition": definition, **_numbered(code)}
        )

    def _changed(self, value: Any) -> Any:
        """What stands for what code changes itself, where no statement is known: its class, if that is the user's."""
        return type(value) if is_users_class(type(value)) else self._stand_in(_State("what it changes itself"))

    def _has_content(self, value: Any) -> bool:
        tried = self._tried.get(id(value))
        if tried is None:
            self._tried[id(value)] = (value, True)  # met again inside of itself, it closes a circle
            try:
                self.known[id(value)] = fingerprint_with(self.describe, value, "", self.known)
                tried = (value, True)
            except HashError:
                tried = (value, False)
            self._tried[id(value)] = tried
        return tried[1]

    def _outside(self, value: Any) -> Any:
        """What stands for a function, class or module that is not the user's; None for anything else."""
        kind = type(value)
        if kind is types.FunctionType:
            return self._function_outside(value)
        if isinstance(value, type):
            if is_users_class(value):
                return None
            module, name, filename = value.__module__, value.__qualname__, file_of(value.__module__)
        elif kind is types.ModuleType:
            module, name, filename = value.__name__, "", _file_of_loaded(value)
        elif kind in _BUILT_IN:
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, (types.ModuleType, type)):
                return None
            module = getattr(value, "__module__", None) or getattr(owner, "__name__", "") or "builtins"
            name, filename = value.__qualname__, file_of(module)
        else:
            return None
        return None if is_users(module, filename) else self._named_outside(module, name, filename)

    def _function_outside(self, value: types.FunctionType) -> Any:
        filename = value.__code__.co_filename
        module = value.__globals__.get("__name__") or ""
        if _is_made_up(filename) or is_users(module, filename):
            return None
        if value.__closure__ or hasattr(value, "__wrapped__"):
            held = self._held_by(value)
            if held:  # a decorator of somebody else's, around code of the user's
                self._note_distribution(module, filename)
                return self._group(f"wrapper {module}:{value.__code__.co_name}", held)
        return self._named_outside(module, value.__qualname__, filename)

    def _held_by(self, wrapper: types.FunctionType) -> dict[str, Any]:
        cells = [self.watch.cell(cell) for cell in wrapper.__closure__ or ()]
        for held in cells:
            self.watch.content(held)
        found = [each for held in cells for each in _code_in(held)]
        wrapped = getattr(wrapper, "__wrapped__", None)
        if wrapped is not None and not any(each is wrapped for each in found):
            found.append(wrapped)
        own = [each for each in found if each is not wrapper and not isinstance(self._outside(each), _Outside)]
        given = _numbered(own)
        if distribution_of(wrapper.__globals__.get("__name__") or "", wrapper.__code__.co_filename) is not None:
            # It may read them, as who validates arguments does.
            given.update({f"annotations {i}": _annotations(each) for i, each in enumerate(own)})
        return given

    def _named_outside(self, module: str, name: str, filename: str | None) -> Any:
        installed = self._note_distribution(module, filename)
        module, name = _MOVED.get((module, name), (module, name))
        return self._stand_in(_Outside("installed" if installed else "python", f"{module}:{name}"))

    def _note_distribution(self, module: str, filename: str | None) -> Distribution | None:
        found = None if module.partition(".")[0] in OURS else distribution_of(module, filename)
        if found is not None:
            self.distributions[found.name] = found.version
        return found

    def _stand_in(self, value: Any) -> Any:
        return self._stand_ins.setdefault(value, value)

    def _group(self, tag: str, members: dict[str, Any]) -> Any:
        key = (tag, *((name, id(member)) for name, member in members.items()))
        return self._stand_ins.setdefault(key, _Group(tag, members))

    # Functions, classes, modules.

    def _function(self, value: types.FunctionType) -> Node:
        code, space = value.__code__, value.__globals__
        self.watch.function(value)
        definition = syntax.definition_of(code, space)
        if definition is None:
            file, node, uses = None, None, syntax.uses_of_bytecode(code)
            own: Any = _bytecode(code)
        else:
            file, node = definition.file, definition.node
            uses = syntax.uses_of(node, decorated=False)
            own = syntax.normalised(node, Form(ours=_ours(uses, space)))
        cells = dict(zip(code.co_freevars, value.__closure__ or (), strict=False))
        members = self._used(uses, _Scope(space, syntax.names_looked_up(code), cells))
        members.update({f"={name}": each for name, each in self._defaults(value, uses.changed)})
        where = f"{_base(code.co_filename)}:{code.co_firstlineno}"
        return self._noted(
            value, _Info(f"{_stem(space)}.{value.__qualname__}", "function", own, file, node, where, members)
        )

    def _defaults(self, value: types.FunctionType, changed: frozenset[Chain]) -> Iterator[tuple[str, Any]]:
        code, defaults = value.__code__, value.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        for name, default in [*zip(names, defaults, strict=True), *(value.__kwdefaults__ or {}).items()]:
            if (name,) in changed and type(default) in (list, dict, set):  # it remembers things in it
                yield name, self._changed(default)
            else:
                self._watch_value(default)
                yield name, self.follow(default)

    def _class(self, value: type) -> Node:
        space = _space_of(value)
        self.watch.all_names(vars(value), value)
        members = {f"base {i}": self.follow(base) for i, base in enumerate(value.__bases__) if base is not object}
        if is_users_class(type(value)):  # of others, the bases tell
            members["metaclass"] = self.follow(type(value))
        file, node = _definition_of_class(value, space)
        if file is None:
            own: Any = value.__name__
            members.update(self._all_members(value))
        else:
            fields = _fields_of(value, node)
            valued = frozenset(_constants_in(value, node, fields))
            uses = syntax.uses_of(node)
            valued -= {chain[-1] for chain in uses.changed if len(chain) > 1}
            own = syntax.normalised(node, Form(ours=_ours(uses, space), fields=fields, valued=valued))
            code = file.code_of(node)
            looked_up = syntax.outer_names(node) | (syntax.names_looked_up(code) if code else frozenset())
            members.update(self._used(uses, _Scope(space, looked_up, {})))
            if fields == "full":
                for annotation in syntax.annotations_of(node):
                    read = syntax.uses_of(annotation)
                    names = frozenset(chain[0] for chain in read.chains)
                    members.update(self._used(read, _Scope(space, names, {})))
            members.update(self._members_beside_source(value, file, node, valued))
        where = f"{_base(file.filename)}:{node.lineno}" if file else ""
        return self._noted(
            value, _Info(f"{_stem(space)}.{value.__qualname__}", "class", own, file, node, where, members)
        )

    def _members_beside_source(
        self, value: type, file: File, node: Any, valued: frozenset[str]
    ) -> Iterator[tuple[str, Any]]:
        """What the source of a class does not tell: values, methods put there later, what methods close over."""
        lines = range(syntax.first_line(node), (node.end_lineno or 0) + 1)
        is_local = "<locals>" in value.__qualname__
        for name, member in list(vars(value).items()):
            if name in valued:
                yield name, self.watch.name(vars(value), name)
            for i, function in enumerate(functions_of(member)):
                code = function.__code__
                inside = file.has(code) and code.co_firstlineno in lines
                if (inside and set(code.co_freevars) <= {"__class__"}) or _is_generated(function, value):
                    continue
                child = self.follow(function)
                if not isinstance(child, _Outside):
                    yield f"{name} {i}", child
            counts = isinstance(member, type) or not _is_descriptor(member)
            if is_local and counts and name not in valued and not _is_dunder(name):
                yield name, self.follow(member)

    def _all_members(self, value: type) -> Iterator[tuple[str, Any]]:
        for name, member in list(vars(value).items()):
            if name in _NOT_MEMBERS:
                continue
            for i, function in enumerate(functions_of(member)):
                child = self.follow(function)
                if not (_is_generated(function, value) or isinstance(child, _Outside)):
                    yield f"{name} {i}", child
            if isinstance(member, value):  # of an enumeration
                yield name, self.follow(getattr(member, "value", None))
            elif isinstance(member, type) or not (_is_dunder(name) or _is_descriptor(member)):
                yield name, self.follow(self.watch.name(vars(value), name))

    def _namespace(self, space: dict[str, Any]) -> Node:
        is_notebook = "In" in space
        members: dict[str, Any] = {}
        for name, member in list(space.items()):
            if name.startswith("_" if is_notebook else "__") or (is_notebook and name in ("In", "Out")):
                continue
            is_part = isinstance(member, types.ModuleType) and member.__name__.startswith(f"{space.get('__name__')}.")
            if is_part or not isinstance(member, types.ModuleType):
                self.watch.name(space, name)
                members[name] = self._named(space, name, member)
        return _node("module", None, members)

    # Names.

    def _used(self, uses: Uses, scope: _Scope) -> dict[str, Any]:
        """What code uses, by how it names it."""
        members: dict[str, Any] = {}
        imported = {each.bound for each in uses.imports}
        for chain in uses.chains:
            found = None if chain[0] in imported else self._reached(chain, scope, uses.changed)
            if found is not None:
                members[found[0]] = found[1]
        for each in uses.imports:
            chains = [chain for chain in uses.chains if chain[0] == each.bound]
            members.update({f"import {label}": child for label, child in self._imported(each, chains, scope.package)})
        if uses.dynamic:
            members["*"] = self._stand_ins.setdefault(("whole", id(scope.space)), _Whole(scope.space))
        return members

    def _reached(self, chain: Chain, scope: _Scope, changed: frozenset[Chain]) -> tuple[str, Any] | None:
        """What a chain of names leads to, as far as it can be followed, with that part of the chain as text."""
        root = chain[0]
        space: Any = None
        if root in scope.cells:
            value: Any = self.watch.cell(scope.cells[root])
        elif root in scope.looked_up and root not in _OF_MODULES:
            space = scope.space
            value = self.watch.name(space, root)
        else:
            return None
        if value is _ABSENT:  # of Python itself, or not there yet
            return None
        at, name = 1, root
        while at < len(chain) and not _is_state(value, chain[:at], changed):
            step = self._step(value, chain[at])
            if step is None:
                break
            space, name, value = step
            at += 1
        label = _shown_chain(chain[:at])
        if at < len(chain) and isinstance(value, types.ModuleType):
            return self._attribute_of(value, chain[at], f"{label}.{chain[at]}")
        if at < len(chain) and isinstance(value, type) and chain[at] == "__subclasses__" and is_users_class(value):
            return label, self._group(
                "subclasses", {"": value, **{each.__qualname__: each for each in _subclasses(value)}}
            )
        if _is_state(value, chain[:at], changed):
            return label, self._definition(space, name) or self._changed(value)
        if at < len(chain) and is_users_class(type(value)):
            rest = self._unchanged_by(value, chain[at])
            if rest is not None:
                return f"{label}.{chain[at]}", rest
        return label, self._named(space, name, value)

    def _unchanged_by(self, value: Any, method: Any) -> Any:
        """What stands for an object of which a method is called that changes some of it; None if it changes nothing."""
        changed = _changed_by(type(value), method, set())
        if not changed.intersection(vars_of(value)):
            return None
        left = {name: each for name, each in vars_of(value).items() if name not in changed}
        for name, each in left.items():
            self.watch.name(vars_of(value), name)
            self.watch.content(each)
        return self._group("object", {"class": type(value), **{f".{n}": self.follow(each) for n, each in left.items()}})

    def _step(self, value: Any, step: Any) -> tuple[Any, str, Any] | None:
        """Where one step from a value leads: names, the name and the value; None if only the whole value tells."""
        if type(step) is Key:
            found = _item(value, step.value)
            if found is _ABSENT:
                return None
            self.watch.content(value)
            return None, "", found
        if isinstance(value, types.ModuleType):
            if self._outside(value) is not None:
                return None
            found = self.watch.name(vars(value), step)
            return None if found is _ABSENT else (vars(value), step, found)
        if step == "__doc__" and isinstance(value, (types.FunctionType, type)):
            return None, step, value.__doc__
        if isinstance(value, type):
            return self._step_into_class(value, step)
        if not (type(value) in _SPACES or is_users_class(type(value))):
            return None
        space = getattr(value, "__dict__", {})
        if not _is_plain(space.get(step, _ABSENT)) or _has_say(type(value), step):
            return None
        return None, step, self.watch.name(space, step)

    def _step_into_class(self, value: type, step: str) -> tuple[Any, str, Any] | None:
        if type(value) not in (type, abc.ABCMeta) or not is_users_class(value):
            return None
        owner = next((base for base in value.__mro__ if step in vars(base)), object)
        found = vars(owner).get(step)
        if isinstance(found, staticmethod):
            found = found.__func__
        if not is_users_class(owner) or not (_is_plain(found) or type(found) is types.FunctionType):
            return None
        self.watch.name(vars(owner), step)
        return None, step, found

    def _attribute_of(self, module: types.ModuleType, name: str, label: str) -> tuple[str, Any] | None:
        """What a module has that is not the user's, or what one of the user's does not have yet."""
        if self._outside(module) is not None:
            outside = self._outside(vars(module).get(name))
            if outside is None or isinstance(vars(module).get(name), types.ModuleType):
                outside = self._named_outside(module.__name__, name, _file_of_loaded(module))
            return label, outside
        later = vars(module).get("__getattr__")
        if isinstance(later, types.FunctionType):
            return label, later
        return next(self._imported(Import(name, module.__name__, 0, name), [], ""), None)

    def _named(self, space: Any, name: str, value: Any) -> Any:
        """What stands for what a name stands for."""
        if _is_code(value) or self._outside(value) is not None:
            return self.follow(value)
        if isinstance(value, (str, PurePath)) and Path(value).is_absolute() and self._tells_place(space, name):
            return self._held(value, self._definition(space, name))
        self._watch_value(value)
        return value if _is_plain(value) else self.follow(value, self._definition(space, name))

    def _watch_value(self, value: Any) -> None:
        """See that a value stays what it is, as far as that can be told at each call."""
        kind = type(value)
        if kind in PLAIN_TYPES:
            self.watch.content(value)
        elif is_users_class(kind):
            space = vars_of(value)
            self.watch.all_names(space, value)
            for each in list(space.values()):
                if type(each) in (list, dict, set):
                    self.watch.content(each)
        elif kind not in _STATEFUL:
            self.watch.value(value)

    def _definition(self, space: Any, name: str) -> Any:
        """The statements at the top of a module that bind a name, if they are known."""
        key = ("defined", id(space), name)
        if key not in self._stand_ins:
            found = self._statements(space, name)
            self._stand_ins[key] = found and _Defined(space, name, *found)
        return self._stand_ins[key]

    def _statements(self, space: Any, name: str) -> tuple[File, list[ast.stmt]] | None:
        if not isinstance(space, dict) or "__name__" not in space:
            return None
        if id(space) not in self._texts:
            self._texts[id(space)] = list(_texts_of(space))
        for file in self._texts[id(space)]:
            found = [each for each in file.bindings.get(name, ()) if not isinstance(each, (ast.Import, ast.ImportFrom))]
            if found:
                return file, found
        return None

    def _tells_place(self, space: Any, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a name was computed from where its file lies, or from where the process was started."""
        found = None if name in seen else self._statements(space, name)
        for statement in found[1] if found else ():
            if syntax.names_place(statement):
                return True
            for chain in syntax.uses_of(statement).chains:
                if chain[0] in space and chain[0] != name and self._tells_place(space, chain[0], seen | {name}):
                    return True
        return False

    def _defined(self, value: _Defined) -> Node:
        own = tuple([syntax.normalised(each, Form(decorated=True)) for each in value.statements])
        members: dict[str, Any] = {}
        for statement in value.statements:
            uses = syntax.uses_of(statement)
            names = frozenset(chain[0] for chain in uses.chains) - {value.name} - syntax.names_within(statement)
            # What it changed is changed by now.
            members.update(self._used(uses._replace(changed=frozenset()), _Scope(value.space, names, {})))
        node = value.statements[-1]
        where = f"{_base(value.file.filename)}:{node.lineno}"
        name = f"{_stem(value.space)}.{value.name}"
        return self._noted(value, _Info(name, "definition", own, value.file, node, where, members))

    # What is imported inside of functions, read from files.

    def _imported(self, each: Import, chains: list[Chain], package: str) -> Iterator[tuple[str, Any]]:
        module = _absolute(each.module, each.level, package)
        if not module or module.partition(".")[0] in OURS:
            return
        label = f"{module}:{each.attribute or ''}"
        if each.attribute == "":  # `import a.b.c` binds `a`: the way to what is used begins there
            package = self._static_module(module.partition(".")[0])
            if isinstance(package, _StaticModule):
                yield from self._of_static_module(package, chains or [(*module.split("."),)], 1)
                return
        found = self._static_module(module)
        if each.attribute and isinstance(found, _StaticModule):
            found = self._static(found, each.attribute)
        if isinstance(found, _StaticModule):
            yield from self._of_static_module(found, chains, 1)
        elif isinstance(found, _Outside) and each.attribute:
            yield label, self._stand_in(_Outside(found.tag, label))
        else:
            yield label, found

    def _of_static_module(self, module: _StaticModule, chains: list[Chain], at: int) -> Iterator[tuple[str, Any]]:
        """What is used of a module whose name takes `at` steps of the chains."""
        if not chains or any(len(chain) <= at or type(chain[at]) is not str for chain in chains):
            yield f"{module.name}:*", self._all_of(module)
            return
        for chain in chains:
            found = self._static(module, chain[at])
            if isinstance(found, _StaticModule):
                yield from self._of_static_module(found, [chain], at + 1)
            else:
                yield f"{module.name}:{chain[at]}", found

    def _all_of(self, module: _StaticModule) -> Any:
        members = {name: self._static(module, name) for name in sorted(module.file.bindings)}
        return self._group("all", {n: each for n, each in members.items() if not isinstance(each, _StaticModule)})

    def _static_module(self, name: str) -> Any:
        """A module of the user's as its file has it, or what stands for one that is not the user's."""
        key = ("module", name)
        if key not in self._stand_ins:
            self._stand_ins[key] = self._find_module(name)
        return self._stand_ins[key]

    def _find_module(self, name: str) -> Any:
        filename = source_of_module(name)
        loaded = sys.modules.get(name)
        if filename is None or not is_users(name, filename):
            if filename is None and loaded is None and name.partition(".")[0] not in sys.stdlib_module_names:
                return self._stand_in(_State(f"module {name}"))
            return self._named_outside(name, "", filename)
        if loaded is None or file_of(name) is None:  # a package without a file of its own has nothing in it but others
            file = syntax.file_of_text(syntax.text_of(filename), filename)
        else:
            file = next(_texts_of(vars(loaded)), None)  # type: ignore[assignment]
        if file is None or file.tree is None:
            return self._stand_in(_State(f"module {name}")) if loaded is None else loaded
        return _StaticModule(name, file, name if Path(filename).stem == "__init__" else name.rpartition(".")[0])

    def _static(self, module: _StaticModule, name: str) -> Any:
        """What a name at the top of such a module stands for."""
        key = ("static", module.name, name)
        if key not in self._stand_ins:
            if name in module.file.bindings:
                self._stand_ins[key] = self._imported_for_real(module, name) or _Static(module, name)
            elif module.package == module.name and source_of_module(f"{module.name}.{name}"):
                self._stand_ins[key] = self._static_module(f"{module.name}.{name}")
            else:
                self._stand_ins[key] = self._star_imported(module, name) or _State(f"{module.name}.{name}")
        return self._stand_ins[key]

    def _imported_for_real(self, module: _StaticModule, name: str) -> Any:
        """What stands for a value that no source can tell, such as what was read from a file."""
        if not any(_asks_outside(statement) for statement in module.file.bindings[name]):
            return None
        try:
            space = vars(importlib.import_module(module.name))
        except Exception:  # it will be raised to the step as well
            return None
        return self._named(space, name, self.watch.name(space, name)) if name in space else None

    def _star_imported(self, module: _StaticModule, name: str) -> Any:
        for statement in module.file.bindings.get("*", ()):
            source = _absolute(statement.module or "", statement.level, module.package)  # type: ignore[attr-defined]
            found = self._static_module(source) if source else None
            if isinstance(found, _StaticModule) and {name, "*"} & found.file.bindings.keys():
                return self._static(found, name)
            if isinstance(found, _Outside):
                return self._stand_in(_Outside(found.tag, f"{source}:{name}"))
        return None

    def _described_static(self, value: _Static) -> Node:
        module, name = value
        statements = module.file.bindings[name]
        own: list[str] = []
        members: dict[str, Any] = {}
        for statement in statements:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                members.update(self._bound_by_import(statement, name, [], module))
            else:
                own.append(syntax.normalised(statement, Form(decorated=True)))
                members.update(self._used_statically(statement, module, name))
        node = statements[-1]
        where = f"{_base(module.file.filename)}:{node.lineno}"
        title = f"{module.name.rpartition('.')[2]}.{name}"
        return self._noted(value, _Info(title, "definition", tuple(own), module.file, node, where, members))

    def _used_statically(self, statement: ast.stmt, module: _StaticModule, own: str) -> dict[str, Any]:
        uses = syntax.uses_of(statement)
        code = module.file.code_of(statement) if isinstance(statement, syntax.DEFINITIONS) else None
        names = None if code is None else syntax.names_looked_up(code) | syntax.outer_names(statement)
        local = {each.bound for each in uses.imports}
        if code is None:
            local |= syntax.names_within(statement)
        members: dict[str, Any] = {}
        for chain in uses.chains:
            root = chain[0]
            if root in local or root == own or (names is not None and root not in names):
                continue
            binding = module.file.bindings.get(root, [None])[-1]
            if isinstance(binding, (ast.Import, ast.ImportFrom)):
                chains = [each for each in uses.chains if each[0] == root]
                members.update(self._bound_by_import(binding, root, chains, module))
            elif binding is not None or ("*" in module.file.bindings and not hasattr(builtins, root)):
                members[root] = self._static(module, root)
        for each in uses.imports:
            members.update(self._imported(each, [c for c in uses.chains if c[0] == each.bound], module.package))
        if uses.dynamic:
            members["*"] = self._all_of(module)
        return members

    def _bound_by_import(
        self, statement: ast.stmt, name: str, chains: list[Chain], module: _StaticModule
    ) -> Iterator[tuple[str, Any]]:
        for each in syntax.uses_of(statement).imports:
            if each.bound == name:
                yield from self._imported(each, chains, module.package)

    # Parts.

    def _noted(self, value: Any, info: _Info) -> Node:
        self._infos[id(value)] = info
        return _node(info.kind, info.own, info.members)


_STAND_INS: dict[type, Callable[[_Reading, Any], Node]] = {
    _Outside: lambda _, value: Node(value.tag, value.name),
    # What Python calls a type of its own differs between its versions.
    _State: lambda _, value: Node("state", "" if is_of_python(value.name, None) else value.name),
    _Group: lambda _, value: _node(value.tag, None, value.members),
    _Whole: lambda reading, value: reading._namespace(value.space),
    _Defined: _Reading._defined,
    _Static: _Reading._described_static,
}


def _node(tag: str, own: Any, members: Mapping[str, Any]) -> Node:
    names = sorted(members)
    return Node(tag, (own, tuple(names)), [members[name] for name in names], lambda i: f" -> {names[i]}")


class _Listing:
    """Writes parts out of what was noted."""

    def __init__(self, infos: dict[int, _Info], described: dict[int, tuple[Any, Node]], *held: Any) -> None:
        self._infos = infos
        self._described = described
        self._held = held  # so that nothing else comes to have the id of what was described
        self._names: dict[Any, str] = {}
        self._taken: dict[str, int] = {}
        self._queue: list[tuple[Any, Any]] = []

    def parts(self, root: Any) -> tuple[CodePart, ...]:
        for info in self._within(root, set()):
            self._name(id(info), info.name, info)
        return tuple([self._part(info) for _, info in self._queue])

    def _part(self, info: Any) -> CodePart:
        if isinstance(info, CodePart):
            return info
        reaches: list[str] = []
        for label, child in info.members.items():
            reaches.extend(self._reached(info, label, child))
        own = (info.own, *[(k, v) for k, v in sorted(info.members.items()) if k[0] == "=" and _is_plain(v)])
        text = syntax.text_at(info.file, info.node) if info.file is not None else ""
        name = self._names[id(info)]
        return CodePart(name, info.kind, _digest_of(own), info.where, text, tuple(dict.fromkeys(reaches)))

    def _reached(self, owner: _Info, label: str, child: Any) -> Iterator[str]:
        if type(child) in PLAIN_TYPES and plain_bytes(child) is not None:
            if label[0] != "=":
                yield self._constant(owner, label, "constant", _digest_of(child), _shown(child))
            return
        if type(child) is _State:
            yield self._constant(owner, label, "unknown", "", child.name)
            return
        inner = list(self._within(child, set()))
        if type(child) not in _STAND_INS and id(child) not in self._infos and not _is_wrapping(child):
            yield self._constant(owner, label, "object", _digest_of(_shown(child)), _shown(child))
        for info in inner:
            yield self._name(id(info), info.name, info)

    def _constant(self, owner: _Info, label: str, kind: str, digest: str, shown: str) -> str:
        stem = owner.name.partition(".")[0]
        name = label if "." in label else f"{stem}.{label}"
        return self._name((name, digest), name, CodePart(name, kind, digest, "", shown, ()))

    def _name(self, key: Any, name: str, info: Any) -> str:
        if key not in self._names:
            count = self._taken[name] = self._taken.get(name, 0) + 1
            self._names[key] = name if count == 1 else f"{name}#{count}"
            if isinstance(info, CodePart):
                info = info._replace(name=self._names[key])
            self._queue.append((key, info))
        return self._names[key]

    def _within(self, value: Any, seen: set[int]) -> Iterator[_Info]:
        """What was noted of a value, or of the values in it."""
        stack = [value]
        while stack:
            each = stack.pop()
            if id(each) in seen or type(each) in ATOMS:
                continue
            seen.add(id(each))
            if id(each) in self._infos:
                yield self._infos[id(each)]
            elif id(each) in self._described:
                stack.extend(reversed(self._described[id(each)][1].children))
            elif type(each) in CONTAINERS:
                stack.extend(_items_of(each))


# --- small questions -------------------------------------------------------------------------------

_DIGITS = 16
_SHOWN = 200
_OF_MODULES = frozenset("__name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __builtins__".split())
_NOT_MEMBERS = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ __annotations__ "
    "__annotate__ _abc_impl __parameters__ __orig_bases__ __match_args__ __hash__ __slots__".split()
)
_SPACES = (types.SimpleNamespace, types.FunctionType)
_BUILT_IN = frozenset(
    {
        types.BuiltinFunctionType,
        types.MethodDescriptorType,
        types.WrapperDescriptorType,
        types.ClassMethodDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
    }
)


class _StatefulTypes:
    """Types whose values change as they are used, so that they say nothing: by name, so that none is imported."""

    names = frozenset(
        "random.Random random.SystemRandom numpy.random._generator.Generator numpy.random.mtrand.RandomState "
        "logging.Logger logging.LoggerAdapter itertools.count itertools.cycle contextvars.ContextVar".split()
    )

    def __contains__(self, kind: type) -> bool:
        return f"{kind.__module__}.{kind.__qualname__}" in self.names


_STATEFUL = _StatefulTypes()
# What has another name in a newer Python.
_MOVED = {("_thread", "allocate_lock"): ("_thread", "lock")}


def is_users_class(kind: type) -> bool:
    """Whether a class is defined in the user's code."""
    module = kind.__module__
    filename = file_of(module)
    if (
        filename is None
        and module != "__main__"
        and module in sys.modules
        and not hasattr(sys.modules[module], "__path__")
    ):
        return _is_made_in_place(sys.modules[module])
    return is_users(module, filename)


def _is_made_in_place(module: types.ModuleType) -> bool:
    """Whether a module without a file is no part of Python or of an extension, but was made by a program."""
    return getattr(module, "__spec__", None) is None and module.__name__ not in sys.builtin_module_names


def _is_code(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, type, types.ModuleType))


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN_TYPES and plain_bytes(value) is not None


def _is_made_up(filename: str) -> bool:
    return filename.startswith("<") and not filename.startswith("<frozen")


def _is_generated(function: types.FunctionType, owner: type) -> bool:
    """Whether a method was written by a decorator or a base of the class, as those of dataclasses are."""
    function = inspect.unwrap(function)
    filename = function.__code__.co_filename
    fields = "__dataclass_fields__" in vars(owner) or "_fields" in vars(owner)
    return "generated" in filename or (filename == "<string>" and _is_dunder(function.__name__) and fields)


def _is_dunder(name: str) -> bool:
    return name.startswith("_") and name.endswith("_")


def _is_descriptor(member: Any) -> bool:
    return _is_code(member) or hasattr(type(member), "__get__")


def _is_wrapping(value: Any) -> bool:
    return hasattr(value, "__wrapped__")


def _has_say(kind: type, name: str) -> bool:
    """Whether a class has a say in what an attribute of its instances is."""
    reads = inspect.getattr_static(kind, "__getattribute__", None)
    return isinstance(reads, types.FunctionType) or hasattr(inspect.getattr_static(kind, name, None), "__set__")


def _is_state(value: Any, chain: Chain, changed: frozenset[Chain]) -> bool:
    """Whether the code changes what a chain leads to, so that its value says nothing."""
    if not changed or (len(chain) > 1 and _is_code(value)) or isinstance(value, (types.ModuleType, type)):
        return False
    if isinstance(value, types.FunctionType):
        return False
    return chain in changed or ((*chain, syntax.CALLED) in changed and type(value) not in PLAIN_TYPES)


def _item(value: Any, key: Any) -> Any:
    try:
        return value[key] if type(value) in (dict, list, tuple) else _ABSENT
    except (LookupError, TypeError):
        return _ABSENT


def _shown_chain(chain: Chain) -> str:
    return "".join([chain[0], *(f"[{x.value!r}]" if type(x) is Key else f".{x}" for x in chain[1:])])


def _changed_by(kind: type, method: Any, seen: set[Any]) -> set[str]:
    """The attributes of an object that one of its methods changes, by itself or by other methods that it calls."""
    found = next((vars(base)[method] for base in kind.__mro__ if method in vars(base)), None)
    changed: set[str] = set()
    for function in functions_of(found):
        definition = syntax.definition_of(function.__code__, function.__globals__)
        if method in seen or definition is None or not function.__code__.co_argcount:
            continue
        seen.add(method)
        uses, itself = syntax.uses_of(definition.node, decorated=False), function.__code__.co_varnames[0]
        changed.update(chain[1] for chain in uses.changed if chain[0] == itself and len(chain) > 1)
        for chain in uses.chains:
            if chain[0] == itself and len(chain) > 1:
                changed |= _changed_by(kind, chain[1], seen)
    return changed


def _numbered(values: Any) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}


def _subclasses(kind: type) -> Iterator[type]:
    found: list[type] = type.__subclasses__(kind)
    for each in found:
        yield each
        yield from _subclasses(each)


def _code_in(value: Any) -> Iterator[Any]:
    """The user's functions and classes that a value is, wraps, or holds."""
    if isinstance(value, (types.FunctionType, type)):
        yield value
    elif isinstance(value, (staticmethod, classmethod, types.MethodType)):
        yield value.__func__
    elif isinstance(value, functools.partial):
        yield from _code_in(value.func)
    elif isinstance(value, (list, tuple, set, frozenset, dict, types.MappingProxyType)):
        for each in list(value.values() if isinstance(value, (dict, types.MappingProxyType)) else value):
            yield from _code_in(each) if isinstance(each, (types.FunctionType, type, functools.partial)) else ()
    elif not isinstance(value, types.ModuleType):
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, (types.FunctionType, type)):
            yield wrapped
        else:
            yield from (each for each in vars_of(value).values() if isinstance(each, types.FunctionType))


def vars_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, empty if it has no dict of them."""
    found = getattr(value, "__dict__", None)
    return found if type(found) is dict else {}


_PARTS_OF: dict[type, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    cached_property: ("func",),
    functools.partialmethod: ("func",),
    functools.singledispatchmethod: ("func",),
}


def functions_of(member: object) -> Iterator[types.FunctionType]:
    """The functions that a member of a class consists of."""
    parts: list[Any] = [getattr(member, name, None) for name in _PARTS_OF.get(type(member), ())]
    for each in parts or [member]:
        if type(each) is types.FunctionType:
            yield each


def _ours(uses: Uses, space: dict[str, Any]) -> frozenset[str]:
    """Names under which code uses decorators of kept: how a step is run is not what it does."""
    return frozenset(
        ".".join(chain)
        for chain in uses.chains
        if all(type(step) is str for step in chain) and _is_ours(space.get(chain[0]))
    )


def _is_ours(value: Any) -> bool:
    module = getattr(value, "__name__", "") if isinstance(value, types.ModuleType) else getattr(value, "__module__", "")
    return isinstance(module, str) and module.partition(".")[0] in OURS


def _bytecode(code: types.CodeType) -> tuple[Any, ...]:
    """What there is when the source is gone; it differs between versions of Python."""
    constants = list(code.co_consts)
    if constants and isinstance(constants[0], str) and code.co_name != "<lambda>":
        constants[0] = None  # the docstring, in most functions
    inner = tuple(_bytecode(each) if isinstance(each, types.CodeType) else each for each in constants)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    handlers = getattr(code, "co_exceptiontable", b"")  # part of the bytecode before Python 3.11
    return (f"bytecode of {sys.implementation.cache_tag}", code.co_code, handlers, inner, names, counts)


def _annotations(function: Any) -> str:
    return repr(sorted(getattr(function, "__annotations__", {}).items(), key=str))


def _file_of_loaded(module: types.ModuleType) -> str | None:
    filename = getattr(module, "__file__", None)
    if filename is None and hasattr(module, "__path__"):  # a package without a file of its own
        return str(Path(next(iter(module.__path__), ""), "__init__.py"))
    return filename


def _base(filename: str) -> str:
    return filename.rpartition("/")[2]


def _stem(space: dict[str, Any]) -> str:
    return name_of(str(space.get("__name__", ""))).rpartition(".")[2]


def _space_of(value: type) -> dict[str, Any]:
    """The names of the module of a class."""
    module = sys.modules.get(value.__module__)
    for function in [each for member in vars(value).values() for each in functions_of(member)]:
        if function.__module__ == value.__module__:
            return function.__globals__
    return vars(module) if module is not None else {"__name__": value.__module__}


def _definition_of_class(value: type, space: dict[str, Any]) -> tuple[File | None, Any]:
    """The source of a class: the one around its methods, or the one of its name if that is unique."""
    own = [
        function.__code__
        for name, member in vars(value).items()
        for function in functions_of(member)
        if function.__code__.co_name == name and not _is_generated(function, value)
    ]
    candidates = [file for file in _files_of(value, space, own) if file.tree is not None]
    for file in candidates:
        here = [code for code in own if code.co_filename == file.filename]
        if not all(file.has(code) for code in here):
            continue
        nodes = [node for node in file.classes_of(value.__name__) if not here or _spans(node, here[0])]
        if len({syntax.normalised(node) for node in nodes}) > 1:
            nodes = [node for node in nodes if node.lineno == vars(value).get("__firstlineno__") or _binds(node, value)]
        if len({syntax.normalised(node) for node in nodes}) == 1:
            return file, nodes[-1]
    return None, None


def _binds(node: ast.ClassDef, value: type) -> bool:
    """Whether the body of a class binds what the class has, for telling classes of one name apart."""
    bound = {name for statement in node.body for name in syntax.bound_by(statement)}
    return bound <= {*vars(value), *getattr(value, "__annotations__", ())}


def _files_of(value: type, space: dict[str, Any], own: list[types.CodeType]) -> Iterator[File]:
    if own:
        text = syntax.text_of(own[0].co_filename, space)
        yield syntax.file_of_text(text, own[0].co_filename, own[0].co_flags & syntax.INHERITED)
    else:
        yield from _texts_of(space)


def _texts_of(space: dict[str, Any]) -> Iterator[File]:
    """The texts that a module was made of: its file, or the cells of a notebook, the last one first."""
    filename = space.get("__file__")
    if isinstance(filename, str) and "In" not in space:
        codes = _codes_from(space, filename)
        flags = codes[0].co_flags & syntax.INHERITED if codes else 0
        file = syntax.file_of_text(syntax.text_of(filename, space), filename, flags)
        if file.tree is not None and all(file.has(code) for code in codes):
            yield file
        return
    cells = space.get("In")
    for text in reversed(cells if isinstance(cells, list) else []):
        yield syntax.file_of_text(text, "<cell>")


def _codes_from(space: dict[str, Any], filename: str) -> list[types.CodeType]:
    """The code of the functions of a module that are from a file, which may have been edited since."""
    functions = [function for member in list(space.values()) for function in functions_of(member)]
    return [function.__code__ for function in functions if function.__code__.co_filename == filename]


def _constants_in(value: type, node: Any, fields: str) -> Iterator[str]:
    """Names that the body of a class binds to constants: they count by value, however they are written."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) or (isinstance(statement, ast.AnnAssign) and fields == "plain"):
            names = list(syntax.bound_by(statement))
            if all(
                _is_plain(vars(value).get(name, _ABSENT)) and not _is_container(vars(value)[name]) for name in names
            ):
                yield from names


def _is_container(value: Any) -> bool:
    return type(value) in (list, dict, set)


def _fields_of(value: type, node: ast.ClassDef) -> str:
    """How a class reads the annotations in its body."""
    if "__dataclass_fields__" in vars(value) or isinstance(getattr(value, "__total__", None), bool):
        return "names"
    if issubclass(value, tuple) and hasattr(value, "_fields"):
        return "names"
    plain = type(value) in (type, abc.ABCMeta) and not node.decorator_list
    others = [
        base for base in value.__mro__[1:-1] if not is_users_class(base) and base.__module__ not in ("abc", "typing")
    ]
    hooks = any("__init_subclass__" in vars(base) for base in value.__mro__[1:-1])
    return "plain" if plain and not others and not hooks else "full"


def _spans(node: ast.ClassDef, code: types.CodeType) -> bool:
    return syntax.first_line(node) <= code.co_firstlineno <= (node.end_lineno or node.lineno)


_KNOWN_CALLS = frozenset(
    "int float str bytes bool list dict set tuple frozenset range len min max sum sorted abs round zip map filter "
    "enumerate reversed compile Path PurePath timedelta date datetime Decimal Fraction namedtuple TypeVar NewType "
    "getLogger partial Lock RLock Event field SimpleNamespace super isinstance".split()
)


def _asks_outside(statement: ast.stmt) -> bool:
    """Whether a statement that binds a value calls what may answer differently next time."""
    if isinstance(statement, (*syntax.DEFINITIONS, ast.Import, ast.ImportFrom)):
        return False
    calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = [each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls]
    reads = any(isinstance(node, ast.Attribute) and node.attr == "environ" for node in ast.walk(statement))
    return reads or not _KNOWN_CALLS.issuperset(names)


def _absolute(module: str, level: int, package: str) -> str | None:
    """The full name of a module that is imported in a package."""
    if not level:
        return module
    above = package.split(".")
    if level > len(above):
        return None
    return ".".join([*above[: len(above) - level + 1], *([module] if module else [])])


def _digest_of(value: Any) -> str:
    encoded = plain_bytes(value)
    return blake3(repr(value).encode("utf-8", "replace") if encoded is None else encoded).hexdigest()[:_DIGITS]


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__qualname__}>"
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


# --- classes of values -----------------------------------------------------------------------------

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
        if kind in _WITHOUT_CLASSES or id(value) in seen or _is_code(value):
            continue
        seen.add(id(value))
        if kind in CONTAINERS:
            items = _items_of(value)
            if not _WITHOUT_CLASSES.issuperset(map(type, items)):
                stack.extend(items)
        elif not rules.leaves_out(kind):
            if is_users_class(kind):
                found[kind] = None
                stack.extend(getattr(value, name, None) for base in kind.__mro__ for name in _slots_of(base))
            stack.extend(vars_of(value).values())
            stack.extend(_held_in(value))
    return sorted(found, key=lambda kind: (kind.__qualname__, kind.__module__))


def _held_in(value: Any) -> Collection[Any]:
    """What a collection, a bound method, a partial or an array of objects holds."""
    if isinstance(value, (dict, types.MappingProxyType)):
        return _items_of(dict(value))
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return list(value)
    if isinstance(value, types.MethodType):
        return (value.__self__,)
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if getattr(getattr(value, "dtype", None), "hasobject", False):
        return value.ravel().tolist() if hasattr(value, "ravel") else ()
    return ()


def _slots_of(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


# --- code as a value -------------------------------------------------------------------------------


def _described_function(value: types.FunctionType) -> Node:
    module, filename = value.__globals__.get("__name__") or "", value.__code__.co_filename
    if not _is_made_up(filename) and not is_users(module, filename) and not value.__closure__:
        return named(module, value.__qualname__, "function")
    # What is bound to it is part of the value: without stable content it is an error here, as anywhere in a value.
    cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=False))
    own = {name: each for name, each in vars(value).items() if name[:2] != "__" and (_is_plain(each) or _is_code(each))}
    return _described_code("function", value, (value.__defaults__, value.__kwdefaults__, cells, own))


def _described_class(value: type) -> Node:
    if not is_users_class(value):
        return named(value.__module__, value.__qualname__, "class")
    return _described_code("class", value)


def _described_module(value: types.ModuleType) -> Node:
    if not is_users(value.__name__, _file_of_loaded(value)):
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
        types.CodeType: lambda value: Node("code", (value.co_name, _bytecode(value)), code=True),
    }
)
