"""What decorators take: each wrong option gets a sentence that names it, its value and what it takes."""

from __future__ import annotations

import copy
import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import Flow, Task, flow, task
from kept.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE, CacheKeyFnPolicy
from kept.engine.spec import FlowKeywords, FlowOptions, TaskKeywords, TaskOptions, cached_on_purpose, checked, policy_of
from kept.exceptions import ConfigurationError, InvalidNameError, ParameterTypeError, ReservedArgumentError
from kept.filesystems import LocalFileSystem
from kept.serializers import JSONSerializer

TASK_OPTIONS = (
    "name description tags version cache_policy cache_key_fn cache_expiration task_run_name retries "
    "retry_delay_seconds retry_jitter_factor retry_condition_fn persist_result result_storage result_serializer "
    "result_storage_key cache_result_in_memory timeout_seconds log_prints refresh_cache on_completion on_failure "
    "on_running on_rollback on_commit viz_return_value asset_deps "
    "refresh"  # ours
).split()
FLOW_OPTIONS = (
    "name version flow_run_name retries retry_delay_seconds task_runner description timeout_seconds "
    "validate_parameters persist_result result_storage result_serializer cache_result_in_memory log_prints "
    "on_completion on_failure on_cancellation on_crashed on_running "
    "cache_policy cache_expiration refresh_cache refresh"  # ours: a whole flow may be a hit
).split()


def f(x: int = 1) -> int:
    """Doc of f."""
    return x


def test_a_task_takes_the_options_of_the_reference_and_one_of_ours() -> None:
    assert {field.name for field in dataclasses.fields(TaskOptions)} == set(TASK_OPTIONS)


def test_a_flow_takes_the_options_of_the_reference_and_those_of_a_cache() -> None:
    assert {field.name for field in dataclasses.fields(FlowOptions)} == set(FLOW_OPTIONS)


@pytest.mark.parametrize("name", TASK_OPTIONS)
def test_each_option_of_a_task_is_an_attribute(name: str) -> None:
    getattr(task(f), name)


@pytest.mark.parametrize("name", FLOW_OPTIONS)
def test_each_option_of_a_flow_is_an_attribute(name: str) -> None:
    getattr(flow(f), name)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", 3),
        ("retries", -1),
        ("retries", "3"),
        ("retries", True),
        ("retries", 1.5),
        ("retry_delay_seconds", "soon"),
        ("retry_delay_seconds", -1),
        ("retry_delay_seconds", [1, "2"]),
        ("retry_delay_seconds", [1, -2]),
        ("retry_jitter_factor", -0.5),
        ("retry_jitter_factor", "much"),
        ("retry_condition_fn", "never"),
        ("timeout_seconds", "1"),
        ("timeout_seconds", -1),
        ("persist_result", "yes"),
        ("persist_result", 1),
        ("refresh_cache", "no"),
        ("log_prints", 1),
        ("cache_result_in_memory", None),
        ("cache_policy", "INPUTS"),
        ("cache_policy", type(INPUTS)),
        ("cache_key_fn", "key"),
        ("cache_expiration", 60),
        ("result_storage", 7),
        ("result_storage", LocalFileSystem),
        ("result_storage_key", 7),
        ("result_serializer", 7),
        ("task_run_name", 7),
        ("tags", "nightly"),
        ("tags", [1]),
        ("tags", 3),
        ("on_completion", print),
        ("on_failure", "notify"),
        ("on_running", ["notify"]),
        ("on_commit", [None]),
        ("on_rollback", 1),
        ("description", 1),
        ("version", 1),
    ],
)
def test_a_wrong_option_of_a_task_is_named_with_its_value(option: str, value: Any) -> None:
    with pytest.raises((ParameterTypeError, InvalidNameError)) as raised:
        task(**{option: value})(f)
    assert option in str(raised.value)
    assert str(value) in str(raised.value) or repr(value) in str(raised.value)
    assert "@task" in str(raised.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("validate_parameters", "yes"),
        ("validate_parameters", None),
        ("task_runner", "threads"),
        ("flow_run_name", 7),
        ("retries", "3"),
        ("on_crashed", print),
        ("on_cancellation", [1]),
        ("timeout_seconds", "1"),
    ],
)
def test_a_wrong_option_of_a_flow_is_named_with_its_value(option: str, value: Any) -> None:
    with pytest.raises(ParameterTypeError, match="@flow") as raised:
        flow(**{option: value})(f)
    assert option in str(raised.value)
    assert repr(value) in str(raised.value)


def test_a_wrong_option_is_told_before_there_is_a_function() -> None:
    with pytest.raises(ParameterTypeError):
        task(retries="3")
    with pytest.raises(ParameterTypeError):
        flow(retries="3")


