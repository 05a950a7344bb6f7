"""Flows that are submitted and mapped: they run on the runner of the flow around, as tasks do."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from kept import flow, task, unmapped
from kept.context import FlowRunContext
from kept.exceptions import MappingLengthMismatch, MappingMissingIterable, MissingContextError
from kept.futures import KeptFuture
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from tests.conftest import Lines


@task
def double(x: int) -> int:
    return x * 2


@task
def fail() -> int:
    raise ValueError("no luck")


@flow
def doubled(x: int) -> int:
    """A flow with a task on a runner of its own."""
    return double.submit(x).result()


@flow
async def doubled_async(x: int) -> int:
    return double(x)


@flow
def failing(x: int = 0) -> int:
    raise ValueError(f"no luck with {x}")


def run_id() -> str:
    context = FlowRunContext.get()
    assert context is not None
    return str(context.flow_run.id)


@pytest.mark.parametrize("inner", [doubled, doubled_async])
def test_a_flow_is_submitted_as_a_task_is(inner: Any) -> None:
    @flow
    def outer() -> Any:
        future = inner.submit(4)
        assert isinstance(future, KeptFuture)
        return future.result()

    assert outer() == 8


@pytest.mark.parametrize("inner", [doubled, doubled_async])
def test_an_async_flow_submits_flows_too(inner: Any) -> None:
    import asyncio

    @flow
    async def outer() -> Any:
        return await inner.submit(4).aresult()

    assert asyncio.run(outer()) == 8


@pytest.mark.parametrize("inner", [doubled, doubled_async])
def test_a_flow_is_mapped_over_customers(inner: Any) -> None:
    @flow
    def outer() -> Any:
        return inner.map([1, 2, 3]).result()

    assert outer() == [2, 4, 6]


def test_submitted_flows_run_at_the_same_time() -> None:
    everyone = threading.Barrier(3)

    @flow
    def meet() -> int:
        return everyone.wait(timeout=30)

    @flow
    def outer() -> list[int]:
        return [future.result() for future in [meet.submit() for _ in range(3)]]

    assert sorted(outer()) == [0, 1, 2]


def test_a_submitted_flow_is_a_subflow_of_the_run_that_submitted_it(log: Lines) -> None:
    @flow
    def inner() -> tuple[str | None, str]:
        context = FlowRunContext.get()
        assert context is not None
        return context.flow_run.flow_run_id, run_id()

    @flow
    def outer() -> Any:
        future = inner.submit()
        (parent, own), here = future.result(), run_id()
        assert (parent, own) == (here, future.task_run_id)

    outer()
    assert log.having("Beginning subflow run")


def test_futures_are_its_arguments_and_it_waits_for_them() -> None:
    @flow
    def total(xs: list[int]) -> int:
        return sum(xs)

    @flow
    def outer() -> int:
        return doubled.submit(total.submit([double.submit(1), doubled.submit(2)])).result()

    assert outer() == 12


def test_it_waits_for_what_it_is_told_to() -> None:
    order: list[str] = []
    told = threading.Event()

    @task
    def first() -> None:
        told.wait(timeout=30)
        order.append("first")

    @flow
    def second() -> None:
        order.append("second")

    @flow
    def outer() -> None:
        future = second.submit(wait_for=[first.submit()])
        told.set()
        future.wait()

    outer()
    assert order == ["first", "second"]


def test_a_failure_is_in_the_future_and_fails_nobody_else() -> None:
    @flow
    def outer() -> tuple[str, list[int]]:
        state = failing.submit(1, return_state=True)
        with pytest.raises(ValueError, match="no luck with 2"):
            failing.submit(2).result()
        return state.name, doubled.map([1, 2]).result()

    assert outer() == ("Failed", [2, 4])


def test_what_waits_for_a_failed_flow_does_not_run() -> None:
    @flow
    def outer() -> Any:
        upstream = failing.submit()
        return [step.submit(upstream, return_state=True).name for step in (double, doubled)]

    assert outer() == ["NotReady", "NotReady"]


def test_a_submitted_flow_does_not_run_on_what_failed() -> None:
    @flow
    def outer() -> Any:
        return doubled.submit(fail.submit(), return_state=True).name

    assert outer() == "NotReady"


def test_map_gives_states_and_takes_unmapped_values_whole() -> None:
    @flow
    def scaled(x: int, factors: list[int]) -> list[int]:
        return [x * factor for factor in factors]

    @flow
    def outer() -> Any:
        states = scaled.map([1, 2], unmapped([10, 100]), return_state=True)
        return [(state.name, state.result()) for state in states]

    assert outer() == [("Completed", [10, 100]), ("Completed", [20, 200])]


def test_a_flow_has_the_runner_it_names_and_is_submitted_on_that_of_the_flow_around() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
    def inner() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.task_runner.max_workers

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> Any:
        return inner.submit().result()

    assert outer() == 3


def test_flows_that_submit_flows_need_no_more_threads_than_there_are() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def down(n: int) -> int:
        return n if n == 0 else down.submit(n - 1).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> list[int]:
        return down.map([3, 3]).result()

    assert outer() == [0, 0]


def test_a_flow_waits_for_the_flows_that_it_submitted() -> None:
    ended: list[int] = []
    go = threading.Event()

    @flow
    def late(n: int) -> None:
        go.wait(timeout=30)
        ended.append(n)

    @flow
    def outer() -> None:
        late.map([1, 2])
        go.set()

    outer()
    assert sorted(ended) == [1, 2]


def test_hooks_of_a_submitted_flow_run() -> None:
    seen: list[str] = []

    hooked = failing.with_options(on_failure=[lambda flow, run, state: seen.append(state.name)])

    @flow
    def outer() -> None:
        hooked.submit().wait()

    outer()
    assert seen == ["Failed"]


def test_a_flow_that_exits_crashes_alone() -> None:
    @flow
    def exits() -> None:
        raise SystemExit(3)

    @flow
    def outer() -> Any:
        future = exits.submit()
        future.wait()
        return future.state.name, doubled.submit(4).result()

    assert outer() == ("Crashed", 8)


@flow
def doubled_elsewhere(x: int) -> tuple[int, int]:
    return double.submit(x).result(), os.getpid()


def test_a_flow_runs_in_a_process_of_its_own_with_tasks_on_a_runner_of_its_own() -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def outer() -> Any:
        return doubled_elsewhere.map([1, 2]).result()

    (first, process), (second, _) = outer()
    assert (first, second) == (2, 4)
    assert process != os.getpid()


def test_its_parameters_are_validated() -> None:
    @flow
    def outer() -> Any:
        return doubled.submit("4").result(), doubled.submit("x", return_state=True).name

    assert outer() == (8, "Failed")


def test_outside_a_flow_and_with_nothing_to_map_it_is_told() -> None:
    @flow
    def outer() -> None:
        with pytest.raises(MappingMissingIterable, match="flow 'doubled'"):
            doubled.map(1)
        with pytest.raises(MappingLengthMismatch, match="flow 'doubled'"):
            flow(lambda x, y: x, name="doubled").map([1], [1, 2])

    outer()
    for act in (lambda: doubled.submit(1), lambda: doubled.map([1])):
        with pytest.raises(MissingContextError, match="Flow 'doubled' can't be submitted here"):
            act()
