"""Timeouts: what takes too long is stopped and fails, in each place where code can run.

No test asserts how long something took: what would never end has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from typing import Any

import pytest

from kept import flow, task
from kept.context import FlowRunContext, TaskRunContext
from kept.engine.drivers import drive
from kept.engine.effects import Call, RunTimeout
from kept.engine.stopping import call_within, new_stop, raise_in
from tests.conftest import Lines

SOON = 0.05
FOREVER = 600.0


def sleep_in_small_steps() -> None:
    """What can be stopped in any thread: between two steps of Python."""
    while True:
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _timers_are_given_back() -> Any:
    handler = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@task(timeout_seconds=SOON)
def stuck() -> None:
    time.sleep(FOREVER)


@task(timeout_seconds=SOON)
def busy() -> None:
    sleep_in_small_steps()


@task(timeout_seconds=SOON)
async def astuck() -> None:
    await asyncio.sleep(FOREVER)


def check(state: Any, kind: str = "Task", seconds: float = SOON) -> None:
    assert (state.name, state.type.value) == ("TimedOut", "FAILED")
    assert state.message == f"{kind} run exceeded timeout of {seconds} second(s)"
    with pytest.raises(TimeoutError, match="exceeded timeout"):
        state.result()


def test_a_task_in_the_main_thread_is_stopped_even_in_a_long_sleep() -> None:
    check(stuck(return_state=True))
    with pytest.raises(TimeoutError, match=r"exceeded timeout of 0.05 second\(s\)"):
        stuck()


def test_an_async_task_is_stopped() -> None:
    check(asyncio.run(astuck(return_state=True)))


def test_a_submitted_task_is_stopped_on_its_thread() -> None:
    @flow
    def f() -> Any:
        return busy.submit(return_state=True).name, astuck.submit(return_state=True).name

    assert f() == ("TimedOut", "TimedOut")


def test_a_flow_is_stopped() -> None:
    @flow(timeout_seconds=SOON)
    def f() -> None:
        time.sleep(FOREVER)

    check(f(return_state=True), "Flow")


def test_an_async_flow_is_stopped() -> None:
    @flow(timeout_seconds=SOON)
    async def f() -> None:
        await asyncio.sleep(FOREVER)

    check(asyncio.run(f(return_state=True)), "Flow")


def test_the_timeout_of_a_flow_stops_the_task_that_it_calls() -> None:
    seen: list[Any] = []

    @task(retries=5, on_failure=[lambda *_: seen.append("failed")])
    def inner() -> None:
        context = TaskRunContext.get()
        assert context is not None
        seen.append(context.task_run)
        time.sleep(FOREVER)

    @flow(timeout_seconds=SOON)
    def f() -> None:
        inner()

    check(f(return_state=True), "Flow")
    (run,) = seen
    assert run.state.is_crashed()


def test_the_shorter_timeout_of_a_flow_stops_a_task_with_a_longer_one() -> None:
    @task(timeout_seconds=FOREVER)
    def inner() -> None:
        time.sleep(FOREVER)

    @flow(timeout_seconds=SOON)
    def f() -> None:
        inner()

    check(f(return_state=True), "Flow")


def test_the_shorter_timeout_of_a_task_leaves_that_of_its_flow() -> None:
    @flow(timeout_seconds=SOON * 4)
    def f() -> None:
        check(stuck(return_state=True))
        time.sleep(FOREVER)

    check(f(return_state=True), "Flow", SOON * 4)


def test_the_timeout_of_an_async_flow_stops_what_it_awaits() -> None:
    cleaned: list[str] = []

    @task
    async def inner() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            cleaned.append("inner")

    @flow(timeout_seconds=SOON)
    async def f() -> None:
        await inner()

    check(asyncio.run(f(return_state=True)), "Flow")
    assert cleaned == ["inner"]


@pytest.mark.parametrize("step", [stuck, busy])
def test_code_that_cleans_up_does_so(step: Any) -> None:
    cleaned: list[str] = []

    @task(timeout_seconds=SOON)
    def tidy() -> None:
        try:
            step.fn()
        finally:
            cleaned.append("done")

    check(tidy(return_state=True))
    assert cleaned == ["done"]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_handler_of_all_exceptions_does_not_swallow_the_timeout(where: str) -> None:
    @task(timeout_seconds=SOON)
    def stubborn() -> None:
        while True:
            try:
                sleep_in_small_steps()
            except Exception:
                continue

    @flow
    def f() -> Any:
        return stubborn.submit(return_state=True).name if where == "thread" else stubborn(return_state=True).name

    assert f() == "TimedOut"


def test_a_timeout_error_of_the_users_own_is_an_ordinary_failure() -> None:
    @task(timeout_seconds=FOREVER)
    def own() -> None:
        raise TimeoutError("the server took too long")

    @task(timeout_seconds=FOREVER)
    async def aown() -> None:
        raise TimeoutError("the server took too long")

    for state in (own(return_state=True), asyncio.run(aown(return_state=True))):
        assert (state.name, type(state.data)) == ("Failed", TimeoutError)
        assert "the server took too long" in state.message


def test_what_ends_in_time_is_not_stopped_later() -> None:
    @task(timeout_seconds=SOON)
    def quick() -> int:
        return 1

    @flow
    def f() -> Any:
        return quick(), quick.submit().result()

    assert f() == (1, 1)
    time.sleep(SOON * 2)
    assert quick() == 1


def test_each_try_has_the_whole_time() -> None:
    tries: list[int] = []

    @task(timeout_seconds=SOON, retries=2)
    def step() -> str:
        tries.append(1)
        if len(tries) < 3:
            time.sleep(FOREVER)
        return "done"

    assert step() == "done"
    assert len(tries) == 3


def test_a_timed_out_run_calls_the_hooks_of_failure() -> None:
    seen: list[str] = []
    stuck.with_options(on_failure=[lambda task, run, state: seen.append(state.name)])(return_state=True)
    assert seen == ["TimedOut"]


def test_the_context_is_left_after_a_timeout(log: Lines) -> None:
    @flow(timeout_seconds=SOON)
    def f() -> None:
        stuck.with_options(timeout_seconds=None)()

    f(return_state=True)
    stuck(return_state=True)
    assert TaskRunContext.get() is None
    assert FlowRunContext.get() is None
    assert "Finished in state TimedOut(" in log


class Deaf:
    """Work that can't be stopped from outside, and that ends when the test says so."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def __call__(self) -> str:
        self.gate.wait()  # in C, where no exception of ours is met
        return "late"

    def end(self) -> None:
        self.gate.set()
        for thread in threading.enumerate():
            if thread.name == "kept-task":
                thread.join(30)


