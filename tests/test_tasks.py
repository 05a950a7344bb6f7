"""Tasks: called, submitted, nested, named, hooked; what they return and what they raise."""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import threading
from typing import Any

import cloudpickle
import pytest

from kept import Task, allow_failure, flow, task, unmapped
from kept.cache_policies import INPUTS
from kept.context import TaskRun, TaskRunContext
from kept.exceptions import (
    CrashedRun,
    FailedRun,
    MappingLengthMismatch,
    MissingContextError,
    ParameterBindError,
    UnfinishedRun,
)
from kept.futures import KeptFuture, KeptFutureList
from kept.states import Cancelled, Completed, Failed, State
from kept.task_runners import ThreadPoolTaskRunner
from kept.tasks import task_input_hash
from kept.utilities.annotations import opaque, quote
from tests.conftest import Lines


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def fail(message: str = "no luck") -> Any:
    raise ValueError(message)


@task
def same(value: Any) -> Any:
    return value


@task
def holds(container: list[Any], future: Any) -> bool:
    return container[0] is future


# -- called


def test_a_task_called_outside_a_flow_returns_what_its_function_returns() -> None:
    assert add(1) == 2
    assert add(1, y=2) == 3
    assert add.fn(1) == 2


def test_a_task_called_in_a_flow_returns_what_its_function_returns() -> None:
    @flow
    def f() -> Any:
        return add(add(1))

    assert f() == 3


def test_return_state_gives_the_state_instead() -> None:
    state = add(1, return_state=True)
    assert isinstance(state, State)
    assert (state.name, state.result()) == ("Completed", 2)


def test_an_exception_of_the_function_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="no luck") as raised:
        fail()
    assert any(entry.name == "fail" for entry in raised.traceback)


def test_with_return_state_a_failure_is_not_raised() -> None:
    state = fail(return_state=True)
    assert (state.name, state.type.value) == ("Failed", "FAILED")
    assert state.message == "Task run encountered an exception ValueError: no luck"
    with pytest.raises(ValueError, match="no luck"):
        state.result()
    assert isinstance(state.result(raise_on_failure=False), ValueError)


def test_a_call_that_does_not_fit_is_an_error_and_no_run(log: Lines) -> None:
    with pytest.raises(ParameterBindError, match="task 'add'"):
        add()
    with pytest.raises(ParameterBindError, match="task 'add'"):
        add(1, return_state=True, z=1)
    assert len(log) == 0


def test_a_task_calls_tasks() -> None:
    @task
    def twice(x: int) -> Any:
        return add(add(x))

    @flow
    def f() -> Any:
        return twice(1)

    assert twice(1) == 3
    assert f() == 3


def test_a_task_calls_a_flow() -> None:
    @flow
    def inner(x: int) -> Any:
        return add(x)

    @task
    def outer() -> Any:
        return inner(1)

    assert outer() == 2


def test_a_task_calls_itself() -> None:
    @task
    def factorial(n: int) -> int:
        return 1 if n <= 1 else n * factorial(n - 1)

    assert factorial(5) == 120


