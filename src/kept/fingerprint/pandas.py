"""Rules for pandas 2 and 3: labels, dtypes, values, attrs; never how the blocks lie.

The levels of a MultiIndex count by the labels that they give. Missing values count by kind: None, NaN, NaT
and NA differ. The storage of strings (python, pyarrow) is a part of their dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from kept.fingerprint.canonical import Node

Rule = Callable[[Any], Node]


def rule_for(kind: type) -> Rule | None:
    """Return the rule that is written for this type of pandas and its subclasses."""
    for base, rule in _RULES.items():
        if issubclass(kind, base):
            return rule
    return None


def _class_of(value: Any, base: type) -> str:
    """Return the name of a subclass; the modules of pandas' own classes change between versions."""
    kind = type(value)
    own = kind.__module__.partition(".")[0] == "pandas"
    return kind.__name__ if own else f"{base.__name__}/{kind.__module__}:{kind.__qualname__}"


def _metadata(value: Any) -> dict[str, object]:
    """Return what a subclass keeps through operations, e.g. the geometry column of a geographic frame."""
    return {name: getattr(value, name, None) for name in value._metadata if name not in ("_name", "name")}


def _frame(value: Any) -> Node:
    columns = [column.array for _, column in value.items()]
    labels = value.columns
    header = (_class_of(value, pd.DataFrame), value.flags.allows_duplicate_labels, value.shape)
    children = (labels, value.index, value.attrs, _metadata(value), *map(_values, columns))
    return Node("pandas.DataFrame", header, children, lambda i: _frame_step(labels, i))


def _frame_step(labels: Any, index: int) -> str:
    parts = (".columns", ".index", ".attrs", "._metadata")
    return parts[index] if index < len(parts) else f"[{labels[index - len(parts)]!r}]"


def _series(value: Any) -> Node:
    header = (_class_of(value, pd.Series), value.flags.allows_duplicate_labels)
    children = (value.name, value.index, value.attrs, _metadata(value), _values(value.array))
    return Node("pandas.Series", header, children, (".name", ".index", ".attrs", "._metadata", "").__getitem__)


def _values(array: Any) -> Any:
    """Return the numpy array in pandas' wrapper of one, any other extension array as it is."""
    return array.to_numpy() if type(array).__name__ in ("NumpyExtensionArray", "PandasArray") else array


# --- indexes ---------------------------------------------------------------------------------------


def _index(value: Any) -> Node:
    header = (_class_of(value, pd.Index), getattr(value, "freqstr", None))
    return Node("pandas.Index", header, (value.name, _values(value.array)), (".name", "").__getitem__)


def _range_index(value: Any) -> Node:
    content = range(value.start, value.stop, value.step)
    return Node("pandas.RangeIndex", None, (value.name, content), (".name", "").__getitem__)


def _multi_index(value: Any) -> Node:
    levels = [value.get_level_values(i) for i in range(value.nlevels)]
    return Node("pandas.MultiIndex", None, (list(value.names), *levels), lambda i: f".levels[{i - 1}]")


# --- extension arrays ------------------------------------------------------------------------------


def _extension_array(value: Any) -> Node:
    """Describe an array of a kind that is not known here, element by element."""
    return _array_node(value, np.asarray(value, dtype=object))


def _array_node(value: Any, *children: object) -> Node:
    return Node("pandas.array", (type(value).__name__, str(value.dtype)), children, lambda _: "")


def _numpy_array(value: Any) -> Node:
    return _array_node(value, value.to_numpy())


def _categorical(value: Any) -> Node:
    node = _array_node(value, value.codes, value.categories)
    return node._replace(header=(bool(value.ordered), len(value)), tag="pandas.Categorical")


def _datetime_like(value: Any) -> Node:
    return _array_node(value, value.asi8)


def _interval(value: Any) -> Node:
    return _array_node(value, value.left, value.right, value.closed)


def _sparse(value: Any) -> Node:
    return _array_node(value, value.sp_values, value.sp_index.to_int_index().indices, value.fill_value, len(value))


def _masked(value: Any) -> Node:
    """Describe a nullable array as its values, zero where they are missing, and where that is."""
    missing = value.isna()
    empty = np.zeros((), value.dtype.numpy_dtype)[()]
    if missing.any():
        return _array_node(value, value.to_numpy(dtype=value.dtype.numpy_dtype, na_value=empty), missing)
    return _array_node(value, value.to_numpy(dtype=value.dtype.numpy_dtype))


def _string(value: Any) -> Node:
    content = value.__arrow_array__() if value.dtype.storage == "pyarrow" else np.asarray(value, dtype=object)
    return _string_node(value, content)


def _string_node(value: Any, content: Any) -> Node:
    """Describe strings; pyarrow's two widths of offsets are one dtype to pandas."""
    header = (value.dtype.storage, repr(getattr(value.dtype, "na_value", pd.NA)))
    if value.dtype.storage == "pyarrow":
        content = content.cast("large_string")
    return Node("pandas.strings", header, (content,), lambda _: "")


def _arrow(value: Any) -> Node:
    return _array_node(value, value.__arrow_array__())


# --- scalars and dtypes ----------------------------------------------------------------------------


def _timestamp(value: Any) -> Node:
    return Node("pandas.Timestamp", value.fold, (value.asm8, value.tzinfo), ("", ".tzinfo").__getitem__)


def _timedelta(value: Any) -> Node:
    return Node("pandas.Timedelta", None, (value.asm8,), lambda _: "")


def _period(value: Any) -> Node:
    return Node("pandas.Period", (value.ordinal, value.freqstr))


def _interval_scalar(value: Any) -> Node:
    return Node("pandas.Interval", value.closed, (value.left, value.right), (".left", ".right").__getitem__)


def _offset(value: Any) -> Node:
    return Node("pandas.offset", (type(value).__name__, value.n, value.normalize), (value.kwds,), lambda _: "")


def _dtype(value: Any) -> Node:
    categories = (value.categories, value.ordered) if isinstance(value, pd.CategoricalDtype) else ()
    return Node("pandas.dtype", (type(value).__name__, str(value)), categories, lambda _: ".categories")


def _missing(value: Any) -> Node:
    return Node("pandas.missing", repr(value))


# Subclasses come before what they inherit from.
_RULES: dict[type, Rule] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.RangeIndex: _range_index,
    pd.MultiIndex: _multi_index,
    pd.Index: _index,
    pd.Categorical: _categorical,
    pd.arrays.DatetimeArray: _datetime_like,
    pd.arrays.TimedeltaArray: _datetime_like,
    pd.arrays.PeriodArray: _datetime_like,
    pd.arrays.IntervalArray: _interval,
    pd.arrays.SparseArray: _sparse,
    pd.arrays.BooleanArray: _masked,
    pd.arrays.IntegerArray: _masked,
    pd.arrays.FloatingArray: _masked,
    pd.arrays.StringArray: _string,
    pd.arrays.ArrowStringArray: _string,
    pd.arrays.ArrowExtensionArray: _arrow,
    pd.arrays.NumpyExtensionArray: _numpy_array,
    pd.api.extensions.ExtensionArray: _extension_array,
    pd.Timestamp: _timestamp,
    pd.Timedelta: _timedelta,
    pd.Period: _period,
    pd.Interval: _interval_scalar,
    pd.offsets.BaseOffset: _offset,
    pd.api.extensions.ExtensionDtype: _dtype,
    type(pd.NaT): _missing,
    type(pd.NA): _missing,
}
