"""Where two values differ: the way to it, and both sides."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fingerprint_samples import Colour, Pair, Params, Plain, Point, Slotted
from hypothesis import given
from hypothesis import strategies as st

from kept.exceptions import HashError
from kept.fingerprint import fingerprint
from kept.fingerprint.differences import difference

FRAME = pd.DataFrame(
    {
        "price": [1.0, 2.0, 3.0],
        "name": ["a", "b", "c"],
        "day": pd.to_datetime(["2026-01-01"] * 3),
        "kind": pd.Categorical(["u", "v", "u"]),
    }
)
LONG = "b" * 99


def with_cell(column: str, value: object) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[2, column] = value
    return frame


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (1, 2, "result: 1 -> 2"),
        (1, True, "result: 1 -> True"),
        (1, 1.0, "result: 1 -> 1.0"),
        (0.0, -0.0, "result: 0.0 -> -0.0"),
        (None, {}, "result: None -> {}"),
        ([1, 2], [1, 3], "result[1]: 2 -> 3"),
        ([1], [1, 2], "len(result): 1 -> 2"),
        ((1, [2]), (1, [3]), "result[1][0]: 2 -> 3"),
        ([1], (1,), "result: [1] -> (1,)"),
        ({"a": 1}, {"a": 2}, "result['a']: 1 -> 2"),
        ({"a": 1}, {"a": 1, "b": 2}, "result['b']: missing -> 2"),
        ({"a": 1, ("b", 2): 2}, {"a": 1}, "result[('b', 2)]: 2 -> missing"),
        ({1: "x"}, {True: "x"}, "result: {1: 'x'} -> {True: 'x'}"),
        ({"a", "b"}, {"a", "c"}, "'b' in result: True -> False"),
        (frozenset({1}), frozenset({1, 2}), "2 in result: False -> True"),
        ([float("nan"), 1], [float("nan"), 2], "result[1]: 1 -> 2"),
        ("ab", "ac", "result: 'ab' -> 'ac'"),
        ("one\ntwo\nthree", "one\nTwo\nthree", "result, line 2: 'two' -> 'Two'"),
        ("one\n", "one", "result: 'one\\n' -> 'one'"),
        (b"ab", b"ac", "result: b'ab' -> b'ac'"),
        ("x" * 1000 + "y", "x" * 1000 + "z", f"result, character 1001: '{'x' * 20}y' -> '{'x' * 20}z'"),
        (b"-" * 70, b"-" * 69, f"result, byte 70: {b'-' * 21} -> {b'-' * 20}"),
        ("a\n" + LONG + "c", "a\n" + LONG + "d", f"result, line 2, character 100: '{'b' * 20}c' -> '{'b' * 20}d'"),
        (Point(1), Point(2), "result.x: 1 -> 2"),
        (Slotted(1, (2,)), Slotted(1, (3,)), "result.b[0]: 2 -> 3"),
        ({"rows": [0, Point(1, 1.0)]}, {"rows": [0, Point(1, 2.0)]}, "result['rows'][1].y: 1.0 -> 2.0"),
        (Plain(a=Plain(b=1)), Plain(a=Plain(b=2)), "result.a.b: 1 -> 2"),
        (Plain(a=1), Plain(a=1, b=2), "result.b: missing -> 2"),
        (Plain(a=1), Point(1), "result: a Plain -> Point(x=1, y=2.0, note='')"),
        (Plain(a=Plain()), Plain(a=1), "result.a: a Plain -> 1"),
        (Pair(1, "a"), Pair(1, "b"), "result[1]: 'a' -> 'b'"),
        (Params(a=1), Params(a=2), "result['a']: 1 -> 2"),
        (OrderedDict(a=1), OrderedDict(a=2), "result.values()[0]: 1 -> 2"),
        (SimpleNamespace(a=1), SimpleNamespace(a=2), "result['a']: 1 -> 2"),
        (Colour.RED, Colour.GREEN, "result: <Colour.RED: 1> -> <Colour.GREEN: 'g'>"),
        (date(2026, 1, 1), date(2026, 1, 2), "result: datetime.date(2026, 1, 1) -> datetime.date(2026, 1, 2)"),
        (range(3), range(4), "result: range(0, 3) -> range(0, 4)"),
        (np.array([1.0, 2.0]), np.array([1.0, 3.0]), "result[1]: 2.0 -> 3.0"),
        (np.array([1, 2]), np.array([1.0, 2.0]), "result.dtype: dtype('int64') -> dtype('float64')"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "result.shape[1]: 3 -> 4"),
        (np.zeros(2), np.zeros(3), "len(result): 2 -> 3"),
        (np.array(1.0), np.array(2.0), "result: 1.0 -> 2.0"),
        (np.float64(1), np.float64(2), "result: 1.0 -> 2.0"),
        (np.float64(1), 1.0, "result: 1.0 (float64) -> 1.0 (float)"),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 2], [0, 4]]), "result[1][0]: 3 -> 0"),
        (np.array([1, ["a"]], object), np.array([1, ["b"]], object), "result[1][0]: 'a' -> 'b'"),
        (FRAME, with_cell("price", 9.0), "result['price'][2]: 3.0 -> 9.0"),
        (FRAME, with_cell("name", "z"), "result['name'][2]: 'c' -> 'z'"),
        (FRAME, with_cell("kind", "v"), "result['kind'][2]: 'u' -> 'v'"),
        (FRAME, FRAME.iloc[:2], "len(result.index): 3 -> 2"),
        (FRAME[["price"]], FRAME[["name"]], "result['price']: array([1., 2., 3.]) -> missing"),
        (FRAME.set_index("name").price, FRAME.set_index("kind").price, None),
        (FRAME.price, FRAME.price.rename("cost"), "result.name: 'price' -> 'cost'"),
        (pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 3]}), "result['a'][1]: 2 -> 3"),
        (pl.DataFrame({"a": [[1], [2]]}), pl.DataFrame({"a": [[1], [3]]}), "result['a'][1][0]: 2 -> 3"),
        (pl.DataFrame({"a": ["x", None]}), pl.DataFrame({"a": ["x", "y"]}), "result['a'][1]: None -> 'y'"),
        (pa.table({"a": [1, 2]}), pa.table({"a": [1, 3]}), "result['a'][1]: 2 -> 3"),
    ],
)  # fmt: skip
def test_the_way_to_the_first_difference_and_both_sides_are_said(old: object, new: object, said: str | None) -> None:
    found = difference(old, new)
    assert found is not None
    assert said is None or str(found) == said
    assert difference(old, old) is None and difference(new, new) is None


def test_a_day_in_a_frame_is_shown_as_a_day() -> None:
    found = difference(FRAME, with_cell("day", pd.Timestamp("2026-02-03")))
    assert found and found.path == "result['day'][2]" and found.new == "Timestamp('2026-02-03 00:00:00')"


def test_values_with_equal_fingerprints_do_not_differ() -> None:
    assert difference({"a": 1, "b": [2]}, {"b": [2], "a": 1}) is None
    assert difference([float("nan")], [float("nan")]) is None


def test_what_looks_the_same_is_told_apart() -> None:
    def make(n: int) -> Callable[[], int]:
        return lambda: n

    found = difference(make(1), make(2))
    assert found and found.old != found.new and " at 0x" not in str(found)


def test_a_value_without_stable_content_is_an_error_that_names_the_way() -> None:
    with pytest.raises(HashError, match=r"^result -> \['a'\]: a lock"):
        difference({"a": threading.Lock()}, {})


def test_cycles_and_endless_depth_end() -> None:
    old: list[Any] = [1]
    new: list[Any] = [2]
    for _ in range(300):
        old, new = [old], [new]
    found = difference(old, new)
    assert found and len(str(found)) < 500
    old, new = [1], [2]
    old.insert(0, old)
    new.insert(0, new)
    assert difference(old, new) is not None


def test_one_changed_number_in_a_hundred_megabytes_is_found_within_a_few_times_what_a_fingerprint_takes() -> None:
    old = np.arange(12_500_000.0)
    new = old.copy()
    new[10_000_000] = 0.5
    began = time.process_time()
    fingerprint(old)
    once = time.process_time() - began
    began = time.process_time()
    assert str(difference(old, new)) == "result[10000000]: 10000000.0 -> 0.5"
    assert time.process_time() - began < 20 * once + 0.5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, VALUES)
def test_the_path_is_code_that_leads_to_both_sides(old: Any, new: Any) -> None:
    found = difference(old, new)
    assert (found is None) == (fingerprint(old) == fingerprint(new))
    if found is not None and "missing" not in found:
        left, right = (eval(found.path, {"result": value}) for value in (old, new))
        assert fingerprint(left) != fingerprint(right)
