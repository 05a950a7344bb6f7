"""Task runners: where submitted tasks run, how many at a time, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext
from kept.engine.stopping import new_stop, raise_in
from kept.exceptions import ConfigurationError, MissingContextError
from kept.filesystems import LocalFileSystem
from kept.futures import wait
from kept.history import open_recorder
from kept.settings import (
    KEPT_LOGGING_LEVEL,
    KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS,
    get_current_settings,
    temporary_settings,
)
from kept.task_runners import ConcurrentTaskRunner, TaskRunner, ThreadPoolTaskRunner
from tests.conftest import Lines


@task
def same(x: Any = None) -> Any:
    return x


def at_once(runner: Any, count: int = 6) -> int:
    """How many of several tasks the runner has at work at the same time."""
    inside: set[int] = set()
    most = 0
    lock = threading.Lock()
    full = threading.Event()

    @task
    def step(n: int) -> None:
        nonlocal most
        with lock:
            inside.add(n)
            most = max(most, len(inside))
            if most == count:
                full.set()
        full.wait(0.05)
        with lock:
            inside.discard(n)

    @flow(task_runner=runner)
    def f() -> None:
        step.map(range(count)).wait()

    f()
    return most


def test_tasks_run_at_the_same_time() -> None:
    assert at_once(ThreadPoolTaskRunner()) == 6


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_run_at_a_time_than_there_are_workers(most: int) -> None:
    assert at_once(ThreadPoolTaskRunner(max_workers=most)) <= most


def test_the_default_number_of_workers_is_a_setting() -> None:
    with temporary_settings({KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS: 1}):
        assert at_once(ThreadPoolTaskRunner()) == 1
        assert at_once(ThreadPoolTaskRunner(max_workers=6)) == 6


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4"])
def test_a_wrong_number_of_workers_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_workers is .*whole number above 0"):
        ThreadPoolTaskRunner(max_workers=wrong)


def test_the_old_name_is_the_same_thing() -> None:
    runner = ConcurrentTaskRunner(max_workers=3).duplicate()
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert (type(runner), runner.max_workers) == (ConcurrentTaskRunner, 3)


def test_a_duplicate_has_the_same_options_and_nothing_else() -> None:
    runner = ThreadPoolTaskRunner(max_workers=3)
    assert runner.duplicate() is not runner
    assert runner.duplicate().max_workers == 3


def test_the_base_leaves_everything_to_subclasses() -> None:
    bare: TaskRunner[Any] = TaskRunner()
    for ask in (bare.duplicate, bare.pending, lambda: bare.submit(same, {})):
        with pytest.raises(NotImplementedError):
            ask()


def test_a_runner_can_be_given_by_its_class() -> None:
    @flow(task_runner=ThreadPoolTaskRunner)
    def f() -> Any:
        return same.submit(1).result()

    assert f() == 1


def test_tasks_see_the_flow_the_tags_and_the_settings_of_who_submits_them() -> None:
    from kept import tags

    @task
    def look() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return context.flow_run.id, get_current_settings().logging.level, context.flow_run.name

    @flow
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        with tags("x"), temporary_settings({KEPT_LOGGING_LEVEL: "ERROR"}):
            future = look.submit()
        return future.result(), context.flow_run.id

    (inside, level, _), outside = f()
    assert (inside, level) == (outside, "ERROR")


def test_hits_are_there_at_once_and_need_no_thread() -> None:
    names: list[str] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        names.append(threading.current_thread().name)
        return x

    @flow
    def f() -> Any:
        futures = step.map([1, 2, 3])
        ended = [future.done() for future in futures]
        return ended, [future.result() for future in futures], [future.state.name for future in futures]

    f()
    assert f() == ([True] * 3, [1, 2, 3], ["Cached"] * 3)
    assert all(name.startswith("kept-task") for name in names)
    assert len(names) == 3


def test_a_task_that_waits_for_tasks_that_it_submits_does_not_starve() -> None:
    @task
    def outer(n: int) -> Any:
        return sum(same.map([n] * 3).result())

    @flow
    def f() -> Any:
        return sum(outer.map(range(20)).result())

    assert f() == 3 * sum(range(20))


@task
async def same_async(x: Any = None) -> Any:
    await asyncio.sleep(0)
    return x


@task
def in_a_limited_time(x: int) -> Any:
    return same.map([[x], [x]]).result(timeout=30)


@task
def after_a_limited_wait(x: int) -> Any:
    future = same.submit([x])
    future.wait(30)
    return future.result(timeout=0)


@task
def for_async_ones(x: int) -> Any:
    return same_async.map([[x], [x]]).result()


@task
async def awaiting(x: int) -> Any:
    return [await future.aresult() for future in (same.submit([x]), same_async.submit([x]))]


@task
async def awaiting_many(x: int) -> Any:
    return await same_async(same.map([[x], [x]]))


@task
async def holding_up_its_loop(x: int) -> Any:
    return same_async.submit([x]).result()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "waiting",
    [in_a_limited_time, after_a_limited_wait, for_async_ones, awaiting, awaiting_many, holding_up_its_loop],
    ids=lambda waiting: waiting.name,
)
def test_in_a_full_pool_no_way_of_waiting_is_in_vain(waiting: Any, workers: int) -> None:
    @flow(task_runner=ThreadPoolTaskRunner(workers))
    def f() -> list[bool]:
        return [str(n) in str(value) for n, value in enumerate(waiting.map(range(3)).result())]

    assert f() == [True] * 3


def test_tasks_may_wait_in_tasks_deeper_than_python_may_call() -> None:
    @task
    def countdown(n: int) -> int:
        return countdown.submit(n - 1).result() + 1 if n else 0

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def f() -> int:
        return countdown.submit(200).result()

    assert f() == 200


def test_what_was_submitted_and_has_not_ended_is_pending() -> None:
    gate = threading.Event()

    @task
    def closed() -> None:
        gate.wait(10)

    @flow
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        future = closed.submit()
        waiting = same.submit(1, wait_for=[future])
        before = set(context.task_runner.pending())
        gate.set()
        wait([future, waiting])
        return before == {future, waiting}, context.task_runner.pending()

    assert f() == (True, [])


def test_a_flow_that_is_over_takes_no_more_runs() -> None:
    @flow
    def f() -> contextvars.Context:
        return contextvars.copy_context()

    context = f()
    with pytest.raises(MissingContextError, match="'same' can't be submitted here: .* is over"):
        context.run(same.submit, 1)


def test_a_forked_child_does_not_wait_for_the_runs_of_its_parent() -> None:
    program = """
