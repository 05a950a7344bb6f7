"""Rules for what wraps, binds and names code: methods, partials, builtins, descriptors, type expressions.

Functions, classes and modules themselves are described in `code.py`. What an installed distribution defines is its
name and the version.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from kept.fingerprint.canonical import Node
from kept.fingerprint.modules import distribution_of, file_of, is_of_python

Rule = Callable[[Any], Node]


def rule_for(kind: type) -> Rule | None:
    """Return the rule for a type of code."""
    return _RULES.get(kind) or (_type_form if kind.__module__ == "typing" else None)


# --- what wraps functions --------------------------------------------------------------------------


def _builtin(value: Any) -> Node:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        module = value.__module__ or getattr(owner, "__name__", "")
        return named(module, value.__qualname__, "builtin")
    return Node("builtin/bound", value.__name__, (owner,), lambda _: ".__self__")


def _descriptor(value: Any) -> Node:
    owner = value.__objclass__
    return named(owner.__module__, f"{owner.__qualname__}.{value.__name__}", "descriptor")


def named(module: str, name: str, tag: str) -> Node:
    """Describe what is not the user's by its name and the version that is installed; of Python by its name alone."""
    installed = distribution_of(module, file_of(module))
    version = "" if installed is None else installed.version
    return Node(tag, (module, name, version), code=not is_of_python(module, file_of(module)))


def _parts(tag: str, *names: str) -> Rule:
    return lambda value: Node(tag, None, [getattr(value, name) for name in names], lambda i: f".{names[i]}")


def _lru_cache_wrapper(value: Any) -> Node:
    return Node("lru_cache", None, (value.__wrapped__, value.cache_parameters()), (".__wrapped__", "").__getitem__)


_RULES: dict[type, Rule] = {
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
