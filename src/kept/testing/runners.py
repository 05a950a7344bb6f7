"""The examination that every task runner of kept passes, and that a user's own should.

    def test_my_runner_keeps_the_contract():
        check_task_runner(lambda: MyTaskRunner(...))

Each question is a flow with a fresh runner; a wrong answer raises AssertionError with the question. No test framework
is needed. The tasks stand at the top of this module, so that other processes and machines can import them.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kept import runtime
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext, tags
from kept.exceptions import MappingLengthMismatch, MappingMissingIterable
from kept.flows import flow
from kept.futures import as_completed, wait
from kept.logging import get_run_logger
from kept.settings import KEPT_TASKS_DEFAULT_RETRIES, get_current_settings, temporary_settings
from kept.task_runners import TaskRunner
from kept.tasks import task
from kept.utilities.annotations import allow_failure, quote, unmapped

_LARGE = 3_000_000
_MANY = 300


def check_task_runner(make_runner: Callable[[], TaskRunner[Any]]) -> None:
    """Ask a task runner all that the documentation promises of it.

    Arguments:
        make_runner: gives a runner for two tasks at a time at least; called once for each question.

    Raises:
        AssertionError: an answer was wrong; the message says which.
    """
    for question in _QUESTIONS:
        runner = make_runner()

        @flow(name=question.__name__.strip("_").replace("_", "-"), task_runner=runner)
        def asked(question: Callable[[], None] = question) -> None:
            question()

        asked()
    _check_duplicates(make_runner())
    _check_interrupts(make_runner())


# -- the tasks


@task
def _same(x: Any = None) -> Any:
    return x


@task
def _add(x: int, y: int = 0) -> int:
    return x + y


@task
async def _add_async(x: int, y: int) -> int:
    return x + y


@task
def _total(numbers: Any) -> int:
    return sum(numbers.values() if isinstance(numbers, dict) else numbers)


@task
def _divide(x: int, y: int) -> float:
    return x / y


@task(retries=2)
def _third_time(x: int) -> Any:
    count = runtime.task_run.run_count
    if count < 3:
        raise ValueError(f"try {count}")
    return x, count


@task(cache_policy=INPUTS)
def _kept(x: Any, size: int) -> bytes:
    return bytes(size) + repr(x).encode()


@task(log_prints=True)
def _speak(word: str) -> str:
    get_run_logger().info("logged %s", word)
    print("printed", word)
    return word


@task(tags=["of-task"])
def _surroundings() -> dict[str, Any]:
    return {
        "flow id": runtime.flow_run.id,
        "flow name": runtime.flow_run.flow_name,
        "flow parameters": sorted(runtime.flow_run.parameters),
        "task name": runtime.task_run.task_name,
        "task id": runtime.task_run.id,
        "tags": runtime.task_run.tags,
        "retries": get_current_settings().tasks.default_retries,
    }


@task(timeout_seconds=0.2)
def _too_long() -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        time.sleep(0.01)


# -- the questions


def _results() -> None:
    futures = [_add.submit(n, y=1) for n in range(5)]
    _true([future.result() for future in futures] == [1, 2, 3, 4, 5], "results come back to their own futures")
    _true(all(future.done() and future.state.is_completed() for future in futures), "what has ended says so")
    _true({future.result() for future in as_completed(futures)} == {1, 2, 3, 4, 5}, "as_completed gives each once")
    _true(wait(futures).not_done == set(), "wait returns when all have ended")
    _true(_same.submit(7, return_state=True).result() == 7, "return_state=True gives the final state")


def _inputs() -> None:
    one, two = _add.submit(1), _add.submit(2)
    _true(_add.submit(one, two).result() == 3, "futures are resolved")
    _true(_total.submit([one, two, 3]).result() == 6, "futures in a list are resolved")
    _true(_total.submit({"a": one, "b": two}).result() == 3, "futures in a dict are resolved")
    _true(
        _same.submit([(one, {"x": [two]})]).result() == [(1, {"x": [2]})], "futures are resolved however deep they are"
    )
    _true(_add.submit(one.state, 1).result() == 2, "states are resolved")
    _true(_same.submit(quote({"x": 1})).result() == {"x": 1}, "what is quoted arrives as it is")
    chain = _add.submit(0)
    for _ in range(20):
        chain = _add.submit(chain, 1)
    _true(chain.result() == 20, "a chain longer than there are workers comes to its end")
    _true(_same.submit(1, wait_for=[chain, one]).result() == 1, "wait_for waits, and passes nothing on")


def _failures() -> None:
    failed = _divide.submit(1, 0)
    failed.wait()
    error = failed.result(raise_on_failure=False)
    _true(failed.state.is_failed() and isinstance(error, ZeroDivisionError), "the exception of the task is its result")
    _raises(failed.result, ZeroDivisionError, "result() raises it")
    for after in (_same.submit(failed), _same.submit([failed]), _same.submit(1, wait_for=[failed])):
        after.wait()
        _true(after.state.name == "NotReady", "what needs a failed run does not run")
    tolerant = _same.submit(allow_failure(failed)).result()
    _true(isinstance(tolerant, ZeroDivisionError), "allow_failure passes the exception on")
    _true(_third_time.submit(5).result() == (5, 3), "a run is tried again as often as it may be")
    late = _too_long.submit()
    late.wait()
    _true(late.state.name == "TimedOut", "a run whose time is up is stopped")


def _maps() -> None:
    _true(_add.map([1, 2, 3], [10, 20, 30]).result() == [11, 22, 33], "map goes through the iterables together")
    _true(_add.map([1, 2], unmapped(5)).result() == [6, 7], "what is unmapped goes whole to each run")
    _true(_add.map(_same.submit([1, 2]), 1).result() == [2, 3], "a future of a list is mapped over")
    _true(_add.map([_same.submit(1), 2], 1).result() == [2, 3], "futures among the elements are resolved")
    _true(_same.map([]) == [], "a map over nothing is empty")
    _raises(lambda: _add.map([1, 2], [1]), MappingLengthMismatch, "unequal lengths are told")
    _raises(lambda: _add.map(1, 2), MappingMissingIterable, "nothing to map over is told")
    numbers = range(_MANY)
    _true(_add.map(numbers, 1).result() == [n + 1 for n in numbers], "many small tasks all end, in order")
    _true(_add_async.map(range(5), 1).result() == [1, 2, 3, 4, 5], "async tasks run")


def _surrounded() -> None:
    context = FlowRunContext.get()
    assert context is not None
    with tags("of-flow"), temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 3}):
        future = _surroundings.submit()
    found = future.result()
    _true(found["flow id"] == context.flow_run.id, "a task knows the run of its flow")
    _true(found["flow name"] == context.flow.name, "a task knows the name of its flow")
    _true(found["flow parameters"] == sorted(context.parameters), "a task knows the parameters of its flow")
    _true(found["task id"] == future.task_run_id, "a task knows its own run")
    _true(found["task name"] == _surroundings.name, "a task knows its own name")
    _true(found["tags"] == ["of-flow", "of-task"], "the tags in force at the submit are those of the run")
    _true(found["retries"] == 3, "the settings in force at the submit are those of the run")


def _keeping() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for size in (10, _LARGE):
            step = _kept.with_options(result_storage=folder)
            value = step.submit("x", size).result()
            _true(len(value) == size + 3, "results come back whole, large ones too")
            again = step.submit("x", size)
            _true(again.result() == value, "what is kept is what was computed")
            _true(again.state.name == "Cached", "what is kept is not computed again")
            other = step.submit("y", size)
            _true(other.result() != value and other.state.name == "Completed", "other arguments are computed")
            passed = _same.submit(again).result()
            _true(passed == value, "a kept result can be passed on")


def _logs() -> None:
    with _records() as records:
        _speak.map(["one", "two"]).wait()
        said = [record.getMessage() for record in records if record.name == "kept.task_runs"]
    for word in ("one", "two"):
        lines = [said.count(f"{verb} {word}") for verb in ("logged", "printed")]
        _true(lines == [1, 1], "what a task logs and prints is logged once, before its future has ended")
    own = [getattr(record, "task_run_name", "") for record in records if record.getMessage() == "logged one"]
    _true(own[0].startswith("_speak"), "log lines name the run that they belong to")


def _threads() -> None:
    futures: list[Any] = []
    context = FlowRunContext.get()
    assert context is not None
    runner = context.task_runner
    threads = [threading.Thread(target=lambda: futures.append(runner.submit(_add, {"x": 1, "y": 2}))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _true([future.result() for future in futures] == [3, 3, 3], "tasks can be submitted from any thread")


_QUESTIONS = (_results, _inputs, _failures, _maps, _surrounded, _keeping, _logs, _threads)


def _check_duplicates(runner: TaskRunner[Any]) -> None:
    twin = runner.duplicate()
    _true(type(twin) is type(runner) and twin is not runner, "a duplicate is another runner of the same kind")
    for one in (runner, twin):
        with one:
            future = one.submit(_add, {"x": 1, "y": 2})
            _true(future.result() == 3, "a duplicate works when the other is closed")
        _true(one.pending() == [], "a runner that is closed has nothing pending")


def _check_interrupts(runner: TaskRunner[Any]) -> None:
    @flow(task_runner=runner)
    def interrupted() -> None:
        _too_long.with_options(timeout_seconds=3).submit()
        raise KeyboardInterrupt

    began = time.monotonic()
    _raises(interrupted, KeyboardInterrupt, "an interrupt ends the flow")
    _true(time.monotonic() - began < 3, "an interrupted flow does not wait for its tasks")


# -- asking


@contextmanager
def _records() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []

    class Taker(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    logger, taker = logging.getLogger("kept"), Taker()
    logger.addHandler(taker)
    try:
        yield found
    finally:
        logger.removeHandler(taker)


def _true(answer: bool, question: str) -> None:
    if not answer:
        raise AssertionError(f"not so: {question}")


def _raises(call: Callable[[], Any], kind: type[BaseException], question: str) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"not so: {question}")