@pytest.fixture
def deaf() -> Any:
    work = Deaf()
    yield work
    work.end()


def test_a_submitted_task_that_can_not_be_stopped_is_timed_out_all_the_same(deaf: Deaf, log: Lines) -> None:
    after: list[str] = []

    @task(timeout_seconds=SOON, on_failure=[lambda task, run, state: after.append(state.name)])
    def step() -> str:
        return deaf()

    @flow
    def f() -> Any:
        state = step.submit(return_state=True)
        after.append("the flow went on")
        return state, step.with_options(timeout_seconds=None)

    state, _ = f()
    check(state)
    assert after == ["TimedOut", "the flow went on"]
    assert "it is in a call that does not return to Python, at " in log
    assert f"{__file__}:" in str(log)


def test_a_task_called_on_a_thread_of_the_users_is_timed_out_all_the_same(deaf: Deaf) -> None:
    states: list[Any] = []

    @task(timeout_seconds=SOON)
    def step() -> str:
        return deaf()

    thread = threading.Thread(target=lambda: states.append(step(return_state=True)))
    thread.start()
    thread.join(30)
    check(states[0])


def test_the_timeout_of_a_task_inside_a_submitted_task_leaves_that_one_its_time(deaf: Deaf) -> None:
    @task(timeout_seconds=SOON)
    def inner() -> str:
        return deaf()

    @task(timeout_seconds=60)
    def outer() -> str:
        return inner(return_state=True).name + ", and on"

    @flow
    def f() -> Any:
        return outer.submit().result()

    assert f() == "TimedOut, and on"


def test_a_task_that_waits_for_one_that_never_ends_is_stopped(deaf: Deaf) -> None:
    @task
    def inner() -> str:
        return deaf()

    @task(timeout_seconds=SOON)
    def outer() -> Any:
        return inner.submit().result()

    @flow
    def f() -> Any:
        state = outer.submit(return_state=True)
        deaf.gate.set()
        return state.name

    assert f() == "TimedOut"


