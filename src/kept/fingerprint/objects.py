"""Rules for what users define: dataclasses, models, enums, plain objects, and what pickle knows of others.

An object is its class, by name, and its state. The code of its class is no part of it: that is for the cache
policies that look at code.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import io
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kept.fingerprint import functions
from kept.fingerprint.canonical import Encoded, NoContent, Node
from kept.fingerprint.modules import name_of
from kept.fingerprint.plain import plain_bytes

Rule = Callable[[Any], Node]

# Derived from the object's other content, or about how it was made.
_NOT_CONTENT = frozenset({"__dict__", "__weakref__", "__pydantic_fields_set__", "_attrs_cached_hash"})
_MOST_ORDERS = 100
_GENERATED_GETSTATES = frozenset({"_dataclass_getstate", "slots_getstate"})


class _Itself:
    """Stands for the class of an object in its own description."""


class _Content:
    """What the rule of a base class says of an instance of a subclass."""

    def __init__(self, rule: Rule, value: object) -> None:
        self.rule = rule
        self.value = value


_ITSELF = _Itself()


def class_name(kind: type) -> str:
    """Return the name of a class as descriptions of its instances hold it."""
    return f"{name_of(kind.__module__)}:{kind.__qualname__}"


# --- choosing --------------------------------------------------------------------------------------


def whole_rule_for(kind: type) -> Rule | None:
    """Return the rule for a type that is described as a whole, whatever it inherits from."""
    if kind is _Itself:
        return lambda _: Node("itself")
    if kind is _Content:
        return _content
    if issubclass(kind, enum.Flag):
        return _flag
    if issubclass(kind, enum.Enum):
        return _enum_member
    return functions.rule_for(kind)


def rule_for(kind: type) -> Rule:
    """Return the rule for a type that nothing else is known about."""
    if issubclass(kind, io.IOBase) and not issubclass(kind, (io.BytesIO, io.StringIO)):
        return _open_file
    if hasattr(kind, "__next__") and not kind.__dictoffset__ and not _slots(kind):
        return _iterator
    made_from_arguments = hasattr(kind, "__getnewargs__") or hasattr(kind, "__getnewargs_ex__")
    return _reduced if made_from_arguments or _reduces_itself(kind) else _ObjectRule(kind)


def subclass_rule(kind: type, base_rule: Rule) -> Rule:
    """Return the rule for a subclass of a type that has a rule: the base's content and its own state."""
    state = _State(kind)
    return lambda value: _subclass_node(value, _Content(base_rule, value), state)


def builtin_subclass_rule(kind: type, content: Callable[[Any], object]) -> Rule:
    """Return the rule for a subclass of a builtin."""
    if _reduces_itself(kind):
        return _reduced
    state = _State(kind)
    return lambda value: _subclass_node(value, content(value), state)


def stand_in(get: Callable[[Any], object], giver: str, value: Any) -> Node:
    """Describe a value as another that stands for it; `giver` says in errors who has given that."""
    try:
        other = get(value)
    except NoContent:
        raise
    except Exception as error:
        raise NoContent(f"{giver} raised {_brief(error)}: correct it") from error
    if other is value or other is None:
        raise NoContent(
            f"{giver} returned {'None' if other is None else 'the object itself'}: let it return what tells one "
            f"{type(value).__qualname__} from another, or leave all of them out by ignore_type"
        )
    return Node("stand-in", class_name(type(value)), (other,), lambda _: f"what {giver} returned")


# --- rules -----------------------------------------------------------------------------------------


def _content(value: _Content) -> Node:
    try:
        return value.rule(value.value)
    except NoContent:
        raise
    except Exception as error:
        raise NoContent(f"{_typed('an object', value.value)} could not be read ({_brief(error)})") from error


def _flag(value: Any) -> Node:
    """Describe flags by their value: the names of combined ones differ between Python versions."""
    return Node("flag", class_name(type(value)), (value._value_,), lambda _: ".value")


def _enum_member(value: Any) -> Node:
    return Node("enum", (class_name(type(value)), value._name_), (value._value_,), lambda _: ".value")


def _subclass_node(value: Any, content: object, state: _State) -> Node:
    names, values = state.of(value)
    header = (class_name(type(value)), getattr(type(value), "_fields", None), names)
    if not _is_plain_header(header):
        header = (header[0], None, names)
    return Node("subclass", header, (content, *values), lambda i: f".{names[i - 1]}" if i else "")


def _is_plain_header(header: tuple[object, ...]) -> bool:
    fields = header[1]
    return fields is None or (type(fields) is tuple and all(type(field) is str for field in fields))