@pytest.mark.parametrize("call", [((1, 2), {"k": 3}), ((1,), {}), ((1, 2, 3), {"a": 1, "b": 2})])
def test_stars_are_passed_on(call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    def plain(first: Any, *rest: Any, **named: Any) -> Any:
        return first, rest, named

    args, kwargs = call
    assert task(plain)(*args, **kwargs) == plain(*args, **kwargs)


def test_builtins_partials_lambdas_and_callable_objects_can_be_tasks() -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert task(len)([1, 2]) == 2
    assert task(functools.partial(pow, 2), name="power")(3) == 8
    assert task(lambda x: x * 2)(3) == 6
    assert task(Adder())(1) == 2
    assert task(Adder()).name == "Adder"


def test_a_method_can_be_a_task() -> None:
    class Shop:
        def __init__(self, price: int) -> None:
            self.price = price

        @task
        def cost(self, count: int) -> int:
            return self.price * count

        @staticmethod
        @task
        def free() -> int:
            return 0

    shop = Shop(3)

    @flow
    def f() -> Any:
        return [shop.cost(1), shop.cost.submit(2).result(), shop.cost.map([3, 4]).result()]  # type: ignore

    assert f() == [3, 6, [9, 12]]
    assert shop.free() == 0
    assert shop.cost.with_options(name="dear")(2) == 6


def test_parameters_can_have_any_name_that_is_not_reserved() -> None:
    @task
    def odd(self: int, task: int, fn: int, args: int, kwargs: int, parameters: int) -> int:
        return self + task + fn + args + kwargs + parameters

    assert odd(1, 2, 3, 4, 5, 6) == 21
    assert odd(self=1, task=2, fn=3, args=4, kwargs=5, parameters=6) == 21


# -- what a task returns decides its state


@pytest.mark.parametrize("value", [None, 0, "", [], {}, [1, 2], {"a": Completed()}, (Completed(), 1)])
def test_a_task_that_returns_a_value_is_completed(value: Any) -> None:
    state = same(value=quote(value), return_state=True)
    assert (state.name, state.data) == ("Completed", value)


def test_a_task_that_returns_a_state_ends_in_it() -> None:
    @task
    def skip() -> Any:
        return Completed(name="Skipped", message="nothing new")

    @task
    def give_up() -> Any:
        return Failed(message="gave up")

    assert skip(return_state=True).name == "Skipped"
    assert skip() is None
    assert give_up(return_state=True).is_failed()
    with pytest.raises(FailedRun, match="gave up"):
        give_up()


def test_a_task_that_returns_states_ends_in_the_worst() -> None:
    @task
    def several() -> Any:
        return [Completed(), Cancelled(), Failed()]

    assert several(return_state=True).is_cancelled()


# -- submitted


def test_a_submitted_task_gives_a_future() -> None:
    @flow
    def f() -> Any:
        future = add.submit(1)
        assert isinstance(future, KeptFuture)
        return future.result()

    assert f() == 2


def test_submit_with_return_state_waits_and_gives_the_state() -> None:
    @flow
    def f() -> Any:
        state = fail.submit(return_state=True)
        return type(state) is State and state.is_failed()

    assert f() is True


def test_a_submitted_task_runs_on_another_thread() -> None:
    @task
    def thread() -> int:
        return threading.get_ident()

    @flow
    def f() -> Any:
        return thread.submit().result(), thread()

    submitted, called = f()
    assert submitted != called == threading.get_ident()


def test_a_task_submits_tasks_to_the_runner_of_the_flow() -> None:
    @task
    def outer(x: int) -> Any:
        return add.submit(x).result()

    @flow
    def f() -> Any:
        return outer.submit(1).result()

    assert f() == 2


@pytest.mark.parametrize("how", ["submit", "map"])
def test_a_task_can_not_be_submitted_outside_a_flow(how: str) -> None:
    with pytest.raises(MissingContextError, match=r"Task 'add' can't be submitted here.*@flow"):
        getattr(add, how)([1])


def test_a_submitted_call_that_does_not_fit_is_an_error_at_once() -> None:
    @flow
    def f() -> Any:
        with pytest.raises(ParameterBindError):
            add.submit()
        with pytest.raises(MappingLengthMismatch):
            add.map([1, 2], [1])
        return "told"

    assert f() == "told"


def test_map_gives_futures_in_the_order_of_the_inputs() -> None:
    @flow
    def f() -> Any:
        futures = add.map([1, 2, 3], unmapped(10))
        assert isinstance(futures, KeptFutureList)
        return futures.result()

    assert f() == [11, 12, 13]


def test_map_with_return_state_gives_states() -> None:
    @flow
    def f() -> Any:
        return [state.result() for state in add.map([1, 2], return_state=True)]

    assert f() == [2, 3]


def test_map_over_the_futures_of_another_map() -> None:
    @flow
    def f() -> Any:
        first = add.map([1, 2, 3])
        return add.map(first, first).result()

    assert f() == [4, 6, 8]


def test_map_over_a_future_of_a_list() -> None:
    @flow
    def f() -> Any:
        return add.map(same.submit([1, 2])).result()

    assert f() == [2, 3]


def test_map_over_nothing_gives_no_futures() -> None:
    @flow
    def f() -> Any:
        return add.map([]).result()

    assert f() == []


def test_what_is_waited_for_may_stand_alone_or_in_any_container() -> None:
    @task
    def bad() -> None:
        raise ValueError

    @flow
    def f() -> list[str]:
        failed = bad.submit()
        containers: list[Any] = [failed, {"a": {failed}}, ([failed],), {failed: 1}, bad(return_state=True)]
        states = [add.submit(1, wait_for=waits, return_state=True) for waits in containers]
        states += [add(1, wait_for=waits, return_state=True) for waits in containers]
        assert add(1, wait_for=allow_failure(failed)) == 2
        return [state.name for state in states]

    assert set(f()) == {"NotReady"}


def test_wait_for_of_a_map_holds_for_each_run() -> None:
    gate, seen = threading.Event(), []

    @task
    def first() -> None:
        gate.wait(10)
        seen.append("first")

    @task
    def then(x: int) -> None:
        seen.append(x)

    @flow
    def f() -> None:
        futures = then.map([1, 2], wait_for=[first.submit()])
        gate.set()
        futures.wait()

    f()
    assert seen[0] == "first"
    assert sorted(seen[1:]) == [1, 2]


# -- futures among the arguments


@dataclasses.dataclass
class Box:
    content: Any


@dataclasses.dataclass(frozen=True)
class Sealed:
    content: Any


def test_futures_are_resolved_wherever_they_stand() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        content: Any

    @flow
    def f() -> Any:
        one = same.submit(1)
        return same(
            {
                "itself": one,
                "list": [one, [one]],
                "tuple": (one, 2),
                "set": {one},
                "dict": {"a": {"b": one}},
                "dataclass": Box(one),
                "frozen": Sealed([one]),
                "model": Model(content=one),
                "state": same(1, return_state=True),
            }
        )

    assert f() == {
        "itself": 1,
        "list": [1, [1]],
        "tuple": (1, 2),
        "set": {1},
        "dict": {"a": {"b": 1}},
        "dataclass": Box(1),
        "frozen": Sealed([1]),
        "model": Model(content=1),
        "state": 1,
    }


def test_what_holds_a_future_is_not_changed_itself() -> None:
    @flow
    def f() -> Any:
        box = Box([same.submit(1)])
        same(box)
        return isinstance(box.content[0], KeptFuture)

    assert f() is True


def test_an_argument_without_futures_is_passed_on_itself() -> None:
    value = {"a": [1, 2, Box(3)]}
    assert same(value) is value


def test_a_future_in_a_quote_is_left_alone() -> None:
    @flow
    def f() -> Any:
        future = same.submit(1)
        return holds(quote([future]), quote(future))

    assert f() is True


def test_a_future_that_is_opaque_is_resolved_but_not_looked_into() -> None:
    @flow
    def f() -> Any:
        future = same.submit(1)
        return same(opaque(future)), holds(opaque([future]), quote(future))

    assert f() == (1, True)


def test_a_task_waits_for_its_futures_when_it_is_called() -> None:
    gate = threading.Event()

    @task
    def slow() -> int:
        gate.wait(10)
        return 1

    @flow
    def f() -> Any:
        future = slow.submit()
        threading.Timer(0.01, gate.set).start()
        return add(future)

    assert f() == 2


def test_a_task_whose_input_failed_is_not_ready_and_does_not_run() -> None:
    ran = []

    @task
    def use(x: Any) -> None:
        ran.append(x)

    @flow
    def f() -> Any:
        failed = fail.submit()
        states = [
            use(failed, return_state=True),
            use([failed], return_state=True),
            use(1, wait_for=[failed], return_state=True),
            use.submit(failed, return_state=True),
            use.submit(1, wait_for=[failed], return_state=True),
            use.map([failed], return_state=True)[0],
        ]
        with pytest.raises(UnfinishedRun, match="NotReady"):
            use(failed)
        return quote(states)

    states = f().unquote()
    assert [(state.name, state.type.value) for state in states] == [("NotReady", "PENDING")] * 6
    assert "Upstream" in str(states[0].message)
    assert ran == []


def test_what_is_not_ready_makes_what_follows_not_ready() -> None:
    @flow
    def f() -> Any:
        return add.submit(add.submit(fail.submit()), return_state=True).name

    assert f() == "NotReady"


def test_a_long_chain_after_a_failure_tells_of_the_failure() -> None:
    @flow
    def f() -> Any:
        future = fail.submit()
        for _ in range(100):
            future = add.submit(future)
        future.wait()
        return str(future.state.message)

    assert f() == (
        "Upstream run did not reach a 'COMPLETED' state; "
        "it is Failed('Task run encountered an exception ValueError: no luck')."
    )


def test_a_failure_that_is_allowed_is_passed_on_as_its_exception() -> None:
    @flow
    def f() -> Any:
        failed = fail.submit()
        return (
            same(allow_failure(failed)),
            same.submit(allow_failure(failed)).result(),
            same(allow_failure([failed, same.submit(1)])),
            same("waited", wait_for=[allow_failure(failed)]),
            same.map(allow_failure([failed])).result(),
        )

    direct, submitted, in_list, waited, mapped = f()
    assert isinstance(direct, ValueError)
    assert isinstance(submitted, ValueError)
    assert isinstance(in_list[0], ValueError)
    assert in_list[1] == 1
    assert waited == "waited"
    assert isinstance(mapped[0], ValueError)


def test_what_was_not_ready_can_not_be_allowed() -> None:
    @flow
    def f() -> Any:
        return same.submit(allow_failure(same.submit(fail.submit())), return_state=True).name

    assert f() == "NotReady"


def test_a_long_chain_of_futures_needs_one_thread_only() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def f() -> Any:
        future = same.submit(0)
        for _ in range(300):
            future = add.submit(future)
        return future.result()

    assert f() == 300


def test_what_waits_does_not_hold_a_thread() -> None:
    gate = threading.Event()

    @task
    def closed() -> None:
        assert gate.wait(10)

    @task
    def opened() -> None:
        gate.set()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def f() -> None:
        first = closed.submit()
        for _ in range(5):
            same.submit(1, wait_for=[first])
        opened.submit()

    f()
    assert gate.is_set()


# -- options


def test_with_options_gives_a_task_of_its_own() -> None:
    other = add.with_options(name="plus")
    assert isinstance(other, Task)
    assert (other(1), other.name, add.name) == (2, "plus", "add")


def test_tags_are_those_of_the_task_and_those_around() -> None:
    from kept import tags

    @task(tags=["own"])
    def tagged() -> set[str]:
        context = TaskRunContext.get()
        assert context is not None
        return set(context.task_run.tags)

    with tags("a"), tags("b"):
        assert tagged() == {"own", "a", "b"}
    assert tagged() == {"own"}


def test_a_run_is_named_by_its_task_and_id(log: Lines) -> None:
    @task
    def who() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return context.task_run.name, context.task_run.id

    name, run_id = who()
    assert name == f"who-{run_id[:3]}"
    assert f"Task run '{name}'" in log


def test_a_run_name_can_be_a_template_or_a_function(log: Lines) -> None:
    add.with_options(task_run_name="add-{x}-to-{y}")(1, 2)
    assert "Task run 'add-1-to-2' - Finished in state Completed()" in log
    add.with_options(task_run_name=lambda: "chosen")(1)
    assert "Task run 'chosen' - Finished" in log
    add.with_options(task_run_name=lambda parameters: f"y={parameters['y']}")(1)
    assert "Task run 'y=1' - Finished" in log


def test_a_run_name_sees_the_values_of_futures(log: Lines) -> None:
    @flow
    def f() -> None:
        add.with_options(task_run_name="add-{x}")(same.submit(41))

    f()
    assert "Task run 'add-41'" in log


def test_a_wrong_run_name_fails_the_run_with_a_sentence(log: Lines) -> None:
    with pytest.raises(ValueError, match=r"run name template of task 'add'.*can't be filled in"):
        add.with_options(task_run_name="{nothing}")(1)
    state = add.with_options(task_run_name="{nothing}")(1, return_state=True)
    assert state.is_failed()


# -- hooks


def test_hooks_get_task_run_and_state_when_it_gets_there() -> None:
    seen: list[Any] = []

    def note(task: Any, run: Any, state: Any) -> None:
        assert isinstance(run, TaskRun)
        seen.append((task.name, run.parameters, state.name, run.state is state))

    add.with_options(on_running=[note], on_completion=[note], on_failure=[note])(1)
    fail.with_options(on_running=[note], on_completion=[note], on_failure=[note])(return_state=True)
    assert seen == [
        ("add", {"x": 1, "y": 1}, "Running", True),
        ("add", {"x": 1, "y": 1}, "Completed", True),
        ("fail", {"message": "no luck"}, "Running", True),
        ("fail", {"message": "no luck"}, "Failed", True),
    ]


def test_hooks_can_be_added_by_decorators_and_run_in_order() -> None:
    seen: list[str] = []

    @task(on_completion=[lambda *_: seen.append("option")])
    def step() -> None: ...

    @step.on_completion
    def first(task: Any, run: Any, state: Any) -> None:
        seen.append("first")

    @step.on_completion
    def second(task: Any, run: Any, state: Any) -> None:
        seen.append("second")

    @step.on_failure
    def never(task: Any, run: Any, state: Any) -> None:
        seen.append("never")

    @step.on_running
    def begun(task: Any, run: Any, state: Any) -> None:
        seen.append("begun")

    assert callable(first)
    step()
    assert seen == ["begun", "option", "first", "second"]


def test_a_hook_runs_for_a_hit_too() -> None:
    seen: list[str] = []
    kept = add.with_options(cache_policy=INPUTS, on_completion=[lambda t, r, s: seen.append(s.name)])
    kept(1)
    kept(1)
    assert seen == ["Completed", "Cached"]


def test_a_hook_that_raises_is_logged_and_harmless(log: Lines) -> None:
    seen: list[str] = []

    def broken(task: Any, run: Any, state: Any) -> None:
        raise RuntimeError("hook trouble")

    def leave(task: Any, run: Any, state: Any) -> None:
        raise SystemExit(3)

    def after(task: Any, run: Any, state: Any) -> None:
        seen.append("after")

    assert add.with_options(on_running=[broken], on_completion=[broken, leave, after])(1) == 2
    assert seen == ["after"]
    assert len(log.having("ERROR", "while running hook 'broken'")) == 2
    assert "RuntimeError: hook trouble" in log


def test_hooks_may_be_async_in_a_task_of_plain_code() -> None:
    seen: list[str] = []

    async def note(task: Any, run: Any, state: Any) -> None:
        seen.append(state.name)

    add.with_options(on_running=[note], on_completion=[note])(1)
    assert seen == ["Running", "Completed"]


def test_hooks_of_a_submitted_task_run_before_its_future_ends() -> None:
    seen: list[str] = []

    @flow
    def f() -> Any:
        add.with_options(on_completion=[lambda *_: seen.append("hook")]).submit(1).wait()
        return list(seen)

    assert f() == ["hook"]


# -- interrupts


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_crashes_the_run_and_goes_on(interrupt: type[BaseException], log: Lines) -> None:
    runs: list[Any] = []

    @task(retries=3, on_failure=[lambda *_: runs.append("failed")])
    def stopped() -> None:
        context = TaskRunContext.get()
        assert context is not None
        runs.append(context.task_run)
        raise interrupt

    with pytest.raises(interrupt):
        stopped()
    (run,) = runs
    assert run.state.is_crashed()
    assert run.state.message == f"Execution was interrupted by {interrupt.__name__}"
    assert "Crash detected!" in log
    assert "Finished in state Crashed(" in log
    assert TaskRunContext.get() is None


def test_an_interrupt_in_a_submitted_task_crashes_it_and_is_raised_by_its_future() -> None:
    @task
    def stopped() -> None:
        raise SystemExit(3)

    @flow
    def f() -> Any:
        future = stopped.submit()
        future.wait()
        assert future.state.is_crashed()
        with pytest.raises(SystemExit):
            future.result()
        return "went on"

    assert f() == "went on"


def test_a_crashed_upstream_is_not_ready() -> None:
    @task
    def stopped() -> None:
        raise SystemExit

    @flow
    def f() -> Any:
        return add.submit(stopped.submit(), return_state=True).name

    assert f() == "NotReady"


# -- the rest


def test_the_context_is_left_after_each_way_to_end() -> None:
    add(1)
    fail(return_state=True)
    with pytest.raises(ParameterBindError):
        add()
    assert TaskRunContext.get() is None


def test_task_input_hash_depends_on_task_source_and_arguments() -> None:
    ran: list[Any] = []

    @task(cache_key_fn=task_input_hash)
    def one(x: Any) -> None:
        ran.append(("one", x))

    @task(cache_key_fn=task_input_hash)
    def two(x: Any) -> None:
        ran.append(("two", x))

    for step in (one, two):
        for x in (1, 2, 1):
            step(x)
    assert ran == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]


