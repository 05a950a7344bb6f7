"""Flows: called, nested, named, hooked; what they return decides how they end."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from kept import Flow, flow, get_run_logger, tags, task, unmapped
from kept.context import FlowRun, FlowRunContext, TaskRunContext
from kept.exceptions import CancelledRun, FailedRun, ParameterBindError, ParameterTypeError, UnfinishedRun
from kept.futures import KeptFuture
from kept.runtime import flow_run
from kept.settings import KEPT_FLOW_DEFAULT_RETRIES, temporary_settings
from kept.states import Cancelled, Completed, Crashed, Failed, Running, State
from kept.task_runners import ThreadPoolTaskRunner
from kept.utilities.annotations import quote
from kept.utilities.hashing import file_hash
from tests.conftest import Lines


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def fail(message: str = "no luck") -> Any:
    raise ValueError(message)


def run_of_flow() -> FlowRun:
    context = FlowRunContext.get()
    assert context is not None
    return context.flow_run


# -- called


def test_a_flow_returns_what_its_function_returns() -> None:
    @flow
    def f(x: int, y: int = 2) -> int:
        return x * y

    assert (f(2), f(2, 5), f(y=3, x=2)) == (4, 10, 6)
    assert f.fn(2) == 4


def test_a_flow_raises_what_its_function_raises() -> None:
    @flow
    def f() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        f()


def test_return_state_gives_the_state_and_raises_nothing() -> None:
    @flow
    def good() -> int:
        return 1

    @flow
    def bad() -> None:
        raise KeyError("gone")

    state = good(return_state=True)
    assert (state.name, state.result()) == ("Completed", 1)
    state = bad(return_state=True)
    assert (state.name, state.type.value) == ("Failed", "FAILED")
    assert state.message == "Flow run encountered an exception KeyError: 'gone'"
    assert isinstance(state.result(raise_on_failure=False), KeyError)


def test_a_call_that_does_not_fit_is_an_error_that_names_the_flow() -> None:
    @flow
    def f(x: int) -> None: ...

    with pytest.raises(ParameterBindError, match=r"flow 'f'.*missing a required argument: 'x'"):
        f()


def test_flows_run_flows() -> None:
    @flow
    def inner(x: int) -> Any:
        return add(x), run_of_flow().flow_run_id

    @flow
    def outer() -> Any:
        return inner(1), run_of_flow().id

    (value, parent), outer_id = outer()
    assert value == 2
    assert parent == outer_id


def test_a_subflow_has_a_runner_of_its_own() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=3))
    def inner() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.task_runner

    outer_runner = ThreadPoolTaskRunner(max_workers=1)

    @flow(task_runner=outer_runner)
    def outer() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.task_runner, inner()

    mine, theirs = outer()
    assert (mine.max_workers, theirs.max_workers) == (1, 3)
    assert mine is not outer_runner


def test_a_flow_calls_itself() -> None:
    @flow
    def countdown(n: int) -> list[int]:
        return [n, *countdown(n - 1)] if n else []

    assert countdown(3) == [3, 2, 1]


def test_a_method_can_be_a_flow() -> None:
    class Shop:
        price = 3

        @flow
        def cost(self, count: int) -> int:
            return self.price * count

    assert Shop().cost(2) == 6


def test_a_flow_takes_futures_and_waits_for_others() -> None:
    @flow
    def inner(x: Any, y: Any = None) -> Any:
        return x, y

    @flow
    def outer() -> Any:
        future = add.submit(1)
        return inner(future, [future], wait_for=[future])

    assert outer() == (2, [2])


def test_a_flow_whose_input_failed_is_not_ready_and_does_not_run() -> None:
    ran: list[Any] = []

    @flow
    def inner(x: Any = None) -> None:
        ran.append(x)

    @flow
    def outer() -> Any:
        failed = fail.submit()
        return [inner(failed, return_state=True).name, inner(wait_for=[failed], return_state=True).name]

    assert outer() == ["NotReady", "NotReady"]
    assert ran == []


# -- what it returns decides how it ends


@pytest.mark.parametrize("value", [None, 0, [], (), {}, [1], "text"])
def test_a_flow_that_returns_a_value_is_completed(value: Any) -> None:
    @flow
    def f() -> Any:
        return value

    state = f(return_state=True)
    assert (state.name, state.result()) == ("Completed", value)


def test_a_flow_that_returns_nothing_is_completed_whatever_its_tasks_do() -> None:
    @flow
    def f() -> None:
        fail.submit()
        fail(return_state=True)

    assert f(return_state=True).is_completed()


def test_a_failed_task_that_is_called_fails_the_flow() -> None:
    @flow
    def f() -> None:
        fail("in the flow")

    state = f(return_state=True)
    assert state.is_failed()
    with pytest.raises(ValueError, match="in the flow"):
        state.result()


def test_a_flow_that_catches_the_failure_goes_on() -> None:
    @flow
    def f() -> str:
        try:
            fail()
        except ValueError:
            return "caught"
        return "not raised"

    assert f() == "caught"


def test_a_flow_that_returns_a_future_ends_as_its_task_does() -> None:
    @flow
    def good() -> Any:
        return add.submit(1)

    @flow
    def bad() -> Any:
        return fail.submit()

    assert good() == 2
    assert good(return_state=True).is_completed()
    with pytest.raises(ValueError, match="no luck"):
        bad()
    assert bad(return_state=True).is_failed()


def test_a_flow_that_returns_a_state_ends_in_it() -> None:
    @flow
    def f(state: Any) -> Any:
        return state

    assert f(quote(Completed(data=3))) == 3
    assert f(quote(Completed(name="Skipped")), return_state=True).name == "Skipped"
    with pytest.raises(FailedRun, match="gave up"):
        f(quote(Failed(message="gave up")))
    with pytest.raises(CancelledRun):
        f(quote(Cancelled()))


@pytest.mark.parametrize(
    ("states", "name"),
    [
        ([Completed(), Completed()], "Completed"),
        ([Completed(), Failed()], "Failed"),
        ((Failed(), Crashed()), "Crashed"),
        ([Crashed(), Cancelled()], "Cancelled"),
        ([Completed(), Running()], "Failed"),
    ],
)
def test_a_flow_that_returns_states_ends_in_the_worst(states: Any, name: str) -> None:
    @flow
    def f() -> Any:
        return states

    assert f(return_state=True).name == name


def test_a_flow_that_returns_several_futures_waits_for_them_and_the_worst_decides() -> None:
    @flow
    def f(bad: bool) -> Any:
        return [add.submit(1), fail.submit() if bad else add.submit(2)]

    state = f(False, return_state=True)
    assert state.is_completed()
    assert [one.result() for one in state.result()] == [2, 3]
    state = f(True, return_state=True)
    assert (state.name, state.message) == ("Failed", "1/2 states failed.")
    with pytest.raises(ValueError, match="no luck"):
        state.result()


def test_a_flow_that_returns_what_a_map_gave_ends_as_its_runs_do() -> None:
    @flow
    def f() -> Any:
        return add.map([1, 2], unmapped(3))

    assert [state.result() for state in f()] == [4, 5]


def test_futures_among_values_come_out_as_their_states() -> None:
    @flow
    def f() -> Any:
        return {"future": add.submit(1), "value": 7, "list": [add.submit(2), 8]}

    state = f(return_state=True)
    assert state.is_completed()
    found = state.result()
    assert isinstance(found["future"], State)
    assert (found["future"].result(), found["value"], found["list"][0].result(), found["list"][1]) == (2, 7, 3, 8)


def test_a_flow_waits_for_what_it_submitted() -> None:
    gate, seen = threading.Event(), []

    @task
    def slow() -> None:
        gate.wait(10)
        seen.append("slow")

    @flow
    def f() -> str:
        slow.submit()
        threading.Timer(0.01, gate.set).start()
        return "returned"

    assert f() == "returned"
    assert seen == ["slow"]


def test_a_flow_that_fails_waits_for_what_it_submitted_too() -> None:
    gate, seen = threading.Event(), []

    @task
    def slow() -> None:
        gate.wait(10)
        seen.append("slow")

    @flow
    def f() -> None:
        slow.submit()
        threading.Timer(0.01, gate.set).start()
        raise KeyError("bad")

    assert f(return_state=True).is_failed()
    assert seen == ["slow"]


# -- parameters


def test_parameters_are_converted_by_their_annotations() -> None:
    @flow
    def f(x: int, names: list[str]) -> Any:
        return x, names

    assert f("3", ("a", "b")) == (3, ["a", "b"])  # type: ignore[arg-type]


def test_an_annotation_that_can_not_be_read_costs_no_other_its_check() -> None:
    class Here: ...

    @flow
    def report(count: int, frame: OnlyForTypeCheckers, here: Here | None = None) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return (count, frame, here, Here)

    assert report("3", "as it is")[:2] == (3, "as it is")  # type: ignore[arg-type]
    with pytest.raises(ParameterTypeError, match="count: .*\n - here: "):
        report("many", None, here=1)  # type: ignore[arg-type]


def test_the_context_holds_the_converted_parameters_with_defaults() -> None:
    @flow
    def f(x: int, y: int = 2) -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.parameters, context.flow_run.parameters

    assert f("1") == ({"x": 1, "y": 2}, {"x": 1, "y": 2})  # type: ignore[arg-type]


# -- names and tags


def test_a_run_is_named_by_two_words(log: Lines) -> None:
    @flow
    def my_flow() -> str:
        return run_of_flow().name

    name = my_flow()
    assert re.fullmatch("[a-z]+-[a-z]+", name)
    assert f"Flow run '{name}' - Beginning flow run '{name}' for flow 'my-flow'" in log
    assert f"Flow run '{name}' - Finished in state Completed()" in log


def test_a_subflow_says_so(log: Lines) -> None:
    @flow
    def inner() -> str:
        return run_of_flow().name

    @flow
    def outer() -> str:
        return inner()

    name = outer()
    assert f"Flow run '{name}' - Beginning subflow run '{name}' for flow 'inner'" in log


def test_a_run_name_can_be_a_template_or_a_function(log: Lines) -> None:
    @flow(flow_run_name="load-{day}-{count:03d}")
    def f(day: str, count: int = 1) -> str:
        return run_of_flow().name

    assert f("monday", "7") == "load-monday-007"  # type: ignore[arg-type]
    assert "Flow run 'load-monday-007' - Beginning flow run 'load-monday-007'" in log
    assert f.with_options(flow_run_name=lambda: "chosen")("x") == "chosen"
    assert f.with_options(flow_run_name=lambda parameters: parameters["day"])("tuesday") == "tuesday"


def test_a_wrong_run_name_fails_the_run_with_a_sentence() -> None:
    @flow(flow_run_name="{nothing}")
    def f() -> None: ...

    with pytest.raises(ValueError, match="run name template of flow 'f'"):
        f()
    assert f(return_state=True).is_failed()


def test_tags_add_up_from_the_outside_in() -> None:
    @task(tags=["task"])
    def step() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return set(context.task_run.tags)

    @flow
    def inner() -> Any:
        return set(run_of_flow().tags), step()

    @flow
    def outer() -> Any:
        with tags("c") as now:
            return set(run_of_flow().tags), now, inner(), step.submit().result()

    with tags("a", "b"):
        outer_tags, now, (inner_tags, task_tags), submitted_tags = outer()
    assert outer_tags == {"a", "b"}
    assert now == inner_tags == {"a", "b", "c"}
    assert task_tags == submitted_tags == {"a", "b", "c", "task"}
    assert outer()[0] == set()


# -- options


def test_with_options_gives_a_flow_of_its_own() -> None:
    @flow
    def f() -> int:
        return 1

    other = f.with_options(name="other", description="d")
    assert isinstance(other, Flow)
    assert (other.name, other.description, other(), f.name) == ("other", "d", 1, "f")


def test_the_version_is_a_hash_of_the_file_unless_it_is_given() -> None:
    @flow
    def f() -> Any:
        return flow_run.flow_version

    assert f() == f.version == file_hash(__file__)
    assert f.with_options(version="v7")() == "v7"
    assert flow(eval("lambda: 1")).version is None


def test_the_default_runner_is_on_threads_and_each_run_has_a_fresh_one() -> None:
    runners: list[Any] = []

    @flow
    def f() -> None:
        context = FlowRunContext.get()
        assert context is not None
        runners.append(context.task_runner)

    f()
    f()
    assert [type(runner) for runner in runners] == [ThreadPoolTaskRunner] * 2
    assert runners[0] is not runners[1]


def test_a_flow_is_retried_with_the_same_run() -> None:
    runs: list[Any] = []

    @flow(retries=2)
    def f() -> str:
        runs.append((run_of_flow().id, run_of_flow().run_count, run_of_flow().state_name))
        if len(runs) < 3:
            raise ValueError("again")
        return "done"

    assert f() == "done"
    assert [run[1:] for run in runs] == [(1, "Running"), (2, "Retrying"), (3, "Retrying")]
    assert len({run[0] for run in runs}) == 1


def test_a_retried_flow_does_not_run_the_kept_steps_again() -> None:
    ran: list[str] = []

    @task(persist_result=True)
    def expensive() -> int:
        ran.append("expensive")
        return 1

    @flow(retries=1)
    def f() -> int:
        value = expensive()
        ran.append("flow")
        if ran.count("flow") == 1:
            raise ValueError("again")
        return value

    assert f() == 1
    assert ran == ["expensive", "flow", "flow"]


def test_the_default_of_retries_is_a_setting() -> None:
    counts: list[int] = []

    @flow
    def f() -> None:
        counts.append(run_of_flow().run_count)
        raise ValueError("again")

    with temporary_settings({KEPT_FLOW_DEFAULT_RETRIES: 1}):
        assert f(return_state=True).is_failed()
    assert counts == [1, 2]


def test_the_result_of_a_flow_is_kept_when_asked_for() -> None:
    @flow(persist_result=True, cache_result_in_memory=False)
    def f() -> list[int]:
        return [1, 2]

    state = f(return_state=True)
    assert state.cache_key
    first = state.result()
    assert first == [1, 2]


def test_a_flow_result_that_can_not_be_kept_is_said_and_returned(log: Lines) -> None:
    lock = threading.Lock()

    @flow(persist_result=True)
    def f() -> Any:
        return lock

    assert f() is lock
    assert "The result was not kept: " in log


def test_a_flow_that_keeps_results_gives_that_to_its_tasks() -> None:
    ran: list[int] = []

    @task
    def step(x: int) -> int:
        ran.append(x)
        return x

    @flow(persist_result=True)
    def keeping() -> None:
        step(1)
        step(1)

    @flow
    def not_keeping() -> None:
        step(1)
        step(1)

    keeping()
    assert ran == [1]
    not_keeping()
    assert ran == [1, 1, 1]


# -- hooks


def test_hooks_get_flow_run_and_state_when_it_gets_there() -> None:
    seen: list[Any] = []

    def note(flow: Any, run: Any, state: Any) -> None:
        assert isinstance(run, FlowRun)
        seen.append((flow.name, run.name, state.name, run.state is state))

    every: dict[str, Any] = {
        key: [note] for key in ("on_running", "on_completion", "on_failure", "on_crashed", "on_cancellation")
    }

    @flow(flow_run_name="run", **every)
    def f(how: Any) -> Any:
        if isinstance(how, BaseException):
            raise how
        return how

    f(1)
    f(ValueError("x"), return_state=True)
    f(quote(Cancelled()), return_state=True)
    f(quote(Crashed()), return_state=True)
    with pytest.raises(KeyboardInterrupt):
        f(KeyboardInterrupt())
    ends = ["Completed", "Failed", "Cancelled", "Crashed", "Crashed"]
    assert seen == [("f", "run", name, True) for end in ends for name in ("Running", end)]


def test_hooks_can_be_added_by_decorators() -> None:
    seen: list[str] = []

    @flow
    def f(bad: bool = False) -> None:
        if bad:
            raise ValueError

    for moment in ("on_running", "on_completion", "on_failure", "on_crashed", "on_cancellation"):
        getattr(f, moment)(lambda flow, run, state, moment=moment: seen.append(moment))
    f()
    f(bad=True, return_state=True)
    assert seen == ["on_running", "on_completion", "on_running", "on_failure"]


def test_a_hook_that_raises_is_logged_and_harmless(log: Lines) -> None:
    seen: list[str] = []

    def broken(flow: Any, run: Any, state: Any) -> None:
        raise RuntimeError("hook trouble")

    async def after(flow: Any, run: Any, state: Any) -> None:
        seen.append("after")

    @flow(on_completion=[broken, after])
    def f() -> int:
        return 1

    assert f() == 1
    assert seen == ["after"]
    assert "while running hook 'broken'" in log


def test_a_hook_can_log_for_its_run(log: Lines) -> None:
    def note(flow: Any, run: Any, state: Any) -> None:
        get_run_logger().info("from the hook")

    @flow(flow_run_name="mine", on_completion=[note])
    def f() -> None: ...

    f()
    assert "Flow run 'mine' - from the hook" in log


# -- interrupts


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("in_task", [True, False])
def test_an_interrupt_crashes_the_flow_and_goes_on(interrupt: type[BaseException], in_task: bool, log: Lines) -> None:
    seen: list[Any] = []

    @task
    def step() -> None:
        raise interrupt

    @flow(retries=2, on_crashed=[lambda flow, run, state: seen.append(state)], on_failure=[print])
    def f() -> None:
        if in_task:
            step()
        raise interrupt

    with pytest.raises(interrupt):
        f()
    (state,) = seen
    assert state.is_crashed()
    assert state.message == f"Execution was interrupted by {interrupt.__name__}"
    assert FlowRunContext.get() is None
    assert TaskRunContext.get() is None


def test_an_interrupted_flow_lets_go_of_what_it_submitted() -> None:
    gate = threading.Event()
    ran: list[int] = []
    futures: list[KeptFuture[Any]] = []

    @task
    def slow(x: int) -> None:
        ran.append(x)
        gate.wait(10)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def f() -> None:
        first = slow.submit(0)
        futures.append(first)
        futures.extend(slow.submit(n) for n in (1, 2))
        futures.append(slow.submit(3, wait_for=[first]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f()
    gate.set()
    for future in futures:
        future.wait(10)
    assert all(future.state.is_final() for future in futures)
    assert set(ran) <= {0}


def test_a_result_that_is_not_there_yet_is_an_error() -> None:
    @flow
    def f() -> Any:
        return Running()

    with pytest.raises(UnfinishedRun):
        f()
