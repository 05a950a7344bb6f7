"""Code as a value: what it says counts, how it is written down does not."""

from __future__ import annotations

import functools
import math
import operator
import sys
import textwrap
import threading
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fingerprint_samples import add, adder

from kept.fingerprint import fingerprint


@pytest.fixture
def define(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return a function that imports some source as a module of one fixed name."""

    def load(source: str) -> Any:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        path.write_text(textwrap.dedent(source))
        module = types.ModuleType("defined_by_a_test")
        module.__file__ = str(path)
        sys.modules["defined_by_a_test"] = module
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
        return module

    request.addfinalizer(lambda: sys.modules.pop("defined_by_a_test", None))
    return load


ORIGINAL = """
def f(x, y=1):
    return x + y * 2
"""
SAME = [
    ORIGINAL + "\n\ndef other(): pass\n",
    "\n\n# moved\n" + ORIGINAL,
    'def f(x, y=1):\n    "A docstring."\n    # a comment\n    return (x\n        + y*2)\n',
    "def f(x: int, y: float = 1) -> float:\n    return x + y * 2\n",
]
DIFFERENT = [
    "def f(x, y=1):\n    return x + y * 3\n",
    "def f(x, y=2):\n    return x + y * 2\n",
    "def f(x, z=1):\n    return x + z * 2\n",
    "def f(x, *, y=1):\n    return x + y * 2\n",
    "def f(x, y=1):\n    return x + y * 2.0\n",
    "def f(x, y=1):\n    return x - y * 2\n",
    "async def f(x, y=1):\n    return x + y * 2\n",
    "def g(x, y=1):\n    return x + y * 2\n\nf = g\n",
    "f = lambda x, y=1: x + y * 2\n",
]


@pytest.mark.parametrize("source", SAME)
def test_comments_docstrings_annotations_and_places_do_not_count(define: Any, source: str) -> None:
    assert fingerprint(define(source).f) == fingerprint(define(ORIGINAL).f)


@pytest.mark.parametrize("source", DIFFERENT)
def test_whatever_a_function_says_counts(define: Any, source: str) -> None:
    assert fingerprint(define(source).f) != fingerprint(define(ORIGINAL).f)


def test_functions_differ_by_what_they_close_over() -> None:
    assert fingerprint(adder(1)) == fingerprint(adder(1)) != fingerprint(adder(2))


def test_a_function_that_closes_over_itself_ends() -> None:
    def outer() -> Callable[[int], int]:
        def factorial(n: int) -> int:
            return n * factorial(n - 1) if n else 1

        return factorial

    assert fingerprint(outer()) == fingerprint(outer())


def test_lambdas_on_lines_of_their_own_are_told_apart() -> None:
    one = lambda x: x + 1  # noqa: E731
    other = lambda x: x + 2  # noqa: E731
    assert fingerprint(one) != fingerprint(other)


def test_lambdas_on_one_line_are_told_apart() -> None:
    one, other = (lambda x: x + 1), (lambda x: x + 2)
    assert fingerprint(one) != fingerprint(other)


def test_functions_without_source_are_told_apart_by_their_bytecode() -> None:
    def made(source: str) -> Any:
        space: dict[str, Any] = {"__name__": "nowhere"}
        exec(source, space)
        return space["f"]

    assert fingerprint(made("def f(): return 1")) == fingerprint(made("def f(): return 1"))
    assert fingerprint(made("def f(): return 1")) != fingerprint(made("def f(): return 2"))
    assert fingerprint(made("def f(): return g()")) != fingerprint(made("def f(): return h()"))


def test_partials_methods_and_wrappers_count_all_their_parts() -> None:
    values: list[object] = [
        add, functools.partial(add, 1), functools.partial(add, 2), functools.partial(add, y=1),
        functools.lru_cache(add), functools.lru_cache(8)(add), [1].append, [2].append, [1].pop, len, math.sqrt,
        str.upper, "a".upper, "b".upper, operator.itemgetter(1), operator.itemgetter(2), operator.attrgetter("a"),
        operator.methodcaller("f", 1), operator.methodcaller("f", 2), operator.methodcaller("f", a=1),
        staticmethod(add), classmethod(add), property(add),
    ]  # fmt: skip
    assert len({fingerprint(value) for value in values}) == len(values)


def test_the_attributes_of_a_function_count(define: Any) -> None:
    one, other = define(ORIGINAL).f, define(ORIGINAL).f
    before = fingerprint(one)
    one.rate, other.rate = 1, 2
    assert len({before, fingerprint(one), fingerprint(other)}) == 3
    other.rate = 1
    assert fingerprint(one) == fingerprint(other)
    one.lock = threading.Lock()
    assert fingerprint(one) == fingerprint(other)


def test_methods_of_different_objects_differ() -> None:
    class Scaler:
        def __init__(self, by: int) -> None:
            self.by = by

        def scale(self, x: int) -> int:
            return x * self.by

    assert fingerprint(Scaler(1).scale) == fingerprint(Scaler(1).scale) != fingerprint(Scaler(2).scale)
    assert fingerprint(Scaler(1).scale) != fingerprint(Scaler.scale)


CLASS = "class C:\n    RATE = 2\n    def f(self):\n        return 1\n"


def test_classes_of_the_user_are_their_source(define: Any) -> None:
    original = fingerprint(define(CLASS).C)
    assert fingerprint(define("# moved\n\n" + CLASS).C) == original
    assert fingerprint(define(CLASS.replace("class C:", 'class C:\n    "Doc."')).C) == original
    for change in (("RATE = 2", "RATE = 3"), ("return 1", "return 2"), ("class C:", "class C(dict):")):
        assert fingerprint(define(CLASS.replace(*change)).C) != original


def test_the_classes_that_a_class_inherits_from_count(define: Any) -> None:
    source = "class B:\n    X = 1\n\nclass C(B):\n    pass\n"
    assert fingerprint(define(source).C) != fingerprint(define(source.replace("X = 1", "X = 2")).C)


def test_what_the_methods_of_a_class_reach_counts(define: Any) -> None:
    source = "RATE = 1\ndef helper(): return RATE\nclass C:\n    def f(self): return helper()\n"
    for change in (("RATE = 1", "RATE = 2"), ("return RATE", "return -RATE")):
        assert fingerprint(define(source.replace(*change)).C) != fingerprint(define(source).C)


def test_what_a_class_computes_from_its_module_counts(define: Any) -> None:
    source = "RATE = 1\nclass C:\n    TWICE = 2 * RATE\n"
    assert fingerprint(define(source.replace("RATE = 1", "RATE = 2")).C) != fingerprint(define(source).C)


def test_what_the_methods_of_a_class_add_to_its_list_does_not_count(define: Any) -> None:
    made = define("class C:\n    seen = []\n    def note(self, x):\n        self.seen.append(x)\n").C
    before = fingerprint(made)
    made().note(1)
    assert fingerprint(made) == before


def test_what_is_put_into_a_list_of_a_class_counts(define: Any) -> None:
    made = define("class C:\n    rates = [1]\n    def rate(self):\n        return self.rates[0]\n").C
    before = fingerprint(made)
    made.rates[0] = 2
    assert fingerprint(made) != before


LOCAL_CLASSES = {
    "a method": "class C:\n    def f(self): return n",
    "a static method": "class C:\n    @staticmethod\n    def f(): return n",
    "a property": "class C:\n    @property\n    def f(self): return n",
    "a constant": "class C:\n    RATE = n",
    "a list": "class C:\n    RATES = [n]",
    "an object": "class C:\n    RATE = Fraction(n)",
    "a class inside": "class C:\n    class D:\n        RATE = n",
    "a method inside": "class C:\n    class D:\n        def f(self): return n",
    "a base": "class B:\n    RATE = n\n\nclass C(B): pass",
    "a dataclass": "@dataclass\nclass C:\n    x: int = n",
    "a dataclass without defaults": "@dataclass\nclass C:\n    x: int\n    def f(self): return n",
    "a named tuple": "class C(NamedTuple):\n    x: int\n    def f(self): return n",
    "an enum": "class C(Enum):\n    ONE = n",
    "a model": "class C(BaseModel):\n    x: int\n    def f(self): return n",
    "a slotted class": "class C:\n    __slots__ = ('a',)\n    def __call__(self): return n",
}
IMPORTS = """
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import NamedTuple
from pydantic import BaseModel
"""


@pytest.mark.parametrize("name", LOCAL_CLASSES)
def test_classes_in_functions_differ_by_what_they_close_over(define: Any, name: str) -> None:
    body = textwrap.indent(LOCAL_CLASSES[name], "    ")
    make = define(f"{IMPORTS}\ndef make(n):\n{body}\n    return C\n").make
    assert fingerprint(make(1)) == fingerprint(make(1)) != fingerprint(make(2))


def test_the_code_of_its_class_is_no_part_of_an_object(define: Any) -> None:
    assert fingerprint(define(CLASS).C()) == fingerprint(define(CLASS.replace("return 1", "return 2")).C())


def test_modules_of_the_user_are_their_source(define: Any) -> None:
    assert fingerprint(define("A = 1")) == fingerprint(define("A = 1  # the same")) != fingerprint(define("A = 2"))


def test_type_expressions_are_told_apart() -> None:
    old = vars(typing)
    values: list[object] = [
        int, list, list[int], list[str], dict[str, int], tuple[int, ...], int | None, int | str, typing.Any,
        old["List"][int], old["Optional"][int], old["Union"][int, str], typing.Literal[1], typing.Literal["1"],
        typing.Callable[[int], str], typing.Callable[[str], str], typing.TypeVar("T"), typing.TypeVar("S"),
        typing.Annotated[int, "a"], typing.Annotated[int, "b"], typing.ClassVar[int], typing.ForwardRef("X"),
    ]  # fmt: skip
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(int | str) == fingerprint(str | int)


def _in_a_module(text: str) -> Any:
    names: dict[str, Any] = {"__name__": "users_module"}
    exec(compile(text, "<users_module>", "exec"), names)
    return names["step"]


@pytest.mark.parametrize("changed", ["RATE = 3", "def helper(x): return x - RATE", "class Unit: size = 2"])
def test_a_function_counts_with_what_it_names_in_its_module(changed: str) -> None:
    text = "RATE = 2\ndef helper(x): return x * RATE\nclass Unit: size = 1\ndef step(x): return helper(x) * Unit.size\n"
    same, other = _in_a_module(text), _in_a_module(text + changed)
    assert fingerprint(same) == fingerprint(_in_a_module(text + "UNUSED = 1\ndef unrelated(): ..."))
    assert fingerprint(same) != fingerprint(other)


def test_functions_that_name_each_other_end() -> None:
    even = "def even(x): return x == 0 or odd(x - 1)\ndef odd(x): return x != 0 and even(x - 1)\nstep = even"
    assert fingerprint(_in_a_module(even)) == fingerprint(_in_a_module(even))


def test_what_a_function_names_without_stable_content_is_no_error() -> None:
    fingerprint(_in_a_module("import threading\nLOCK = threading.Lock()\ndef step():\n    with LOCK: return 1"))