@pytest.mark.parametrize(
    ("decorator", "wrong", "right"),
    [(task, "retry", "retries"), (task, "cache_polcy", "cache_policy"), (flow, "on_crash", "on_crashed")],
)
def test_a_misspelt_option_gets_the_nearest_right_one(decorator: Any, wrong: str, right: str) -> None:
    with pytest.raises(ParameterTypeError, match=f"no option '{wrong}'. Did you mean '{right}'?"):
        decorator(**{wrong: 1})


def test_an_option_that_is_like_no_other_gets_the_list_of_all() -> None:
    with pytest.raises(ParameterTypeError, match=r"It takes: .*cache_policy.*timeout_seconds"):
        task(zzz=1)


def test_an_unknown_serializer_is_told_at_the_decorator() -> None:
    with pytest.raises(Exception, match="yaml") as raised:
        task(result_serializer="yaml")
    assert "pickle" in str(raised.value)


def test_a_negative_expiration_and_too_many_delays_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="negative cache_expiration"):
        task(cache_expiration=timedelta(seconds=-1))
    with pytest.raises(ConfigurationError, match="51 values of retry_delay_seconds"):
        task(retry_delay_seconds=[1] * 51)


@pytest.mark.parametrize("name", ["", "a/b", "a%b", "a&b", "a<b", "a>b"])
@pytest.mark.parametrize("decorator", [task, flow])
def test_a_name_that_can_not_be_shown_is_refused(decorator: Any, name: str) -> None:
    with pytest.raises(InvalidNameError, match="name"):
        decorator(name=name)(f)
    with pytest.raises(InvalidNameError, match="with_options"):
        decorator(f).with_options(name=name)


@pytest.mark.parametrize("decorator", [task, flow])
def test_a_class_can_not_be_decorated(decorator: Any) -> None:
    class Thing:
        """Not a step."""

    with pytest.raises(ParameterTypeError, match="can't decorate the class 'Thing'"):
        decorator(Thing)


@pytest.mark.parametrize("decorator", [task, flow])
def test_what_is_not_a_function_can_not_be_decorated(decorator: Any) -> None:
    with pytest.raises(ParameterTypeError, match=r"'my name', which is not a function.*by name"):
        decorator("my name")


@pytest.mark.parametrize("outer", [task, flow])
@pytest.mark.parametrize("inner", [task, flow])
def test_what_is_decorated_already_runs_below_with_options_of_its_own(outer: Any, inner: Any) -> None:
    below = inner(name="below")(lambda x: x + 1)
    above = outer(name="above")(below)
    assert (above.name, below.name) == ("above", "below")
    assert above(1) == 2


@pytest.mark.parametrize("decorator", [task, flow])
def test_a_function_may_have_any_attributes(decorator: Any) -> None:
    def one() -> int:
        return 1

    one.spec = "of the user's own"  # type: ignore[attr-defined]
    assert decorator(one)() == 1


@pytest.mark.parametrize("decorator", [task, flow])
@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_what_stands_in_a_class_or_static_method_has_to_be_a_function(decorator: Any, kind: Any) -> None:
    with pytest.raises(ParameterTypeError, match="which is not a function"):
        decorator(kind(property(f)))


@pytest.mark.parametrize("decorator", [task, flow])
def test_a_parameter_named_like_an_option_of_a_call_is_refused_at_the_decorator(decorator: Any) -> None:
    with pytest.raises(ReservedArgumentError, match="'wait_for'"):

        @decorator
        def waits(wait_for: int) -> None: ...


def test_decorators_work_with_and_without_parentheses() -> None:
    assert isinstance(task(f), Task)
    assert isinstance(task()(f), Task)
    assert isinstance(flow(f), Flow)
    assert isinstance(flow()(f), Flow)


def test_names_and_descriptions_come_from_the_function_unless_given() -> None:
    assert (task(f).name, task(f).description) == ("f", "Doc of f.")
    assert (task(f, name="g").name, task(f, description="d").description) == ("g", "d")

    @flow
    def two_word_name() -> None: ...

    assert two_word_name.name == "two-word-name"
    assert flow(name="as_it_is")(f).name == "as_it_is"


def test_a_task_looks_like_its_function() -> None:
    assert (task(f).__name__, task(f).__doc__, task(f).__wrapped__, task(f).fn) == ("f", "Doc of f.", f, f)


def test_a_task_has_no_attributes_of_its_own_making() -> None:
    with pytest.raises(AttributeError, match="no attribute 'retry'"):
        task(f).retry


