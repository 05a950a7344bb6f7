"""`kept plan`: what a flow would do, without doing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task, transaction, unmapped
from kept.cache_policies import INPUTS
from kept.engine.planning import FlowPlan, plan
from tests.test_why import Project, project

__all__ = ["project"]

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@task(cache_policy=INPUTS, result_storage_key=None)
def load(day: str) -> list[int]:
    ran.append("load")
    return [1, 2, len(day)]


@task(cache_key_fn=lambda context, parameters: f"square-{parameters['x']}")
def square(x: int) -> int:
    ran.append("square")
    return x * x


@task(cache_key_fn=lambda context, parameters: f"total-{sorted(parameters['xs'])}-{parameters['scale']}")
def total(xs: list[int], scale: int = 1) -> int:
    ran.append("total")
    return sum(xs) * scale


@task
def send(x: Any) -> None:
    ran.append("send")


@flow
def nightly(day: str) -> int:
    xs = load(day)
    squares = square.map(xs)
    result = total(squares)
    send(result)
    return result


def outcomes(planned: FlowPlan) -> list[str]:
    return [f"{'  ' * one.depth}{one.outcome} {one.name}" for one in planned.steps]


def test_of_a_flow_that_never_ran_all_depends_on_the_first_step(home: Path) -> None:
    steps = ["RUN load", "DEPENDS square × n", "DEPENDS total", "DEPENDS send"]  # noqa: RUF001
    assert outcomes(plan(nightly, {"day": "mon"})) == steps
    assert ran == []
    assert not (home / "history.sqlite").exists()


def test_kept_values_are_passed_on_so_that_deeper_steps_are_known() -> None:
    nightly("mon")
    square(7)
    ran.clear()
    planned = plan(nightly, {"day": "mon"})
    assert outcomes(planned) == ["HIT load", "HIT square", "HIT square", "HIT square", "HIT total", "RUN send"]
    load("tuesday")
    planned = plan(nightly, {"day": "tuesday"})
    assert outcomes(planned) == ["HIT load", "HIT square", "HIT square", "HIT square", "RUN total", "DEPENDS send"]
    assert planned.steps[-1].others == (4,)
    assert ran == ["load"]


def test_a_step_that_would_run_says_why() -> None:
    square(1)
    square.with_options(cache_key_fn=lambda context, parameters: None)

    @flow
    def f() -> None:
        square(2)
        send(1)

    run, off = plan(f, {}).steps
    assert run.explanation is not None
    assert off.explanation is not None
    assert run.explanation.line.startswith("MISS: cache_key_fn square-1 -> square-2; nearest")
    assert off.explanation.line == "OFF: nothing asks for its result to be kept"


def test_a_step_that_another_one_of_the_flow_computes_is_not_counted_twice() -> None:
    @flow
    def f() -> None:
        send(square(3))
        send(square(3))

    planned = plan(f, {})
    assert outcomes(planned) == ["RUN square", "DEPENDS send", "AGAIN square", "DEPENDS send"]
    assert [one.others for one in planned.steps] == [(), (0,), (0,), (0,)]


def test_subflows_are_looked_into() -> None:
    @flow
    def inner(x: int) -> int:
        return square(x) + 1

    @flow(cache_policy=INPUTS)
    def kept_inner(x: int) -> int:
        return x

    @flow
    def outer() -> None:
        send(inner(3))
        send(kept_inner(1))
        send(inner(4))

    square(3)
    kept_inner(1)
    assert outcomes(plan(outer, {})) == [
        "RUN inner",
        "  HIT square",
        "RUN send",
        "HIT kept_inner".replace("_", "-"),
        "RUN send",
        "RUN inner",
        "  RUN square",
        "DEPENDS send",
    ]


def test_async_flows_and_tasks_are_planned_alike() -> None:
    @task(cache_policy=INPUTS)
    async def fetch(x: int) -> int:
        ran.append("fetch")
        return x

    @flow
    async def inner(x: int) -> int:
        return await fetch(x)

    @flow
    async def outer() -> None:
        await inner(await fetch(1))
        square.submit(await inner(2))

    assert outcomes(plan(outer, {})) == ["RUN fetch", "DEPENDS inner", "RUN inner", "  RUN fetch", "DEPENDS square"]
    assert ran == []


def test_generators_give_what_is_kept() -> None:
    @task(cache_policy=INPUTS)
    def numbers(n: int) -> Any:
        yield from range(n)

    @flow
    def f() -> None:
        for x in numbers(2):
            square(x)

    assert outcomes(plan(f, {})) == ["RUN numbers", "DEPENDS square"]
    f()
    assert outcomes(plan(f, {})) == ["HIT numbers", "HIT square", "HIT square"]


def test_states_futures_wait_for_and_transactions_are_what_they_are_in_a_run() -> None:
    @flow
    def f() -> None:
        state = square(5, return_state=True)
        with transaction():
            total.submit([state, square.submit(6)], scale=1).wait()
        total.map(unmapped([1, 2]), [1, 2], wait_for=[square(8)])

    square(5)
    first, *others = outcomes(plan(f, {}))
    assert first == "HIT square"
    assert others == ["RUN square", "DEPENDS total", "RUN square", "RUN total", "RUN total"]


def test_a_flow_that_needs_a_value_that_is_not_there_is_planned_up_to_there() -> None:
    @flow
    def f() -> None:
        if square(9) > 5:
            send(1)

    planned = plan(f, {})
    assert outcomes(planned) == ["RUN square"]
    assert planned.end.startswith("The flow looks at the result of task 'square'")
    square(9)
    assert outcomes(plan(f, {})) == ["HIT square", "RUN send"]


def test_a_flow_whose_body_raises_says_so() -> None:
    @flow
    def f() -> None:
        send(1)
        raise ValueError("no such day")

    assert plan(f, {}).end == "The body of the flow raised ValueError: no such day"


def test_a_flow_that_is_kept_itself_is_one_step() -> None:
    @flow(cache_policy=INPUTS)
    def f(x: int) -> int:
        return square(x)

    f(2)
    assert outcomes(plan(f, {"x": 2})) == ["HIT f"]


class TestTheCommand:
    def test_prints_each_step_and_counts_them(self, project: Project) -> None:
        assert "DEPENDS   2 show: on what clean (1) gives\n" in project.kept("plan", "etl:nightly", "lr=0.1").out
        project.run("0.1")
        rows = project.kept("plan", "etl.py:nightly", "lr=0.1").out.splitlines()
        assert rows[0].startswith("HIT       1 clean: kept ")
        assert rows[1:] == ["RUN       2 show: nothing asks for its result to be kept", "nightly: 1 hit, 1 run"]
        row = project.kept("plan", "etl.py:nightly", "lr=0.2").out.splitlines()[0]
        assert row.startswith("RUN       1 clean: inputs.cfg['lr'] 0.1 -> 0.2; nearest kept result is from ")

    def test_runs_nothing_of_a_script_without_a_guard(self, project: Project) -> None:
        project.edit('if __name__ == "__main__":', "if True:")
        project.edit("sys.argv[1]", "0.1")
        done = project.kept("plan", "etl.py:nightly", "lr=0.1")
        assert done.code == 1
        assert "etl.py starts a run when it is imported, and nothing is to run now." in done.err
        assert "`if __name__ == '__main__':`" in done.err

    def test_gives_json(self, project: Project) -> None:
        found = json.loads(project.kept("plan", "etl:nightly", "lr=0.1", "--json").out)
        assert [step["outcome"] for step in found["steps"]] == ["RUN", "DEPENDS"]
        assert found["steps"][0]["explanation"]["decision"] == "MISS"

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["etl:clean"], "etl:clean is a task: `kept plan` takes a flow."),
            (["etl:nightly"], "missing a required argument: 'lr'"),
            (["etl:nightly", "0.1"], "'0.1' is no parameter: write name=value"),
        ],
    )
    def test_says_what_is_wrong(self, words: list[str], said: str, project: Project) -> None:
        done = project.kept("plan", *words)
        assert done.code == 1
        assert said in done.err
