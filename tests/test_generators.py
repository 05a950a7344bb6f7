"""Generators as tasks and flows: a run that goes on whenever its caller takes a value."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from kept import flow, get_run_logger, tags, task
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext, TagsContext, TaskRunContext
from kept.exceptions import ConfigurationError
from kept.runtime import task_run
from kept.states import State
from kept.transactions import IsolationLevel, get_transaction, transaction

Values = Generator[Any, Any, Any]


@task
def count_to(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def slowly_to(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@task
def double(x: int) -> int:
    return 2 * x


def test_a_generator_task_yields_what_its_function_yields() -> None:
    assert [double(x) for x in count_to(3)] == [0, 2, 4]


def test_an_async_generator_task_does_as_well() -> None:
    async def main() -> list[int]:
        return [double(x) async for x in slowly_to(3)]

    assert asyncio.run(main()) == [0, 2, 4]


def test_what_kind_it_is_can_be_asked() -> None:
    assert (count_to.isgenerator, count_to.isasync) == (True, False)
    assert (slowly_to.isgenerator, slowly_to.isasync) == (True, True)
    assert (double.isgenerator, double.isasync) == (False, False)


def test_nothing_runs_before_the_first_value_is_asked_for(log: Any) -> None:
    values = count_to(2)
    assert len(log) == 0
    assert next(values) == 0
    assert len(log) == 0
    assert list(values) == [1]
    assert len(log.having("Finished in state Completed()")) == 1


def test_the_run_goes_on_until_the_generator_is_exhausted() -> None:
    runs: list[Any] = []

    @task
    def watched() -> Values:
        context = TaskRunContext.get()
        assert context is not None
        runs.append(context.task_run)
        yield 1

    for _ in watched():
        assert runs[0].state_name == "Running"
    assert runs[0].state_name == "Completed"


def test_the_consumer_is_not_inside_of_the_run() -> None:
    outside = contextvars.ContextVar("outside", default="unset")

    @task
    def inside() -> Values:
        with tags("inner"), transaction():
            outside.set("set inside")
            for _ in range(3):
                yield TaskRunContext.get() is not None and get_transaction() is not None, task_run.name

    @flow
    def f() -> None:
        around = FlowRunContext.get()
        for is_inside, name in inside():
            assert is_inside and name.startswith("inside-")
            assert FlowRunContext.get() is around
            assert TaskRunContext.get() is None
            assert get_transaction() is None
            assert TagsContext.get().current_tags == set()
            assert outside.get() == "unset"

    f()


def test_the_consumer_of_an_async_generator_is_not_either() -> None:
    @task
    async def inside() -> AsyncIterator[Any]:
        with tags("inner"):
            for _ in range(3):
                await asyncio.sleep(0)
                yield task_run.name

    async def main() -> None:
        async for name in inside():
            assert name.startswith("inside-")
            assert TaskRunContext.get() is None
            assert TagsContext.get().current_tags == set()

    asyncio.run(main())


def test_generators_can_be_taken_from_in_turns() -> None:
    @task
    def named(n: int) -> Values:
        for i in range(n):
            yield task_run.name, i

    first, second = zip(*zip(named(3), named(3), strict=True), strict=True)
    assert len({name for name, _ in first}) == len({name for name, _ in second}) == 1
    assert first[0][0] != second[0][0]


def test_a_generator_can_be_taken_from_by_any_thread() -> None:
    values = count_to(3)
    taken: list[int] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: taken.append(next(values)))  # type: ignore[call-overload]
        thread.start()
        thread.join()
    assert taken == [0, 1, 2]


def test_a_generator_runs_in_the_flow_and_with_the_tags_of_its_call() -> None:
    @task(tags=["own"])
    def facts() -> Values:
        context = TaskRunContext.get()
        assert context is not None
        yield context.task_run.tags, context.task_run.flow_run_id

    @flow
    def f() -> Any:
        around = FlowRunContext.get()
        assert around is not None
        with tags("called"):
            values = facts()
        return [next(values)[0], next(facts())[1] == around.flow_run.id]

    assert f() == [{"own", "called"}, True]


def test_values_that_are_sent_and_what_is_returned_are_passed_on() -> None:
    @task
    def running_sum() -> Values:
        total = 0
        while (sent := (yield total)) is not None:
            total += sent
        return "done"

    def caller() -> Values:
        return (yield from running_sum())

    values = caller()
    assert [next(values), values.send(2), values.send(3)] == [0, 2, 5]
    with pytest.raises(StopIteration, match="done"):
        values.send(None)


def test_an_async_generator_takes_what_is_sent() -> None:
    @task
    async def echo() -> Any:
        sent = yield 0
        while True:
            sent = yield sent

    async def main() -> list[Any]:
        values: Any = echo()
        taken = [await values.asend(None), await values.asend(1), await values.asend(2)]
        await values.aclose()
        return taken

    assert asyncio.run(main()) == [0, 1, 2]


def test_an_exception_inside_fails_the_run_and_reaches_the_consumer() -> None:
    states: list[State[Any]] = []

    @task(on_failure=[lambda task, run, state: states.append(state)])
    def breaks() -> Values:
        yield 1
        raise ValueError("inside")

    values = breaks()
    assert next(values) == 1
    with pytest.raises(ValueError, match="inside"):
        next(values)
    assert [state.name for state in states] == ["Failed"]
    with pytest.raises(StopIteration):
        next(values)


def test_a_retry_starts_again_from_the_beginning() -> None:
    runs = itertools.count(1)

    @task(retries=1)
    def flaky() -> Values:
        run = next(runs)
        yield run, 1
        if run == 1:
            raise ValueError
        yield run, 2

    assert list(flaky()) == [(1, 1), (2, 1), (2, 2)]


def test_what_the_consumer_throws_in_is_handled_inside_or_fails_the_run_without_a_retry() -> None:
    runs: list[str] = []

    @task(retries=3, on_failure=[lambda task, run, state: runs.append("failed")])
    def careful() -> Values:
        runs.append("ran")
        try:
            yield 1
        except KeyError:
            yield "handled"

    values = careful()
    next(values)
    assert values.throw(KeyError()) == "handled"
    assert list(values) == []
    values = careful()
    next(values)
    with pytest.raises(ValueError, match="theirs"):
        values.throw(ValueError("theirs"))
    assert runs == ["ran", "ran", "failed"]


def closed_by_close(values: Any) -> None:
    values.close()


def closed_by_garbage(values: Any) -> None:
    del values
    gc.collect()


@pytest.mark.parametrize("close", [closed_by_close, closed_by_garbage])
def test_closing_early_ends_the_run_as_cancelled_and_lets_the_generator_clean_up(
    close: Callable[[Any], None], log: Any
) -> None:
    cleaned: list[str] = []

    @task(on_completion=[lambda *_: cleaned.append("hook")], on_failure=[lambda *_: cleaned.append("hook")])
    def opened() -> Values:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(task_run.name)

    def use() -> Any:
        values = opened()
        next(values)
        return values

    close(use())
    assert [name[:7] for name in cleaned] == ["opened-"]
    assert log.having("INFO", "Finished in state Closed('Its caller took 1 values and closed it', type=CANCELLED)")


def test_what_is_left_open_does_not_hold_up_the_end_of_the_process() -> None:
    program = """
