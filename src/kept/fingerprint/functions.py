"""Rules for code as a value: functions, methods, partials, classes, modules, type expressions.

A function of the user is its name, its source without comments, docstring, decorators, annotations and
positions, its defaults, what it closes over, and what it names in its module: functions, classes and plain
values, in turn with what they reach. A class of the user is its name, its source and what that does not tell: its
bases, what its methods reach, constants that it computed. Objects and modules that code names are not followed
here. What an installed distribution defines is its name and the version.

Source counts only if it is that of the code that runs: a file that was edited after its import says something
else. It is told by compiling the text again, which must give an equal code object; else the bytecode counts.
"""

from __future__ import annotations
import __future__

import ast
import dis
import functools
import importlib
import linecache
import sys
import sysconfig
import threading
import types
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from inspect import unwrap
from typing import Any

from kept.fingerprint.builtins import attributes
from kept.fingerprint.canonical import Node
from kept.fingerprint.plain import ATOMS, PLAIN_TYPES, plain_bytes
from kept.utilities.forks import not_while_forking

Rule = Callable[[Any], Node]

# Fields of syntax nodes that say where, how or for whom, not what.
_NOT_CODE = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)
_CONSTANT_TYPES = ATOMS | {tuple, frozenset}
_FOUND_IN_BYTECODE = f"bytecode of {sys.implementation.cache_tag}"


def rule_for(kind: type) -> Rule | None:
    """Return the rule for a type of code."""
    if issubclass(kind, type):
        return _class
    return _RULES.get(kind) or (_type_form if kind.__module__ == "typing" else None)


# --- functions -------------------------------------------------------------------------------------


def _function(value: types.FunctionType) -> Node:
    cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
    header = (_name(value), _code(value.__code__, value.__module__))
    children = (value.__defaults__, value.__kwdefaults__, cells, _reached(value), *_own_attributes(value))
    code = not is_of_python(value.__module__ or "", value.__code__.co_filename)
    return Node("function", header, children, _FUNCTION_PATHS.__getitem__, code=code)


_FUNCTION_PATHS = (".__defaults__", ".__kwdefaults__", ".__closure__", ".__globals__", "")


def _own_attributes(value: types.FunctionType) -> tuple[dict[str, object], ...]:
    """Return the attributes that a user has set on a function, as far as they have stable content for sure."""
    if not value.__dict__ or is_installed(value.__module__ or "", value.__code__.co_filename):
        return ()
    found = {name: item for name, item in value.__dict__.items() if name[:2] != "__" and _is_followed(item)}
    return (found,) if found else ()


def _reached(value: types.FunctionType) -> dict[str, object]:
    """Return what a function of the user names in its module, as far as that has stable content for sure."""
    if is_installed(value.__module__ or "", value.__code__.co_filename):
        return {}
    module = value.__globals__
    named = {name: module[name] for name in _global_names(value.__code__) if name in module}
    return {name: unwrap(target) for name, target in named.items() if _is_followed(unwrap(target))}


def _is_followed(target: object) -> bool:
    if isinstance(target, (types.FunctionType, type)):
        return True
    return type(target) in PLAIN_TYPES and plain_bytes(target) is not None


