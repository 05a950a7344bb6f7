"""Where code is defined: the source of classes and of names at the top of modules, and how it is to be read."""

from __future__ import annotations

import abc
import ast
import sys
import types
from collections.abc import Iterator
from typing import Any

from kept.fingerprint import syntax
from kept.fingerprint.kinds import ABSENT, functions_of, is_container, is_generated, is_ours, is_plain, is_users_class
from kept.fingerprint.modules import (
    name_of,
)
from kept.fingerprint.plain import plain_bytes
from kept.fingerprint.syntax import Chain, File, Key, Uses


def shown_chain(chain: Chain) -> str:
    """A chain of names as code has it."""
    return "".join([chain[0], *(f"[{x.value!r}]" if type(x) is Key else f".{x}" for x in chain[1:])])


def changed_by(kind: type, method: Any, seen: set[Any]) -> set[str]:
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
                changed |= changed_by(kind, chain[1], seen)
    return changed


def ours(uses: Uses, space: dict[str, Any]) -> frozenset[str]:
    """Names under which code uses decorators of kept: how a step is run is not what it does."""
    return frozenset(
        ".".join(chain)
        for chain in uses.chains
        if all(type(step) is str for step in chain) and is_ours(space.get(chain[0]))
    )


def bytecode(code: types.CodeType) -> tuple[Any, ...]:
    """What there is when the source is gone; it differs between versions of Python."""
    constants = list(code.co_consts)
    if constants and isinstance(constants[0], str) and code.co_name != "<lambda>":
        constants[0] = None  # the docstring, in most functions
    inner = tuple(bytecode(each) if isinstance(each, types.CodeType) else each for each in constants)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    handlers = getattr(code, "co_exceptiontable", b"")  # part of the bytecode before Python 3.11
    return (f"bytecode of {sys.implementation.cache_tag}", code.co_code, handlers, inner, names, counts)


def annotations_shown(function: Any) -> str:
    """The annotations of a function, in the order of their names."""
    return repr(sorted(getattr(function, "__annotations__", {}).items(), key=str))


def base_name(filename: str) -> str:
    """The last part of the path of a file."""
    return filename.rpartition("/")[2]


def stem(space: dict[str, Any]) -> str:
    """The last name of the module with these names, as an import has it."""
    return name_of(str(space.get("__name__", ""))).rpartition(".")[2]


def space_of(value: type) -> dict[str, Any]:
    """The names of the module of a class."""
    module = sys.modules.get(value.__module__)
    for function in [each for member in vars(value).values() for each in functions_of(member)]:
        if function.__module__ == value.__module__:
            return function.__globals__
    return vars(module) if module is not None else {"__name__": value.__module__}


def definition_of_class(value: type, space: dict[str, Any]) -> tuple[File | None, Any]:
    """The source of a class: the one around its methods, or the one of its name if that is unique."""
    own = [
        function.__code__
        for name, member in vars(value).items()
        for function in functions_of(member)
        if function.__code__.co_name == name and not is_generated(function, value)
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
        yield from texts_of(space)


def texts_of(space: dict[str, Any]) -> Iterator[File]:
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


def constants_in(value: type, node: Any, fields: str) -> Iterator[str]:
    """Names that the body of a class binds to constants: they count by value, however they are written."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) or (isinstance(statement, ast.AnnAssign) and fields == "plain"):
            names = list(syntax.bound_by(statement))
            if all(is_plain(vars(value).get(name, ABSENT)) and not is_container(vars(value)[name]) for name in names):
                yield from names


def fields_of(value: type, node: ast.ClassDef) -> str:
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


def may_differ(file: File, name: str, value: Any) -> bool:
    """Whether what a name stands for may be something else than its statement at the top of a module tells.

    Args:
        value: what it stands for in the module that is loaded, if it is.
    """
    statements = file.bindings[name]
    if any(isinstance(statement, (*syntax.DEFINITIONS, ast.Import, ast.ImportFrom)) for statement in statements):
        return False
    top = file.tree.body if file.tree is not None else []
    if len(statements) > 1 or statements[0] not in top or asks_outside(statements[0]):
        return True
    try:
        told = ast.literal_eval(statements[0].value)  # type: ignore[attr-defined]
    except (ValueError, TypeError, SyntaxError, AttributeError, MemoryError, RecursionError):
        return False
    return value is not ABSENT and plain_bytes(told) != plain_bytes(value)


def asks_outside(statement: ast.stmt) -> bool:
    """Whether a statement that binds a value calls what may answer differently next time."""
    if isinstance(statement, (*syntax.DEFINITIONS, ast.Import, ast.ImportFrom)):
        return False
    calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = [each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls]
    return syntax.reads_environment(statement) or not _KNOWN_CALLS.issuperset(names)


def absolute(module: str, level: int, package: str) -> str | None:
    """The full name of a module that is imported in a package."""
    if not level:
        return module
    above = package.split(".")
    if level > len(above):
        return None
    return ".".join([*above[: len(above) - level + 1], *([module] if module else [])])
