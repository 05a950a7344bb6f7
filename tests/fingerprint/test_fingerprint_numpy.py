"""Arrays: equal content is equal however it lies in memory, anything else differs."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kept.exceptions import HashError
from kept.fingerprint import fingerprint


def assert_all_differ(*values: object) -> None:
    assert len({fingerprint(value) for value in values}) == len(values)


def layouts(array: Any) -> dict[str, Any]:
    """Return arrays with the same content in other layouts."""
    spaced = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    view = spaced[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    shifted = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    return {
        "fortran": np.asfortranarray(array),
        "strided": view,
        "backwards": np.ascontiguousarray(array[::-1])[::-1],
        "unaligned": shifted,
        "read-only": read_only,
        # Older protocols lose the byte order.
        "pickled": pickle.loads(pickle.dumps(array, 5)),
    }


DTYPES = ["?", "i1", "<i4", ">i4", "u8", "f2", "f8", "g", "c16", "G", "S3", "U3", "M8[D]", "m8[ns]"]
ARRAYS = [np.arange(24).reshape(2, 3, 4).astype(dtype) for dtype in DTYPES]


@pytest.mark.parametrize("array", ARRAYS, ids=DTYPES)
def test_the_layout_does_not_count(array: Any) -> None:
    for name, other in layouts(array).items():
        assert fingerprint(other) == fingerprint(array), name


def test_large_arrays_in_other_layouts_are_equal() -> None:
    array = np.random.default_rng(0).random((1000, 700))
    assert len({fingerprint(other) for other in [array, *layouts(array).values()]}) == 1


def test_broadcast_arrays_equal_their_copies() -> None:
    array = np.broadcast_to(np.arange(3), (1000, 3))
    assert fingerprint(array) == fingerprint(array.copy())


def test_dtypes_and_shapes_count() -> None:
    assert_all_differ(*ARRAYS, *(array.ravel() for array in ARRAYS), *(array.reshape(3, 2, 4) for array in ARRAYS))
    assert_all_differ(np.zeros(0), np.zeros((0, 1)), np.zeros((1, 0)), np.zeros(0, "i4"), np.zeros(1))


def test_one_changed_element_counts() -> None:
    array = np.zeros((100, 100))
    before = fingerprint(array)
    array[57, 3] = 1e-300
    assert fingerprint(array) != before


def test_scalars_differ_from_numbers_and_arrays() -> None:
    assert_all_differ(1, np.int64(1), np.int32(1), np.uint64(1), np.array(1), np.array([1]), np.float64(1), 1.0, [1])
    assert_all_differ(
        "a", np.str_("a"), b"a", np.bytes_(b"a"), True, np.True_, np.datetime64("2020"), np.timedelta64(1, "s")
    )


def test_numbers_inside_plain_containers_keep_their_type() -> None:
    assert_all_differ(
        [1.0], [np.float64(1)], [np.float32(1)], {"a": 1.0}, {"a": np.float64(1)}, {1: 1}, {np.int64(1): 1}
    )


def test_objects_count_by_content_and_type() -> None:
    def objects(*values: object) -> Any:
        array = np.empty(len(values), object)
        array[:] = values
        return array

    values = [(1, 2), (1, 2.0), (1, True), ("1", 2), (None, [1]), (None, np.arange(2)), (None, (1,))]
    assert_all_differ(*(objects(*pair) for pair in values))
    assert fingerprint(objects("a", [1])) == fingerprint(objects("".join(["a"]), [1]))


def test_records_count_by_fields_not_by_padding() -> None:
    padded = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    one = np.frombuffer(b"\x00" * 32, padded).copy()
    other = np.frombuffer(b"\xff" * 32, padded).copy()
    for field in ("a", "b"):
        other[field] = 0
    assert fingerprint(one) == fingerprint(other)
    packed = np.dtype([("a", "i1"), ("b", "f8")])
    renamed = np.dtype([("a", "i1"), ("c", "f8")])
    assert_all_differ(one, np.zeros(2, packed), np.zeros(2, renamed), np.zeros(2, [("a", "i1", (9,))]))
    with_objects = np.array([(1, "x")], [("a", "i4"), ("o", object)])
    changed = np.array([(1, "y")], [("a", "i4"), ("o", object)])
    assert_all_differ(with_objects, changed)


def test_what_lies_under_a_mask_does_not_count() -> None:
    one = np.ma.array([1, 2, 3], mask=[0, 1, 0])
    other = np.ma.array([1, 9, 3], mask=[0, 1, 0])
    assert fingerprint(one) == fingerprint(other)
    assert_all_differ(one, np.ma.array([1, 2, 3]), np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=7), np.arange(3))


def test_masked_records_count_field_by_field() -> None:
    def records(hidden: int, mask: bool) -> Any:
        return np.ma.array([(hidden, 2.0)], dtype=[("a", "i4"), ("b", "f8")], mask=[(mask, False)])

    assert fingerprint(records(1, True)) == fingerprint(records(9, True))
    assert_all_differ(records(1, True), records(1, False), records(9, False), np.ma.masked)


def test_an_array_in_a_file_equals_one_in_memory(tmp_path: Path) -> None:
    array = np.arange(10.0)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert fingerprint(mapped) == fingerprint(array)


def test_subclasses_differ_from_arrays() -> None:
    class Marked(np.ndarray):
        pass

    marked = np.arange(3).view(Marked)
    noted = np.arange(3).view(Marked)
    noted.note = 1
    assert_all_differ(
        np.arange(3), marked, noted, np.zeros(2, [("a", "i4")]), np.zeros(2, [("a", "i4")]).view(np.recarray)
    )


def test_bits_tell_zeros_and_not_a_numbers_apart() -> None:
    assert_all_differ(np.array([0.0]), np.array([-0.0]), np.array([np.nan]))
    assert fingerprint(np.array([np.nan])) == fingerprint(np.array([float("nan")]))


def test_random_generators_are_their_state() -> None:
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert fingerprint(one) == fingerprint(other)
    other.random()
    assert_all_differ(
        one, other, np.random.default_rng(2), np.random.RandomState(1), np.random.RandomState(2), one.bit_generator
    )


def test_random_generators_that_will_spawn_other_children_differ() -> None:
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert fingerprint(one) == fingerprint(other)
    before = fingerprint(other.bit_generator.seed_seq)
    other.spawn(1)
    assert one.bit_generator.state == other.bit_generator.state
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(other.bit_generator.seed_seq) != before == fingerprint(np.random.SeedSequence(1))
    one.spawn(1)
    assert fingerprint(one) == fingerprint(other) == fingerprint(pickle.loads(pickle.dumps(one)))
    assert len({fingerprint(child) for child in [*one.spawn(2), *other.spawn(2)]}) == 2


def test_functions_that_numpy_made_of_others_are_refused() -> None:
    def twice(x: float) -> float:
        return 2 * x

    for function in (np.frompyfunc(twice, 1, 1), np.frompyfunc(np.sin, 1, 1)):
        with pytest.raises(HashError, match=r"^value -> \['f'\]: the function '.*\(vectorized\)' is not the one"):
            fingerprint({"f": function})
    assert fingerprint(np.vectorize(twice)) == fingerprint(np.vectorize(twice)) != fingerprint(np.vectorize(abs))


def test_every_public_function_of_numpy_is_told_by_its_name() -> None:
    kinds = (np.ufunc, type(np.sum))
    for module in (np, np.linalg, np.fft, np.random, np.ma):
        functions = {id(found): found for found in vars(module).values() if isinstance(found, kinds)}
        assert len({fingerprint(function) for function in functions.values()}) == len(functions)


def test_functions_and_types_of_numpy_are_told_apart() -> None:
    assert_all_differ(np.add, np.multiply, np.sum, np.mean, np.float64, np.float32, np.dtype("f8"), np.dtype("f4"))


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1")
def test_variable_strings_count_by_content() -> None:
    kind = np.dtypes.StringDType()
    assert_all_differ(np.array(["a", "b"], kind), np.array(["a", "c"], kind), np.array(["a", "b"]))


def test_iterators_over_arrays_are_refused() -> None:
    with pytest.raises(HashError, match="pass the array"):
        fingerprint(np.nditer(np.arange(3)))


def test_an_element_without_content_is_named() -> None:
    with pytest.raises(HashError, match=r"value -> \.ravel\(\) -> \[1\]: an iterator"):
        fingerprint(np.array([1, iter([])], object))


def test_fingerprinting_a_large_array_allocates_next_to_nothing() -> None:
    array = np.ones((2_000, 5_000))
    fingerprint(np.ones(3))
    for layout, bound in ((array, 100_000), (array.T, 20_000_000), (array[::2, ::2], 20_000_000)):
        tracemalloc.start()
        fingerprint(layout)
        assert tracemalloc.get_traced_memory()[1] < bound
        tracemalloc.stop()
