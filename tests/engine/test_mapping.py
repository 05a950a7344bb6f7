"""From one call of `.map` to the calls that it stands for."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from kept import allow_failure, task, unmapped
from kept.engine.mapping import each_call
from kept.exceptions import MappingLengthMismatch, MappingMissingIterable
from kept.states import Completed
from kept.utilities.annotations import quote


@task
def add(x: Any, y: Any = 1) -> Any:
    return (x, y)


def calls(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    return list(each_call(add.spec, add.spec.binder.bind(args, kwargs)))


def pairs(*args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
    return [(call["x"], call["y"]) for call in calls(*args, **kwargs)]


def test_iterables_are_taken_element_by_element() -> None:
    assert pairs([1, 2], [3, 4]) == [(1, 3), (2, 4)]
    assert pairs(x=[1, 2], y=(3, 4)) == [(1, 3), (2, 4)]


def test_what_is_no_iterable_is_the_same_in_each_run() -> None:
    assert pairs([1, 2], 5) == [(1, 5), (2, 5)]
    assert pairs([1, 2]) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("value", ["ab", b"ab", bytearray(b"ab")])
def test_strings_and_bytes_are_values(value: Any) -> None:
    assert pairs([1, 2], value) == [(1, value), (2, value)]


def test_what_is_unmapped_is_given_whole() -> None:
    assert pairs([1, 2], unmapped([7, 8, 9])) == [(1, [7, 8, 9]), (2, [7, 8, 9])]


def test_iterators_ranges_sets_and_dict_views_can_be_mapped_over() -> None:
    assert pairs(range(2), iter("ab")) == [(0, "a"), (1, "b")]
    assert pairs(n * n for n in range(3)) == [(0, 1), (1, 1), (4, 1)]
    assert sorted(pairs({1, 2})) == [(1, 1), (2, 1)]
    assert pairs({"a": 1, "b": 2}.items()) == [(("a", 1), 1), (("b", 2), 1)]


def test_a_completed_state_is_mapped_over_by_its_value() -> None:
    assert pairs(Completed(data=[1, 2])) == [(1, 1), (2, 1)]


def test_the_elements_of_what_may_fail_may_each_fail() -> None:
    assert pairs(allow_failure([1, 2])) == [(allow_failure(1), 1), (allow_failure(2), 1)]


def test_what_is_quoted_is_not_mapped_over() -> None:
    assert pairs([1], quote([2, 3])) == [(1, quote([2, 3]))]


def test_a_default_that_can_be_iterated_is_given_whole() -> None:
    @task
    def join(x: Any, by: Any = ("a", "b", "c")) -> Any:
        return (x, by)

    found = list(each_call(join.spec, join.spec.binder.bind(([1, 2],), {})))
    assert found == [{"x": 1, "by": ("a", "b", "c")}, {"x": 2, "by": ("a", "b", "c")}]


def test_parameters_keep_the_order_of_the_signature() -> None:
    assert [list(call) for call in calls(y=[1], x=2)] == [["x", "y"]]


def test_no_elements_are_no_runs() -> None:
    assert calls([]) == []


def test_nothing_to_map_over_is_an_error_that_names_the_parameters() -> None:
    with pytest.raises(MappingMissingIterable, match=r"map\(\) of task 'add'.*x, y"):
        calls(1, unmapped([2]))


def test_a_task_without_parameters_can_not_be_mapped() -> None:
    @task
    def hello() -> None: ...

    with pytest.raises(MappingMissingIterable, match="none"):
        each_call(hello.spec, hello.spec.binder.bind((), {}))


def test_unequal_lengths_are_an_error_that_tells_each() -> None:
    with pytest.raises(MappingLengthMismatch, match=r"x has 2, y has 3.*unmapped"):
        calls([1, 2], [1, 2, 3])


def test_both_errors_are_value_errors_and_raised_before_the_first_run() -> None:
    assert issubclass(MappingLengthMismatch, ValueError)
    assert issubclass(MappingMissingIterable, ValueError)
    assert not inspect.isgeneratorfunction(each_call)
