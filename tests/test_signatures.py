"""Functions with parameters of every kind and name: called, submitted, mapped and kept."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from kept import flow, task, unmapped
from kept.cache_policies import INPUTS
from kept.context import get_run_context
from kept.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    MissingContextError,
    ParameterBindError,
    ReservedArgumentError,
)


def every_kind(a: Any, /, b: Any, *args: Any, c: Any = 3, **kwargs: Any) -> Any:
    return a, b, args, c, kwargs


def odd_names(self: Any, task: Any, context: Any, fn: Any, args: Any, kwargs: Any, *, parameters: Any = 7) -> Any:
    return self, task, context, fn, args, kwargs, parameters


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (every_kind, (1, 2), {}),
    (every_kind, (1,), {"b": 2}),
    (every_kind, (1, 2, 4, 5), {"c": 6}),
    (every_kind, (1, 2), {"a": 3, "self": 4, "fn": 5, "spec": 6, "args": 7, "kwargs": 8}),
    (odd_names, (1, 2, 3, 4, 5, 6), {}),
    (odd_names, (), {"self": 1, "task": 2, "context": 3, "fn": 4, "args": 5, "kwargs": 6, "parameters": 8}),
]


def submitted(run: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: flow(lambda: run.submit(*args, **kwargs).result())()


def mapped(run: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        lists = {name: [value] for name, value in kwargs.items()}
        return flow(lambda: run.map(*[[value] for value in args], **lists).result())()[0]

    return call


@pytest.mark.parametrize("how", [lambda run: run, submitted, mapped], ids=["called", "submitted", "mapped"])
@pytest.mark.parametrize("decorator", [task, flow])
@pytest.mark.parametrize(("fn", "args", "kwargs"), CALLS)
def test_a_call_passes_what_the_plain_function_would_get(
    how: Any, decorator: Any, fn: Any, args: Any, kwargs: Any
) -> None:
    assert how(decorator(fn))(*args, **kwargs) == fn(*args, **kwargs)


@pytest.mark.parametrize("decorator", [task, flow])
@pytest.mark.parametrize("option", ["return_state", "wait_for"])
def test_a_parameter_named_like_an_option_of_each_call_is_refused(decorator: Any, option: str) -> None:
    with pytest.raises(ReservedArgumentError, match=f"parameter named '{option}'"):
        decorator(eval(f"lambda {option}: 1"))


@pytest.mark.parametrize("decorator", [task, flow])
def test_a_positional_only_parameter_can_not_be_named(decorator: Any) -> None:
    def f(a: Any, /) -> Any:
        return a

    with pytest.raises(ParameterBindError, match=r"positional.only"):
        decorator(f)(a=1)


def test_keyword_arguments_count_by_name_and_value_and_not_by_order() -> None:
    ran: list[Any] = []

    @task(cache_policy=INPUTS)
    def f(*args: Any, **kwargs: Any) -> Any:
        ran.append((args, kwargs))

    f(1, x=1, y=2)
    f(1, y=2, x=1)
    assert len(ran) == 1
    for args, kwargs in [((1,), {"x": 2, "y": 1}), ((1,), {"x": 1}), (((1,),), {"x": 1, "y": 2}), ((), {"args": (1,)})]:
        f(*args, **kwargs)
        f(*args, **kwargs)
        assert ran[-1] == (args, kwargs)
    assert len(ran) == 5


def test_each_argument_of_a_star_is_mapped_over_by_itself() -> None:
    @flow
    def f() -> Any:
        run = task(every_kind)
        return run.map([1, 2], 0, [3, 4], unmapped([5, 6]), "s", x=[7, 8], y=[9, 10], z=unmapped([1])).result()

    assert f() == [
        (1, 0, (3, [5, 6], "s"), 3, {"x": 7, "y": 9, "z": [1]}),
        (2, 0, (4, [5, 6], "s"), 3, {"x": 8, "y": 10, "z": [1]}),
    ]


def test_lengths_that_differ_are_told_by_argument() -> None:
    with pytest.raises(MappingLengthMismatch, match=r"a has 1, args\[0\] has 2, kwargs\['x'\] has 3"):
        flow(lambda: task(every_kind).map([1], 2, [3, 4], x=[5, 6, 7]))()


def test_nothing_to_map_over_is_told() -> None:
    with pytest.raises(MappingMissingIterable, match="at least one of a, b, args, c, kwargs"):
        flow(lambda: task(every_kind).map(1, 2))()


def test_a_partial_is_named_after_its_function() -> None:
    half = functools.partial(every_kind, 1)
    assert task(half).name == "every_kind"
    assert flow(half).name == "every-kind"
    assert task(half).task_key == task(every_kind).task_key
    assert task(half)(2) == every_kind(1, 2)
    assert task(functools.partial(half, 2))() == every_kind(1, 2)


class Adds:
    async def __call__(self, x: int) -> int:
        return x + 1


async def add_one(x: int) -> int:
    return x + 1


@pytest.mark.parametrize(
    "fn", [Adds(), add_one, Adds().__call__, functools.partial(add_one), functools.partial(Adds())]
)
def test_whatever_is_async_under_its_wrapping_is_async(fn: Any) -> None:
    assert task(fn).isasync
    assert asyncio.run(task(fn)(1)) == 2
    assert asyncio.run(flow(fn)(1)) == 2


def plainly_wrapped(fn: Any) -> Any:
    """As those write decorators who don't think of async functions."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def made_sync(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


@pytest.mark.parametrize("decorator", [task, flow])
def test_an_async_function_behind_a_plain_wrapper_is_awaited_in_its_run(decorator: Any) -> None:
    seen: list[Any] = []

    @decorator(retries=1)
    @plainly_wrapped
    async def f(x: int) -> int:
        await asyncio.sleep(0)
        seen.append(get_run_context())
        if len(seen) == 1:
            raise ValueError
        return x + 1

    async def main() -> list[Any]:
        values = [await f(1), (await f(1, return_state=True)).result()]
        with pytest.raises(MissingContextError):
            get_run_context()
        return values

    assert f.isasync
    assert asyncio.run(main()) == [2, 2]
    assert len(seen) == 3
    assert flow(lambda: f.submit(1).result())() == 2
    assert f.delay(1).result() == 2


@pytest.mark.parametrize("decorator", [task, flow])
def test_a_function_that_awaits_what_it_wraps_by_itself_is_plain(decorator: Any) -> None:
    f = decorator(made_sync(add_one))
    assert f(1) == 2
    assert f(1, return_state=True).result() == 2
    assert flow(lambda: f.submit(1).result())() == 2


def test_the_timeout_of_an_async_function_behind_a_plain_wrapper_is_kept() -> None:
    @task(timeout_seconds=0.05)
    @plainly_wrapped
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await stuck()

    asyncio.run(main())
    with pytest.raises(TimeoutError):
        stuck.delay().result()
