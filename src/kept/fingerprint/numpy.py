"""Rules for numpy: an array is its dtype, its shape and its elements in C order, however it lies.

A memory-mapped array equals one in memory. Floats count by their bits: 0.0 and -0.0 differ, and so do NaNs
with different payloads. What no element shows (padding, data under a mask) does not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kept.fingerprint.builtins import no_content
from kept.fingerprint.canonical import NoContent, Node
from kept.fingerprint.plain import new_buffer_hash

Rule = Callable[[Any], Node]

_COPY_BYTES = 1 << 22
_X87_BYTES = 10


def rule_for(kind: type) -> Rule | None:
    """Return the rule that is written for this type of numpy."""
    if kind in _RULES:
        return _RULES[kind]
    if issubclass(kind, np.dtype):
        return _dtype
    if issubclass(kind, np.generic) and kind.__module__ == "numpy":
        return _scalar
    return _bit_generator if issubclass(kind, np.random.BitGenerator) else None


def dtype_header(dtype: Any) -> object:
    """Return the plain value that tells a dtype from all others."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("subarray", dtype_header(base), shape)
    if dtype.names is not None:
        fields = [(name, dtype_header(dtype.fields[name][0]), *_place(dtype.fields[name])) for name in dtype.names]
        return ("struct", fields, dtype.itemsize, dtype.isalignedstruct)
    if dtype.kind == "T":
        return ("StringDType", bool(dtype.coerce), repr(getattr(dtype, "na_object", "no na_object")))
    return str(dtype.str)


def _place(field: Any) -> tuple[object, ...]:
    """Return the offset of a field, and its title where it has one."""
    return (int(field[1]), *map(str, field[2:]))


def _array(value: Any) -> Node:
    array = value.view(np.ndarray) if type(value) is not np.ndarray else value
    return _elements("numpy.ndarray", array)


def _scalar(value: Any) -> Node:
    return _elements("numpy.generic", np.asarray(value))


def _elements(tag: str, array: Any) -> Node:
    dtype = array.dtype
    header = (dtype_header(dtype), array.shape)
    if dtype.kind in "OT":
        return Node(tag + "/elements", header, (array.ravel().tolist(),), _element_step)
    if dtype.names is not None and not _is_packed(dtype):
        return Node(tag + "/fields", header, [array[name] for name in dtype.names], _field_step(dtype))
    return Node(tag, (header, array_digest(array)), heavy=array.size > 1)


def _element_step(_: int) -> str:
    return ".ravel()"


def _field_step(dtype: Any) -> Callable[[int], str]:
    return lambda i: f"[{dtype.names[i]!r}]"


def _is_packed(dtype: Any) -> bool:
    """Say whether the bytes of an element are those of its fields and nothing else."""
    if dtype.subdtype is not None:
        return _is_packed(dtype.subdtype[0])
    if dtype.names is None:
        return dtype.kind not in "OT" and not _has_padding(dtype)
    fields = [dtype.fields[name][0] for name in dtype.names]
    return sum(field.itemsize for field in fields) == dtype.itemsize and all(map(_is_packed, fields))


def _has_padding(dtype: Any) -> bool:
    return dtype.type in (np.longdouble, np.clongdouble) and np.finfo(dtype).nmant == 63


def array_digest(array: Any) -> bytes:
    """Return the digest of an array's elements in C order, in place or in copies of bounded size."""
    running = new_buffer_hash(array.nbytes)
    for chunk in _chunks(array):
        running.update(_without_padding(chunk))
    return running.digest()


def _chunks(array: Any) -> Iterator[Any]:
    """Yield the elements in C order as contiguous one-dimensional arrays, not copied where possible."""
    if array.flags.c_contiguous:
        yield array.reshape(-1)
    elif array.size:
        flags = ["external_loop", "buffered", "zerosize_ok"]
        size = max(1, _COPY_BYTES // max(1, array.dtype.itemsize))
        yield from np.nditer(array, flags, [["readonly", "contig"]], order="C", buffersize=size)  # type: ignore[call-overload]


def _without_padding(chunk: Any) -> Any:
    """Return the bytes of a chunk; an 80-bit float lies in 16 bytes, of which 6 are noise."""
    if not chunk.dtype.itemsize:
        return b""
    if not _has_padding(chunk.dtype):
        return chunk.view(np.uint8)
    parts = chunk.view(np.uint8).reshape(-1, np.dtype(np.longdouble).itemsize)
    return np.ascontiguousarray(parts[:, :_X87_BYTES])


def _masked(value: Any) -> Node:
    """Describe a masked array without the data under its mask."""
    mask = np.ma.getmaskarray(value)
    shown = value.filled() if value.dtype.names else value.view(np.ndarray)[~mask]
    children = (shown, mask, np.asarray(value.fill_value))
    return Node("numpy.ma", (dtype_header(value.dtype), value.shape, bool(value.hardmask)), children)


def _dtype(value: Any) -> Node:
    return Node("numpy.dtype", dtype_header(value))


def _bit_generator(value: Any) -> Node:
    """Describe a bit generator by its state, and by what its children will be seeded with when it spawns them."""
    seeds = getattr(value, "seed_seq", getattr(value, "_seed_seq", None))  # _seed_seq before numpy 1.25
    return Node("numpy.random", None, (value.state, seeds), (".state", ".seed_seq").__getitem__)


def _seed_sequence(value: Any) -> Node:
    return Node("numpy.random.SeedSequence", None, (value.state,), lambda _: ".state")


def _generator(value: Any) -> Node:
    return Node("numpy.random.Generator", None, (value.bit_generator,), lambda _: ".bit_generator")


def _random_state(value: Any) -> Node:
    return Node("numpy.random.RandomState", None, (value.get_state(legacy=False),), lambda _: ".get_state()")


def _named(value: Any) -> Node:
    """Describe a function of numpy or scipy by its name; what `frompyfunc` makes has a name that finds nothing."""
    name = value.__name__
    places = [place for place in (getattr(value, "__module__", None), "numpy", "scipy.special") if place]
    for place in places:
        if getattr(sys.modules.get(place), name, None) is value:
            return Node("numpy.function", (place, name), code=True)
    raise NoContent(f"the function {name!r} is not the one of that name in {' or '.join(places)}, so nothing tells it")


_RULES: dict[type, Rule] = {
    np.ndarray: _array,
    np.memmap: _array,
    np.ma.MaskedArray: _masked,
    type(np.ma.masked): lambda _: Node("numpy.ma.masked"),
    np.random.Generator: _generator,
    np.random.RandomState: _random_state,
    np.random.SeedSequence: _seed_sequence,
    np.ufunc: _named,
    type(np.sum): _named,
    np.nditer: no_content("an iterator", "gives its items only once; pass the array"),
}
