"""Small questions about values: whose they are, whether they are code, what code they hold."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections import deque
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from kept.fingerprint import syntax
from kept.fingerprint.modules import (
    OURS,
    file_of,
    is_users,
)
from kept.fingerprint.plain import PLAIN_TYPES, plain_bytes
from kept.fingerprint.syntax import Chain

ABSENT = object()
"""Stands for what is not there."""


SPACES = (types.SimpleNamespace, types.FunctionType)


BUILT_IN = frozenset(
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


STATEFUL = _StatefulTypes()


def is_users_class(kind: type) -> bool:
    """Whether a class is defined in the user's code."""
    module = kind.__module__
    if not isinstance(module, str):
        return True
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


def is_code(value: Any) -> bool:
    """Whether a value is a function, a class or a module; what it says of its class itself does not matter."""
    return issubclass(type(value), (types.FunctionType, type, types.ModuleType))


def is_module(value: Any) -> bool:
    """Whether a value is a module, whatever it says of its class."""
    return issubclass(type(value), types.ModuleType)


def is_class(value: Any) -> bool:
    """Whether a value is a class, whatever it says of its class."""
    return issubclass(type(value), type)


def is_plain(value: Any) -> bool:
    """Whether a value is a tree of exact builtin types."""
    return type(value) in PLAIN_TYPES and plain_bytes(value) is not None


def is_made_up(filename: str) -> bool:
    """Whether a name is that of no file: what was compiled from a text has such."""
    return filename.startswith("<") and not filename.startswith("<frozen")


def is_generated(function: types.FunctionType, owner: type) -> bool:
    """Whether a method was written by a decorator or a base of the class, as those of dataclasses are."""
    function = inspect.unwrap(function)
    filename = function.__code__.co_filename
    fields = "__dataclass_fields__" in vars(owner) or "_fields" in vars(owner)
    return "generated" in filename or (filename == "<string>" and is_dunder(function.__name__) and fields)


def is_dunder(name: str) -> bool:
    """Whether a name begins and ends with an underscore, as names do that Python or a library has a use for."""
    return name.startswith("_") and name.endswith("_")


def is_descriptor(member: Any) -> bool:
    """Whether a member of a class is code, or has a say in what is read from it."""
    return is_code(member) or hasattr(type(member), "__get__")


def has_say(kind: type, name: str) -> bool:
    """Whether a class has a say in what an attribute of its instances is."""
    reads = inspect.getattr_static(kind, "__getattribute__", None)
    return isinstance(reads, types.FunctionType) or hasattr(inspect.getattr_static(kind, name, None), "__set__")


def is_state(value: Any, chain: Chain, changed: frozenset[Chain]) -> bool:
    """Whether the code changes what a chain leads to, so that its value says nothing."""
    if not changed or is_code(value):
        return False
    # A method that is called like those of lists is one of a list only if it is.
    return chain in changed or ((*chain, syntax.FILLED) in changed and isinstance(value, _FILLED))


_FILLED = (list, dict, set, bytearray, deque)


def item(value: Any, key: Any) -> Any:
    """What a container holds under a key; `ABSENT` if nothing, or if it is none."""
    try:
        return value[key] if type(value) in (dict, list, tuple) else ABSENT
    except (LookupError, TypeError):
        return ABSENT


def subclasses(kind: type) -> Iterator[type]:
    """All classes that inherit from one."""
    found: list[type] = type.__subclasses__(kind)
    for each in found:
        yield each
        yield from subclasses(each)


def code_in(value: Any) -> dict[str, Any]:
    """The functions and classes that a value is, wraps, or holds, by where in it they are."""
    kind = type(value)
    if is_code(value):
        return {} if kind is types.ModuleType else {"": value}
    if kind in (staticmethod, classmethod, types.MethodType):
        return {"": value.__func__}
    if issubclass(kind, functools.partial):
        return code_in(value.func)
    if issubclass(kind, (dict, types.MappingProxyType)):
        items = [(f"[{_key_shown(key)}]", each) for key, each in list(value.items())]
        keys = [(f"key {_key_shown(key)}", key) for key in list(value) if isinstance(key, type)]
        return {label: each for label, each in [*items, *keys] if is_code(each)}
    if issubclass(kind, (list, tuple, set, frozenset, deque)):
        return {f"[{i}]": each for i, each in enumerate(list(value)) if is_code(each)}
    wrapped = vars_of(value).get("__wrapped__")
    if wrapped is not None:
        return {"": wrapped} if is_code(wrapped) else {}
    return {f".{name}": each for name, each in vars_of(value).items() if type(each) is types.FunctionType}


def _key_shown(key: Any) -> str:
    return key.__qualname__ if isinstance(key, type) else repr(key) if is_plain(key) else type(key).__qualname__


def vars_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, empty if it has no dict of them."""
    try:
        found = getattr(value, "__dict__", None)
    except Exception:  # an object may answer as it likes
        return {}
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


def is_ours(value: Any) -> bool:
    """Whether a value is a part of kept."""
    try:
        module = getattr(value, "__name__" if is_module(value) else "__module__", "")
    except Exception:  # an object may answer as it likes
        return False
    return isinstance(module, str) and module.partition(".")[0] in OURS


def file_of_loaded(module: types.ModuleType) -> str | None:
    """The file of a module; of a package without one, where it would be."""
    filename = getattr(module, "__file__", None)
    if filename is None and hasattr(module, "__path__"):  # a package without a file of its own
        return str(Path(next(iter(module.__path__), ""), "__init__.py"))
    return filename


def is_container(value: Any) -> bool:
    """Whether a value is a list, a dict or a set."""
    return type(value) in (list, dict, set)


def held_in(value: Any) -> Collection[Any]:
    """What a collection, a bound method, a partial or an array of objects holds."""
    if isinstance(value, (dict, types.MappingProxyType)):
        return items_of(dict(value))
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return list(value)
    if isinstance(value, types.MethodType):
        return (value.__self__,)
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if getattr(getattr(value, "dtype", None), "hasobject", False):
        return value.ravel().tolist() if hasattr(value, "ravel") else ()
    return ()


def slots_of(kind: type) -> tuple[str, ...]:
    """The slots that a class itself declares."""
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def items_of(value: Any) -> list[Any]:
    """All that a container holds, the keys of a dict included."""
    return [*value, *value.values()] if type(value) is dict else list(value)