def test_a_key_that_can_not_be_computed_never_stops_the_run(log: Lines) -> None:
    assert task(cache_policy=INPUTS)(lambda lock: "done")(threading.Lock()) == "done"
    (line,) = log.having("ERROR", "The cache key can't be computed")
    assert "argument 'lock'" in line


def test_a_crashed_state_without_an_exception_raises_one() -> None:
    @task
    def crashed() -> Any:
        return State("CRASHED", message="lost the machine")

    with pytest.raises(CrashedRun, match="lost the machine"):
        crashed()


def test_tasks_and_flows_that_have_run_can_be_copied_and_pickled() -> None:
    kept = task(lambda x: x + 1, name="plus", cache_policy=INPUTS)

    @flow
    def f(x: int) -> Any:
        return kept(x)

    assert f(1) == 2
    for twin in (copy.copy(kept), copy.deepcopy(kept), cloudpickle.loads(cloudpickle.dumps(kept))):
        assert (twin.name, twin(1)) == ("plus", 2)
    for other in (copy.deepcopy(f), cloudpickle.loads(cloudpickle.dumps(f))):
        assert (other.name, other(1)) == ("f", 2)


def test_ids_of_runs_are_uuids() -> None:
    @task
    def who() -> str:
        context = TaskRunContext.get()
        assert context is not None
        return str(context.task_run.id)

    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    ids = {who() for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(uuid, one) for one in ids)


def test_an_error_that_can_not_be_shown_fails_its_run_as_any_other_does() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

        __repr__ = __str__

    @task
    def step() -> None:
        raise Mute

    state = step(return_state=True)
    assert state.is_failed()
    assert "Mute that can't be shown" in (state.message or "")
