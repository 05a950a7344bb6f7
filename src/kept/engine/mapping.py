"""From one call of `.map` to the calls that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kept.engine.spec import Spec
from kept.exceptions import MappingLengthMismatch, MappingMissingIterable
from kept.futures import KeptFuture, resolve_futures_to_results
from kept.states import State
from kept.utilities.annotations import BaseAnnotation, allow_failure, unmapped

_WHOLE = (str, bytes, bytearray)


def each_call(spec: Spec, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters of each run: iterables element by element, everything else the same each time.

    Strings and bytes are values, not iterables, and so is what stands in `unmapped(...)` or is a default.

    Raises:
        MappingMissingIterable: there is nothing to map over.
        MappingLengthMismatch: the iterables differ in length.
    """
    fixed: dict[str, Any] = {}
    varied: dict[str, list[Any]] = {}
    for name, value in _spread(parameters, spec.binder.stars).items():
        elements = _elements(value)
        if elements is None or _is_default(spec, name, value):
            fixed[name] = value.value if isinstance(value, unmapped) else value
        else:
            varied[name] = elements
    count = _common_length(spec, varied)
    calls = ({**fixed, **{name: elements[i] for name, elements in varied.items()}} for i in range(count))
    return (_gathered(call, parameters, spec.binder.stars) for call in calls)


def _spread(parameters: dict[str, Any], stars: frozenset[str]) -> dict[str, Any]:
    """The parameters with each element of `*args` and `**kwargs` under a name of its own, such as "args[0]"."""
    spread: dict[str, Any] = {}
    for name, value in parameters.items():
        parts = _parts(name, value) if name in stars else {name: None}
        spread.update({part: value if key is None else value[key] for part, key in parts.items()})
    return spread


def _gathered(call: dict[str, Any], parameters: dict[str, Any], stars: frozenset[str]) -> dict[str, Any]:
    """Back from what `_spread` gives, in the order of the signature."""
    return {
        name: _refilled(value, [call[part] for part in _parts(name, value)]) if name in stars else call[name]
        for name, value in parameters.items()
    }


def _parts(name: str, value: Any) -> dict[str, Any]:
    return {f"{name}[{key!r}]": key for key in (value if isinstance(value, dict) else range(len(value)))}


def _refilled(value: Any, elements: list[Any]) -> Any:
    return dict(zip(value, elements, strict=True)) if isinstance(value, dict) else tuple(elements)


def _common_length(spec: Spec, varied: dict[str, list[Any]]) -> int:
    lengths = {name: len(elements) for name, elements in varied.items()}
    if not lengths:
        raise MappingMissingIterable(
            f"No iterable parameters were received by map() of {spec.binder.label}: pass a list, or another iterable, "
            f"for at least one of {', '.join(spec.binder.names) or 'its parameters, of which it has none'}."
        )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise MappingLengthMismatch(
            f"The iterables passed to map() of {spec.binder.label} differ in length: {told}. Wrap what is meant for "
            "every run in unmapped(...)."
        )
    return next(iter(lengths.values()))


def _elements(value: Any) -> list[Any] | None:
    if isinstance(value, allow_failure):
        inner = _elements(value.value)
        return None if inner is None else [allow_failure(element) for element in inner]
    if isinstance(value, (BaseAnnotation, *_WHOLE)):
        return None
    if isinstance(value, (KeptFuture, State)):
        return _elements(resolve_futures_to_results(value))
    try:
        return list(value)
    except TypeError:
        return None


def _is_default(spec: Spec, name: str, value: Any) -> bool:
    parameter = spec.binder.signature.parameters.get(name)
    return parameter is not None and parameter.default is value
