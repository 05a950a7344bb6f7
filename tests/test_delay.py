"""Runs in the background of the process: `delay`, `apply_async` and `map(deferred=True)`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from kept import flow, tags, task
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext, TagsContext, TaskRunContext
from kept.exceptions import ConfigurationError, ParameterBindError
from kept.futures import KeptFuture
from kept.task_runners.background import background
from kept.transactions import get_transaction, transaction


@task
def add(a: Any, b: Any = 1) -> Any:
    return a + b


@task
async def slowly_add(a: Any, b: Any = 1) -> Any:
    await asyncio.sleep(0)
    return a + b


@flow
def added(a: int, b: int = 1) -> Any:
    return add.submit(a, b).result()


@pytest.mark.parametrize("whole", [add, slowly_add, added])
def test_a_delayed_run_needs_no_flow_and_gives_a_future(whole: Any) -> None:
    assert isinstance(whole.delay(1), KeptFuture)
    assert whole.delay(1).result() == 2
    assert whole.delay(1, b=2).result() == 3
    assert whole.apply_async((1,)).result() == 2
    assert whole.apply_async(args=[1], kwargs={"b": 3}).result() == 4


def test_the_caller_does_not_wait_for_it() -> None:
    go = threading.Event()

    @task
    def waits() -> str:
        go.wait()
        return "went"

    future = waits.delay()
    assert not future.done()
    go.set()
    assert future.result() == "went"


def test_futures_are_awaited_whether_passed_or_in_wait_for() -> None:
    go = threading.Event()
    order: list[str] = []

    @task
    def first() -> int:
        go.wait()
        order.append("first")
        return 1

    @task
    def second(x: Any = 0) -> Any:
        order.append("second")
        return x

    one = first.delay()
    others = [second.delay([one]), second.apply_async(wait_for=[one])]
    assert not any(future.done() for future in others)
    go.set()
    assert [future.result() for future in others] == [[1], 0]
    assert order == ["first", "second", "second"]


def test_what_waits_for_a_failed_run_does_not_run() -> None:
    @task
    def fails() -> None:
        raise ValueError

    state = add.apply_async((1,), wait_for=[fails.delay()])
    state.wait()
    assert state.state.name == "NotReady"


def test_a_call_that_does_not_fit_is_told_where_it_is_made() -> None:
    with pytest.raises(ParameterBindError, match="task 'add'"):
        add.delay(1, 2, 3)  # type: ignore[call-overload]
    with pytest.raises(ParameterBindError, match="task 'add'"):
        add.apply_async(kwargs={"c": 1})


def test_dependencies_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"dependencies=.*wait_for"):
        add.apply_async((1,), dependencies={"a": {1}})
    assert add.apply_async((1,), dependencies={}).result() == 2


def test_a_generator_can_not_be_delayed() -> None:
    @task
    def numbers() -> Any:
        yield 1

    with pytest.raises(ConfigurationError, match="is a generator"):
        numbers.delay()


def test_many_are_delayed_by_map() -> None:
    assert add.map([1, 2], [3, 4], deferred=True).result() == [4, 6]
    assert added.map([1, 2], deferred=True).result() == [2, 3]


def test_methods_are_delayed_with_their_object() -> None:
    class Shop:
        @task
        def cost(self, count: int, each: int = 3) -> int:
            return each * count

        @flow
        @classmethod
        def sale(cls, count: int) -> tuple[str, int]:
            return cls.__name__, count

    shop = Shop()
    assert shop.cost.delay(2).result() == 6
    assert shop.cost.apply_async([2], {"each": 4}).result() == 8
    assert shop.cost.map([1, 2], deferred=True).result() == [3, 6]
    assert Shop.sale.delay(2).result() == ("Shop", 2)


def test_tags_and_the_flow_around_travel_but_no_task_and_no_transaction() -> None:
    seen: list[Any] = []

    @task
    def look() -> None:
        context = TaskRunContext.get()
        assert context is not None
        around = FlowRunContext.get()
        seen.append((context.task_run.flow_run_id, context.parent is around, TagsContext.get().current_tags))
        seen.append(get_transaction() is not None and get_transaction().parent)  # type: ignore[union-attr]

    @task
    def starts() -> None:
        with transaction():
            look.delay().wait()

    @flow
    def f() -> str:
        with tags("t"):
            starts()
        context = FlowRunContext.get()
        assert context is not None
        return str(context.flow_run.id)

    flow_run_id = f()
    assert seen == [(flow_run_id, True, {"t"}), None]
    seen.clear()
    look.delay().wait()
    assert seen == [(None, True, set()), None]


def test_what_a_flow_has_delayed_outlives_it_and_may_submit() -> None:
    go = threading.Event()

    @task
    def later() -> Any:
        go.wait()
        return [add.submit(1).result(), add.map([2, 3]).result()]

    futures: list[Any] = []

    @flow
    def f() -> None:
        futures.append(later.delay())

    f()
    assert not futures[0].done()
    go.set()
    assert futures[0].result() == [2, [3, 4]]


def test_hits_are_hits() -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    def kept(x: int) -> int:
        ran.append(x)
        return x

    assert [kept.delay(1).result() for _ in range(3)] == [1, 1, 1]
    assert ran == [1]


def test_no_thread_is_left_when_all_has_ended() -> None:
    for _ in range(3):
        add.map(list(range(50)), deferred=True).wait()
        left = [thread for thread in threading.enumerate() if thread.name == "kept-task"]
        for thread in left:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in left)


def test_there_is_one_background_for_a_process() -> None:
    assert background() is background()


def test_a_forked_child_has_a_background_of_its_own() -> None:
    assert add.delay(1).result() == 2
    ours = background()
    pid = os.fork()
    if not pid:
        os._exit(0 if add.delay(1).result() == 2 and background() is not ours else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


PROGRAM = """
import sys, time
from kept import task

@task
def one(path):
    time.sleep(0.2)
    two.delay(path)

@task
def two(path):
    open(path, "a").write("done")

@task
def endless():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def test_what_is_delayed_is_done_before_the_process_ends(tmp_path: Any) -> None:
    for number, end in enumerate(["", "sys.exit(3)", "raise ValueError"]):
        path = tmp_path / str(number)
        program = f"{PROGRAM}\nfirst = one.delay({str(path)!r})\ntwo.apply_async(({str(path)!r},), wait_for=[first])\n"
        done = subprocess.run([sys.executable, "-c", program + end], capture_output=True, text=True)
        assert done.returncode == [0, 3, 1][number], done.stderr
        assert path.read_text() == "donedone"


@pytest.mark.parametrize("end", ["while True: time.sleep(0.01)", ""], ids=["at work", "at its end"])
def test_an_interrupt_ends_the_process_whatever_is_delayed(end: str, tmp_path: Any) -> None:
    path = tmp_path / "never"
    program = f"{PROGRAM}\nfuture = endless.delay()\ntwo.apply_async(({str(path)!r},), wait_for=[future])\n{end}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not path.exists()
