"""Rules for polars, through Arrow: a column is its name, its dtype and its values, in whatever chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from kept.fingerprint.builtins import no_content
from kept.fingerprint.canonical import NoContent, Node

Rule = Callable[[Any], Node]


def rule_for(kind: type) -> Rule | None:
    """Return the rule that is written for this type of polars."""
    return _data_type if issubclass(kind, pl.DataType) else _RULES.get(kind)


def _frame(value: pl.DataFrame) -> Node:
    names = value.columns
    return Node("polars.DataFrame", value.height, value.get_columns(), lambda i: f"[{names[i]!r}]")


def _series(value: pl.Series) -> Node:
    header = (value.name, repr(value.dtype), len(value))
    if value.dtype == pl.Object:
        return Node("polars.Series", header, (value.to_list(),), lambda _: "")
    try:
        return Node("polars.Series", header, (value.to_arrow(),), lambda _: "")
    except ImportError as error:
        raise NoContent("a polars column is read through pyarrow, which is not installed") from error


def _expression(value: pl.Expr) -> Node:
    return Node("polars.Expr", value.meta.serialize())


def _data_type(value: pl.DataType) -> Node:
    return Node("polars.DataType", repr(value))


_RULES: dict[type, Rule] = {
    pl.DataFrame: _frame,
    pl.Series: _series,
    pl.Expr: _expression,
    pl.Schema: lambda value: Node("polars.Schema", [(name, repr(kind)) for name, kind in value.items()]),
    # Its plan names files, not what is in them.
    pl.LazyFrame: no_content("a lazy frame", "is a plan, not its data; pass collect() of it"),
}