def test_with_options_changes_what_is_named_and_keeps_the_rest() -> None:
    first = task(f, name="one", retries=2, tags=["a"], cache_policy=INPUTS)
    second = first.with_options(retries=3, name="two")
    assert (second.name, second.retries, second.tags, second.cache_policy) == ("two", 3, {"a"}, INPUTS)
    assert (first.name, first.retries) == ("one", 2)
    with pytest.raises(ParameterTypeError, match="with_options has no option 'retry'"):
        first.with_options(retry=1)  # type: ignore[call-arg]


def test_with_options_of_a_flow_keeps_the_rest_too() -> None:
    first = flow(f, name="one", retries=2)
    second = first.with_options(timeout_seconds=5)
    assert (second.name, second.retries, second.timeout_seconds, first.timeout_seconds) == ("one", 2, 5, None)


def test_options_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        task(f).spec.options.retries = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, False),
        ({"cache_policy": INPUTS}, True),
        ({"cache_policy": NO_CACHE}, False),
        ({"cache_key_fn": lambda c, p: "k"}, True),
        ({"result_storage": "/tmp/x"}, True),
        ({"result_storage": Path("x")}, True),
        ({"result_storage_key": "k"}, True),
        ({"result_serializer": "json"}, True),
        ({"result_serializer": JSONSerializer()}, True),
        ({"cache_expiration": timedelta(1)}, False),
        ({"refresh_cache": True}, False),
        ({"retries": 3}, False),
    ],
)
def test_some_options_ask_for_the_result_to_be_kept(given: dict[str, Any], asked: bool) -> None:
    assert cached_on_purpose(checked(TaskOptions, given)) is asked


def test_a_key_function_is_a_policy_and_wins_over_another() -> None:
    def key(context: Any, parameters: dict[str, Any]) -> str:
        return "k"

    assert policy_of(checked(TaskOptions, {"cache_key_fn": key})) == CacheKeyFnPolicy(cache_key_fn=key)
    assert policy_of(checked(TaskOptions, {"cache_key_fn": key, "cache_policy": INPUTS})) == CacheKeyFnPolicy(
        cache_key_fn=key
    )
    assert policy_of(checked(TaskOptions, {"cache_policy": INPUTS})) is INPUTS
    assert policy_of(checked(TaskOptions, {})) is None


def test_contradictory_options_are_said_once_where_the_task_is_made(caplog: pytest.LogCaptureFixture) -> None:
    task(f, persist_result=False, cache_policy=INPUTS)
    task(f, cache_policy=INPUTS, cache_key_fn=lambda c, p: "k")
    task(f, persist_result=False)
    flow(f, persist_result=False, cache_policy=INPUTS).on_failure(print)
    task(f, cache_policy=INPUTS - "y").on_failure(print)
    task(f, cache_policy=INPUTS - "xs").on_failure(print)
    task(lambda: 1, cache_policy=INPUTS)
    task(lambda: 1, cache_policy=INPUTS + TASK_SOURCE)
    assert [record.getMessage() for record in caplog.records] == [
        "Task 'f' has persist_result=False, so its other options about caching have no effect.",
        "Task 'f' has both cache_key_fn and cache_policy; cache_key_fn is used.",
        "Flow 'f' has persist_result=False, so its other options about caching have no effect.",
        "Task 'f' has no argument 'xs' to leave out of its key; did you mean 'x'?",
        "Task '<lambda>' has no arguments, so INPUTS alone makes no key and nothing of it is used again; "
        "add TASK_SOURCE.",
    ]


def test_what_is_not_built_yet_says_so() -> None:
    with pytest.raises(AttributeError, match="not built yet"):
        task(len).serve()


@pytest.mark.parametrize("decorate", [task, flow])
def test_a_copy_and_its_original_have_hooks_of_their_own(decorate: Any) -> None:
    original = decorate(f, retries=2)
    twin = copy.copy(original)
    twin.on_failure(print)
    assert (twin.fn, twin.retries, twin.spec.options.on_failure) == (f, 2, (print,))
    assert original.spec.options.on_failure == ()


def test_what_is_shown_names_the_task_or_flow() -> None:
    assert (repr(task(f)), repr(flow(f, name="my flow"))) == ("<Task 'f'>", "<Flow 'my flow'>")


def test_a_description_is_the_docstring_as_it_is_read() -> None:
    def documented() -> None:
        """One line.

        More of it.
        """

    assert task(documented).description == flow(documented).description == "One line.\n\nMore of it."


def test_keywords_that_editors_know_are_the_options_there_are() -> None:
    assert set(TaskKeywords.__annotations__) == {field.name for field in dataclasses.fields(TaskOptions)}
    assert set(FlowKeywords.__annotations__) == {field.name for field in dataclasses.fields(FlowOptions)}