import os, threading
from kept import flow, task

gate = threading.Event()

@task
def closed():
    gate.wait(60)
    return 1

@flow
def f():
    future = closed.submit()
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        gate.set()
        return future.result(), status
    return task(lambda: 2).submit().result(), 0

result = f()
if os.getppid() == int(os.environ["PARENT"]):
    print(result)
else:
    os._exit(0 if result == (2, 0) else 1)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env={**os.environ, "PARENT": str(os.getpid())},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ended.stdout == "(1, 0)\n", ended.stderr


def test_an_error_in_the_task_is_in_its_state_and_its_log(log: Lines) -> None:
    @task
    def fail() -> None:
        raise ValueError("on a thread")

    @flow
    def f() -> Any:
        return fail.submit(return_state=True).name

    assert f() == "Failed"
    assert "ValueError: on a thread" in log


# -- nothing is left behind


def things() -> tuple[int, int, int, int]:
    """Threads, file handles, objects and bytes of memory of this process, once its helpers have no more to do."""
    ended("kept-history")
    ended("kept-clock")
    gc.collect()
    process = psutil.Process()
    return threading.active_count(), process.num_fds(), len(gc.get_objects()), process.memory_full_info().uss


def ended(thread_name: str) -> None:
    """Wait until the threads of this name have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith(thread_name):
            thread.join(30)


def cached(n: int) -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> bytes:
        return bytes(100)

    @flow
    def f(n: int) -> None:
        step.submit(n).wait()
        same.submit(n).wait()
        step(n)

    f(n)


def failing(n: int) -> None:
    @task
    def step(x: int) -> int:
        raise ValueError("no")

    flow(lambda n: step.map([n, n + 1]).wait())(n, return_state=True)


def interrupted(n: int) -> None:
    @flow
    def f(n: int) -> None:
        same.map([n, n + 1]).wait()
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        f(n)


def timed(n: int) -> None:
    flow(lambda n: same.with_options(timeout_seconds=60).submit(n).wait())(n)


def in_a_loop(n: int) -> None:
    @flow
    async def f(n: int) -> None:
        await asyncio.gather(same_async(n), same_async.submit(n).aresult(), same.submit(n).aresult())

    asyncio.run(f(n))


KINDS = {run.__name__: run for run in (cached, failing, interrupted, timed, in_a_loop)}


def left_behind(kind: str) -> None:
    """Fail if 1,000 flows leave more than 50 did: threads, handles, objects, memory."""
    for n in range(50):
        KINDS[kind](n)
    before = things()
    for n in range(50, 1050):
        KINDS[kind](n)
    threads, files, objects, memory = (now - then for now, then in zip(things(), before, strict=True))
    assert threads <= 0
    assert files <= 0
    assert objects < 500, objects
    assert memory < 12_000_000, memory  # the caches of SQLite grow up to their limits meanwhile


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_flows_leave_no_thread_no_file_and_no_memory_behind(kind: str) -> None:
    # In a process of its own: what other tests have left to be collected is not what is measured.
    program = f"from tests.test_task_runners import left_behind; left_behind({kind!r})"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "KEPT_LOGGING_LEVEL": "CRITICAL"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


def test_an_interrupted_flow_leaves_no_thread_behind() -> None:
    gate = threading.Event()

    @task
    def closed() -> None:
        gate.wait(10)

    @flow
    def f() -> None:
        closed.submit()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f()
    gate.set()
    ended("kept-task")
    assert [thread for thread in threading.enumerate() if thread.name.startswith("kept-task")] == []


class Use:
    """What a flow uses as it goes on: objects, and bytes of memory, with nothing waiting to be recorded."""

    def __init__(self, home: Path) -> None:
        self.recorder = open_recorder(home / "history.sqlite")
        self.objects: list[int] = []
        self.memory: list[int] = []

    def measure(self) -> None:
        self.recorder.flush()
        gc.collect()
        self.objects.append(len(gc.get_objects()))
        self.memory.append(psutil.Process().memory_info().rss)

    def grew(self) -> tuple[int, int]:
        """How many objects and bytes more there are at the end than half way."""
        half = len(self.memory) // 2
        return self.objects[-1] - self.objects[half], self.memory[-1] - self.memory[half]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"cache_policy": INPUTS}], ids=["without a cache", "kept"])
def test_of_100_000_tasks_in_one_flow_the_last_cost_what_the_first_did(options: dict[str, Any], home: Path) -> None:
    use = Use(home)

    @task(**options)
    def step(x: int) -> int:
        return x

    @flow
    def f() -> None:
        for n in range(100_000):
            step(n)
            if n % 10_000 == 9_999:
                use.measure()

    with temporary_settings({KEPT_LOGGING_LEVEL: "WARNING"}):
        f()
    objects, memory = use.grew()
    assert objects < 1_000
    assert memory < 50_000 * 200


@pytest.mark.slow
def test_of_30_000_submitted_tasks_in_one_flow_the_last_cost_what_the_first_did(home: Path) -> None:
    use = Use(home)

    @task
    def step(x: int) -> int:
        return x

    @flow
    def f() -> None:
        for n in range(300):
            step.map([n] * 100).wait()
            if n % 50 == 49:
                use.measure()

    with temporary_settings({KEPT_LOGGING_LEVEL: "WARNING"}):
        f()
    objects, memory = use.grew()
    assert objects < 1_000
    assert memory < 15_000 * 400


# -- how many threads


def test_short_runs_share_few_threads_and_runs_that_wait_get_as_many_as_there_may_be() -> None:
    names: set[int] = set()
    gate = threading.Barrier(40)

    @task
    def short() -> None:
        names.add(threading.get_ident())

    @task
    def wait_for_all_others() -> None:
        gate.wait(30)

    @flow
    def f() -> None:
        wait([short.submit() for _ in range(300)])
        wait([wait_for_all_others.submit() for _ in range(40)])

    f()
    assert len(names) < 100


def test_the_threads_of_a_flow_end_with_it() -> None:
    @flow
    def f() -> list[threading.Thread]:
        same.map(range(50)).wait()
        return [thread for thread in threading.enumerate() if thread.name == "kept-task"]

    threads = f()
    assert threads
    assert not any(thread.is_alive() for thread in threads)


def test_runs_that_are_submitted_from_many_threads_at_once_all_end() -> None:
    @flow
    def f() -> int:
        @task
        def submitting(n: int) -> int:
            return sum(same.map(range(n)).result())

        return sum(submitting.map([50] * 20).result())

    assert f() == 20 * sum(range(50))


def test_a_stop_that_comes_when_a_run_has_ended_loses_neither_its_future_nor_its_thread() -> None:
    begin, told = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    @task
    def step() -> int:
        return begin.wait(10) + 0

    def stop(_: Any) -> None:
        if not threads:
            threads.append(threading.current_thread())
            raise_in(threads[0], new_stop())

    with ThreadPoolTaskRunner(max_workers=1) as runner:
        future = runner.submit(step, {})
        future.add_done_callback(stop)
        future.add_done_callback(lambda _: told.set())
        begin.set()
        assert told.wait(10)
        assert runner.submit(same, {"x": [2]}).result(10) == [2]
        raise_in(threads[0], new_stop())  # it waits for the next run
        assert runner.submit(same, {"x": [3]}).result(10) == [3]
        assert future.result() == 1


def test_a_runner_on_other_machines_refuses_results_that_only_this_one_has(tmp_path: Path) -> None:
    class Elsewhere(ThreadPoolTaskRunner):
        other_machines = True

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return x

    with Elsewhere() as runner:
        with pytest.raises(ConfigurationError, match="'step' keeps its results in .* which only this machine has"):
            runner.submit(step, {"x": 1})
        shared = step.with_options(result_storage=LocalFileSystem(basepath=tmp_path))
        assert runner.submit(shared, {"x": 1}).result() == 1
        assert runner.submit(step.with_options(persist_result=False), {"x": 2}).result() == 2
