"""Async flows and tasks, and each colour called from the other."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from kept import allow_failure, flow, get_run_logger, tags, task
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext, TaskRunContext
from kept.states import State
from kept.task_runners import ThreadPoolTaskRunner
from kept.transactions import IsolationLevel
from tests.conftest import Lines


@task
async def add(x: Any, y: Any = 1) -> Any:
    await asyncio.sleep(0)
    return x + y


@task
def plain_add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
async def fail() -> Any:
    await asyncio.sleep(0)
    raise ValueError("no luck")


def test_an_async_task_is_awaited() -> None:
    assert asyncio.run(add(1)) == 2


def test_an_async_flow_is_awaited() -> None:
    @flow
    async def f(x: int) -> Any:
        return await add(x)

    assert asyncio.run(f(1)) == 2
    assert f.isasync
    assert add.isasync


def test_return_state_gives_the_state() -> None:
    @flow
    async def f() -> Any:
        state = await fail(return_state=True)
        return isinstance(state, State), state.name

    assert asyncio.run(f()) == (True, "Failed")
    state = asyncio.run(f(return_state=True))
    assert state.is_completed()


def test_an_exception_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="no luck"):
        asyncio.run(fail())


def test_an_async_flow_calls_plain_tasks_and_flows() -> None:
    @flow
    def inner(x: int) -> Any:
        return plain_add(x)

    @flow
    async def outer() -> Any:
        return plain_add(1), inner(2), plain_add.submit(3).result(), plain_add.map([4, 5]).result()

    assert asyncio.run(outer()) == (2, 3, 4, [5, 6])


def test_an_async_flow_awaits_async_flows() -> None:
    @flow
    async def inner(x: int) -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return await add(x), context.flow_run.flow_run_id

    @flow
    async def outer() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return await inner(1), context.flow_run.id

    (value, parent), outer_id = asyncio.run(outer())
    assert (value, parent) == (2, outer_id)


def test_a_plain_flow_submits_async_tasks() -> None:
    @flow
    def f() -> Any:
        return add.submit(1).result(), add.map([1, 2]).result(), fail.submit(return_state=True).name

    assert f() == (2, [2, 3], "Failed")


def test_a_plain_flow_runs_async_ones_with_asyncio() -> None:
    @flow
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return asyncio.run(who()), context.flow_run.id

    @task
    async def who() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return context.task_run.flow_run_id

    inside, outside = f()
    assert inside == outside


def test_an_async_flow_submits_tasks_of_both_colours() -> None:
    @flow
    async def f() -> Any:
        futures = [add.submit(1), plain_add.submit(2), add.submit(plain_add.submit(3))]
        return [await future.aresult() for future in futures]

    assert asyncio.run(f()) == [2, 3, 5]


def test_futures_are_resolved_in_awaited_calls() -> None:
    @flow
    async def f() -> Any:
        future = plain_add.submit(1)
        return await add(future), await add(1, wait_for=[future]), await add(allow_failure(future))

    assert asyncio.run(f()) == (3, 2, 3)


def test_waiting_for_a_future_does_not_hold_up_the_loop() -> None:
    gate = threading.Event()

    @task
    def closed() -> int:
        assert gate.wait(10)
        return 1

    @task
    async def opener() -> None:
        gate.set()

    @flow
    async def f() -> Any:
        future = closed.submit()
        value, _ = await asyncio.gather(add(future), opener())
        return value

    assert asyncio.run(f()) == 2


def test_not_ready_in_async_code() -> None:
    @flow
    async def f() -> Any:
        state = await add(fail.submit(), return_state=True)
        return state.name

    assert asyncio.run(f()) == "NotReady"


def test_a_gathered_task_sees_its_own_run() -> None:
    @task
    async def who(n: int) -> Any:
        before = TaskRunContext.get()
        await asyncio.sleep(0)
        after = TaskRunContext.get()
        assert before is after is not None
        return after.parameters["n"], after.task_run.id

    @flow
    async def f() -> Any:
        found = await asyncio.gather(*[who(n) for n in range(50)])
        assert TaskRunContext.get() is None
        return found

    found = asyncio.run(f())
    assert [n for n, _ in found] == list(range(50))
    assert len({run for _, run in found}) == 50


def test_the_context_is_left_after_an_await() -> None:
    async def main() -> None:
        await add(1)
        await fail(return_state=True)
        assert TaskRunContext.get() is None
        assert FlowRunContext.get() is None

    asyncio.run(main())


def test_tags_reach_awaited_tasks() -> None:
    @task
    async def tagged() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return set(context.task_run.tags)

    async def main() -> Any:
        with tags("a"):
            return await asyncio.gather(tagged(), tagged())

    assert asyncio.run(main()) == [{"a"}, {"a"}]


def test_an_async_task_hits() -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    async def step(x: int) -> int:
        ran.append(x)
        return x

    @flow
    async def f() -> Any:
        return [(await step(1, return_state=True)).name for _ in range(2)]

    assert asyncio.run(f()) == ["Completed", "Cached"]
    assert ran == [1]


def test_a_store_of_the_users_own_is_read_without_holding_up_the_loop() -> None:
    ran: list[int] = []

    class Slow:
        files: dict[str, bytes] = {}

        def read_path(self, path: str) -> bytes:
            if path not in self.files:
                raise FileNotFoundError(path)
            assert threading.current_thread() is not threading.main_thread()
            return self.files[path]

        def write_path(self, path: str, content: bytes) -> None:
            assert threading.current_thread() is not threading.main_thread()
            self.files[path] = content

    @task(cache_policy=INPUTS, result_storage=Slow())
    async def step(x: int) -> int:
        ran.append(x)
        return x

    async def main() -> Any:
        return [(await step(1, return_state=True)).name for _ in range(2)]

    assert asyncio.run(main()) == ["Completed", "Cached"]
    assert ran == [1]


def test_async_hooks_are_awaited_and_plain_ones_called() -> None:
    seen: list[str] = []

    async def note(task: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0)
        seen.append(f"async {state.name}")

    def plain(task: Any, run: Any, state: Any) -> None:
        seen.append(f"plain {state.name}")

    @flow(on_completion=[note, plain])
    async def f() -> Any:
        return await add.with_options(on_running=[note], on_completion=[plain])(1)

    assert asyncio.run(f()) == 2
    assert seen == ["async Running", "plain Completed", "async Completed", "plain Completed"]


def test_an_async_task_is_retried() -> None:
    counts: list[int] = []

    @task(retries=2, retry_delay_seconds=0)
    async def step() -> str:
        counts.append(1)
        if len(counts) < 3:
            raise ValueError("again")
        return "done"

    assert asyncio.run(step()) == "done"
    assert len(counts) == 3


def test_a_cancelled_task_is_crashed_and_the_cancellation_goes_on(log: Lines) -> None:
    @task
    async def stuck() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        running = asyncio.ensure_future(stuck())
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert "Execution was interrupted by CancelledError" in log


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_crashes_an_async_flow_and_goes_on(interrupt: type[BaseException]) -> None:
    seen: list[str] = []

    @task
    async def stopped() -> None:
        raise interrupt

    @flow(on_crashed=[lambda flow, run, state: seen.append(state.name)])
    async def f() -> None:
        await stopped()

    with pytest.raises(interrupt):
        asyncio.run(f())
    assert seen == ["Crashed"]


def test_a_run_logs_in_its_name_from_async_code(log: Lines) -> None:
    @task(task_run_name="mine-{n}")
    async def note(n: int) -> None:
        await asyncio.sleep(0)
        get_run_logger().info("number %d", n)

    async def main() -> None:
        await asyncio.gather(note(1), note(2))

    asyncio.run(main())
    assert "Task run 'mine-1' - number 1" in log
    assert "Task run 'mine-2' - number 2" in log


def test_a_long_chain_of_async_futures_needs_one_thread_only() -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def f() -> Any:
        future = add.submit(0)
        for _ in range(30):
            future = add.submit(future)
        return future.result()

    assert f() == 31


def test_many_async_tasks_on_one_key_take_turns_even_if_they_use_threads_themselves() -> None:
    # More of them than the loop has threads for blocking work: who waits for the lock must not hold one.
    ran: list[int] = []

    @task(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    async def step(x: int) -> int:
        await asyncio.to_thread(ran.append, x)
        return x

    async def main() -> Any:
        return await asyncio.wait_for(asyncio.gather(*[step(1) for _ in range(40)]), timeout=60)

    assert asyncio.run(main()) == [1] * 40
    assert ran == [1]


def test_the_futures_that_async_code_waits_for_may_be_many() -> None:
    gate = threading.Event()

    @task
    def closed(n: int) -> int:
        assert gate.wait(30)
        return n

    @flow
    async def f() -> Any:
        waiting = [asyncio.ensure_future(add(closed.submit(n))) for n in range(60)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(gate.set)
        return sum(await asyncio.gather(*waiting))

    assert asyncio.run(asyncio.wait_for(f(), timeout=60)) == sum(range(1, 61))


def test_a_call_that_is_never_awaited_is_told_by_the_name_of_the_task() -> None:
    @task
    async def fetch() -> None: ...

    with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited"):
        fetch()
        gc.collect()