def test_the_timeout_of_a_flow_ends_what_it_submitted(deaf: Deaf) -> None:
    states: list[Any] = []

    @task
    def never() -> None: ...

    @flow(timeout_seconds=SOON)
    def f() -> None:
        states.extend([task(deaf).submit(), task(sleep_in_small_steps).submit()])
        states.append(never.submit(wait_for=states))
        time.sleep(FOREVER)

    check(f(return_state=True), "Flow")
    assert [future.state.name for future in states] == ["Crashed", "Crashed", "Cancelled"]


@pytest.mark.parametrize("where", ["in the main thread", "on a thread"])
def test_a_task_that_catches_all_that_is_raised_to_stop_it_is_told_again(
    where: str, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.engine.stopping.CLEAN_UP", SOON)
    monkeypatch.setattr("kept.engine.sync.CLEAN_UP", SOON)
    caught: list[str] = []

    @task(timeout_seconds=SOON)
    def stubborn() -> str:
        try:
            sleep_in_small_steps()
        except BaseException as error:
            caught.append(str(error))
        sleep_in_small_steps()
        return "went on"

    @flow
    def f() -> Any:
        return (stubborn if where == "in the main thread" else stubborn.submit)(return_state=True)

    check(f(return_state=True))
    assert caught == ["its time was up"]


def test_what_comes_after_the_time_is_up_does_not_count() -> None:
    @task(timeout_seconds=SOON)
    def stubborn() -> str:
        try:
            sleep_in_small_steps()
        except BaseException:
            return "went on"
        return ""

    check(stubborn(return_state=True))


def test_an_async_task_that_holds_up_its_loop_is_stopped() -> None:
    @task(timeout_seconds=SOON)
    async def rude() -> None:
        sleep_in_small_steps()

    check(asyncio.run(rude(return_state=True)))

    @flow
    def f() -> Any:
        return rude.submit(return_state=True)

    check(f(return_state=True))


def test_an_async_task_that_catches_its_cancellation_is_left_to_itself(
    log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kept.engine.aio.CLEAN_UP", SOON)
    over = asyncio.Event()

    @task(timeout_seconds=SOON)
    async def stubborn() -> None:
        while not over.is_set():
            try:
                await asyncio.wait_for(over.wait(), 600)
            except asyncio.CancelledError:
                pass

    async def main() -> Any:
        state = await stubborn(return_state=True)
        over.set()
        return state

    check(asyncio.run(main()))
    assert "it catches CancelledError" in log


def test_no_thread_is_left_by_a_timeout_that_was_not_reached() -> None:
    @task(timeout_seconds=FOREVER)
    def quick() -> None: ...

    @flow
    def f() -> None:
        quick.submit().wait()

    f()
    assert [thread for thread in threading.enumerate() if thread.name == "kept-task"] == []


def test_a_stop_meets_the_thread_it_is_meant_for_also_while_that_starts_another_one() -> None:
    for _ in range(30):
        stop, began, ended = new_stop("this test says so"), threading.Event(), []

        def work(stop: Any = stop, began: Any = began, ended: Any = ended) -> None:
            try:
                began.set()
                call_within(5.0, sleep_in_small_steps, TimeoutError)
            except (stop, TimeoutError) as error:
                ended.append(type(error))

        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
        raise_in(thread, stop)
        thread.join()
        assert ended == [stop]


def test_a_timeout_that_comes_as_the_call_ends_leaves_no_alarm_behind() -> None:
    def busy(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    before = signal.getsignal(signal.SIGALRM)
    for n in range(2000):
        with contextlib.suppress(RunTimeout):
            drive(asked_within(busy, 0.0003 + n % 20 * 1e-6, 0.0003))
        assert signal.getsignal(signal.SIGALRM) is before
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_comes_while_the_handler_is_given_back_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before, change = signal.getsignal(signal.SIGALRM), signal.signal

    def change_late(number: int, handler: Any) -> Any:
        if handler is before:
            signal.raise_signal(signal.SIGALRM)
        return change(number, handler)

    monkeypatch.setattr(signal, "signal", change_late)
    drive(asked_within(time.sleep, 0, FOREVER))
    assert signal.getsignal(signal.SIGALRM) is before


def asked_within(fn: Any, argument: float, seconds: float) -> Any:
    return (yield Call(fn, (argument,), {}, seconds))
