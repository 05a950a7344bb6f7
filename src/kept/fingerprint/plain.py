"""Bytes of plain values, at C speed, and digests of buffers, in place.

A value is *plain* when it is a tree of exact builtin types (`ATOMS` and `CONTAINERS`), at most `MAX_DEPTH`
levels deep and `MAX_NODES` nodes large. Its bytes are `marshal` version 2 of its normal form, in which these
stand for others, and are like nothing else, as no plain value contains the class StopIteration:

    (StopIteration, keys, values)         a dict, in the order of its keys
    (StopIteration, "set", *elements)     a set or "frozenset", in the order of its elements
    (StopIteration, "str", digest)        a long text or "bytes"

Version 2 of marshal writes no references, so neither identity nor interning shows. It writes anything that
has the buffer protocol as bytes, so each type is checked first. Floats count by their bits: 0.0 and -0.0
differ, NaNs with equal bits don't.
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from blake3 import blake3

from kept.utilities.blake import hasher

PLAIN = b"kept-value-1\0plain\0"
BUFFER = b"kept-value-1\0buffer\0"

# Limits are part of the format: a change is a new version.
MAX_DEPTH = 16
MAX_NODES = 1 << 18
LONG_TEXT = 1 << 16

_PIECE = 1 << 22
_FEW = 64

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
PLAIN_TYPES = ATOMS | CONTAINERS
TEXTS = frozenset({str, bytes})
SHORT_ATOMS = ATOMS - TEXTS
_ONLY_DICT = frozenset({dict})
_NOT_DICT = CONTAINERS - _ONLY_DICT
_ONLY_SEQUENCES = ATOMS | {list, tuple}
_ONLY_TEXT = frozenset({str})
SORTABLE = ({str}, {int}, {bytes})


# --- buffers ---------------------------------------------------------------------------------------


def new_buffer_hash(size: int = 0) -> blake3:
    """Return a running hash for about `size` raw bytes, which uses all cores when they are many."""
    return hasher(size).update(BUFFER)


def buffer_digest(data: Any) -> bytes:
    """Return the digest of the bytes of a contiguous buffer, in place."""
    view = memoryview(data)
    return new_buffer_hash(view.nbytes).update(view.cast("B") if view.nbytes else b"").digest()


def text_digest(text: str) -> bytes:
    """Return the digest of a text in UTF-8, encoding a bounded piece at a time."""
    running = new_buffer_hash(len(text))
    for at in range(0, len(text), _PIECE):
        running.update(text[at : at + _PIECE].encode("utf-8", "surrogatepass"))
    return running.digest()


# --- plain values ----------------------------------------------------------------------------------


def plain_bytes(value: Any) -> bytes | None:
    """Return the canonical bytes of a plain value, or None when the value is not plain."""
    kind = type(value)
    if kind in SHORT_ATOMS or (kind in TEXTS and len(value) <= LONG_TEXT):
        return marshal.dumps(value, 2)
    if kind not in PLAIN_TYPES:
        return None
    if len(value) < _FEW:
        encoded = _of_flat(kind, value)
        if encoded is not None:
            return encoded
    form = _survey(value)
    if form is None:
        return None
    return _marshalled(value if kind in form.unchanged else form.of(value))


def _of_flat(kind: type, value: Any) -> bytes | None:
    """Return the canonical bytes of a few atoms in a list, tuple or dict, None if it is not that; at little cost."""
    form: Any = value
    keys: tuple[str, ...] = ()
    if kind is dict:
        if not _ONLY_TEXT.issuperset(map(type, value)):
            return None
        keys = tuple(sorted(value))
        value = tuple([value[key] for key in keys])
        form = (StopIteration, keys, value)
    elif kind is not list and kind is not tuple:
        return None
    if not ATOMS.issuperset(map(type, value)):
        return None
    texts = [x for x in value if type(x) in TEXTS]
    return None if max(map(len, (*keys, *texts)), default=0) > LONG_TEXT else marshal.dumps(form, 2)


def _survey(value: object) -> _NormalForm | None:
    """Return what it takes to bring a value into normal form, None if it is not plain.

    It goes level by level, so that each check of types runs over a whole level at C speed.
    """
    level: Sequence[Any] = (value,)
    size = 1
    seen: set[type] = set()
    short = text_keys = True
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, level))
        if not kinds <= PLAIN_TYPES:
            return None
        seen |= kinds
        short = short and _texts_are_short(level, kinds)
        if kinds <= ATOMS:
            return _NormalForm(seen, short, text_keys)
        dicts = _of_kinds(level, kinds, _ONLY_DICT)
        others = _of_kinds(level, kinds, _NOT_DICT)
        size += 2 * sum(map(len, dicts)) + sum(map(len, others))
        if size > MAX_NODES:
            return None
        keys: Sequence[Any] = ()
        if dicts:
            keys = _keys_unless_short_texts(dicts)
            text_keys = text_keys and not keys
        level = list(chain(keys, chain.from_iterable(chain(others, map(dict.values, dicts)))))
    return None


def _of_kinds(level: Sequence[Any], kinds: set[type], wanted: frozenset[type]) -> Sequence[Any]:
    if kinds <= wanted:
        return level
    return [x for x in level if type(x) in wanted] if kinds & wanted else ()


def _keys_unless_short_texts(dicts: Sequence[dict[Any, Any]]) -> Sequence[Any]:
    """Return all keys of some dicts, or none when all are short texts and need no further look."""
    keys = list(chain.from_iterable(dicts))
    texts = set(map(type, keys)) <= {str}
    return () if texts and max(map(len, keys), default=0) <= LONG_TEXT else keys


def _texts_are_short(level: Sequence[Any], kinds: set[type]) -> bool:
    if not kinds & TEXTS:
        return True
    texts = level if kinds <= TEXTS else [x for x in level if type(x) is str or type(x) is bytes]
    return max(map(len, texts)) <= LONG_TEXT


class _NormalForm:
    """Brings a plain value into normal form; recurses at most `MAX_DEPTH` levels deep."""

    def __init__(self, seen: set[type], short: bool, text_keys: bool) -> None:
        """Take the types in the tree, whether all texts are short, and whether all keys are short texts."""
        self.text_keys = text_keys
        self.orders: dict[tuple[str, ...], _Order] = {}
        if short and seen <= _ONLY_SEQUENCES:
            self.unchanged = _ONLY_SEQUENCES
        else:
            self.unchanged = ATOMS if short else SHORT_ATOMS

    def of(self, value: Any) -> object:
        kind = type(value)
        if kind is dict:
            return self._of_dict(value)
        if kind is list:
            return self._of_all(value)
        if kind is tuple:
            return tuple(self._of_all(value))
        if kind is str:
            return value if len(value) <= LONG_TEXT else (StopIteration, "str", text_digest(value))
        if kind is bytes:
            return value if len(value) <= LONG_TEXT else (StopIteration, "bytes", buffer_digest(value))
        if kind is set or kind is frozenset:
            return (StopIteration, kind.__name__, *_in_order(self._of_all(value)))
        return value

    def _of_all(self, values: Any) -> list[Any]:
        unchanged, of = self.unchanged, self.of
        return [x if type(x) in unchanged else of(x) for x in values]

    def _of_dict(self, value: dict[Any, Any]) -> object:
        if not self.text_keys:
            return self._of_dict_with_any_keys(value)
        names = tuple(value)
        keys, pick = self.orders.get(names) or self._order(names)
        values = pick(value)
        if not self.unchanged.issuperset(map(type, values)):
            values = tuple(self._of_all(values))
        return (StopIteration, keys, values)

    def _order(self, names: tuple[str, ...]) -> _Order:
        """Return the keys in order and what picks their values. Rows of a table share one."""
        keys = tuple(sorted(names))
        found: _Order = (keys, itemgetter(*keys) if len(keys) > 1 else lambda value: tuple(value.values()))
        self.orders[names] = found
        return found

    def _of_dict_with_any_keys(self, value: dict[Any, Any]) -> object:
        items = dict(zip(self._of_all(value), value.values(), strict=True))
        keys = _in_order(list(items))
        return (StopIteration, tuple(keys), tuple(self._of_all([items[key] for key in keys])))


_Order = tuple[tuple[str, ...], Any]


def _in_order(members: list[Any]) -> list[Any]:
    """Sort plain values in normal form: by value where that order is total and typed, else by their bytes."""
    if set(map(type, members)) in SORTABLE:
        return sorted(members)
    return sorted(members, key=_marshalled)


def _marshalled(value: Any) -> bytes:
    return marshal.dumps(value, 2)
