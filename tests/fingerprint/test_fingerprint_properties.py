"""The encoding is injective on generated values, and stable over order, layout and identity."""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import fractions
import random
import struct
import uuid
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from kept.fingerprint import fingerprint
from kept.fingerprint import plain as plain_module

bounded = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

atoms = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(), st.complex_numbers(), st.text(max_size=4),
    st.binary(max_size=4), st.just(...), st.sampled_from(["", "1", b"1", 1, 1.0, True, 0, -0.0, 0.0, False]),
)  # fmt: skip
hashable = st.recursive(
    atoms, lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
leaves = st.one_of(
    atoms, st.dates(), st.datetimes(), st.decimals(), st.fractions(), st.uuids(), st.timedeltas(),
    st.builds(range, st.integers(-3, 3), st.integers(-3, 3)), st.builds(bytearray, st.binary(max_size=3)),
)  # fmt: skip


def containers(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.dictionaries(st.text(max_size=2), inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.dictionaries(st.text(max_size=2), inner, max_size=3).map(collections.OrderedDict),
        st.lists(inner, max_size=3).map(collections.deque),
    )


plain_values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable, inner, max_size=4), st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip
values = st.recursive(leaves, containers, max_leaves=12)


def typed(value: Any) -> Any:
    """Return what is equal for two values exactly when they have equal types and content, found another way."""
    kind = type(value)
    if kind is float:
        return (kind, struct.pack("<d", value))
    if kind is complex:
        return (kind, struct.pack("<dd", value.real, value.imag))
    if kind in (list, tuple, collections.deque):
        return (kind, tuple(map(typed, value)))
    if kind is collections.OrderedDict:
        return (kind, tuple((typed(k), typed(v)) for k, v in value.items()))
    if kind is dict:
        return (kind, frozenset((typed(k), typed(v)) for k, v in value.items()))
    if kind in (set, frozenset):
        # Several not-a-numbers of equal bits may be in one set.
        return (kind, frozenset(collections.Counter(map(typed, value)).items()))
    if kind is bytearray:
        return (kind, bytes(value))
    if kind is decimal.Decimal:
        return (kind, str(value))
    if kind is datetime.datetime:
        return (kind, value.isoformat(), value.fold)
    assert kind in (type(None), bool, int, str, bytes, type(...), datetime.date, datetime.timedelta) or kind in (
        fractions.Fraction,
        uuid.UUID,
        range,
    )
    return (kind, value)


@bounded
@given(st.lists(values, min_size=2, max_size=8))
def test_digests_are_equal_exactly_when_types_and_content_are(several: list[Any]) -> None:
    assert len(set(map(fingerprint, several))) == len({typed(value) for value in several})


@bounded
@given(st.lists(plain_values, min_size=2, max_size=8))
def test_digests_of_plain_values_are_equal_exactly_when_types_and_content_are(several: list[Any]) -> None:
    digests = list(map(fingerprint, several))
    assert all(digest.startswith("b3p:") for digest in digests)
    assert len(set(digests)) == len({typed(value) for value in several})


@bounded
@given(values)
def test_a_deep_copy_has_the_same_digest(value: Any) -> None:
    assert fingerprint(copy.deepcopy(value)) == fingerprint(value)
    assert fingerprint([value, value]) == fingerprint([value, copy.deepcopy(value)])


def shuffled(value: Any, order: random.Random) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(shuffled(x, order) for x in value)
    if kind is dict:
        items = [(k, shuffled(v, order)) for k, v in value.items()]
        order.shuffle(items)
        return dict(items)
    if kind in (set, frozenset):
        items = list(value)
        order.shuffle(items)
        return kind(items)
    return value


@bounded
@given(values, st.randoms(use_true_random=False))
def test_the_order_of_dicts_and_sets_does_not_count(value: Any, order: random.Random) -> None:
    assert fingerprint(shuffled(value, order)) == fingerprint(value)


@bounded
@given(values, values)
def test_a_part_that_is_known_gives_the_digest_that_the_part_itself_gives(part: Any, other: Any) -> None:
    class Future:
        pass

    future, known = Future(), fingerprint(part)
    if known.startswith("b3:"):
        standing = fingerprint([{"a": future}, other], known={id(future): known})
        assert standing == fingerprint([{"a": part}, other])


@bounded
@given(st.lists(st.lists(plain_values, max_size=3), min_size=2, max_size=5), st.integers(1, 8))
def test_the_digest_is_injective_where_values_are_too_large_or_deep_to_be_plain(several: Any, most: int) -> None:
    usual = plain_module.MAX_NODES, plain_module.MAX_DEPTH
    plain_module.MAX_NODES = plain_module.MAX_DEPTH = most
    try:
        assert len(set(map(fingerprint, several))) == len({typed(value) for value in several})
    finally:
        plain_module.MAX_NODES, plain_module.MAX_DEPTH = usual


arrays = st_numpy.arrays(
    dtype=st.one_of(
        st_numpy.boolean_dtypes(), st_numpy.integer_dtypes(), st_numpy.floating_dtypes(sizes=(16, 32, 64)),
        st_numpy.datetime64_dtypes(), st_numpy.byte_string_dtypes(max_len=3), st_numpy.unicode_string_dtypes(max_len=3),
    ),
    shape=st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)  # fmt: skip


@bounded
@given(st.lists(arrays, min_size=2, max_size=5))
def test_arrays_are_equal_exactly_when_dtype_shape_and_elements_are(several: list[Any]) -> None:
    contents = {(array.dtype.str, array.shape, array.tobytes()) for array in several}
    assert len(set(map(fingerprint, several))) == len(contents)


@bounded
@given(arrays, st.randoms(use_true_random=False))
def test_the_layout_of_an_array_does_not_count(array: Any, order: random.Random) -> None:
    axes = list(range(array.ndim))
    order.shuffle(axes)
    relaid = np.ascontiguousarray(array.transpose(axes)).reshape(array.transpose(axes).shape)
    assert fingerprint(relaid.transpose(np.argsort(axes).astype(int))) == fingerprint(array)
    assert fingerprint(array[..., ::-1][..., ::-1] if array.ndim else array) == fingerprint(array)
