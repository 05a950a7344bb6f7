"""Which part of a value can't be serialized, and the path to it.

Pickle says "cannot pickle '_thread.lock' object" without saying where the lock is. `find_culprit` says where,
by serializing ever smaller parts of the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def find_culprit(obj: Any, error: Exception, dumps: Callable[..., bytes]) -> tuple[list[str], Any, Exception]:
    """The path to the innermost part of `obj` that can't be serialized, that part, and what was raised for it.

    Arguments:
        error: what was raised for the whole.
        dumps: serializes a value, with a callback for its buffers, and raises when it can't.
    """
    path = ["result"]
    seen: set[int] = set()
    while id(obj) not in seen and len(path) < 100:
        seen.add(id(obj))
        children = list(_children(obj))
        found = _first_failing(children, dumps)
        if found is None:
            break
        (label, obj), error = found
        path.append(label)
    return path, obj, error


def _first_failing(
    children: list[tuple[str, Any]], dumps: Callable[..., bytes]
) -> tuple[tuple[str, Any], Exception] | None:
    """The first child that can't be serialized, by halving: it costs about as much as serializing all of them twice."""
    error = _failure([value for _, value in children], dumps)
    if error is None:
        return None
    while len(children) > 1:
        half = children[: len(children) // 2]
        failed = _failure([value for _, value in half], dumps)
        children = half if failed else children[len(half) :]
    last = _failure(children[0][1], dumps)
    return (children[0], last) if last else None


def _failure(obj: Any, dumps: Callable[..., bytes]) -> Exception | None:
    try:
        dumps(obj, buffer_callback=lambda buffer: False)
    except Exception as error:
        return error
    return None


def _children(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{_label(key)}]", value
            yield f"key {_label(key)}", key
    elif isinstance(obj, (list, tuple)):
        names = getattr(type(obj), "_fields", ())
        for index, value in enumerate(obj):
            yield (f".{names[index]}" if index < len(names) else f"[{index}]"), value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f"{{{_label(value)}}}", value
    if closure := getattr(obj, "__closure__", None):
        for name, cell in zip(obj.__code__.co_freevars, closure, strict=False):
            yield f"closure {name}", cell.cell_contents
    if isinstance(state := _state_of(obj), dict):
        for name, value in state.items():
            yield f".{name}", value


def _state_of(obj: Any) -> Any:
    """What pickling goes through besides an object's contents: its own `__getstate__`, else its attributes."""
    if isinstance(obj, type):
        return None
    getstate = getattr(type(obj), "__getstate__", None)
    if getstate is not None and getstate is not getattr(object, "__getstate__", None):
        return obj.__getstate__()
    slots = (name for cls in type(obj).__mro__ for name in _as_tuple(cls.__dict__.get("__slots__", ())))
    return {
        **{name: getattr(obj, name) for name in slots if not name.startswith("__") and hasattr(obj, name)},
        **getattr(obj, "__dict__", {}),
    }


def _as_tuple(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _label(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 40 else text[:37] + "..."


def kind_of(obj: Any) -> str:
    """The type of the object, as a reader knows it: `list`, `numpy.ndarray`."""
    cls = type(obj)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def said_by(error: BaseException, how: Callable[[BaseException], str] = str) -> str:
    """What the exception says, also if its own code for that raises."""
    try:
        return how(error)
    except Exception as why:
        return f"<{type(error).__name__} that can't be shown: {type(why).__name__}>"


def short(error: BaseException) -> str:
    """What the exception says, in at most 500 characters; its type when it says nothing."""
    text = said_by(error).strip() or type(error).__name__
    return text if len(text) <= 500 else text[:497] + "..."
