"""Which run this code is part of."""

from __future__ import annotations

import contextvars
import re
import threading
from datetime import datetime, timezone
from typing import Any

import pytest

from kept import flow, tags, task
from kept.context import (
    FlowRun,
    FlowRunContext,
    TagsContext,
    TaskRun,
    TaskRunContext,
    get_run_context,
    new_id,
)
from kept.exceptions import MissingContextError, ParameterTypeError
from kept.results import get_result_store, should_persist_result
from kept.states import Running
from kept.task_runners import ThreadPoolTaskRunner


def test_outside_a_run_there_is_none() -> None:
    assert FlowRunContext.get() is None
    assert TaskRunContext.get() is None
    with pytest.raises(MissingContextError, match="not in a flow or task run"):
        get_run_context()


def test_a_flow_run_is_its_context() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=7))
    def f(x: int, y: int = 2) -> None:
        context = FlowRunContext.get()
        assert context is get_run_context()
        assert context is not None
        assert context.flow is f
        assert context.parameters == {"x": 1, "y": 2}
        assert isinstance(context.flow_run, FlowRun)
        assert context.flow_run.state_name == "Running"
        assert context.task_runner.max_workers == 7
        assert TaskRunContext.get() is None

    f(1)


def test_a_task_run_is_its_context_and_sees_the_flow_around() -> None:
    @task
    def step(x: int) -> None:
        context = TaskRunContext.get()
        assert context is get_run_context()
        assert context is not None
        assert context.task is step
        assert context.parameters == context.task_run.parameters == {"x": 1}
        assert isinstance(context.task_run, TaskRun)
        around = FlowRunContext.get()
        assert around is not None
        assert around.flow is f
        assert context.task_run.flow_run_id == around.flow_run.id

    @flow
    def f() -> None:
        step(1)
        step.submit(1).result()

    f()


def test_a_task_outside_a_flow_sees_none() -> None:
    @task
    def step() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return FlowRunContext.get(), context.task_run.flow_run_id

    assert step() == (None, None)


def test_in_a_subflow_the_innermost_flow_counts() -> None:
    @flow
    def inner() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        assert TaskRunContext.get() is None
        return context.flow.name

    @task
    def step() -> Any:
        return inner()

    @flow
    def outer() -> Any:
        name = step()
        context = FlowRunContext.get()
        assert context is not None
        return name, context.flow.name

    assert outer() == ("inner", "outer")


def test_a_flow_in_a_task_knows_the_flow_around_both() -> None:
    @flow
    def inner() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.flow_run.flow_run_id

    @task
    def step() -> Any:
        return inner()

    @flow
    def outer() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return step() == context.flow_run.id

    assert outer() is True
    assert step() is None


def test_the_context_comes_back_after_each_run() -> None:
    @task
    def step() -> None: ...

    @task
    def fail() -> None:
        raise ValueError

    @flow
    def inner() -> None: ...

    @flow
    def f() -> None:
        here = get_run_context()
        step()
        fail(return_state=True)
        inner()
        step.submit().wait()
        assert get_run_context() is here

    f()
    assert FlowRunContext.get() is None


def test_a_thread_with_a_copy_of_the_context_is_in_the_run() -> None:
    @flow
    def f() -> Any:
        found: list[Any] = []
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: found.append(FlowRunContext.get())),
            threading.Thread(target=context.run, args=(lambda: found.append(FlowRunContext.get()),)),
        ]
        for thread in threads:
            thread.start()
            thread.join()
        return found[0], found[1] is get_run_context()

    assert f() == (None, True)


def test_a_context_can_be_entered_by_hand() -> None:
    run = TaskRun(new_id(), "by hand", parameters={"x": 1})
    with TaskRunContext(task="t", task_run=run, parameters={"x": 1}) as context:
        assert TaskRunContext.get() is context
        with FlowRunContext(flow="f", flow_run=FlowRun(new_id(), "flow")) as inner:
            assert get_run_context() is inner
        assert get_run_context() is context
    assert TaskRunContext.get() is None


def test_a_context_that_an_error_leaves_is_left() -> None:
    with pytest.raises(KeyError), FlowRunContext(flow="f"):
        raise KeyError
    assert FlowRunContext.get() is None


def test_a_run_knows_when_it_began_and_where_it_stands() -> None:
    before = datetime.now(timezone.utc)
    run = TaskRun(new_id(), "r")
    assert before <= run.start_time <= datetime.now(timezone.utc)
    assert TaskRunContext(task_run=run).start_time == run.start_time == run.expected_start_time
    assert FlowRunContext(flow_run=run).start_time == run.start_time
    assert (run.state, run.state_name, run.state_type, run.run_count) == (None, None, None, 0)
    run.state = Running()
    assert (run.state_name, run.state_type.value) == ("Running", "RUNNING")
    assert re.fullmatch(r"TaskRun\(id='.*', name='r', state=Running\(\)\)", repr(run))


def test_ids_are_valid_uuids_of_version_4_and_differ() -> None:
    import uuid

    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {uuid.UUID(one).version for one in ids} == {4}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_tags_nest_and_end_with_their_block() -> None:
    assert TagsContext.get().current_tags == frozenset()
    with tags("a", "b") as outer:
        assert outer == {"a", "b"}
        with tags("b", "c") as inner:
            assert inner == {"a", "b", "c"}
        assert TagsContext.get().current_tags == {"a", "b"}
    with pytest.raises(KeyError), tags("x"):
        raise KeyError
    assert TagsContext.get().current_tags == frozenset()


@pytest.mark.parametrize("wrong", [1, ["a", "b"]])
def test_tags_that_are_no_strings_are_refused(wrong: Any) -> None:
    with pytest.raises(ParameterTypeError, match=r"tags\(.* was called: tags are strings"), tags(wrong):
        raise AssertionError("it began")


def test_what_is_yielded_is_a_copy() -> None:
    with tags("a") as mine:
        mine.add("b")
        assert TagsContext.get().current_tags == {"a"}


def test_a_run_knows_whether_and_where_its_result_is_kept() -> None:
    @task(persist_result=True, result_serializer="json")
    def keeping() -> Any:
        return should_persist_result(), get_result_store().serializer_name

    @task
    def not_keeping() -> Any:
        return should_persist_result()

    @flow(persist_result=True)
    def f() -> Any:
        return should_persist_result(), not_keeping()

    assert keeping() == (True, "json") or keeping() == [True, "json"]
    assert not_keeping() is False
    assert f() == (True, True)
    assert should_persist_result() is False
