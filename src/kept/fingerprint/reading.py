"""One reading of code: the graph of what a function reaches, as nodes for the walk of `canonical.py`.

The body of a function names things. Each name is followed to what it stands for, as far as a chain of them goes, and
described in turn; what has no stable content, or is changed by the code itself, is described by what defines it.
"""

from __future__ import annotations

import abc
import ast
import builtins
import enum
import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from kept.fingerprint import rules, syntax
from kept.fingerprint.canonical import Node, fingerprint_with
from kept.fingerprint.definitions import (
    absolute,
    annotations_shown,
    asks_outside,
    base_name,
    bytecode,
    changed_by,
    constants_in,
    definition_of_class,
    fields_of,
    may_differ,
    ours,
    shown_chain,
    space_of,
    stem,
    texts_of,
)
from kept.fingerprint.kinds import (
    ABSENT,
    BUILT_IN,
    SPACES,
    STATEFUL,
    code_in,
    file_of_loaded,
    functions_of,
    has_say,
    is_class,
    is_code,
    is_descriptor,
    is_dunder,
    is_generated,
    is_made_up,
    is_module,
    is_ours,
    is_plain,
    is_state,
    is_users_class,
    item,
    items_of,
    slots_of,
    subclasses,
    vars_of,
)
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
from kept.fingerprint.parts import CodeIdentity, Listing, is_wrapping
from kept.fingerprint.plain import ATOMS, CONTAINERS, PLAIN_TYPES, plain_bytes
from kept.fingerprint.standins import Defined, Group, Info, Outside, Scope, State, Static, StaticModule, Whole
from kept.fingerprint.syntax import Chain, File, Form, Import, Key, Uses
from kept.fingerprint.watching import Watch