@lru_cache(maxsize=4096)
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """Return the names that code and the code inside it look up in their module, sorted."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _LOOKS_UP}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_global_names(constant))
    return tuple(sorted(names))


_LOOKS_UP = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})


def _name(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _code(code: types.CodeType, module: str | None) -> object:
    if is_installed(module or "", code.co_filename):
        return ("installed", version_of(module or ""))
    return _source_of(code, code.co_filename) or _bytecode(code)


@lru_cache(maxsize=4096)
def _source_of(code: types.CodeType, filename: str) -> str | None:
    """Return the normalised source of a code object. Equal code has equal source, so it may be remembered."""
    text = running_source(code)
    if text is None:
        return None
    found = [
        node
        for node in _definitions(filename, text).get(code.co_firstlineno, ())
        if isinstance(node, ast.Lambda if code.co_name == "<lambda>" else _FUNCTIONS)
        and getattr(node, "name", "<lambda>") == code.co_name
    ]
    sources = {normalised(node) for node in found}
    if len(sources) > 1:
        sources = {normalised(node) for node in found if _starts_at(node, code)}
    return sources.pop() if len(sources) == 1 else None


def _starts_at(node: Any, code: types.CodeType) -> bool:
    """Tell lambdas on one line apart by their columns, which code knows since Python 3.11."""
    positions = getattr(code, "co_positions", lambda: ())()
    columns = {(line, column) for line, _, column, _ in positions if column}
    return (node.body.lineno, node.body.col_offset) in columns


def _bytecode(code: types.CodeType) -> object:
    """Return what there is when the source is gone; it differs between versions of Python."""
    constants = tuple(_bytecode(x) if isinstance(x, types.CodeType) else x for x in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    handlers = getattr(code, "co_exceptiontable", b"")  # part of the bytecode before Python 3.11
    return (_FOUND_IN_BYTECODE, code.co_code, handlers, constants, names, counts)


def _code_object(value: types.CodeType) -> Node:
    return Node("code", (value.co_name, _code(value, None)), code=True)


# --- source ----------------------------------------------------------------------------------------


def running_source(code: types.CodeType) -> str | None:
    """Return the text of the file that some code is from, or None if it is not what the code was compiled from."""
    text = _text(code.co_filename)
    return text if is_running_source(code, text) else None


def is_running_source(code: types.CodeType, text: str) -> bool:
    """Say whether code that runs was compiled from this text of its whole file, and not from an earlier one.

    Code is equal if it does the same, under the same names, at the same places in its file. What a tool
    rewrote before it was compiled, such as asserts under pytest, is equal to no text.
    """
    return code in _code_in(text, code.co_filename, code.co_flags & _INHERITED)


# Features that code gets by `from __future__ import`, or from what compiled it: cells of a notebook share theirs.
_INHERITED = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
) & ~(__future__.nested_scopes.compiler_flag | __future__.generators.compiler_flag)


@lru_cache(maxsize=64)
def _code_in(text: str, filename: str, flags: int) -> frozenset[types.CodeType]:
    """Return all code in a text, at any depth."""
    try:
        with _without_warnings():
            # Cells of a notebook may wait at their top level; to other text the flag is nothing.
            flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            whole = compile(text, filename, "exec", flags, dont_inherit=True)
    except _UNREADABLE:
        return frozenset()
    found = [whole]
    for code in found:
        found.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return frozenset(found)


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_silence = not_while_forking(threading.Lock())


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Read source without repeating what Python said of it when it was imported."""
    # Filters are the whole process's: two threads that silence and restore them in turn would leave them silent.
    with _silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parsed(text: str, filename: str) -> ast.Module | None:
    try:
        with _without_warnings():
            return ast.parse(text, filename)
    except _UNREADABLE:
        return None


def _text(filename: str) -> str:
    linecache.checkcache(filename)
    return "".join(linecache.getlines(filename))


@lru_cache(maxsize=64)
def _definitions(filename: str, text: str) -> dict[int, list[ast.AST]]:
    """Return the definitions in a file by the line on which they start, decorators included."""
    found: dict[int, list[ast.AST]] = {}
    tree = _parsed(text, filename)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, _DEFINITIONS):
            starts = [node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))]
            found.setdefault(min(starts), []).append(node)
    return found


def normalised(root: ast.AST) -> str:
    """Return the source of a syntax tree as one text that is the same on every supported Python."""
    out: list[str] = []
    stack: list[Any] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, ast.AST):
            out.append(f"({type(item).__name__}")
            stack.append(")")
            stack.extend(reversed([*_fields(item, item is root)]))
        elif isinstance(item, list):
            out.append("[")
            stack.append("]")
            stack.extend(reversed(item))
        else:
            out.append(_constant(item))
    return "".join(out)


def _fields(node: ast.AST, is_root: bool) -> Iterator[Any]:
    for name, value in ast.iter_fields(node):
        if name in _NOT_CODE and not (name == "annotation" and isinstance(node, ast.AnnAssign)):
            continue
        if name == "decorator_list" and is_root and isinstance(node, _FUNCTIONS):
            continue
        if name == "body" and isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Module)):
            value = _without_docstring(value)
        if isinstance(value, str):
            value = _constant(value)
        if (value is not None and value != []) or name == "value":
            yield f" {name}="
            yield _constant(value) if not isinstance(value, (ast.AST, list, str)) else value


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if text and isinstance(first.value.value, str):  # type: ignore[union-attr]
        return body[1:] or [ast.Pass()]
    return body


def _constant(value: object) -> str:
    """Write a constant so that none looks like another: a text with its length, others with their type."""
    shown = value if isinstance(value, str) else repr(value)
    return f"<{type(value).__name__} {len(shown)} {shown}>"


