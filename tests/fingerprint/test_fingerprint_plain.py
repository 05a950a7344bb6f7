"""Plain values: exact builtins, by content and type."""

from __future__ import annotations

import array
import copy
import sys
from typing import Any

import pytest

from kept.fingerprint import digest, fingerprint
from kept.fingerprint.plain import LONG_TEXT, MAX_DEPTH, _marshalled, _of_flat, _survey, plain_bytes

DIFFERENT: list[Any] = [
    None, False, True, 0, 1, -1, 1.0, 0.0, -0.0, 1 + 0j, 0j, "", "1", b"", b"1", "None", ..., NotImplemented,
    [], (), {}, set(), frozenset(), bytearray(), bytearray(b"1"), memoryview(b"1"), array.array("b", [49]),
    [1], (1,), {1}, frozenset({1}), {1: None}, {1: 1}, {True: 1}, {"1": 1}, {"a": 1}, [("a", 1)], (("a", 1),),
    [[]], [()], ((),), [1, [2]], [[1], 2], [1, 2], [2, 1], ["ab", "c"], ["a", "bc"], ["abc"], {"ab", "c"}, {"a", "bc"},
    {"a": {"b": 1}}, {"a": {"b": [1]}}, {"a": ("b", 1)}, range(0), range(1), range(2), range(0, 4, 2),
    range(10**30), range(3, 0, -2), range(3, 0, -1), slice(1),
    slice(0, 1), (StopIteration, "set", 1), (StopIteration, ("a",), (1,)), StopIteration, float("inf"), float("nan"),
    "x" * (LONG_TEXT + 1), b"x" * (LONG_TEXT + 1), "x" * LONG_TEXT, b"x" * LONG_TEXT, 1 << 64, 1 << 64 | 1,
    {"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items(), "\u00e9", "e\u0301", type(None), type(...), int, bool,
]  # fmt: skip


def test_values_that_differ_in_type_or_content_have_different_fingerprints() -> None:
    seen: dict[str, object] = {}
    for value in DIFFERENT:
        assert seen.setdefault(fingerprint(value), value) is value
    assert len({fingerprint([value]) for value in DIFFERENT}) == len(DIFFERENT)


def test_small_containers_have_the_same_bytes_by_the_short_way_and_by_the_long_one() -> None:
    short = 0
    for one in DIFFERENT:
        for value in ([one], (one,), {"b": one, "a": 1}, {"x" * (LONG_TEXT + 1): one}, {1: one}, one):
            form = _survey(value)
            expected = None if form is None else _marshalled(value if type(value) in form.unchanged else form.of(value))
            assert plain_bytes(value) == expected
            short += type(value) in (list, tuple, dict) and _of_flat(type(value), value) is not None
    assert short > 50


def test_plain_values_say_so_in_their_prefix() -> None:
    assert fingerprint({"a": [1, 2.0, ("x", b"y", None)]}).startswith("b3p:")
    assert fingerprint({"a": [range(3)]}).startswith("b3:")
    assert len(fingerprint(1)) == len("b3p:") + 64


@pytest.mark.parametrize(
    "value",
    [{"a": 1, "b": 2, "c": [3]}, {1: "a", "1": "b", (1, 2): "c", None: "d"}, {i: i for i in range(5000)}],
)
def test_the_order_of_a_dict_does_not_count(value: dict[Any, Any]) -> None:
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_the_order_of_a_set_does_not_count() -> None:
    # These collide in a small table, so their order is that of insertion.
    one, other = set(map(int, "0 8 16".split())), set(map(int, "16 8 0".split()))
    assert list(one) != list(other)
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("make", [int, str])
def test_sets_too_large_to_be_plain_count_every_element(make: type) -> None:
    many = [make(i) for i in range(300_000)]
    backwards = many[::-1]
    assert fingerprint(set(many)) == fingerprint(set(backwards))
    assert len({fingerprint(x) for x in (set(many), frozenset(many), many, set(many[1:]))}) == 4


def test_keys_that_are_equal_but_of_other_types_are_told_apart_after_one_another() -> None:
    tables = [[{key: 1, "a": 2}] for key in (1, True, 1.0)]
    assert len({fingerprint(table) for table in [*tables, *reversed(tables)]}) == 3


def test_identity_does_not_count() -> None:
    shared = [1, "a"]
    assert fingerprint([shared, shared]) == fingerprint([shared, copy.deepcopy(shared)])
    interned, other = sys.intern("a name"), "".join(["a ", "name"])
    assert interned is not other
    assert fingerprint([interned, interned]) == fingerprint([interned, other]) == fingerprint([other, other])


def test_equal_bits_of_not_a_number_are_equal_content() -> None:
    assert fingerprint([float("nan")]) == fingerprint([float("nan")])


@pytest.mark.parametrize("around", [[], ["end"], [{"k": 1}]])
def test_a_list_too_large_to_be_plain_still_counts_every_element(around: list[Any]) -> None:
    many = [*range(300_000), *around]
    assert fingerprint(many).startswith("b3:")
    assert fingerprint(many) == fingerprint(list(many))
    many[150_000] = "changed"
    assert fingerprint(many) != fingerprint([*range(300_000), *around])


def test_a_slice_of_a_large_list_is_not_a_list_of_lists() -> None:
    many = [*range(299_000)]
    slices = [many[at : at + 1024] for at in range(0, len(many), 1024)]
    assert fingerprint(many) != fingerprint(slices)


def test_depth_beyond_the_plain_ones_counts() -> None:
    def nested(levels: int) -> list[Any]:
        value: list[Any] = []
        for _ in range(levels):
            value = [value]
        return value

    assert len({fingerprint(nested(levels)) for levels in range(3 * MAX_DEPTH)}) == 3 * MAX_DEPTH


def test_long_texts_of_equal_length_differ_by_their_last_character() -> None:
    text = "x" * LONG_TEXT
    assert fingerprint([text + "a"]) != fingerprint([text + "b"])
    assert fingerprint([text + "\ud800"]) != fingerprint([text + "?"])


def test_digest_takes_bytes_or_chunks_of_them() -> None:
    assert digest(b"abcdef") == digest([b"abc", bytearray(b"def")]) == digest(memoryview(b"abcdef"))
    assert digest(b"abc") != digest(b"abd")
    assert digest(array.array("d", [1.0])) == digest(array.array("d", [1.0]).tobytes())
    assert digest(b"abc").startswith("b3:")


def test_a_known_fingerprint_stands_for_the_whole_value() -> None:
    value = [1, 2]
    assert fingerprint(value, known={id(value): "b3p:" + "0" * 64}) == "b3p:" + "0" * 64


def test_a_known_fingerprint_of_a_part_gives_what_the_part_itself_gives() -> None:
    class Future:
        pass

    future, part = Future(), [range(3), {"a": range(4)}]
    known = {id(future): fingerprint(part)}
    for whole, standing in [([part, 1], [future, 1]), ({"k": (part,)}, {"k": (future,)})]:
        assert fingerprint(standing, known=known) == fingerprint(whole)


def test_known_fingerprints_are_not_looked_up_for_plain_parts() -> None:
    part = [1, 2]
    assert fingerprint([part, range(3)], known={id(part): "b3:" + "0" * 64}) == fingerprint([part, range(3)])
