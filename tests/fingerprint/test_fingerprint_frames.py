"""pandas, polars and pyarrow: labels, dtypes and values count, chunks and blocks don't."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kept.exceptions import HashError
from kept.fingerprint import fingerprint


def assert_all_differ(*values: object) -> None:
    assert len({fingerprint(value) for value in values}) == len(values)


def frame(**changes: Any) -> Any:
    columns = {
        "i": [1, 2, 3],
        "f": [1.0, float("nan"), 3.0],
        "s": ["x", "y", None],
        "o": np.array([1, "a", None], object),
        "c": pd.Categorical(["u", "v", "u"]),
        "t": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"),
        "d": pd.to_timedelta([1, 2, 3], unit="s"),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "b": pd.array([True, None, False], dtype="boolean"),
        "p": pd.period_range("2020-01", periods=3, freq="M"),
        "v": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3]),
        "z": pd.arrays.SparseArray([0, 0, 1]),
        "a": pd.array([1, None, 3], dtype="int32[pyarrow]"),
        "ps": pd.array(["a", None, "c"], dtype="string[python]"),
        "as": pd.array(["a", None, "c"], dtype="string[pyarrow]"),
    }
    return pd.DataFrame({**columns, **changes})


# --- pandas ----------------------------------------------------------------------------------------


def test_frames_with_equal_content_are_equal_whatever_their_blocks() -> None:
    whole = frame()
    grown = pd.DataFrame({"i": whole["i"]})
    for name in whole.columns[1:]:
        grown[name] = whole[name]
    sliced = pd.concat([whole, whole], ignore_index=True).iloc[:3]
    assert fingerprint(grown) == fingerprint(whole)
    assert fingerprint(pickle.loads(pickle.dumps(whole))) == fingerprint(whole)
    assert fingerprint(sliced["f"].to_numpy()) == fingerprint(whole["f"].to_numpy())


@pytest.mark.parametrize(
    "changes",
    [
        {"i": [1, 2, 4]},
        {"i": [1.0, 2.0, 3.0]},
        {"i": np.array([1, 2, 3], "int32")},
        {"f": [1.0, 2.0, 3.0]},
        {"s": ["x", "y", "z"]},
        {"o": np.array([True, "a", None], object)},
        {"o": np.array([1, "a", np.nan], object)},
        {"c": pd.Categorical(["u", "v", "u"], categories=["v", "u"])},
        {"c": pd.Categorical(["u", "v", "u"], categories=["u", "v", "w"])},
        {"c": pd.Categorical(["u", "v", "u"], ordered=True)},
        {"t": pd.date_range("2020-01-01", periods=3, tz="Europe/Paris")},
        {"t": pd.date_range("2020-01-01", periods=3)},
        {"n": pd.array([1, 2, 3], dtype="Int64")},
        {"n": pd.array([1, None, 3], dtype="Int32")},
        {"b": pd.array([True, False, False], dtype="boolean")},
        {"p": pd.period_range("2020-02", periods=3, freq="M")},
        {"v": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3], closed="left")},
        {"z": pd.arrays.SparseArray([0, 1, 0])},
        {"a": pd.array([1, None, 3], dtype="int64[pyarrow]")},
        {"ps": pd.array(["a", None, "d"], dtype="string[python]")},
        {"as": pd.array(["a", None, "d"], dtype="string[pyarrow]")},
        {"extra": 1},
    ],
    ids=str,
)
def test_any_change_of_a_column_counts(changes: dict[str, Any]) -> None:
    assert fingerprint(frame(**changes)) != fingerprint(frame())


def test_labels_names_attributes_and_flags_count() -> None:
    base = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    noted, strict, named = base.copy(), base.set_flags(allows_duplicate_labels=False), base.rename_axis("n")
    noted.attrs["source"] = "x"
    relabelled = base.set_axis(pd.Index([0, 1], dtype="int32"))
    assert_all_differ(
        base, noted, strict, named, relabelled, base[["b", "a"]], base.T, base.set_axis([5, 6]), base["a"]
    )
    assert_all_differ(base["a"], base["a"].rename("c"), base["a"].rename(None), base["a"].to_numpy(), base.index)


def test_indexes_differ_by_kind_name_and_labels() -> None:
    days = pd.date_range("2020-01-01", periods=3)
    assert_all_differ(
        pd.RangeIndex(3),
        pd.Index([0, 1, 2]),
        pd.Index([0, 1, 2], dtype="int32"),
        pd.Index([0, 1, 2], name="n"),
        pd.Index([0.0, 1.0, 2.0]),
        pd.Index([0, 1, 2], dtype=object),
        days,
        pd.DatetimeIndex([*days]),
        days.tz_localize("UTC"),
        days.to_period("D"),
        pd.CategoricalIndex([0, 1, 2]),
        pd.interval_range(0, 3),
        days - days[0],
    )


def test_a_multi_index_is_its_labels_not_its_levels() -> None:
    full = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", "y"])
    part = full[:2]
    assert len(part.levels[0]) == 2
    assert fingerprint(part) == fingerprint(part.remove_unused_levels())
    assert_all_differ(full, part, full.rename(["x", "z"]), full.swaplevel())


def test_what_lies_under_a_missing_value_does_not_count() -> None:
    mask = np.array([False, True])
    one, other = (pd.arrays.IntegerArray(np.array([1, hidden]), mask) for hidden in (2, 3))
    assert fingerprint(one) == fingerprint(other)


def test_scalars_of_pandas_are_told_apart() -> None:
    moment = pd.Timestamp("2020-01-01").as_unit("ms")
    assert_all_differ(
        moment, moment.tz_localize("UTC"), moment.to_pydatetime(), moment.to_datetime64(), moment.as_unit("s"),
        moment.as_unit("ns"), pd.Timedelta(1, "s"), datetime.timedelta(seconds=1), pd.Period("2020", "Y"),
        pd.Period("2020", "M"), pd.Interval(0, 1), pd.Interval(0, 1, "both"), pd.NaT, pd.NA, None, float("nan"),
        pd.offsets.Day(1), pd.offsets.Day(2), pd.offsets.MonthEnd(1), pd.CategoricalDtype(["a"]),
        pd.CategoricalDtype(["b"]), pd.Int64Dtype(), pd.StringDtype("python"),
    )  # fmt: skip


def test_subclasses_of_frames_count_their_class_and_metadata() -> None:
    class Geo(pd.DataFrame):
        _metadata = ["geometry"]

        @property
        def _constructor(self) -> Any:
            return Geo

    one, other = Geo({"a": [1]}), Geo({"a": [1]})
    one.geometry, other.geometry = "a", "b"
    assert_all_differ(pd.DataFrame({"a": [1]}), one, other)
    assert fingerprint(one) == fingerprint(one.copy())


def test_strings_of_pyarrow_are_equal_whatever_the_width_of_their_offsets() -> None:
    one, other = (
        pd.Series(pd.arrays.ArrowStringArray(pa.chunked_array([["a", None]], kind)))
        for kind in (pa.large_string(), pa.large_string())
    )
    chunked = pd.Series(pd.arrays.ArrowStringArray(pa.chunked_array([["a"], [None]], pa.large_string())))
    assert fingerprint(one) == fingerprint(other) == fingerprint(chunked)


def test_a_value_without_content_in_a_frame_is_named() -> None:
    bad = pd.DataFrame({"a": [1], "b": [iter([])]})
    with pytest.raises(HashError, match=r"value -> \['b'\] -> \.ravel\(\) -> \[0\]: an iterator"):
        fingerprint(bad)


# --- pyarrow ---------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {
    "ints": pa.array([1, None, 3, 4]),
    "floats": pa.array([1.0, 2.0, 3.0, float("nan")]),
    "bools": pa.array([True, None, False, True]),
    "texts": pa.array(["a", None, "", "bcd"]),
    "large texts": pa.array(["a", None, "", "bcd"], pa.large_string()),
    "viewed texts": pa.array(["a", None, "", "a text that is longer than twelve"], pa.string_view()),
    "bytes": pa.array([b"a", None, b"", b"bcd"]),
    "fixed bytes": pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    "lists": pa.array([[1], None, [], [2, 3]]),
    "fixed lists": pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.int64(), 2)),
    "structs": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}, {"x": 3, "y": None}]),
    "maps": pa.array([[("k", 1)], None, [], [("l", 2)]], pa.map_(pa.string(), pa.int8())),
    "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "decimals": pa.array([1, None, 3, 4], pa.decimal128(5, 2)),
    "times": pa.array([1, None, 3, 4], pa.timestamp("us", "UTC")),
    "days": pa.array([1, None, 3, 4], pa.date32()),
    "nulls": pa.nulls(4),
    "nested": pa.array([[{"x": ["a", None]}], None, [], [{"x": None}, None]]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_slices_and_chunks_do_not_count(name: str) -> None:
    array = COLUMNS[name]
    whole = pa.chunked_array([array])
    for at in range(5):
        assert fingerprint(pa.chunked_array([array.slice(0, at), array.slice(at)])) == fingerprint(whole)
    repeated = pa.concat_arrays([array, array, array])
    assert fingerprint(repeated.slice(4, 4)) == fingerprint(array)
    assert fingerprint(pa.array(array.slice(1, 2).to_pylist(), array.type)) == fingerprint(array.slice(1, 2))


@pytest.mark.parametrize("name", COLUMNS)
def test_each_element_of_an_array_counts(name: str) -> None:
    array = COLUMNS[name]
    items, orders = array.to_pylist(), ([0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 3, 2], [0, 1, 2])
    taken = [pa.array([items[i] for i in order], array.type) for order in orders]
    if name == "nulls":
        taken = taken[2:]
    assert_all_differ(*taken)


def test_types_fields_and_metadata_of_tables_count() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    assert_all_differ(
        table,
        table.rename_columns(["a", "c"]),
        table.select(["b", "a"]),
        table.replace_schema_metadata({"k": "v"}),
        table.cast(pa.schema([pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.string())])),
        table.cast(pa.schema([("a", pa.int32()), ("b", pa.string())])),
        table.to_batches()[0],
        table.schema,
        table.column(0),
        table.column(0).chunk(0),
        table.field(0),
        pa.int64(),
        pa.scalar(1),
        pa.scalar(1, pa.int32()),
        pa.py_buffer(b"a"),
    )
    doubled = pa.concat_tables([table, table])
    assert fingerprint(doubled) == fingerprint(doubled.combine_chunks())


def test_lengths_and_texts_do_not_run_into_each_other() -> None:
    assert_all_differ(pa.array(["ab", "c"]), pa.array(["a", "bc"]), pa.array(["abc", ""]), pa.array(["abc", None]))
    assert_all_differ(pa.array([[1, 2], [3]]), pa.array([[1], [2, 3]]), pa.array([[1, 2, 3], None]))


def test_readers_are_refused() -> None:
    reader = pa.table({"a": [1]}).to_reader()
    with pytest.raises(HashError, match=r"pass read_all\(\) of it"):
        fingerprint(reader)


# --- polars ----------------------------------------------------------------------------------------


def polars_frame(**changes: Any) -> pl.DataFrame:
    columns = {
        "i": [1, None, 3],
        "f": [1.0, float("nan"), None],
        "s": ["x", None, "zz"],
        "b": [True, False, None],
        "d": [datetime.date(2020, 1, 1), None, datetime.date(2020, 1, 2)],
        "l": [[1], [], None],
        "r": [{"x": 1}, {"x": 2}, {"x": None}],
        "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])),
    }
    return pl.DataFrame({**columns, **changes})


def test_polars_frames_in_other_chunks_are_equal() -> None:
    whole = polars_frame()
    chunked = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert fingerprint(chunked) == fingerprint(whole) == fingerprint(whole.clone())
    assert fingerprint(pl.concat([whole, whole])[:3]) == fingerprint(whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"i": [1, 2, 3]},
        {"i": pl.Series([1, None, 3], dtype=pl.Int8)},
        {"s": ["x", "", "zz"]},
        {"b": [True, False, False]},
        {"l": [[1], None, []]},
        {"r": [{"x": 1}, {"x": 2}, {"x": 3}]},
        {"c": ["a", "b", "a"]},
        {"e": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a"]))},
        {"z": [1, 2, 3]},
    ],
    ids=str,
)
def test_any_change_of_a_polars_column_counts(changes: dict[str, Any]) -> None:
    assert fingerprint(polars_frame(**changes)) != fingerprint(polars_frame())


def test_polars_values_of_different_kinds_are_told_apart() -> None:
    series = pl.Series("a", [1, 2])
    assert_all_differ(series, series.rename("b"), series.to_frame(), pl.Int8(), pl.col("a"), pl.col("a") + 1)
    assert_all_differ(polars_frame(), polars_frame()[:, ::-1], polars_frame().schema)


def test_lazy_frames_are_refused_with_their_cure() -> None:
    with pytest.raises(HashError, match=r"is a plan, not its data; pass collect\(\) of it"):
        fingerprint(polars_frame().lazy())
