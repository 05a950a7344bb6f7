"""From a call to arguments by name, and back: always what Python itself would do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from kept.engine.binding import Binder
from kept.exceptions import ParameterBindError, ParameterTypeError, ReservedArgumentError


def plain(a: Any, b: Any = 2, c: Any = 3) -> Any:
    return [a, b, c]


def keyword_only(a: Any, *, b: Any, c: Any = 3) -> Any:
    return [a, b, c]


def positional_only(a: Any, b: Any = 2, /, c: Any = 3) -> Any:
    return [a, b, c]


def stars(a: Any, *args: Any, b: Any = 0, **kwargs: Any) -> Any:
    return [a, args, b, kwargs]


def nothing() -> Any:
    return []


def everything(a: Any, /, b: Any, *rest: Any, c: Any, d: Any = 4, **more: Any) -> Any:
    return [a, b, rest, c, d, more]


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (plain, (1,), {}),
    (plain, (1, 5), {}),
    (plain, (1, 5, 6), {}),
    (plain, (), {"a": 1}),
    (plain, (1,), {"c": 9}),
    (plain, (), {"c": 9, "a": 1, "b": 0}),
    (keyword_only, (1,), {"b": 2}),
    (keyword_only, (), {"b": 2, "a": 1, "c": 0}),
    (positional_only, (1,), {}),
    (positional_only, (1, 5), {"c": 6}),
    (positional_only, (1, 5, 6), {}),
    (stars, (1,), {}),
    (stars, (1, 2, 3), {"b": 4, "z": 5, "y": 6}),
    (stars, (), {"a": 1, "q": 2}),
    (nothing, (), {}),
    (everything, (1, 2), {"c": 3}),
    (everything, (1, 2, 3, 4), {"c": 3, "d": 0, "e": 5}),
    (everything, (1,), {"b": 2, "c": 3}),
    (lambda *args: list(args), (1, 2), {}),
    (lambda **kwargs: sorted(kwargs.items()), (), {"b": 1, "a": 2}),
    (functools.partial(plain, 1, c=7), (5,), {}),
    (max, (1, 3, 2), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_bound_arguments_call_the_function_as_the_call_itself_would(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    binder = Binder(function, "task 'f'")
    passed, named = binder.call(binder.bind(args, kwargs))
    assert function(*passed, **named) == function(*args, **kwargs)


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_arguments_are_bound_as_inspect_binds_them_in_the_order_of_the_signature(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        pytest.skip("no signature to compare with")
    expected = signature.bind(*args, **kwargs)
    expected.apply_defaults()
    bound = Binder(function, "task 'f'").bind(args, kwargs)
    assert list(bound.items()) == list(expected.arguments.items())


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "problem"),
    [
        (plain, (), {}, "missing a required argument: 'a'"),
        (plain, (1, 2, 3, 4), {}, "too many positional arguments"),
        (plain, (1,), {"a": 2}, "multiple values for argument 'a'"),
        (plain, (1,), {"z": 2}, "unexpected keyword argument 'z'"),
        (keyword_only, (1, 2), {}, "too many positional|missing a required"),
        (keyword_only, (1,), {}, "missing a required.* 'b'"),
        (positional_only, (), {"a": 1}, "'a'"),
        (nothing, (1,), {}, "too many positional arguments"),
        (nothing, (), {"x": 1}, "unexpected keyword argument 'x'"),
    ],
)
def test_a_call_that_does_not_fit_names_who_was_called_the_problem_and_the_signature(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ParameterBindError, match=problem) as raised:
        Binder(function, "task 'f'").bind(args, kwargs)
    assert isinstance(raised.value, (ParameterTypeError, TypeError))
    assert "task 'f'" in str(raised.value)
    assert str(inspect.signature(function)) in str(raised.value)


@pytest.mark.parametrize("name", ["return_state", "wait_for"])
def test_a_parameter_named_like_an_option_of_each_call_is_refused(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def f({name}): ...", scope)
    with pytest.raises(ReservedArgumentError, match=f"Task 'f' has a parameter named '{name}'.*Rename"):
        Binder(scope["f"], "task 'f'")


def test_a_bound_call_shares_nothing_with_the_next_one() -> None:
    binder = Binder(plain, "task 'f'")
    first = binder.bind((1,), {})
    first["b"] = "changed"
    assert binder.bind((1,), {}) == {"a": 1, "b": 2, "c": 3}


def test_the_keywords_that_were_passed_are_not_changed() -> None:
    kwargs = {"a": 1, "z": 2}
    bound = Binder(stars, "task 'f'").bind((), kwargs)
    bound["kwargs"]["new"] = 1
    assert kwargs == {"a": 1, "z": 2}