class Reading:
    """One look at what a function reaches."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.distributions: dict[str, str] = {}
        self.known: dict[int, str] = {}
        self._tried: dict[int, tuple[Any, bool]] = {}
        self._described: dict[int, tuple[Any, Node]] = {}
        self._infos: dict[int, Info] = {}
        self._stand_ins: dict[Any, Any] = {}
        self._texts: dict[int, list[File]] = {}

    def identity(self, thing: Any) -> CodeIdentity:
        """What a function or class is."""
        child = self.follow(thing)
        digest = fingerprint_with(self.describe, child, "code", self.known)
        listing = Listing(self._infos, self._described, self._tried)
        return CodeIdentity(digest, self.distributions, lambda: listing.parts(child))

    # What describes each kind of thing to the walk.

    def describe(self, value: Any) -> Node:
        """What describes a value to the walk, the same each time."""
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
        if is_class(value):
            return self._class(value)
        if kind is types.ModuleType:
            return self._namespace(vars(value))
        if kind.__module__.partition(".")[0] in OURS and is_wrapping(value):
            # A task or flow is its function, or what its author says that it is: how it is run is not what it does.
            said = getattr(getattr(getattr(value, "spec", None), "options", None), "version", None)
            if said is not None:
                return Node("task", (str(said), getattr(value, "__qualname__", "")))
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
        if is_code(value) or (kind not in STATEFUL and self._has_content(value)):
            return value
        return self._held(value, definition)

    def _held(self, value: Any, definition: Any) -> Any:
        """What stands for a value without stable content: its class, the statements that define it, code in it."""
        kind = type(value)
        self._note_distribution(kind.__module__, file_of(kind.__module__))
        code = self._code_in(value)
        if definition is None and not code:
            return self._stand_in(State(f"{name_of(kind.__module__)}.{kind.__qualname__}"))
        return self._group("held", {"class": kind if is_users_class(kind) else None, "definition": definition, **code})

    def _changed(self, value: Any, definition: Any = None) -> Any:
        """What stands for what code changes itself: the statements that define it, and the code that it holds."""
        code = self._code_in(value)
        if code:  # a registry
            self.watch.content(value)
            return self._group("held", {"definition": definition, **code})
        if isinstance(definition, Defined) and any(map(asks_outside, definition.statements)):
            return self.follow(value, definition)  # the statement can't tell what it came to
        if definition is not None:
            return definition
        return type(value) if is_users_class(type(value)) else self._stand_in(State("what it changes itself"))

    def _code_in(self, value: Any) -> dict[str, Any]:
        return {f"code{label}": self.follow(each) for label, each in code_in(value).items()}

    def _has_content(self, value: Any) -> bool:
        tried = self._tried.get(id(value))
        if tried is None:
            self._tried[id(value)] = (value, True)  # met again inside of itself, it closes a circle
            try:
                self.known[id(value)] = fingerprint_with(self.describe, value, "", self.known)
                tried = (value, True)
            except Exception:  # an object may raise anything when it is looked at
                tried = (value, False)
            self._tried[id(value)] = tried
        return tried[1]

    def _outside(self, value: Any) -> Any:
        """What stands for a function, class or module that is not the user's; None for anything else."""
        kind = type(value)
        if kind is types.FunctionType:
            return self._function_outside(value)
        if is_class(value):
            if is_users_class(value):
                return None
            module, name, filename = value.__module__, value.__qualname__, file_of(value.__module__)
        elif kind is types.ModuleType:
            module, name, filename = value.__name__, "", file_of_loaded(value)
        elif kind in BUILT_IN:
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
        if is_made_up(filename) or is_users(module, filename):
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
        found = {f"{i}{label}": each for i, held in enumerate(cells) for label, each in code_in(held).items()}
        wrapped = getattr(wrapper, "__wrapped__", None)
        if wrapped is not None and not any(each is wrapped for each in found.values()):
            found["wrapped"] = wrapped
        given = {
            label: each
            for label, each in found.items()
            if each is not wrapper and (label.count("key") or not isinstance(self._outside(each), Outside))
        }
        if distribution_of(wrapper.__globals__.get("__name__") or "", wrapper.__code__.co_filename) is not None:
            # It may read them, as who validates arguments does; and it was given options.
            given.update({f"annotations {label}": annotations_shown(each) for label, each in list(given.items())})
            given.update({f"option {i}": held for i, held in enumerate(cells) if type(held) in ATOMS or _is_row(held)})
        return given

    def _named_outside(self, module: str, name: str, filename: str | None) -> Any:
        installed = self._note_distribution(module, filename)
        if not installed:  # `pathlib._local` is what used to be `pathlib`
            top, *inner = module.split(".")
            module = ".".join([top, *(part for part in inner if part[:1] != "_")])
        module, name = _MOVED.get((module, name), (module, name))
        return self._stand_in(Outside("installed" if installed else "python", f"{module}:{name}"))

    def _note_distribution(self, module: str, filename: str | None) -> Distribution | None:
        if not isinstance(module, str) or module.partition(".")[0] in OURS:
            return None
        found = distribution_of(module, filename)
        if found is not None:
            self.distributions[found.name] = found.version
        return found

    def _stand_in(self, value: Any) -> Any:
        return self._stand_ins.setdefault(value, value)

    def _group(self, tag: str, members: dict[str, Any]) -> Any:
        key = (tag, *((name, id(member)) for name, member in members.items()))
        return self._stand_ins.setdefault(key, Group(tag, members))

    # Functions, classes, modules.

    def _function(self, value: types.FunctionType) -> Node:
        code, space = value.__code__, value.__globals__
        self.watch.function(value)
        definition = syntax.definition_of(code, space)
        if definition is None:
            file, node, uses = None, None, syntax.uses_of_bytecode(code)
            own: Any = bytecode(code)
        else:
            file, node = definition.file, definition.node
            uses = syntax.uses_of(node, decorated=False)
            own = syntax.normalised(node, Form(ours=ours(uses, space)))
        cells = dict(zip(code.co_freevars, value.__closure__ or (), strict=False))
        members = self._used(uses, Scope(space, syntax.names_looked_up(code), cells))
        members.update({f"={name}": each for name, each in self._defaults(value, uses.changed)})
        where = f"{base_name(code.co_filename)}:{code.co_firstlineno}{'' if definition else ', bytecode: no source'}"
        return self._noted(
            value, Info(f"{stem(space)}.{value.__qualname__}", "function", own, file, node, where, members)
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
        space = space_of(value)
        self.watch.all_names(vars(value), value)
        members = {f"base {i}": self.follow(base) for i, base in enumerate(value.__bases__) if base is not object}
        if is_users_class(type(value)):  # of others, the bases tell
            members["metaclass"] = self.follow(type(value))
        file, node = definition_of_class(value, space)
        if file is None:
            own: Any = value.__name__
            members.update(self._all_members(value))
        else:
            fields = fields_of(value, node)
            valued = frozenset(constants_in(value, node, fields))
            uses = syntax.uses_of(node)
            changed = frozenset(name for chain in uses.changed for name in chain[1:])
            valued -= changed
            own = syntax.normalised(node, Form(ours=ours(uses, space), fields=fields, valued=valued))
            code = file.code_of(node)
            looked_up = syntax.outer_names(node) | (syntax.names_looked_up(code) if code else frozenset())
            members.update(self._used(uses, Scope(space, looked_up, {})))
            if fields == "full":
                for annotation in syntax.annotations_of(node):
                    read = syntax.uses_of(annotation)
                    names = frozenset(chain[0] for chain in read.chains)
                    members.update(self._used(read, Scope(space, names, {})))
            members.update(self._members_beside_source(value, file, node, valued))
            members.update(self._values_in_class(value, node, valued, changed))
        where = f"{base_name(file.filename)}:{node.lineno}" if file else ""
        return self._noted(value, Info(f"{stem(space)}.{value.__qualname__}", "class", own, file, node, where, members))

    def _members_beside_source(
        self, value: type, file: File, node: Any, valued: frozenset[str]
    ) -> Iterator[tuple[str, Any]]:
        """What the source of a class does not tell: values, methods put there later, what methods close over."""
        lines = range(syntax.first_line(node), (node.end_lineno or 0) + 1)
        for name, member in list(vars(value).items()):
            if name in valued:
                yield name, self.watch.name(vars(value), name)
            for i, function in enumerate(functions_of(member)):
                code = function.__code__
                inside = file.has(code) and code.co_firstlineno in lines
                if (inside and set(code.co_freevars) <= {"__class__"}) or is_generated(function, value):
                    continue
                child = self.follow(function)
                if not isinstance(child, Outside):
                    yield f"{name} {i}", child

    def _values_in_class(
        self, value: type, node: Any, valued: frozenset[str], changed: frozenset[Any]
    ) -> Iterator[tuple[str, Any]]:
        """What a class binds that is no constant: lists, tables, objects; all of it for a class in a function."""
        is_local = "<locals>" in value.__qualname__
        bound = {name for statement in node.body for name in syntax.bound_by(statement)}
        for name, member in list(vars(value).items()):
            if name in valued or is_dunder(name) or isinstance(member, value) or issubclass(value, enum.Enum):
                continue
            if name in changed:
                yield name, self._changed(member)
            elif not is_descriptor(member) and (is_local or name in bound):
                self._watch_value(member)
                yield name, self.follow(member)
            elif is_local and is_class(member):
                yield name, self.follow(member)

    def _all_members(self, value: type) -> Iterator[tuple[str, Any]]:
        for name, member in list(vars(value).items()):
            if name in _NOT_MEMBERS:
                continue
            for i, function in enumerate(functions_of(member)):
                child = self.follow(function)
                if not (is_generated(function, value) or isinstance(child, Outside)):
                    yield f"{name} {i}", child
            if isinstance(member, value):  # of an enumeration
                yield name, self.follow(getattr(member, "value", None))
            elif isinstance(member, type) or not (is_dunder(name) or is_descriptor(member)):
                yield name, self.follow(self.watch.name(vars(value), name))

    def _namespace(self, space: dict[str, Any]) -> Node:
        is_notebook = "In" in space
        members: dict[str, Any] = {}
        for name, member in list(space.items()):
            if name.startswith("_" if is_notebook else "__") or (is_notebook and name in ("In", "Out")):
                continue
            if is_ours(member) and not is_wrapping(member):
                continue
            is_part = isinstance(member, types.ModuleType) and member.__name__.startswith(f"{space.get('__name__')}.")
            if is_part or not isinstance(member, types.ModuleType):
                self.watch.name(space, name)
                members[name] = self._named(space, name, member)
        return _node("module", None, members)

    # Names.

    def _used(self, uses: Uses, scope: Scope) -> dict[str, Any]:
        """What code uses, by how it names it."""
        members: dict[str, Any] = {}
        imported = {each.bound for each in uses.imports}
        for chain in uses.chains:
            if chain[0] in imported:
                continue
            try:
                found = self._reached(chain, scope, uses.changed)
            except Exception as error:  # an object may raise anything when it is looked at
                found = chain[0], self._stand_in(State(f"what raises {type(error).__name__}"))
            if found is not None:
                members[found[0]] = found[1]
        for each in uses.imports:
            chains = [chain for chain in uses.chains if chain[0] == each.bound]
            members.update({f"import {label}": child for label, child in self._imported(each, chains, scope.package)})
        if uses.dynamic:
            members["*"] = self._stand_ins.setdefault(("whole", id(scope.space)), Whole(scope.space))
        return members

    def _reached(self, chain: Chain, scope: Scope, changed: frozenset[Chain]) -> tuple[str, Any] | None:
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
        if value is ABSENT:  # of Python itself, or not there yet
            return None
        at, name = 1, root
        while at < len(chain) and not is_state(value, chain[:at], changed):
            step = self._step(value, chain[at])
            if step is None:
                break
            space, name, value = step
            at += 1
        label = shown_chain(chain[:at])
        if at < len(chain) and is_module(value):
            return self._attribute_of(value, chain[at], f"{label}.{chain[at]}")
        if at < len(chain) and is_class(value) and chain[at] == "__subclasses__" and is_users_class(value):
            return label, self._group(
                "subclasses", {"": value, **{each.__qualname__: each for each in subclasses(value)}}
            )
        if is_state(value, chain[:at], changed):
            return label, self._changed(value, self._definition(space, name))
        if at < len(chain) and is_users_class(type(value)):
            rest = self._unchanged_by(value, chain[at])
            if rest is not None:
                return f"{label}.{chain[at]}", rest
        return label, self._named(space, name, value)

    def _unchanged_by(self, value: Any, method: Any) -> Any:
        """What stands for an object of which a method is called that changes some of it; None if it changes nothing."""
        changed = changed_by(type(value), method, set())
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
            found = item(value, step.value)
            if found is ABSENT:
                return None
            self.watch.content(value)
            return None, "", found
        if is_module(value):
            if self._outside(value) is not None:
                return None
            found = self.watch.name(vars(value), step)
            return None if found is ABSENT else (vars(value), step, found)
        if step == "__doc__" and (is_class(value) or type(value) is types.FunctionType):
            return None, step, value.__doc__
        if is_class(value):
            return self._step_into_class(value, step)
        if not (type(value) in SPACES or is_users_class(type(value))):
            return None
        space = getattr(value, "__dict__", {})
        if not is_plain(space.get(step, ABSENT)) or has_say(type(value), step):
            return None
        return None, step, self.watch.name(space, step)

    def _step_into_class(self, value: type, step: str) -> tuple[Any, str, Any] | None:
        if type(value) not in (type, abc.ABCMeta) or not is_users_class(value):
            return None
        owner = next((base for base in value.__mro__ if step in vars(base)), object)
        found = vars(owner).get(step)
        if isinstance(found, staticmethod):
            found = found.__func__
        if not is_users_class(owner) or not (is_plain(found) or type(found) is types.FunctionType):
            return None
        self.watch.name(vars(owner), step)
        return None, step, found

    def _attribute_of(self, module: types.ModuleType, name: str, label: str) -> tuple[str, Any] | None:
        """What a module has that is not the user's, or what one of the user's does not have yet."""
        if self._outside(module) is not None:
            outside = self._outside(vars(module).get(name))
            if outside is None or isinstance(vars(module).get(name), types.ModuleType):
                outside = self._named_outside(module.__name__, name, file_of_loaded(module))
            return label, outside
        later = vars(module).get("__getattr__")
        if isinstance(later, types.FunctionType):
            return label, later
        return next(self._imported(Import(name, module.__name__, 0, name), [], ""), None)

    def _named(self, space: Any, name: str, value: Any) -> Any:
        """What stands for what a name stands for."""
        if is_code(value) or self._outside(value) is not None:
            return self.follow(value)
        if isinstance(value, (str, PurePath)) and Path(value).is_absolute() and self._tells_place(space, name):
            return self._held(value, self._definition(space, name))
        self._watch_value(value)
        return value if is_plain(value) else self.follow(value, self._definition(space, name))

    def _watch_value(self, value: Any, depth: int = 0) -> None:
        """See that a value stays what it is, as far as that can be told at each call."""
        kind = type(value)
        if kind in ATOMS or is_code(value) or depth > _DEEP or (is_ours(kind) and is_wrapping(value)):
            return
        inner: list[Any] = []
        if kind in CONTAINERS:
            self.watch.content(value)
            inner = [] if is_plain(value) else items_of(value)[:_MANY]
        elif is_users_class(kind):
            space = vars_of(value)
            self.watch.all_names(space, value)
            slots = [name for base in kind.__mro__ for name in slots_of(base)]
            inner = [*space.values(), *(self.watch.slot(value, name) for name in slots)]
        elif kind not in STATEFUL:
            self.watch.value(value)
        for each in inner:
            self._watch_value(each, depth + 1)

    def _definition(self, space: Any, name: str) -> Any:
        """The statements at the top of a module that bind a name, if they are known."""
        key = ("defined", id(space), name)
        if key not in self._stand_ins:
            found = self._statements(space, name)
            self._stand_ins[key] = found and Defined(space, name, *found)
        return self._stand_ins[key]

    def _statements(self, space: Any, name: str) -> tuple[File, list[ast.stmt]] | None:
        if not isinstance(space, dict) or "__name__" not in space:
            return None
        if id(space) not in self._texts:
            self._texts[id(space)] = list(texts_of(space))
        for file in self._texts[id(space)]:
            found = [each for each in file.bindings.get(name, ()) if not isinstance(each, (ast.Import, ast.ImportFrom))]
            if found:
                return file, found
        return None

    def _tells_place(self, space: Any, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a name was computed from where its file lies, or from where the process was started."""
        found = None if name in seen else self._statements(space, name)
        for statement in found[1] if found else ():
            if syntax.reads_environment(statement):
                return False
            if syntax.names_place(statement):
                return True
            for chain in syntax.uses_of(statement).chains:
                if chain[0] in space and chain[0] != name and self._tells_place(space, chain[0], seen | {name}):
                    return True
        return False

    def _defined(self, value: Defined) -> Node:
        own = tuple([syntax.normalised(each, Form(decorated=True)) for each in value.statements])
        members: dict[str, Any] = {}
        for statement in value.statements:
            uses = syntax.uses_of(statement)
            names = frozenset(chain[0] for chain in uses.chains) - {value.name} - syntax.names_within(statement)
            # What it changed is changed by now.
            members.update(self._used(uses._replace(changed=frozenset()), Scope(value.space, names, {})))
        node = value.statements[-1]
        where = f"{base_name(value.file.filename)}:{node.lineno}"
        name = f"{stem(value.space)}.{value.name}"
        return self._noted(value, Info(name, "definition", own, value.file, node, where, members))

    # What is imported inside of functions, read from files.

    def _imported(self, each: Import, chains: list[Chain], package: str) -> Iterator[tuple[str, Any]]:
        module = absolute(each.module, each.level, package)
        if not module or module.partition(".")[0] in OURS:
            return
        label = f"{module}:{each.attribute or ''}"
        if each.attribute == "":  # `import a.b.c` binds `a`: the way to what is used begins there
            package = self._static_module(module.partition(".")[0])
            if isinstance(package, StaticModule):
                yield from self._of_static_module(package, chains or [(*module.split("."),)], 1)
                return
        found = self._static_module(module)
        if each.attribute and isinstance(found, StaticModule):
            found = self._static(found, each.attribute)
        if isinstance(found, StaticModule):
            yield from self._of_static_module(found, chains, 1)
        elif isinstance(found, Outside) and each.attribute:
            yield label, self._stand_in(Outside(found.tag, label))
        else:
            yield label, found

    def _of_static_module(self, module: StaticModule, chains: list[Chain], at: int) -> Iterator[tuple[str, Any]]:
        """What is used of a module whose name takes `at` steps of the chains."""
        if not chains or any(len(chain) <= at or type(chain[at]) is not str for chain in chains):
            yield f"{module.name}:*", self._all_of(module)
            return
        for chain in chains:
            found = self._static(module, chain[at])
            if isinstance(found, StaticModule):
                yield from self._of_static_module(found, [chain], at + 1)
            else:
                yield f"{module.name}:{chain[at]}", found

    def _all_of(self, module: StaticModule) -> Any:
        members = {name: self._static(module, name) for name in sorted(module.file.bindings)}
        return self._group("all", {n: each for n, each in members.items() if not isinstance(each, StaticModule)})

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
                return self._stand_in(State(f"module {name}"))
            return self._named_outside(name, "", filename)
        if loaded is None or file_of(name) is None:  # a package without a file of its own has nothing in it but others
            file = syntax.file_of_text(syntax.text_of(filename), filename)
        else:
            file = next(texts_of(vars(loaded)), None)  # type: ignore[assignment]
        if file is None or file.tree is None:
            return self._stand_in(State(f"module {name}")) if loaded is None else loaded
        return StaticModule(name, file, name if Path(filename).stem == "__init__" else name.rpartition(".")[0])

    def _static(self, module: StaticModule, name: str) -> Any:
        """What a name at the top of such a module stands for."""
        key = ("static", module.name, name)
        if key not in self._stand_ins:
            if name in module.file.bindings:
                self._stand_ins[key] = self._imported_for_real(module, name) or Static(module, name)
            elif module.package == module.name and source_of_module(f"{module.name}.{name}"):
                self._stand_ins[key] = self._static_module(f"{module.name}.{name}")
            else:
                self._stand_ins[key] = self._star_imported(module, name) or State(f"{module.name}.{name}")
        return self._stand_ins[key]

    def _imported_for_real(self, module: StaticModule, name: str) -> Any:
        """What stands for a value that no source can tell, such as what was read from a file."""
        loaded = sys.modules.get(module.name)
        value = ABSENT if loaded is None else vars(loaded).get(name, ABSENT)
        if not may_differ(module.file, name, value):
            return None
        try:
            space = vars(importlib.import_module(module.name))
        except Exception:  # it will be raised to the step as well
            return None
        return self._named(space, name, self.watch.name(space, name)) if name in space else None

    def _star_imported(self, module: StaticModule, name: str) -> Any:
        for statement in module.file.bindings.get("*", ()):
            source = absolute(statement.module or "", statement.level, module.package)  # type: ignore[attr-defined]
            found = self._static_module(source) if source else None
            if isinstance(found, StaticModule) and {name, "*"} & found.file.bindings.keys():
                return self._static(found, name)
            if isinstance(found, Outside):
                return self._stand_in(Outside(found.tag, f"{source}:{name}"))
        return None

    def _described_static(self, value: Static) -> Node:
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
        where = f"{base_name(module.file.filename)}:{node.lineno}"
        title = f"{module.name.rpartition('.')[2]}.{name}"
        return self._noted(value, Info(title, "definition", tuple(own), module.file, node, where, members))

    def _used_statically(self, statement: ast.stmt, module: StaticModule, own: str) -> dict[str, Any]:
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
        self, statement: ast.stmt, name: str, chains: list[Chain], module: StaticModule
    ) -> Iterator[tuple[str, Any]]:
        for each in syntax.uses_of(statement).imports:
            if each.bound == name:
                yield from self._imported(each, chains, module.package)

    # Parts.

    def _noted(self, value: Any, info: Info) -> Node:
        self._infos[id(value)] = info
        return _node(info.kind, info.own, info.members)


_STAND_INS: dict[type, Callable[[Reading, Any], Node]] = {
    Outside: lambda _, value: Node(value.tag, value.name),
    # What Python calls a type of its own differs between its versions.
    State: lambda _, value: Node("state", "" if is_of_python(value.name, None) else value.name),
    Group: lambda _, value: _node(value.tag, None, value.members),
    Whole: lambda reading, value: reading._namespace(value.space),
    Defined: Reading._defined,
    Static: Reading._described_static,
}


def _is_row(value: Any) -> bool:
    return type(value) in (tuple, frozenset) and is_plain(value)


def _node(tag: str, own: Any, members: Mapping[str, Any]) -> Node:
    names = sorted(members)
    return Node(tag, (own, tuple(names)), [members[name] for name in names], lambda i: f" -> {names[i]}")


_DEEP, _MANY = 4, 1000
_OF_MODULES = frozenset("__name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __builtins__".split())


_NOT_MEMBERS = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ __annotations__ "
    "__annotate__ _abc_impl __parameters__ __orig_bases__ __match_args__ __hash__ __slots__".split()
)


# What has another name in a newer Python.
_MOVED = {("_thread", "allocate_lock"): ("_thread", "lock")}
