"""Values whose digests are pinned in `golden.json`, each made anew when asked for.

python tests/fingerprint/fingerprint_samples.py           prints their digests as JSON
python tests/fingerprint/fingerprint_samples.py --write   pins them: every user's cache is empty after that
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import functools
import importlib.util
import ipaddress
import json
import operator
import pathlib
import random
import re
import sys
import types
import uuid
import weakref
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GOLDEN = pathlib.Path(__file__).with_name("golden.json")


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: int
    right: str


@dataclass
class Point:
    x: int
    y: float = 2.0
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Slotted:
    __slots__ = ("a", "b")
    a: int
    b: tuple[int, ...]


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Params(dict):  # type: ignore[type-arg]
    pass


class Name(str):
    __slots__ = ()


def add(x: int, y: int = 2) -> int:
    """Add."""
    return x + y  # plainly


def adder(n: int) -> Callable[[int], int]:
    return lambda x: x + n


def ring() -> Plain:
    a, b = Plain(name="a"), Plain(name="b")
    a.next, b.next = b, a
    return a


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


_UTC = datetime.timezone.utc
_BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
_TEN = datetime.timedelta(hours=5, minutes=45)

BUILTINS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "true": lambda: True,
    "one": lambda: 1,
    "minus one": lambda: -1,
    "large int": lambda: 1 << 200,
    "float": lambda: 1.5,
    "minus zero": lambda: -0.0,
    "nan": lambda: float("nan"),
    "complex": lambda: 1 - 2j,
    "text": lambda: "na\u00efve \U0001f600",
    "lone surrogate": lambda: "\ud800",
    "bytes": lambda: b"\x00\xff",
    "ellipsis": lambda: ...,
    "list": lambda: [1, "a", None, 2.0],
    "tuple": lambda: (1, "a", (2, ())),
    "dict of texts": lambda: {"b": 1, "a": [1, {"c": 2}]},
    "dict of any keys": lambda: {2: "int", "2": "str", 2.5: "float", (1, 2): "tuple", None: "none"},
    "set": lambda: {3, 1, 2},
    "set of any": lambda: {3, "a", (1, 2), None, frozenset({1})},
    "frozenset": lambda: frozenset("abc"),
    "long text": lambda: "x" * 100_000,
    "long bytes": lambda: b"x" * 100_000,
    "many": lambda: list(range(300_000)),
    "many rows": lambda: [{"id": i, "name": str(i)} for i in range(100_000)],
    "deep": lambda: nested(40),
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abc"),
    "range": lambda: range(1, 10, 2),
    "slice": lambda: slice(1, None, 2),
    "not implemented": lambda: NotImplemented,
    "namespace": lambda: types.SimpleNamespace(a=1, b=[2]),
    "mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "dict keys": lambda: {"a": 1, "b": 2}.keys(),
    "mixed": lambda: [1, decimal.Decimal("1.50"), {"when": datetime.date(2020, 1, 2), "n": 1}],
    "mixed set": lambda: {1, decimal.Decimal("2.5"), datetime.date(2020, 1, 2)},
    "mixed keys": lambda: {decimal.Decimal("1"): 1, datetime.date(2020, 1, 2): 2},
}
STDLIB: dict[str, Callable[[], object]] = {
    "date": lambda: datetime.date(2020, 2, 29),
    "naive datetime": lambda: datetime.datetime(2020, 2, 29, 1, 2, 3, 4),
    "utc datetime": lambda: datetime.datetime(2020, 2, 29, tzinfo=_UTC),
    "zoned datetime": lambda: datetime.datetime(2020, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1),
    "time": lambda: datetime.time(1, 2, 3),
    "timedelta": lambda: datetime.timedelta(days=-1, seconds=5, microseconds=7),
    "timezone": lambda: datetime.timezone(_TEN, "NPT"),
    "zone": lambda: _BERLIN,
    "decimal": lambda: decimal.Decimal("-1.50"),
    "decimal infinity": lambda: decimal.Decimal("Infinity"),
    "fraction": lambda: fractions.Fraction(3, 7),
    "uuid": lambda: uuid.UUID(int=5),
    "path": lambda: pathlib.PurePosixPath("/a/b"),
    "windows path": lambda: pathlib.PureWindowsPath("c:/a/b"),
    "deque": lambda: collections.deque([1, 2], maxlen=5),
    "ordered dict": lambda: collections.OrderedDict(b=1, a=2),
    "default dict": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("abca"),
    "chain map": lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    "array": lambda: array.array("d", [1.0, 2.0]),
    "pattern": lambda: re.compile(r"a+", re.I),
    "address": lambda: ipaddress.ip_address("10.0.0.1"),
    "network": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "random": lambda: random.Random(1),
    "item getter": lambda: operator.itemgetter(1, 2),
    "exception": lambda: ValueError("no", 1),
}
OBJECTS: dict[str, Callable[[], object]] = {
    "enum member": lambda: Colour.GREEN,
    "flags": lambda: Permission.READ | Permission.WRITE,
    "named tuple": lambda: Pair(1, "a"),
    "dataclass": lambda: Point(1, note="n"),
    "slotted dataclass": lambda: Slotted(1, (2, 3)),
    "plain object": lambda: Plain(a=1, b=[Plain()]),
    "subclass of dict": lambda: Params(a=1),
    "subclass of str": lambda: Name("a"),
    "ring": ring,
    "weak reference": lambda: weakref.ref(Colour.RED),
    "function": lambda: add,
    "closure": lambda: adder(3),
    "partial": lambda: functools.partial(add, 1, y=3),
    "method": lambda: Plain(a=1).__init__,
    "class": lambda: Plain,
    "builtin function": lambda: len,
    "library class": lambda: collections.OrderedDict,
    "generic": lambda: dict[str, list[int]],
    "union": lambda: int | str,
    "library module": lambda: functools,
}


def numpy_samples() -> dict[str, Callable[[], object]]:
    import numpy as np

    record = np.dtype([("a", "<i4"), ("b", "<f8")])
    return {
        "numpy array": lambda: np.arange(6.0).reshape(2, 3),
        "numpy scalar": lambda: np.int64(3),
        "numpy bool": lambda: np.bool_(True),
        "numpy texts": lambda: np.array(["a", "bcd"]),
        "numpy dates": lambda: np.array(["2020-01-01", "NaT"], "M8[s]"),
        "numpy objects": lambda: np.array([1, "a", None], object),
        "numpy records": lambda: np.array([(1, 2.0)], record),
        "numpy masked": lambda: np.ma.array([1, 2], mask=[False, True], fill_value=9),
        "numpy dtype": lambda: np.dtype("<i4"),
    }


def pandas_samples() -> dict[str, Callable[[], object]]:
    import numpy as np
    import pandas as pd

    days = pd.DatetimeIndex(["2020-01-01", "2020-01-02"], dtype="datetime64[ns, UTC]")
    names = pd.Index(["a", "b"], dtype=object)
    return {
        "pandas frame": lambda: pd.DataFrame(np.arange(4.0).reshape(2, 2), columns=names),
        "pandas series": lambda: pd.Series([1, 2], name="s", dtype="int64"),
        "pandas objects": lambda: pd.Series(["a", None], dtype=object),
        "pandas times": lambda: pd.Series(days),
        "pandas index": lambda: days,
        "pandas multi index": lambda: pd.MultiIndex.from_arrays([names, days]),
        "pandas categorical": lambda: pd.Categorical(["b", "a"], categories=names, ordered=True),
        "pandas nullable": lambda: pd.array([1, None], dtype="Int64"),
        "pandas period": lambda: pd.Period("2020-01", "M"),
        "pandas timestamp": lambda: pd.Timestamp("2020-01-01", tz="UTC").as_unit("ns"),
        "pandas missing": lambda: [pd.NaT, pd.NA],
    }


def arrow_samples() -> dict[str, Callable[[], object]]:
    import pyarrow as pa

    return {
        "arrow ints": lambda: pa.array([1, None, 3]),
        "arrow texts": lambda: pa.array(["a", None, "bcd"]),
        "arrow lists": lambda: pa.array([[1], None, [2, 3]]),
        "arrow table": lambda: pa.table({"a": [1, 2], "b": ["x", "y"]}),
        "arrow type": lambda: pa.list_(pa.int8()),
    }


def polars_samples() -> dict[str, Callable[[], object]]:
    import polars as pl

    return {
        "polars frame": lambda: pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
        "polars series": lambda: pl.Series("s", [1.5, 2.5]),
        "polars dtype": lambda: pl.Datetime("us"),
    }


_LIBRARIES = {
    "numpy": numpy_samples,
    "pandas": pandas_samples,
    "pyarrow": arrow_samples,
    "polars": polars_samples,
}


def samples() -> dict[str, Callable[[], object]]:
    """Return all samples that can be made with the libraries at hand."""
    found = {**BUILTINS, **STDLIB, **OBJECTS}
    for library, more in _LIBRARIES.items():
        if importlib.util.find_spec(library):
            found.update(more())
    return found


def digests() -> dict[str, str]:
    from kept.fingerprint import fingerprint

    return {name: fingerprint(make()) for name, make in samples().items()}


if __name__ == "__main__":
    # Under its own name, so that classes have the module that they have in tests.
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import fingerprint_samples

    shown = json.dumps(fingerprint_samples.digests(), indent=1)
    if "--write" in sys.argv:
        GOLDEN.write_text(shown + "\n")
    else:
        print(shown)
