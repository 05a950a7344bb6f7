"""What is told of the code that a function reaches; which edits change its identity is for tests/invalidation."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from kept.fingerprint import classes_among, code_identity

ETL = """
import threading
import numpy as np
import cfg

LOCK = threading.Lock()

class Price:
    def net(self):
        return helper(1)

def helper(x):
    return x * cfg.RATE

def step(x):
    "What it does."
    with LOCK:
        return np.mean([Price().net(), x])
"""


@pytest.fixture
def etl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "cfg.py").write_text("RATE = 3\n")
    (tmp_path / "etl.py").write_text(ETL)
    monkeypatch.syspath_prepend(str(tmp_path))
    import etl

    yield etl
    for name in ("etl", "cfg"):
        sys.modules.pop(name, None)


def test_parts_say_what_is_reached_where_it_is_and_what_it_reaches_itself(etl: Any) -> None:
    identity = code_identity(etl.step)
    parts = {part.name: part for part in identity.parts}
    assert identity.parts[0].name == "etl.step"
    assert set(parts) == {"etl.step", "etl.LOCK", "etl.Price", "etl.helper", "cfg.RATE"}
    assert {name: part.kind for name, part in parts.items()} == {
        "etl.step": "function",
        "etl.LOCK": "definition",
        "etl.Price": "class",
        "etl.helper": "function",
        "cfg.RATE": "constant",
    }
    assert parts["etl.helper"].where == "etl.py:12"
    assert parts["etl.helper"].text == "def helper(x):\n    return x * cfg.RATE"
    assert parts["etl.helper"].reaches == ("cfg.RATE",)
    assert parts["cfg.RATE"].text == "3"


def test_distributions_are_those_that_are_reached_with_their_versions(etl: Any) -> None:
    identity = code_identity(etl.step)
    assert identity.distributions == {"numpy": np.__version__}
    assert identity.key_parts == {"code": identity.digest, "dist.numpy": np.__version__}
    assert code_identity(etl.helper).distributions == {}


def test_a_part_has_the_same_digest_as_long_as_it_is_the_same_itself(etl: Any) -> None:
    before = {part.name: part.digest for part in code_identity(etl.step).parts}
    sys.modules["cfg"].RATE = 4
    after = {part.name: part.digest for part in code_identity(etl.step).parts}
    assert [name for name in before if before[name] != after[name]] == ["cfg.RATE"]


def test_what_was_found_out_is_remembered_until_a_name_means_something_else(etl: Any) -> None:
    first = code_identity(etl.step)
    assert code_identity(etl.step) is first
    etl.unrelated = 1
    assert code_identity(etl.step) is first
    etl.helper = lambda x: x
    assert code_identity(etl.step).digest != first.digest


def test_what_has_no_source_is_told_by_its_bytecode() -> None:
    def made(text: str) -> Callable[[], Any]:
        space: dict[str, Any] = {"__name__": "nowhere"}
        exec(text, space)
        return space["f"]  # type: ignore[no-any-return]

    one, two = made("def f(): return 1"), made("def f():\n    'Doc.'\n    return 2")
    assert code_identity(one).digest == code_identity(made("def f():\n    # one\n    return 1")).digest
    assert code_identity(one).digest != code_identity(two).digest
    assert code_identity(one).parts[0].where == "<string>:1, bytecode: no source"


def test_what_can_not_be_known_is_named_and_raises_nothing() -> None:
    class Hostile:
        @property
        def __class__(self) -> Any:
            raise RuntimeError

        @property
        def __dict__(self) -> Any:
            raise RuntimeError

    hostile, lock, mock = Hostile(), threading.Lock(), MagicMock()
    deep: list[Any] = []
    for _ in range(2_000):
        deep = [deep]

    def step() -> Any:
        return hostile, lock, mock, deep

    assert "test_code_identity.lock" in code_identity(step).unknown
    assert code_identity(step) is code_identity(step)


def test_code_that_reaches_itself_ends_and_costs_no_more_with_each_link() -> None:
    @lru_cache
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    links: list[Any] = [fib]
    for _ in range(60):
        links.append(partial(lambda f, x: f(x), links[-1]))
    assert code_identity(links[-1].func).digest
    table = {"fib": fib, "all": links}

    def step() -> Any:
        return table["all"][-1](3)

    assert code_identity(step) is code_identity(step)


def test_threads_that_ask_at_once_are_told_the_same(etl: Any) -> None:
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.append(code_identity(etl.step).digest)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 8 and len(set(told)) == 1


class Item:
    pass


class Box:
    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def open(self) -> Any:
        return self.item


@pytest.mark.parametrize(
    "value",
    [
        Item(),
        [1, (Item(),)],
        {"a": {Item()}},
        deque([Item()]),
        partial(print, Item()),
        types.SimpleNamespace(item=Item()),
        types.MappingProxyType({"a": Item()}),
        np.array([Item()], dtype=object),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_found_in_whatever_holds_them(value: Any) -> None:
    assert classes_among([value]) == [Item]


def test_objects_are_found_in_slots_and_behind_methods() -> None:
    assert classes_among([Box(Item())]) == [Box, Item]
    assert classes_among([Box(Item()).open]) == [Box, Item]


def test_plain_values_and_what_libraries_define_hold_no_classes_of_the_user() -> None:
    assert classes_among([1, "a", [1.0, {"a": None}], np.zeros(3), time.gmtime(0), Path("a"), print]) == []