# --- whose code it is ------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def is_installed(module: str, filename: str | None) -> bool:
    """Say whether a module comes with Python or from an installed distribution."""
    if module.partition(".")[0] in sys.builtin_module_names or (filename or "").startswith("<frozen"):
        return True
    if "/site-packages/" in (filename or "") or "/dist-packages/" in (filename or ""):
        return True
    paths = sysconfig.get_paths()
    places = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any((filename or "").startswith(place + "/") for place in places)


def is_of_python(module: str, filename: str | None) -> bool:
    """Say whether a module comes with Python: what it defines counts by name, in any version."""
    return module.partition(".")[0] in sys.stdlib_module_names and (filename is None or is_installed(module, filename))


@lru_cache(maxsize=4096)
def version_of(module: str) -> str:
    """Return the version of the distribution that has a module; none for Python's own modules."""
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("", "__main__"):
        return ""
    version = getattr(sys.modules.get(root), "__version__", None)
    if isinstance(version, str):
        return str.__str__(version)
    metadata = importlib.import_module("importlib.metadata")  # 20 ms, and hardly ever needed
    try:
        return str(metadata.version(root))
    except metadata.PackageNotFoundError:
        return ""


def _file_of(module: str) -> str | None:
    found = getattr(sys.modules.get(module), "__file__", None)
    return found if isinstance(found, str) else None


# --- classes and modules ---------------------------------------------------------------------------


def _class(value: type) -> Node:
    filename = _file_of(value.__module__)
    unfindable = filename is None and value.__module__ != "__main__" and value.__module__ in sys.modules
    if unfindable or is_installed(value.__module__, filename):
        code = not is_of_python(value.__module__, filename)
        return Node("class", (_name(value), version_of(value.__module__)), code=code)
    bases = tuple(base for base in value.__bases__ if base is not object)
    path = _path_of(value) or filename
    source = _class_source(value, path) if path else None
    members = _members(value) if source is None or path is None else _members_beside_source(value, path)
    return Node(
        "class", (_name(value), source), (bases, attributes(members)), (".__bases__", "").__getitem__, code=True
    )


def _path_of(value: type) -> str | None:
    """Return the file of a class: its module's may be unknown, or another one."""
    functions = [member for member in vars(value).values() if type(member) is types.FunctionType]
    own = [function.__code__ for function in functions if function.__code__.co_name in vars(value)]
    return own[0].co_filename if own else None


def _class_source(value: type, path: str) -> str | None:
    """Return the source of a class: the one around its methods, or the one of its name if that is unique."""
    text = _text(path)
    codes = list(_codes_of(value, path))
    if not all(is_running_source(code, text) for code in codes):
        return None
    named = [
        node
        for nodes in _definitions(path, text).values()
        for node in nodes
        if isinstance(node, ast.ClassDef) and node.name == value.__name__
    ]
    own = [code for code in codes if code.co_name in vars(value)]
    sources = {normalised(node) for node in named if not own or _spans(node, own[0])}
    return sources.pop() if len(sources) == 1 else None


def _codes_of(owner: type | types.ModuleType, path: str) -> Iterator[types.CodeType]:
    """Yield the code of functions of a class or module, and of the classes defined in it, that is from a file."""
    for member in vars(owner).values():
        if isinstance(member, type) and _is_defined_in(member, owner):
            yield from _codes_of(member, path)
        for code in _codes_of_member(member):
            if code.co_filename == path:
                yield code


def _codes_of_member(member: object) -> Iterator[types.CodeType]:
    for function in [getattr(member, name) for name in _PARTS_OF.get(type(member), ())] or [member]:
        code = getattr(unwrap(function), "__code__", None) if type(function) is types.FunctionType else None
        if isinstance(code, types.CodeType):
            yield code


_PARTS_OF: dict[type, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
}


def _is_defined_in(member: type, owner: type | types.ModuleType) -> bool:
    if isinstance(owner, type):
        return member.__qualname__ == f"{owner.__qualname__}.{member.__name__}"
    return member.__module__ == owner.__name__ and member.__qualname__ == member.__name__


def _spans(node: ast.ClassDef, code: types.CodeType) -> bool:
    return node.lineno <= code.co_firstlineno <= (node.end_lineno or node.lineno)


_NOT_MEMBERS = frozenset({"__dict__", "__weakref__", "__doc__", "__module__"})
_SET_BY_PYTHON = frozenset({"__firstlineno__", "__static_attributes__", "_abc_impl", "__annotate__"})


