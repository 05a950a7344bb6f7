"""A timeout ends the run whose time is up, whatever runs inside of it."""

from __future__ import annotations

import time
from typing import Any

from kept import Task, flow, task
from kept.states import StateType


def long_work(finished: list[int]) -> None:
    for _ in range(200):
        time.sleep(0.01)
    finished.append(1)


def under_a_flow_of_a_twentieth_second(step: Task[..., Any]) -> Any:
    """The final state of a flow that calls the task, and whether the task was let finish."""
    finished: list[int] = []

    @flow(timeout_seconds=0.05)
    def around() -> None:
        step(finished)

    state = around(return_state=True)
    assert not finished
    return state


def test_a_flow_whose_time_is_up_inside_of_a_task_is_timed_out() -> None:
    state = under_a_flow_of_a_twentieth_second(task(long_work))
    assert (state.name, state.type) == ("TimedOut", StateType.FAILED)
    assert "0.05" in state.message


def test_the_task_inside_is_not_tried_again() -> None:
    starts: list[int] = []

    @task(retries=3)
    def counted(finished: list[int]) -> None:
        starts.append(1)
        long_work(finished)

    assert under_a_flow_of_a_twentieth_second(counted).name == "TimedOut"
    assert len(starts) == 1


def test_a_task_with_more_time_than_its_flow_ends_with_the_flow() -> None:
    assert under_a_flow_of_a_twentieth_second(task(long_work, timeout_seconds=60)).name == "TimedOut"


def test_a_task_with_less_time_than_its_flow_ends_alone() -> None:
    step = task(long_work, timeout_seconds=0.05)

    @flow(timeout_seconds=60)
    def around() -> list[str]:
        return [step([], return_state=True).name for _ in range(2)]

    assert around() == ["TimedOut", "TimedOut"]


def test_a_task_on_a_thread_can_not_take_a_timeout_for_an_error_of_its_own() -> None:
    @task(timeout_seconds=0.05)
    def stubborn() -> str:
        try:
            long_work([])
        except Exception:
            pass
        return "went on"

    @flow
    def around() -> str:
        name: str = stubborn.submit(return_state=True).name
        return name

    assert around() == "TimedOut"
