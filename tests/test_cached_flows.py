"""Flows with a cache policy of their own: a whole subflow is a hit, and none for a wrong reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE, CacheKeyFnPolicy
from kept.exceptions import ConfigurationError
from kept.settings import KEPT_TASKS_DISABLE_CACHING, KEPT_TASKS_REFRESH_CACHE, temporary_settings
from kept.states import Completed, Failed
from kept.transactions import IsolationLevel, transaction


def names(*states: Any) -> list[str]:
    return [state.name for state in states]


def test_a_subflow_with_equal_parameters_runs_none_of_its_steps_again(log: Any) -> None:
    ran: list[int] = []

    @task
    def step(x: int) -> int:
        ran.append(x)
        return x + 1

    @flow(cache_policy=INPUTS)
    def customer(x: int) -> list[int]:
        return step.map([x, x + 1]).result()

    @flow
    def all_customers() -> list[Any]:
        return [customer(x) for x in (1, 1, 5)]

    assert all_customers() == [[2, 3], [2, 3], [6, 7]]
    assert all_customers() == [[2, 3], [2, 3], [6, 7]]
    assert ran == [1, 2, 5, 6]
    assert log.having("Flow run", "Finished in state Cached(type=COMPLETED)")


def test_the_key_is_made_of_what_validation_gives() -> None:
    @flow(cache_policy=INPUTS)
    def f(x: int) -> int:
        return x

    assert names(f(1, return_state=True), f("1", return_state=True)) == ["Completed", "Cached"]  # type: ignore[call-overload, arg-type]


def test_two_flows_with_equal_inputs_share_nothing_and_neither_do_a_flow_and_a_task() -> None:
    @flow(cache_policy=INPUTS)
    def one(x: int) -> str:
        return "one"

    @flow(cache_policy=INPUTS)
    def two(x: int) -> str:
        return "two"

    @task(cache_policy=INPUTS)
    def step(x: int) -> str:
        return "step"

    assert (one(1), two(1), step(1)) == ("one", "two", "step")
    assert (one(1), two(1), step(1)) == ("one", "two", "step")


def test_the_policies_mean_for_a_flow_what_they_mean_for_a_task() -> None:
    @flow(cache_policy=INPUTS + TASK_SOURCE + RUN_ID)
    def inner(x: int) -> int:
        return x

    @flow(cache_policy=FLOW_PARAMETERS)
    def blind(x: int) -> int:
        return x

    @flow
    def outer(x: int) -> list[str]:
        return names(*[inner(1, return_state=True) for _ in range(2)], *[blind(i, return_state=True) for i in (1, 2)])

    assert outer(1) == ["Completed", "Cached", "Completed", "Cached"]
    assert outer(1) == ["Completed", "Cached", "Cached", "Cached"]
    assert outer(2) == ["Completed", "Cached", "Completed", "Cached"]


def test_a_key_function_of_a_flow_gets_the_context_of_the_flow() -> None:
    def by_name(context: Any, parameters: dict[str, Any]) -> str:
        return f"{context.flow.name}-{parameters['x'] % 2}"

    @flow(cache_policy=CacheKeyFnPolicy(cache_key_fn=by_name))
    def parity(x: int) -> int:
        return x

    assert (parity(1), parity(3), parity(2)) == (1, 1, 2)
    assert parity(3, return_state=True).cache_key == "parity-1"


@pytest.mark.parametrize("decorate", [task, flow])
def test_a_state_in_the_place_of_a_value_is_not_kept_and_that_is_said(decorate: Any, log: Any) -> None:
    step = decorate(lambda x: Completed(data=x), cache_policy=INPUTS)
    assert [step(1, return_state=True).name for _ in range(2)] == ["Completed", "Completed"]
    assert log.having("WARNING", "The result of this run is not kept: it returned a state or futures, not a value.")


def test_a_failed_flow_keeps_nothing_and_a_state_by_hand_neither() -> None:
    ran: list[int] = []

    @flow(cache_policy=INPUTS)
    def fails(x: int) -> int:
        ran.append(x)
        raise ValueError

    @flow(cache_policy=INPUTS)
    def says_so(x: int) -> Any:
        ran.append(x)
        return Failed(message="no")

    for _ in range(2):
        assert names(fails(1, return_state=True), says_so(2, return_state=True)) == ["Failed", "Failed"]
    assert ran == [1, 2, 1, 2]


def test_expiration_refresh_and_the_settings_hold_for_flows(tmp_path: Path) -> None:
    @flow(cache_policy=INPUTS, result_storage=tmp_path)
    def f(x: int) -> int:
        return x

    f(1)
    assert f.with_options(cache_expiration=timedelta(0))(1, return_state=True).name == "Completed"
    assert f.with_options(refresh_cache=True)(1, return_state=True).name == "Completed"
    assert f.with_options(persist_result=False)(1, return_state=True).name == "Completed"
    assert f.with_options(cache_policy=NO_CACHE)(1, return_state=True).name == "Completed"
    with temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}):
        assert f(1, return_state=True).name == "Completed"
    with temporary_settings({KEPT_TASKS_DISABLE_CACHING: True}):
        assert f(1, return_state=True).name == "Completed"
    assert f(1, return_state=True).name == "Cached"


def test_a_policy_of_a_flow_says_nothing_about_its_tasks() -> None:
    ran: list[int] = []

    @task
    def step(x: int) -> int:
        ran.append(x)
        return x

    @flow(cache_policy=INPUTS)
    def f(n: int) -> list[str]:
        return names(*[step(1, return_state=True) for _ in range(2)])

    assert f(1) == ["Completed", "Completed"]


def test_an_async_flow_hits_too() -> None:
    ran: list[int] = []

    @flow(cache_policy=INPUTS)
    async def f(x: int) -> int:
        ran.append(x)
        return x

    assert [asyncio.run(f(3)), asyncio.run(f(3))] == [3, 3]
    assert ran == [3]


def test_a_serializable_flow_runs_within_itself_without_waiting_for_itself() -> None:
    @flow(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    def f(depth: int) -> int:
        return depth

    assert [f(1), f(1)] == [1, 1]


def test_the_result_of_a_flow_becomes_visible_with_the_transaction_around_it() -> None:
    @flow(cache_policy=INPUTS)
    def f(x: int) -> int:
        return x

    @flow
    def outer() -> None:
        with pytest.raises(ZeroDivisionError), transaction():
            f(1)
            raise ZeroDivisionError

    outer()
    assert f(1, return_state=True).name == "Completed"


def test_a_transaction_that_a_flow_opens_commits_at_its_own_end() -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return x

    @flow(cache_policy=INPUTS)
    def f(x: int) -> str:
        with transaction():
            step(x)
        return step(x, return_state=True).name

    assert f(1) == "Cached"


def test_kept_inputs_and_futures_make_the_key_of_a_flow() -> None:
    @task(cache_policy=INPUTS)
    def load(x: int) -> list[int]:
        return [x]

    @flow(cache_policy=INPUTS)
    def inner(rows: list[int]) -> int:
        return len(rows)

    @flow
    def outer() -> list[str]:
        return names(inner(load.submit(1), return_state=True), inner([1], return_state=True))  # type: ignore[arg-type, call-overload]

    assert outer() == ["Completed", "Cached"]


def test_a_future_of_another_flow_is_refused_with_a_sentence() -> None:
    leaked: list[Any] = []

    @task
    def step(x: int) -> int:
        return x

    @flow
    def first() -> None:
        leaked.append(step.submit(1))

    @flow
    def second() -> int:
        return step(leaked[0])

    first()
    with pytest.raises(
        ConfigurationError, match=r"task run 'step-...' belongs to another flow run, .*return its result"
    ):
        second()


def test_a_future_of_a_flow_around_is_as_good_as_one_of_its_own() -> None:
    @task
    def step(x: int) -> int:
        return x + 1

    @flow
    def inner(x: int) -> int:
        return step(step.submit(x))  # type: ignore[arg-type]

    @flow
    def outer() -> int:
        return inner(step.submit(1))  # type: ignore[arg-type]

    assert outer() == 4


def test_a_run_that_is_told_to_wait_for_itself_is_refused_instead_of_never_ending() -> None:
    mine: list[Any] = []

    @task
    def inner(x: Any = None) -> int:
        return 1

    @task
    def outer(rank: list[int]) -> int:
        while not mine:
            pass
        return inner(wait_for=[mine[0]])

    @flow
    def f() -> int:
        mine.append(outer.submit([1]))
        return mine[0].result()

    with pytest.raises(ConfigurationError, match=r"task run 'outer-...' would wait for itself"):
        f()
