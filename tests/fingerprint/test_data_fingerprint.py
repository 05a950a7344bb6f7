"""The fingerprint that is kept with a value is that of the value that is loaded."""

from __future__ import annotations

import collections
import functools
import math
import os
import threading
from collections.abc import Callable

import fingerprint_samples
import pytest
from fingerprint_samples import Plain, Point, add, adder

from kept.fingerprint import data_fingerprint, fingerprint

SAMPLES = fingerprint_samples.samples()
CODE = {"function", "closure", "partial", "method", "class"}


class Adds:
    def __init__(self, function: object) -> None:
        self.function = function


class MadeByAFunction:
    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _make, ()


class KnownByName:
    def __reduce__(self) -> str:
        return "ONLY"


ONLY = KnownByName()


def _make() -> MadeByAFunction:
    return MadeByAFunction()


@pytest.mark.parametrize("name", SAMPLES)
def test_data_has_its_fingerprint_and_code_has_none(name: str) -> None:
    value = SAMPLES[name]()
    assert data_fingerprint(value) == (None if name in CODE else fingerprint(value))


HOLDS_CODE: dict[str, Callable[[], object]] = {
    "in a list": lambda: [1, {"a": [add]}],
    "in many": lambda: [*range(5000), add],
    "as a key": lambda: {add: 1},
    "as an element": lambda: {add},
    "in an attribute": lambda: Adds(add),
    "in a closure of a library": lambda: functools.cmp_to_key(add),
    "a factory": lambda: collections.defaultdict(adder(1)),
    "a partial": lambda: functools.partial(max, key=add),
    "a wrapper": lambda: functools.lru_cache(add),
    "a bound method": lambda: Adds(1).__init__,
    "a class": lambda: Point,
    "the type of something": lambda: (1, type(Plain())),
    "a type expression": lambda: list[Point],
    "a module": lambda: fingerprint_samples,
    "a function of a library": lambda: pytest.fixture,
    "a class of a library": lambda: pytest.Item,
    "a module of a library": lambda: pytest,
    "what is made by a function": MadeByAFunction,
    "what is known by name": lambda: ONLY,
    "code": lambda: add.__code__,
    "a slot": lambda: fingerprint_samples.Slotted.a,
}
WITHOUT_CONTENT: dict[str, Callable[[], object]] = {
    "a lock": threading.Lock,
    "a lock inside": lambda: {"a": [threading.Lock()]},
    "a generator": lambda: (x for x in ()),
}


@pytest.mark.parametrize("name", HOLDS_CODE)
def test_what_holds_code_has_none(name: str) -> None:
    assert data_fingerprint(HOLDS_CODE[name]()) is None


@pytest.mark.parametrize("name", WITHOUT_CONTENT)
def test_what_has_no_stable_content_has_none(name: str) -> None:
    assert data_fingerprint(WITHOUT_CONTENT[name]()) is None


@pytest.mark.parametrize("value", [len, math.sqrt, os.path.join, int, collections.OrderedDict, os, str.upper, [1].pop])
def test_what_comes_with_python_counts_by_name_and_stays(value: object) -> None:
    assert data_fingerprint([value]) == fingerprint([value])
