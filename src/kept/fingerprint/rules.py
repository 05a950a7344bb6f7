"""Which rule describes a value: by its exact type, then by the types that it inherits from.

In this order: `__kept_fingerprint__`, registered types, clients and loggers of well-known libraries, builtins,
standard library, libraries that are loaded, and what all objects have in common.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from marshal import dumps
from typing import Any, TypeVar

from blake3 import blake3

from kept.exceptions import HashError, ParameterTypeError
from kept.fingerprint import builtins, ignored, objects, stdlib
from kept.fingerprint.canonical import MetCode, Node, fingerprint_with
from kept.fingerprint.plain import PLAIN, SHORT_ATOMS, buffer_digest, new_buffer_hash

T = TypeVar("T")
Rule = Callable[[Any], Node]

# Top-level package of a type -> the module here that has rules for it. Such a module imports the library at
# its top: a type of the library can't exist before the library is loaded.
_ADAPTERS = {
    "numpy": "kept.fingerprint.numpy",
    "pandas": "kept.fingerprint.pandas",
    "polars": "kept.fingerprint.polars",
    "pyarrow": "kept.fingerprint.arrow",
    "torch": "kept.fingerprint.torch",
}
_registered: dict[type, Rule] = {}
CODE: dict[type, Rule] = {}
"""The rules for functions, classes, modules and code objects. `code.py` has them and puts them here, since it describes
the values that code names by the rules of this module."""
_found: dict[type, Rule] = {}
_MOST_TYPES = 10_000
_MET_AGAIN = 500


def fingerprint(value: object, *, where: str = "value", known: Mapping[int, str] | None = None) -> str:
    """Return the fingerprint of a value: a digest of its full content and types.

    Args:
        value: Anything with stable content.
        where: How the path in an error begins, e.g. `"argument 'model'"`.
        known: Fingerprints that are known already, by `id`. Looked up for `value` itself, and for each
            value in it that is not plain, where only `b3:` ones give what the value itself would give: what
            stands for a plain value inside another must be replaced by that value first.

    Returns:
        `"b3p:"` and 64 hex digits for a plain value (a tree of exact builtins), `"b3:"` and 64 for any other.

    Raises:
        HashError: Something in the value has no stable content. The message names the way to it.

    Example:
        >>> fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
        True
    """
    # The commonest arguments of all, on the shortest way.
    if known is None:
        if type(value) is str and len(value) < _MET_AGAIN:
            return _of_short_text(value)
        if type(value) in SHORT_ATOMS:
            return _of_atom(value)
    return fingerprint_with(describe, value, where, known)


def _of_atom(value: object) -> str:
    return "b3p:" + blake3(PLAIN + dumps(value, 2)).hexdigest()  # type: ignore[arg-type]


# Names, paths and modes are passed to one task after the other.
_of_short_text = lru_cache(maxsize=1024)(_of_atom)


def data_fingerprint(value: object) -> str | None:
    """Return the fingerprint that a value will have after it was kept and loaded, or None if that is not certain.

    Functions, classes, modules and what holds them are kept by name: their code may be another one by the time
    they are loaded. What belongs to Python itself counts by name, and stays.

    Example:
        >>> data_fingerprint({"a": 1}) == fingerprint({"a": 1})
        True
        >>> data_fingerprint({"a": lambda: 1})
    """
    if type(value) in SHORT_ATOMS:
        return fingerprint(value)
    try:
        return fingerprint_with(describe, value, "value", None, only_data=True)
    except (HashError, MetCode):
        return None


def register_fingerprint(kind: type[T], stand_in: Callable[[T], object]) -> None:
    """Let a function say what identifies the values of a type and of its subclasses.

    Args:
        kind: The type.
        stand_in: Gets a value, returns another that has all that tells it apart: never the value itself, nor None.

    Example:
        >>> class Model:
        ...     def __init__(self, path):
        ...         self.path, self.session = path, open(path)
        >>> register_fingerprint(Model, lambda model: model.path)
    """
    if not isinstance(kind, type) or not callable(stand_in):
        raise ParameterTypeError(
            f"register_fingerprint() got {kind!r} and {stand_in!r}; it takes a class, and a function that gets an "
            "object of it and returns what identifies that: register_fingerprint(Model, lambda model: model.path)."
        )
    _registered[kind] = partial(objects.stand_in, stand_in, _giver(kind, stand_in))
    _found.clear()


def ignore_type(kind: type) -> None:
    """Leave the values of a type and of its subclasses out of all keys, wherever they stand in an argument.

    Loggers, progress bars and the like are left out already. Clients of well-known libraries count by the address
    that they lead to, until they are named here.

    Args:
        kind: The type.

    Example:
        >>> class Telemetry: ...
        >>> ignore_type(Telemetry)
        >>> fingerprint([Telemetry()]) == fingerprint([Telemetry()])
        True
    """
    if not isinstance(kind, type):
        raise ParameterTypeError(f"ignore_type() got {kind!r}; it takes a class, as in ignore_type(httpx.Client).")
    _registered[kind] = ignored.ignored
    _found.clear()


def _giver(kind: type, stand_in: Callable[..., object]) -> str:
    """Name a registered function in a sentence."""
    code = getattr(stand_in, "__code__", None)
    where = f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else ""  # noqa: PTH119
    return f"the fingerprint function of {kind.__qualname__}{where}"


def digest(data: Any) -> str:
    """Return `"b3:"` and the hex digest of raw bytes: one bytes-like object, or an iterable of them."""
    try:
        return "b3:" + buffer_digest(data).hex()
    except TypeError:
        running = new_buffer_hash()
        for chunk in data:
            running.update(chunk)
        return "b3:" + running.hexdigest()


def describe(value: Any) -> Node:
    """Describe a structured value by the rule for its type."""
    rule = _found.get(type(value))
    if rule is None:
        rule = _remember(type(value), rule_for(type(value)))
    return rule(value)


def leaves_out(kind: type) -> bool:
    """Say whether values of a type count as nothing."""
    return (_found.get(kind) or _remember(kind, rule_for(kind))) is ignored.ignored


def _remember(kind: type, rule: Rule) -> Rule:
    """Keep a rule for the next value of the type, within bounds: programs can make types without end."""
    if len(_found) >= _MOST_TYPES:
        _found.clear()
    _found[kind] = rule
    return rule


def rule_for(kind: type) -> Rule:
    """Return the rule for values of a type."""
    if hasattr(kind, "__kept_fingerprint__"):
        giver = f"{kind.__qualname__}.__kept_fingerprint__()"
        return partial(objects.stand_in, lambda value: value.__kept_fingerprint__(), giver)
    for base in kind.__mro__:
        if base in _registered:
            return _registered[base]
    return ignored.rule_for(kind) or _rule_by_inheritance(kind) or objects.rule_for(kind)


def _rule_by_inheritance(kind: type) -> Rule | None:
    if kind in CODE or issubclass(kind, type):
        return CODE[type if issubclass(kind, type) else kind]
    whole = objects.whole_rule_for(kind)
    if whole is not None:
        return whole
    for base in kind.__mro__[:-1]:
        rule = _rule_of(base)
        if rule is not None:
            return rule if base is kind or _covers_subclasses(base) else objects.subclass_rule(kind, rule)
        if base in builtins.CONTENT_OF:
            return objects.builtin_subclass_rule(kind, builtins.CONTENT_OF[base])
    return None


def _covers_subclasses(base: type) -> bool:
    """Say whether a rule describes subclasses too: attributes of pandas' objects hold caches."""
    return base.__module__.partition(".")[0] in ("pandas", "pyarrow", "torch")


def _rule_of(base: type) -> Rule | None:
    """Return the rule that is written for this very type."""
    rule = builtins.RULES.get(base) or stdlib.rule_for(base)
    if rule is not None:
        return rule
    adapter = _ADAPTERS.get(base.__module__.partition(".")[0])
    return importlib.import_module(adapter).rule_for(base) if adapter else None