def _members(value: type) -> dict[str, object]:
    hidden = _NOT_MEMBERS | _SET_BY_PYTHON
    return {name: member for name, member in vars(value).items() if name not in hidden}


def _members_beside_source(value: type, path: str) -> dict[str, object]:
    """Return what the source of a class does not tell: what its methods reach, and values that were computed.

    A class in a function closes over what is around it, so there all attributes count. Elsewhere only those that
    stay what they are: a list in a class may be filled as a program runs.
    """
    is_local = "<locals>" in value.__qualname__

    def counts(name: str, member: object) -> bool:
        if any(code.co_filename == path for code in _codes_of_member(member)):
            return True
        if name.startswith("_") and name.endswith("_"):
            return False
        return is_local or _is_constant(member) or (isinstance(member, type) and _is_defined_in(member, value))

    return {name: member for name, member in _members(value).items() if counts(name, member)}


def _is_constant(member: object) -> bool:
    return type(member) in _CONSTANT_TYPES and plain_bytes(member) is not None


def _module(value: types.ModuleType) -> Node:
    name = value.__name__
    filename = _file_of(name)
    if filename is None or is_installed(name, filename):
        return Node("module", (name, version_of(name)), code=not is_of_python(name, filename))
    text = _text(filename)
    if not all(is_running_source(code, text) for code in _codes_of(value, filename)):
        return Node("module/edited", name, (_code_members(value),), lambda _: "", code=True)
    tree = _parsed(text, filename)
    return Node("module", (name, normalised(tree) if tree else version_of(name)), code=True)


def _code_members(value: types.ModuleType) -> dict[str, object]:
    """Return what a module defines, as far as it has stable content for sure."""
    members = {name: unwrap(member) for name, member in vars(value).items() if not name.startswith("__")}
    return {name: member for name, member in members.items() if _is_followed(member)}


# --- what wraps functions --------------------------------------------------------------------------


def _builtin(value: Any) -> Node:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        module = value.__module__ or getattr(owner, "__name__", "")
        code = not is_of_python(module, _file_of(module))
        return Node("builtin", (module, value.__qualname__, version_of(module)), code=code)
    return Node("builtin/bound", value.__name__, (owner,), lambda _: ".__self__")


def _descriptor(value: Any) -> Node:
    owner = value.__objclass__
    code = not is_of_python(owner.__module__, _file_of(owner.__module__))
    return Node("descriptor", (_name(owner), value.__name__), code=code)


def _parts(tag: str, *names: str) -> Rule:
    return lambda value: Node(tag, None, [getattr(value, name) for name in names], lambda i: f".{names[i]}")


def _lru_cache_wrapper(value: Any) -> Node:
    return Node("lru_cache", None, (value.__wrapped__, value.cache_parameters()), (".__wrapped__", "").__getitem__)


_RULES: dict[type, Rule] = {
    types.FunctionType: _function,
    types.CodeType: _code_object,
    types.ModuleType: _module,
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: lambda value: Node(
        "builtin/bound", value.__name__, (value.__self__,), lambda _: ".__self__"
    ),
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.MethodType: _parts("method", "__func__", "__self__"),
    functools.partial: _parts("partial", "func", "args", "keywords"),
    functools.partialmethod: _parts("partialmethod", "func", "args", "keywords"),
    functools.cached_property: _parts("cached_property", "func"),
    type(lru_cache(lambda: 0)): _lru_cache_wrapper,
    staticmethod: _parts("staticmethod", "__func__"),
    classmethod: _parts("classmethod", "__func__"),
    property: _parts("property", "fget", "fset", "fdel"),
}


# --- type expressions ------------------------------------------------------------------------------


def _type_form(value: Any) -> Node:
    """Describe `List[int]` and the like by origin and arguments, `Any` and variables by their text."""
    origin = typing.get_origin(value)
    if origin is None:
        return Node("typing", (type(value).__name__, repr(value)))
    header = (type(value).__name__, getattr(value, "_name", None))
    return Node("typing", header, (origin, *typing.get_args(value)), lambda i: f".__args__[{i - 1}]")


def _alias(value: Any) -> Node:
    return Node("alias", None, (value.__origin__, *value.__args__), lambda i: f".__args__[{i - 1}]")


_RULES[types.GenericAlias] = _alias
_RULES[types.UnionType] = lambda value: Node("union", None, value.__args__, unordered=True)