from kept import flow, task
@task
def numbers():
    yield from range(3)
@flow
def more_numbers():
    yield from numbers()
one, other = numbers(), more_numbers()
print(next(one), next(other))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0 0\n"), done.stderr


def test_an_error_while_closing_reaches_who_closes_and_fails_the_run(log: Any) -> None:
    @task(retries=2)
    def stubborn() -> Values:
        try:
            yield 1
        finally:
            raise ValueError("can't clean up")

    values = stubborn()
    next(values)
    with pytest.raises(ValueError, match="can't clean up"):
        values.close()
    assert len(log.having("Finished in state Failed")) == 1


def test_an_async_generator_is_closed_early(log: Any) -> None:
    cleaned: list[str] = []

    @task
    async def opened() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append(task_run.name)

    async def main() -> None:
        values: Any = opened()
        async for _ in values:
            break
        await values.aclose()

    asyncio.run(main())
    assert len(cleaned) == 1
    assert "Finished in state Closed" in log


def test_what_the_loop_closes_at_its_end_is_closed_too(log: Any) -> None:
    async def main() -> None:
        async for _ in slowly_to(3):
            break

    asyncio.run(main())
    assert "Finished in state Closed" in log
    assert "Crash" not in log


def test_a_consumer_that_is_cancelled_while_it_waits_crashes_the_run(log: Any) -> None:
    @task
    async def waits() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()
        yield 2

    async def main() -> None:
        values: Any = waits()
        await values.__anext__()
        waiting = asyncio.ensure_future(values.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert "Finished in state Crashed" in log


def test_the_time_that_the_consumer_takes_does_not_count_against_the_timeout() -> None:
    @task(timeout_seconds=0.2)
    def quick() -> Values:
        yield 1
        yield 2

    values = quick()
    next(values)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    assert list(values) == [2]


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_generator_that_takes_too_long_over_a_value_times_out(in_thread: bool) -> None:
    @task(timeout_seconds=0.05)
    def stuck() -> Values:
        yield 1
        while True:
            pass

    def take() -> None:
        values = stuck()
        next(values)
        with pytest.raises(TimeoutError):
            next(values)
        ended.append(True)

    ended: list[bool] = []
    if in_thread:
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    else:
        take()
    assert ended


def test_an_async_generator_times_out() -> None:
    @task(timeout_seconds=0.05)
    async def stuck() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            [value async for value in stuck()]

    asyncio.run(main())


def test_prints_and_log_lines_are_those_of_the_run_inside_only(log: Any, capsys: Any) -> None:
    @task(log_prints=True)
    def talks() -> Values:
        print("from inside")
        yield 1
        get_run_logger().info("from inside, too")

    for _ in talks():
        print("from the consumer")
    assert len(log.having("Task run 'talks-", "from inside")) == 2
    assert "from the consumer" not in log
    assert "from the consumer" in capsys.readouterr().out


def test_hooks_run_at_the_beginning_and_at_the_end() -> None:
    seen: list[Any] = []

    @task(
        on_running=[lambda *_: seen.append("running")],
        on_completion=[lambda *_: seen.append("completed")],
        on_commit=[lambda _: seen.append("committed")],
    )
    def steps() -> Values:
        yield 1
        yield 2

    for value in steps():
        seen.append(value)
    assert seen == ["running", 1, 2, "committed", "completed"]


def test_a_stream_that_is_not_kept_is_not_collected() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Thing: ...

    @task
    def endless() -> Values:
        while True:
            thing = Thing()
            alive.add(thing)
            yield thing

    values = endless()
    for _ in range(100):
        next(values)
    gc.collect()
    assert len(alive) <= 2
    values.close()


ran: list[Any] = []


@task(cache_policy=INPUTS)
def kept_to(n: int, returns: Any = None) -> Values:
    ran.append(n)
    for i in range(n):
        yield [i]
    return returns


def with_return(values: Values) -> tuple[list[Any], Any]:
    taken = []
    try:
        while True:
            taken.append(next(values))
    except StopIteration as end:
        return taken, end.value


@pytest.mark.parametrize("returns", [None, "something"])
@pytest.mark.parametrize("n", [0, 2])
def test_a_kept_generator_yields_and_returns_what_was_kept_without_running(n: int, returns: Any, log: Any) -> None:
    ran.clear()
    for _ in range(3):
        assert with_return(kept_to(n, returns)) == ([[i] for i in range(n)], returns)
    assert ran == [n]
    assert len(log.having("Finished in state Cached")) == 2


def test_a_kept_async_generator_does_as_well() -> None:
    @task(cache_policy=INPUTS)
    async def kept_slowly(n: int) -> AsyncIterator[int]:
        ran.append(n)
        for i in range(n):
            yield i

    async def main() -> list[int]:
        return [i async for i in kept_slowly(3)]

    ran.clear()
    assert [asyncio.run(main()) for _ in range(2)] == [[0, 1, 2], [0, 1, 2]]
    assert ran == [3]


def test_the_values_are_kept_as_they_were_when_they_were_yielded() -> None:
    @task(cache_policy=INPUTS)
    def reuses(n: int) -> Values:
        row: list[int] = []
        for i in range(n):
            row.append(i)
            yield row

    seen = [list(row) for row in reuses(3)]
    assert seen == list(reuses(3)) == [[0], [0, 1], [0, 1, 2]]


def test_what_is_closed_early_or_fails_is_not_kept() -> None:
    ran.clear()
    next(kept_to(3))
    assert list(kept_to(3)) == list(kept_to(3)) == [[0], [1], [2]]
    assert ran == [3, 3]


def test_what_an_argument_has_become_meanwhile_is_not_kept_under_what_it_was(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def over(items: list[int]) -> Values:
        yield from items

    items = [1, 2]
    for item in over(items):
        if item == 1:
            items.append(3)
    assert "something changed the arguments" in log
    assert list(over([1, 2])) == [1, 2]


def test_a_value_that_can_not_be_kept_fails_nothing(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def generators(n: int) -> Values:
        yield (i for i in range(n))

    assert [list(each) for each in generators(2)] == [[0, 1]]
    assert "The result was not kept" in log


def test_one_at_a_time_also_holds_for_generators() -> None:
    alone = kept_to.with_options(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    values = alone(2)
    next(values)
    values.close()  # which gives the lock back
    assert list(alone(2)) == list(alone(2)) == [[0], [1]]


def test_asked_for_its_state_a_generator_runs_to_its_end() -> None:
    state: Any = count_to(3, return_state=True)
    assert state.is_completed()
    assert state.result() == [0, 1, 2]
    assert kept_to(2, return_state=True).result() == kept_to(2, return_state=True).result() == [[0], [1]]
    state = asyncio.run(slowly_to(3, return_state=True))  # type: ignore[arg-type]
    assert state.result() == [0, 1, 2]


def test_a_generator_waits_for_what_it_is_told_to_wait_for_and_takes_futures() -> None:
    @flow
    def f() -> Any:
        three = double.submit(3)
        return list(count_to(three, wait_for=[three])), list(count_to(three))

    assert f() == (list(range(6)), list(range(6)))


@pytest.mark.parametrize("start", [lambda t: t.submit(1), lambda t: t.map([1])])
@pytest.mark.parametrize("generator", [count_to, slowly_to])
def test_a_generator_can_not_be_submitted(start: Any, generator: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is a generator, which can't be submitted.*for value in"):
        flow(lambda: start(generator))()


def test_a_generator_is_mapped_over() -> None:
    assert flow(lambda: double.map(count_to(3)).result())() == [0, 2, 4]


def test_a_generator_that_a_task_returns_is_consumed_into_a_list() -> None:
    done: list[str] = []

    def numbers() -> Values:
        yield from [1, 2, 3]
        done.append("consumed")

    @task
    def returns() -> Any:
        return numbers()

    @task
    async def returns_async() -> Any:
        return slowly_to(3)

    assert returns() == [1, 2, 3]
    assert done == ["consumed"]
    assert flow(lambda: numbers())() == [1, 2, 3]
    assert asyncio.run(returns_async()) == [0, 1, 2]
    assert task(lambda: slowly_to(2))() == [0, 1]
    assert flow(lambda: returns.submit().result())() == [1, 2, 3]


def test_a_generator_that_is_yielded_is_not_consumed() -> None:
    @task
    def yields() -> Values:
        yield (i for i in range(2))

    @flow
    def yielding_flow() -> Values:
        yield (i for i in range(2))

    assert list(next(yields())) == [0, 1]
    assert list(next(yielding_flow())) == [0, 1]


def test_flows_can_be_generators(log: Any) -> None:
    @flow
    def numbers(n: int) -> Values:
        for i in range(n):
            yield double.submit(i).result()

    for _ in numbers("2"):  # type: ignore[arg-type]
        assert FlowRunContext.get() is None
    assert list(numbers(2)) == [0, 2]
    assert len(log.having("Flow run", "Finished in state Completed()")) == 2


def test_async_flows_can_be_generators() -> None:
    @flow
    async def numbers() -> AsyncIterator[int]:
        async for i in slowly_to(2):
            yield i

    async def main() -> list[int]:
        return [i async for i in numbers()]

    assert asyncio.run(main()) == [0, 1]


def test_methods_can_be_generators() -> None:
    class Shop:
        prices = (1, 2)

        @task
        def all(self) -> Values:
            yield from self.prices

        @task
        @classmethod
        def of_class(cls) -> Values:
            yield from cls.prices

    assert list(Shop().all()) == list(Shop.of_class()) == [1, 2]
    assert Shop().all.isgenerator
