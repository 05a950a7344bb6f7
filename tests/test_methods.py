"""Methods, class methods and static methods as tasks and flows."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pytest

from kept import Flow, Task, flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import ParameterBindError
from kept.states import State

ran: list[Any] = []


class Shop:
    """A class with a method of each kind."""

    def __init__(self, price: int) -> None:
        self.price = price

    @task
    def cost(self, count: int) -> int:
        return self.price * count

    @classmethod
    @task
    def above(cls, count: int) -> tuple[str, int]:
        return cls.__name__, count

    @task
    @classmethod
    def below(cls, count: int) -> tuple[str, int]:
        return cls.__name__, count

    @staticmethod
    @task
    def static_above(count: int) -> int:
        return count

    @task
    @staticmethod
    def static_below(count: int) -> int:
        return count

    @task
    async def slowly(self, count: int) -> int:
        return self.price * count

    @task(cache_policy=INPUTS)
    def kept_cost(self, count: int) -> int:
        ran.append((self.price, count))
        return self.price * count

    @task(cache_policy=INPUTS)
    @classmethod
    def kept_name(cls, count: int) -> str:
        ran.append((cls.__name__, count))
        return cls.__name__ * count

    @flow
    def sale(self, count: int) -> int:
        return self.price * count

    @flow
    @classmethod
    def branch(cls, count: int) -> tuple[str, int]:
        return cls.__name__, count

    @classmethod
    @flow
    def head(cls, count: int) -> tuple[str, int]:
        return cls.__name__, count

    @flow
    @staticmethod
    def free(count: int) -> int:
        return count

    @staticmethod
    @flow
    def gift(count: int) -> int:
        return count


class Kiosk(Shop):
    """A class that inherits them all."""

    @task
    def cost(self, count: int) -> int:
        return super().cost(count) + 1


def bound(owner: Any) -> dict[Any, Any]:
    """Each method of `owner` with what it gives for 2."""
    name = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    return {
        owner.above: (name, 2),
        owner.below: (name, 2),
        owner.static_above: 2,
        owner.static_below: 2,
        owner.branch: (name, 2),
        owner.head: (name, 2),
        owner.free: 2,
        owner.gift: 2,
    }


@pytest.mark.parametrize("owner", [Shop, Kiosk, Shop(3), Kiosk(3)], ids=["class", "subclass", "object", "subobject"])
def test_class_and_static_methods_are_called_as_in_plain_python(owner: Any) -> None:
    for method, value in bound(owner).items():
        assert method(2) == value
        assert method(count=2) == value
        assert method(2, return_state=True).result() == value


def test_methods_are_called_with_their_object() -> None:
    assert Shop(3).cost(2) == 6
    assert Shop.cost(Shop(3), 2) == 6
    assert Shop(3).sale("2") == 6  # type: ignore[arg-type]


def test_a_method_that_is_overridden_is_reached_by_super() -> None:
    assert Kiosk(3).cost(2) == 7


def test_bound_methods_are_submitted_mapped_and_given_other_options() -> None:
    methods: list[Any] = [Shop(3).cost, Kiosk.below, Kiosk.static_above, Shop(3).static_below, Shop(3).sale]
    methods += [Kiosk.branch, Kiosk.free, Shop(3).slowly]

    @flow
    def f() -> list[Any]:
        return [
            (
                method.submit(2).result(),
                method.submit(count=2, return_state=True).result(),
                method.map([2, 3]).result(),
                method.with_options(name="dear").submit(2).result(),
                method.with_options(name="dear").name,
            )
            for method in methods
        ]

    name = ("Kiosk", 2)
    three = ("Kiosk", 3)
    assert f() == [
        (6, 6, [6, 9], 6, "dear"),
        (name, name, [name, three], name, "dear"),
        (2, 2, [2, 3], 2, "dear"),
        (2, 2, [2, 3], 2, "dear"),
        (6, 6, [6, 9], 6, "dear"),
        (name, name, [name, three], name, "dear"),
        (2, 2, [2, 3], 2, "dear"),
        (6, 6, [6, 9], 6, "dear"),
    ]


def test_a_task_under_classmethod_is_submitted_with_its_class_or_says_where_to_put_it() -> None:
    @flow
    def f() -> Any:
        return Kiosk.above.submit(2).result()

    if sys.version_info < (3, 13):
        assert f() == ("Kiosk", 2)
    else:
        with pytest.raises(ParameterBindError, match="put @classmethod below"):
            f()


def test_what_would_be_taken_for_the_class_is_refused() -> None:
    class C:
        @classmethod
        @task
        def f(cls, x: int = 1) -> Any:
            return cls, x

    @flow
    def run() -> Any:
        return C.f.submit(5).result()

    if sys.version_info < (3, 13):
        assert run() == (C, 5)
    else:
        with pytest.raises(ParameterBindError, match="'f' got 5 as its class"):
            run()


def test_a_method_can_be_async() -> None:
    assert asyncio.run(Shop(3).slowly(2)) == 6
    assert Shop(3).slowly.isasync


def test_the_object_is_an_input() -> None:
    ran.clear()
    assert [Shop(3).kept_cost(2), Shop(3).kept_cost(2), Shop(4).kept_cost(2)] == [6, 6, 8]
    assert ran == [(3, 2), (4, 2)]


def test_the_class_of_a_class_method_is_an_input() -> None:
    ran.clear()
    assert [Shop.kept_name(1), Shop.kept_name(1), Shop(1).kept_name(1), Kiosk.kept_name(1)] == ["Shop"] * 3 + ["Kiosk"]
    assert ran == [("Shop", 1), ("Kiosk", 1)]


def test_bound_tasks_are_equal_as_bound_methods_are() -> None:
    shop, twin = Shop(3), Shop(3)
    assert shop.cost == shop.cost
    assert hash(shop.cost) == hash(shop.cost)
    assert shop.cost != twin.cost
    assert shop.cost != shop.kept_cost
    assert shop.cost != 3
    assert shop.cost.__self__ is shop
    assert shop.cost.__func__ is Shop.cost


def test_a_bound_task_is_a_task() -> None:
    for method in (Shop(3).cost, Shop.cost, Shop.below, Shop(3).static_above, Shop.static_below):
        assert isinstance(method, Task)
    for method in (Shop(3).sale, Shop.branch, Shop.free, Shop.gift):
        assert isinstance(method, Flow)
        assert not isinstance(method, Task)


def test_a_bound_task_has_all_that_the_task_has() -> None:
    cost = Shop(3).cost
    assert (cost.name, cost.fn, cost.task_key, cost.isasync) == ("cost", Shop.cost.fn, Shop.cost.task_key, False)
    assert cost.__name__ == "cost"
    assert str(inspect.signature(cost)) == "(count: 'int') -> 'int'"
    assert repr(cost).startswith("<bound <Task 'cost'> of <")
    with pytest.raises(AttributeError, match="no attribute 'rubbish'"):
        cost.rubbish


def test_a_bound_task_can_be_copied_and_pickled() -> None:
    for twin in (copy.copy(Shop(3).cost), copy.deepcopy(Shop(3).cost), pickle.loads(pickle.dumps(Shop(3).cost))):
        assert twin(2) == 6


def test_hooks_of_a_method_are_those_of_the_task() -> None:
    seen: list[Any] = []

    class C:
        @task
        def f(self) -> int:
            return 1

    c = C()

    @c.f.on_completion
    def note(task: Any, run: Any, state: State[Any]) -> None:
        seen.append((task.name, state.name))

    assert C().f() == 1
    assert seen == [("f", "Completed")]


@pytest.mark.parametrize("order", ["above", "below"])
def test_abstract_methods_can_be_tasks(order: str) -> None:
    def f(self: Any) -> int:
        raise NotImplementedError

    whole: Any = task(abstractmethod(f)) if order == "below" else abstractmethod(task(f))
    base = type("Base", (ABC,), {"f": whole})
    with pytest.raises(TypeError, match="abstract"):
        base()
    assert type("Whole", (base,), {"f": task(lambda self: 1)})().f() == 1


def test_a_bound_method_and_a_bound_builtin_can_be_tasks() -> None:
    class Plain:
        def twice(self, x: int) -> int:
            return 2 * x

    box: list[int] = []
    twice: Callable[..., Any] = task(Plain().twice)
    append: Callable[..., Any] = task(box.append)
    append(twice(2))
    assert box == [4]
    assert task(box.append).name == "append"