class _State:
    """Reads the attributes of instances of one class: `__dict__`, and slots through the whole MRO."""

    def __init__(self, kind: type) -> None:
        self.slots = _slots(kind)
        self.derived = _NOT_CONTENT | _cached_properties(kind)
        self.fields = tuple(field.name for field in dataclasses.fields(kind)) if _is_dataclass(kind) else ()
        self.found_in_dict = frozenset(self.fields)
        self.orders: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, value: Any) -> tuple[tuple[str, ...], list[object]]:
        """Return the names and the values of the attributes, in the order of the names."""
        state = self._attributes(value)
        given = tuple(state)
        names = self.orders.get(given)
        if names is None:
            names = self._order(given)
        return names, [state[name] for name in names]

    def _attributes(self, value: Any) -> dict[str, object]:
        state = getattr(value, "__dict__", {})
        if not self.slots and self.found_in_dict.issubset(state):
            return state
        state = dict(state)
        for name in (*self.slots, *self.fields):
            if name not in state and hasattr(value, name):
                state[name] = getattr(value, name)
        return state

    def _order(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """Sort names; the few sets of names that instances of a class have are remembered."""
        names = tuple(sorted([name for name in given if name not in self.derived]))
        if len(self.orders) < _MOST_ORDERS:
            self.orders[given] = names
        return names


class _ObjectRule:
    """Describes the instances of one class that leaves its state to Python."""

    def __init__(self, kind: type) -> None:
        self.name = class_name(kind)
        self.state = _State(kind)
        self.headers: dict[tuple[str, ...], Encoded] = {}
        self.known_to_be_open = _is_dataclass(kind) or _is_pydantic_model(kind)

    def __call__(self, value: Any) -> Node:
        if not self.known_to_be_open:
            self._refuse_hidden_state(value)
        names, values = self.state.of(value)
        header = self.headers.get(names) or self._header(names)
        return Node("object", header, values, lambda i: f".{names[i]}")

    def _header(self, names: tuple[str, ...]) -> object:
        encoded = plain_bytes((self.name, names))
        if encoded is None:
            raise NoContent("it has attributes whose names are no texts")
        if len(self.headers) < _MOST_ORDERS:
            self.headers[names] = Encoded(encoded)
        return Encoded(encoded)

    def _refuse_hidden_state(self, value: Any) -> None:
        """Refuse types with content in C that neither attributes nor pickle show."""
        try:
            object.__reduce_ex__(value, 2)
        except Exception as error:
            raise NoContent(_without_content(value)) from error
        self.known_to_be_open = True


def _reduced(value: Any) -> Node:
    """Describe an object by what pickle would write of it."""
    try:
        reduced = _reduce(value)
        parts = (reduced,) if isinstance(reduced, str) else tuple(reduced)
    except Exception as error:
        raise NoContent(f"{_without_content(value)} ({_brief(error)})") from error
    name = class_name(type(value))
    if isinstance(reduced, str):
        return Node("global", (name, _module_of_global(value, reduced), reduced), code=True)
    made_by, args, state, items, pairs = (*parts, None, None, None)[:5]
    children = (
        _not_itself(made_by, value),
        tuple(_not_itself(arg, value) for arg in args),
        state,
        None if items is None else list(items),
        None if pairs is None else dict(pairs),
    )
    return Node("reduced", name, children, _REDUCED_STEPS.__getitem__)


def _module_of_global(value: Any, name: str) -> str:
    """Return the module in which pickle would look for a value that names itself."""
    module = str(pickle.whichmodule(value, name))  # type: ignore[attr-defined]
    try:
        found = functools.reduce(getattr, name.split("."), sys.modules.get(module))
    except AttributeError:
        found = None
    if found is not value:
        raise NoContent(f"{_typed('an object', value)} says that it is {module}.{name}, which it is not")
    return module


_REDUCED_STEPS = (".__reduce_ex__()[0]", ".__reduce_ex__()[1]", ".__getstate__()", "", "")


def _reduce(value: Any) -> Any:
    registered = copyreg.dispatch_table.get(type(value))
    return registered(value) if registered else value.__reduce_ex__(4)


def _not_itself(part: Any, value: Any) -> Any:
    """Keep the class of an object out of its own content: there the class counts by name."""
    return _ITSELF if part is type(value) else part


def _open_file(value: Any) -> Node:
    raise NoContent(f"{_typed('an open file', value)} has no stable content; pass its path")


def _iterator(value: Any) -> Node:
    raise NoContent(f"{_typed('an iterator', value)} gives its items only once; pass list(...) of it")


# --- small questions -------------------------------------------------------------------------------


def _reduces_itself(kind: type) -> bool:
    """Say whether a type has ways of its own to be pickled, which then say what its content is."""
    if kind in copyreg.dispatch_table:
        return True
    if _is_pydantic_model(kind):
        return False
    if any(getattr(kind, name) is not getattr(object, name) for name in ("__reduce__", "__reduce_ex__")):
        return True
    getstate = getattr(kind, "__getstate__", None)
    inherited = getstate is None or getstate is getattr(object, "__getstate__", None)
    return not (inherited or getattr(getstate, "__name__", "") in _GENERATED_GETSTATES)


def _is_dataclass(kind: type) -> bool:
    return dataclasses.is_dataclass(kind)


def _is_pydantic_model(kind: type) -> bool:
    return any(base.__module__ == "pydantic.main" and base.__name__ == "BaseModel" for base in kind.__mro__)


def _slots(kind: type) -> tuple[str, ...]:
    return tuple(
        _mangled(name, base)
        for base in kind.__mro__
        for name in _names(base.__dict__.get("__slots__", ()))
        if name not in _NOT_CONTENT
    )


def _names(slots: str | Sequence[str]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _mangled(name: str, owner: type) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{owner.__name__.lstrip('_')}{name}" if private else name


def _cached_properties(kind: type) -> set[str]:
    return {
        name for base in kind.__mro__ for name, found in vars(base).items() if type(found) is functools.cached_property
    }


def _typed(what: str, value: object) -> str:
    return f"{what} ({type(value).__module__}.{type(value).__qualname__})"


def _without_content(value: object) -> str:
    return f"{_typed('an object', value)} has no stable content"


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
