"""Retries: how often, when, and what hooks and states see of them. Delays are zero or next to it."""

from __future__ import annotations

from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.context import TaskRunContext
from kept.engine.attempts import _jittered
from kept.exceptions import ConfigurationError, ParameterTypeError
from kept.settings import (
    KEPT_FLOWS_DEFAULT_RETRIES,
    KEPT_TASK_DEFAULT_RETRIES,
    KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS,
    KEPT_TASKS_DEFAULT_RETRIES,
    temporary_settings,
)
from kept.tasks import exponential_backoff
from tests.conftest import Lines


class Flaky:
    """A function that fails some times before it succeeds, and notes its runs."""

    def __init__(self, failures: int, error: type[Exception] = ValueError) -> None:
        self.failures = failures
        self.error = error
        self.runs: list[tuple[str, int, str | None]] = []

    def __call__(self) -> str:
        context = TaskRunContext.get()
        assert context is not None
        run = context.task_run
        self.runs.append((run.id, run.run_count, run.state_name))
        if len(self.runs) <= self.failures:
            raise self.error(f"try {len(self.runs)}")
        return "done"


def test_a_task_is_tried_again_until_it_succeeds() -> None:
    flaky = Flaky(2)
    assert task(flaky, retries=5)() == "done"
    assert [run[1:] for run in flaky.runs] == [(1, "Running"), (2, "Retrying"), (3, "Retrying")]


def test_the_run_keeps_its_id() -> None:
    flaky = Flaky(2)
    task(flaky, retries=2)()
    assert len({run[0] for run in flaky.runs}) == 1


def test_when_retries_are_used_up_the_last_error_is_raised() -> None:
    flaky = Flaky(9)
    with pytest.raises(ValueError, match="try 3"):
        task(flaky, retries=2)()
    assert len(flaky.runs) == 3


def test_without_retries_a_task_is_tried_once() -> None:
    for options in ({}, {"retries": 0}):
        flaky = Flaky(1)
        assert task(flaky, **options)(return_state=True).is_failed()
        assert len(flaky.runs) == 1


def test_the_default_is_a_setting_and_the_option_wins() -> None:
    with temporary_settings({KEPT_TASK_DEFAULT_RETRIES: 2, KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS: [0, 0]}):
        flaky = Flaky(2)
        assert task(flaky)() == "done"
        assert task(Flaky(1), retries=0)(return_state=True).is_failed()


def test_a_submitted_task_is_retried() -> None:
    @flow
    def f() -> Any:
        return task(Flaky(2), retries=2).submit().result()

    assert f() == "done"


def test_each_try_may_take_as_long_as_the_timeout() -> None:
    flaky = Flaky(2)
    assert task(flaky, retries=2, timeout_seconds=60)() == "done"


@pytest.mark.parametrize(
    "delays",
    [0, 0.001, [0, 0.001], [0], [], lambda retries: [0.001] * retries, exponential_backoff(0.001)],
)
def test_delays_can_be_a_number_a_list_or_a_function(delays: Any) -> None:
    flaky = Flaky(3)
    assert task(flaky, retries=3, retry_delay_seconds=delays, retry_jitter_factor=0.5)() == "done"
    assert len(flaky.runs) == 4


def test_a_delay_function_is_asked_for_as_many_delays_as_there_are_retries() -> None:
    asked: list[int] = []

    def delays(retries: int) -> list[float]:
        asked.append(retries)
        return [0] * retries

    task(Flaky(3), retries=3, retry_delay_seconds=delays)()
    assert set(asked) == {3}


def test_exponential_backoff_doubles() -> None:
    assert exponential_backoff(10)(4) == [10, 20, 40, 80]
    assert exponential_backoff(0.5)(2) == [0.5, 1.0]
    assert exponential_backoff(10)(0) == []


def test_jitter_makes_a_delay_longer_by_up_to_its_factor() -> None:
    found = [_jittered(10.0, 0.5) for _ in range(200)]
    assert min(found) >= 10
    assert max(found) <= 15
    assert len(set(found)) > 100
    assert _jittered(10.0, None) == 10


def test_the_delay_is_told_in_the_log(log: Lines) -> None:
    task(Flaky(2), name="flaky", retries=2, retry_delay_seconds=[0, 0.001])()
    first, second = log.having("Retry")
    assert "INFO" in first
    assert "Task run failed with exception: ValueError('try 1') - Retry 1/2 will start immediately" in first
    assert "Retry 2/2 will start 0.001 second(s) from now" in second


def test_that_retries_are_used_up_is_told_with_the_traceback(log: Lines) -> None:
    task(Flaky(9), retries=1)(return_state=True)
    (line,) = log.having("Retries are exhausted")
    assert "ERROR" in line
    assert "Traceback" in line
    assert "ValueError: try 2" in line


