"""Rules for the builtin types that are not plain, and for those of `types`."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

from kept.fingerprint.canonical import NoContent, Node, container_node
from kept.fingerprint.plain import buffer_digest, plain_bytes

# Exact builtins are plain or containers, and need no rule; these read the builtin content of a subclass, past
# whatever it overrides.
CONTENT_OF: dict[type, Callable[[Any], object]] = {
    int: int.__int__,
    float: float.__float__,
    complex: lambda value: complex.__pos__(value),
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}


def _bytearray(value: bytearray) -> Node:
    return Node("bytearray", (len(value), buffer_digest(value)))


def _memoryview(value: memoryview) -> Node:
    content = value if value.c_contiguous else value.tobytes()
    return Node("memoryview", (value.format, value.shape, buffer_digest(content)))


def _range(value: range) -> Node:
    """Equal ranges are the same sequence, whatever their stops: `range(0, 3, 2) == range(0, 4, 2)`."""
    length = max(0, -((value.start - value.stop) // value.step))
    first = (value.start,) if length else ()
    return Node("range", (length, *first, *((value.step,) if length > 1 else ())))


def _slice(value: slice) -> Node:
    return Node("slice", None, (value.start, value.stop, value.step), ".{}".format)


def _mapping_proxy(value: Any) -> Node:
    return Node("mappingproxy", None, (dict(value),), _same)


def _namespace(value: types.SimpleNamespace) -> Node:
    return Node("SimpleNamespace", None, (attributes(vars(value)),), _same)


class _Attributes:
    """Stands for a dict of attributes: its digest is the dict's, its paths say `.name`."""

    def __init__(self, named: dict[str, object]) -> None:
        self.named = named


def attributes(named: dict[str, object]) -> object:
    """Return what describes a dict of attributes."""
    return named if plain_bytes(named) is not None else _Attributes(named)


def _attributes(value: _Attributes) -> Node:
    node = container_node(value.named)
    item = node.step
    return node if item is None else node._replace(step=lambda i: f".{item(i)[2:-2]}")


def _dict_view(value: Any) -> Node:
    name = type(value).__name__
    return Node(name, None, (list(value) if name == "dict_values" else set(value),), _same)


def _dict_items(value: Any) -> Node:
    return Node("dict_items", None, (dict(value),), _same)


def _cell(value: Any) -> Node:
    try:
        return Node("cell", None, (value.cell_contents,), _same)
    except ValueError:
        return Node("cell/empty")


def _weak_reference(value: weakref.ref[Any]) -> Node:
    """Describe a weak reference as what it refers to, so that a parent held weakly is still a parent."""
    referent = value()
    return Node("weakref/dead") if referent is None else Node("weakref", None, (referent,), lambda _: "()")


def _same(_: int) -> str:
    return ""


def no_content(what: str, why: str = "has no stable content") -> Callable[[Any], Node]:
    """Return a rule that refuses a value."""

    def refuse(value: Any) -> Node:
        kind = type(value)
        raise NoContent(f"{what} ({kind.__module__}.{kind.__qualname__}) {why}")

    return refuse


_once = no_content("an iterator", "gives its items only once; pass list(...) of it")

_ITERATORS: tuple[object, ...] = (
    *map(iter, ([], (), {}, {}.values(), {}.items(), set(), "", "é", b"", bytearray(), memoryview(b""))),
    *(iter(range(0)), iter(range(1 << 70)), iter(int, 0), reversed([]), reversed({}), reversed({}.values())),
    *(reversed({}.items()), enumerate(()), zip(), map(len, ()), filter(None, ())),
)

RULES: dict[type, Callable[[Any], Node]] = {
    type(NotImplemented): lambda _: Node("NotImplemented"),
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
    types.MappingProxyType: _mapping_proxy,
    types.SimpleNamespace: _namespace,
    _Attributes: _attributes,
    type({}.keys()): _dict_view,
    type({}.values()): _dict_view,
    type({}.items()): _dict_items,
    types.CellType: _cell,
    weakref.ref: _weak_reference,
    types.GeneratorType: no_content("a generator"),
    types.CoroutineType: no_content("a coroutine"),
    types.AsyncGeneratorType: no_content("an async generator"),
    types.FrameType: no_content("a stack frame"),
    types.TracebackType: no_content("a traceback"),
    **dict.fromkeys(map(type, _ITERATORS), _once),
}
