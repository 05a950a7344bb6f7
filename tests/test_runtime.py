"""`kept.runtime`: facts about the run that this code is part of, as attributes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

import kept
from kept import flow, runtime, tags, task
from kept.exceptions import ConfigurationError
from kept.runtime import deployment, flow_run, task_run
from tests.conftest import Lines


def test_outside_a_run_each_fact_is_none_or_empty() -> None:
    before = datetime.now(timezone.utc)
    assert {name: getattr(flow_run, name) for name in dir(flow_run) if name != "scheduled_start_time"} == {
        "id": None,
        "name": None,
        "flow_name": None,
        "flow_version": None,
        "parameters": {},
        "tags": [],
        "run_count": 0,
        "parent_flow_run_id": None,
        "root_flow_run_id": None,
        "parent_deployment_id": None,
        "job_variables": None,
        "api_url": None,
        "ui_url": None,
    }
    assert before <= flow_run.scheduled_start_time <= datetime.now(timezone.utc)
    assert {name: getattr(task_run, name) for name in dir(task_run)} == {
        "id": None,
        "name": None,
        "task_name": None,
        "parameters": {},
        "tags": [],
        "run_count": 0,
        "api_url": None,
        "ui_url": None,
    }
    assert {name: getattr(deployment, name) for name in dir(deployment)} == {
        "id": None,
        "name": None,
        "version": None,
        "flow_run_id": None,
        "parameters": {},
    }


def test_each_fact_has_a_function_that_returns_it() -> None:
    @flow(flow_run_name="mine")
    def f() -> Any:
        return flow_run.get_name(), flow_run.get_parameters()

    assert f() == ("mine", {})
    assert task_run.get_tags() == []


def test_an_environment_variable_stands_in_for_a_fact(monkeypatch: pytest.MonkeyPatch, log: Lines) -> None:
    for name, text in {
        "FLOW_RUN__NAME": "mocked",
        "FLOW_RUN__RUN_COUNT": "7",
        "FLOW_RUN__SCHEDULED_START_TIME": "2026-01-02T03:04:05",
        "TASK_RUN__FAKE_KEY": "foo",
        "DEPLOYMENT__NAME": "prod",
    }.items():
        monkeypatch.setenv(f"KEPT__RUNTIME__{name}", text)

    @flow(flow_run_name="real")
    def f() -> Any:
        return flow_run.name, flow_run.run_count, flow_run.scheduled_start_time, deployment.name

    assert f() == ("mocked", 7, datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "prod")
    assert flow_run.name == "mocked"
    assert task_run.fake_key == "foo"
    assert "is not a setting" not in log


@pytest.mark.parametrize(("name", "text"), [("RUN_COUNT", "many"), ("TAGS", "a,b"), ("PARAMETERS", "{}")])
def test_a_variable_that_can_not_stand_in_is_told(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"KEPT__RUNTIME__FLOW_RUN__{name}", text)
    with pytest.raises(ConfigurationError, match=f"KEPT__RUNTIME__FLOW_RUN__{name} is '{text}', which can't stand in"):
        getattr(flow_run, name.lower())


def test_inside_a_flow_the_facts_are_those_of_its_run() -> None:
    @flow(flow_run_name="mine", version="v7")
    def my_flow(x: int, y: int = 2) -> None:
        assert flow_run.name == "mine"
        assert flow_run.flow_name == "my-flow"
        assert flow_run.flow_version == "v7"
        assert flow_run.parameters == {"x": 1, "y": 2}
        assert flow_run.tags == ["a", "b"]
        assert flow_run.run_count == 1
        assert flow_run.scheduled_start_time is not None
        assert flow_run.parent_flow_run_id is None
        assert flow_run.root_flow_run_id == flow_run.id
        assert task_run.id is None

    with tags("b", "a"):
        my_flow(1)


def test_inside_a_task_there_are_facts_of_both() -> None:
    @task(task_run_name="step", tags=["t"])
    def my_task(x: int) -> None:
        assert task_run.name == "step"
        assert task_run.task_name == "my_task"
        assert task_run.parameters == {"x": 1}
        assert task_run.tags == ["t"]
        assert task_run.run_count == 1
        assert task_run.id
        assert flow_run.name == "mine"

    @flow(flow_run_name="mine")
    def f() -> None:
        my_task(1)
        my_task.submit(1).result()

    f()


def test_a_subflow_knows_its_parent_and_the_root() -> None:
    @flow
    def innermost() -> Any:
        return flow_run.parent_flow_run_id, flow_run.root_flow_run_id

    @flow
    def inner() -> Any:
        return flow_run.id, innermost()

    @flow
    def outer() -> Any:
        return flow_run.id, inner()

    root, (parent, (innermost_parent, innermost_root)) = outer()
    assert (innermost_parent, innermost_root) == (parent, root)


def test_retries_count() -> None:
    seen: list[int] = []

    @task(retries=2)
    def flaky() -> None:
        seen.append(task_run.run_count)
        if len(seen) < 3:
            raise ValueError

    flaky()
    assert seen == [1, 2, 3]


def test_parameters_are_a_copy() -> None:
    @flow
    def f(x: int) -> Any:
        flow_run.parameters.clear()
        return dict(flow_run.parameters)

    assert f(1) == {"x": 1}


def test_names_can_be_made_of_the_facts() -> None:
    @task(task_run_name="{flow_run.flow_name}/{x}")
    def step(x: int) -> Any:
        return task_run.name

    def chosen() -> str:
        return f"{flow_run.flow_name}-with-{flow_run.parameters['x']}"

    @flow(flow_run_name=chosen)
    def etl(x: int) -> Any:
        return flow_run.name, step(x)

    assert etl(3) == ("etl-with-3", "etl/3")


def test_a_fact_that_there_is_not_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'nme'. It has: id, name, flow_name"):
        flow_run.nme
    with pytest.raises(AttributeError, match=r"no attribute 'nme'. It has: id, name, task_name"):
        task_run.nme


def test_it_is_there_from_the_package() -> None:
    assert kept.runtime is runtime
    assert runtime.flow_run is flow_run
    assert runtime.task_run is task_run