def test_a_condition_says_whether_to_try_again() -> None:
    asked: list[Any] = []

    def temporary(task: Any, run: Any, state: Any) -> bool:
        asked.append((task.name, run.run_count, state.name, str(state.result(raise_on_failure=False))))
        return isinstance(state.data, ConnectionError)

    flaky = Flaky(2, ConnectionError)
    assert task(flaky, name="net", retries=3, retry_condition_fn=temporary)() == "done"
    assert asked == [("net", 1, "Failed", "try 1"), ("net", 2, "Failed", "try 2")]
    flaky = Flaky(2, KeyError)
    with pytest.raises(KeyError):
        task(flaky, retries=3, retry_condition_fn=temporary)()
    assert len(flaky.runs) == 1


def test_a_condition_may_be_async() -> None:
    async def never(task: Any, run: Any, state: Any) -> bool:
        return False

    flaky = Flaky(1)
    assert task(flaky, retries=3, retry_condition_fn=never)(return_state=True).is_failed()
    assert len(flaky.runs) == 1


def test_a_condition_that_raises_means_no(log: Lines) -> None:
    def broken(task: Any, run: Any, state: Any) -> bool:
        raise RuntimeError("condition trouble")

    flaky = Flaky(2)
    with pytest.raises(ValueError, match="try 1"):
        task(flaky, retries=3, retry_condition_fn=broken)()
    assert len(flaky.runs) == 1
    assert "retry_condition_fn raised" in log
    assert "condition trouble" in log


def test_a_condition_is_not_asked_when_there_are_no_retries_left() -> None:
    asked: list[int] = []
    task(Flaky(9), retries=1, retry_condition_fn=lambda *_: not asked.append(1))(return_state=True)
    assert asked == [1]


def test_hooks_see_the_first_failure_only_as_a_retry() -> None:
    seen: list[str] = []

    def note(task: Any, run: Any, state: Any) -> None:
        seen.append(state.name)

    task(Flaky(1), retries=1, on_running=[note], on_completion=[note], on_failure=[note])()
    assert seen == ["Running", "Retrying", "Completed"]
    seen.clear()
    task(Flaky(9), retries=1, on_running=[note], on_completion=[note], on_failure=[note])(return_state=True)
    assert seen == ["Running", "Retrying", "Failed"]


def test_between_two_tries_the_run_awaits_its_retry() -> None:
    seen: list[Any] = []
    runs: list[Any] = []

    def delays(retries: int) -> list[float]:
        return [0.05]

    @task(retries=1, retry_delay_seconds=delays)
    def flaky() -> None:
        context = TaskRunContext.get()
        assert context is not None
        runs.append(context.task_run)
        if len(runs) == 1:
            raise ValueError

    @flow
    def f() -> None:
        future = flaky.submit()
        while not future.done():
            seen.append((future.state.name, future.state.type.value))

    f()
    assert ("AwaitingRetry", "SCHEDULED") in seen


def test_a_retried_result_is_kept_like_any_other() -> None:
    flaky = Flaky(1)
    step = task(flaky, name="f", retries=1, cache_key_fn=lambda context, parameters: "the-key")
    assert step(return_state=True).name == "Completed"
    assert step(return_state=True).name == "Cached"
    assert len(flaky.runs) == 2


def test_a_failure_is_not_kept() -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        ran.append(x)
        if len(ran) == 1:
            raise ValueError
        return x

    assert step(1, return_state=True).is_failed()
    assert step(1, return_state=True).name == "Completed"
    assert step(1, return_state=True).name == "Cached"


def test_what_was_called_inside_a_failed_try_hits_in_the_next_one() -> None:
    ran: list[str] = []

    @task(cache_policy=INPUTS)
    def inner(x: int) -> int:
        ran.append("inner")
        return x

    @task(retries=1)
    def outer() -> int:
        value = inner(1)
        ran.append("outer")
        if ran.count("outer") == 1:
            raise ValueError
        return value

    assert outer() == 1
    assert ran.count("outer") == 2


def test_too_many_delays_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        task(Flaky(0), retry_delay_seconds=[0] * 51)


@pytest.mark.parametrize("factor", [-1, "10", True, None])
def test_a_factor_that_is_no_time_is_refused(factor: Any) -> None:
    with pytest.raises(ParameterTypeError, match="exponential_backoff\\(\\) takes a number of seconds, 0 or more"):
        exponential_backoff(factor)


def test_a_task_and_a_flow_that_do_not_say_have_the_retries_of_the_settings() -> None:
    step, whole = task(lambda: None), flow(lambda: None)
    assert (step.retries, step.retry_delay_seconds, whole.retries, whole.retry_delay_seconds) == (0, 0, 0, 0)
    with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 2, KEPT_FLOWS_DEFAULT_RETRIES: 3}):
        assert (step.retries, whole.retries, step.with_options(retries=1).retries) == (2, 3, 1)
