"""Ways in which a step could get another step's result, or a result of other inputs; each was found by trying."""

from __future__ import annotations

import functools
import operator
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import pytest

from kept import flow, task, transaction
from kept.cache_policies import INPUTS, TASK_SOURCE
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from kept.transactions import IsolationLevel, TransactionState


def scaled(factor: int) -> Any:
    def decorate(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(x: int) -> int:
            return factor * fn(x)

        return wrapper

    return decorate


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x


@pytest.mark.parametrize(
    ("left", "right", "x"),
    [
        (functools.partial(operator.mul, 2), functools.partial(operator.mul, 3), 10),
        (Scale(2), Scale(3), 10),
        (operator.itemgetter(0), operator.itemgetter(1), [1, 2]),
        (Scale(2).__call__, Scale(3).__call__, 10),
    ],
)
def test_callables_that_differ_have_different_sources(left: Any, right: Any, x: Any) -> None:
    policy = INPUTS + TASK_SOURCE
    first, second = (task(fn, name="step", cache_policy=policy) for fn in (left, right))
    assert [first(x), second(x)] == [left(x), right(x)]
    assert second(x, return_state=True).name == "Cached"


@pytest.mark.parametrize(
    ("left", "right"), [(functools.partial(operator.mul, 2), functools.partial(operator.mul, 3)), (Scale(2), Scale(3))]
)
def test_flows_over_callables_that_differ_share_nothing(left: Any, right: Any) -> None:
    first, second = (flow(fn, name="step", cache_policy=INPUTS, validate_parameters=False) for fn in (left, right))
    assert [first(10), second(10)] == [20, 30]
    assert second(10, return_state=True).name == "Cached"


def test_other_inputs_than_those_waited_for_are_never_taken_for_them() -> None:
    @task(cache_policy=INPUTS)
    def gate(n: int) -> bytearray:
        return bytearray(b"x")

    @task(cache_policy=INPUTS)
    def show(x: Exception) -> str:
        return repr(x)

    @flow
    def f() -> list[str]:
        gates = [gate.submit(i) for i in range(40)]
        return [show.submit(ValueError(date(2020, 1, day)), wait_for=gates).result() for day in (1, 2, 3)]

    assert f() == [repr(ValueError(date(2020, 1, day))) for day in (1, 2, 3)]


def test_an_argument_that_changes_after_submit_is_keyed_as_the_run_sees_it() -> None:
    go = threading.Event()

    @task
    def hold_the_only_thread() -> None:
        go.wait(30)

    @task(cache_policy=INPUTS + TASK_SOURCE)
    def total(values: list[int]) -> int:
        return sum(values)

    @flow(task_runner=ThreadPoolTaskRunner(1))
    def f() -> int:
        hold_the_only_thread.submit()
        values = [1]
        future = total.submit(values)
        values.append(2)
        go.set()
        return future.result()

    assert f() == 3
    assert total([1]) == 1
    assert total([1, 2], return_state=True).name == "Cached"


def test_a_result_of_arguments_that_an_earlier_try_changed_is_not_kept(log: Any) -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE, retries=1)
    def take(values: list[int]) -> int:
        values.pop()
        if len(values) == 2:
            raise ValueError
        return len(values)

    assert take([1, 2, 3]) == 1
    assert "an earlier try changed the arguments" in log
    assert take([1, 2, 3]) == 1


def test_a_value_that_was_lost_and_changed_is_keyed_as_it_is(home: Path) -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def ones(n: int) -> Any:
        return numpy.ones(n)

    @task(cache_policy=INPUTS + TASK_SOURCE)
    def total(values: Any) -> float:
        return float(values.sum())

    @flow
    def f() -> float:
        made = ones.submit(100_000)
        values = made.result()
        values *= 7
        shutil.rmtree(home / "storage")
        return total.submit(made).result()

    f()
    assert total(numpy.ones(100_000)) == 100_000


def test_an_input_lost_before_its_run_is_computed_from_what_memory_has(home: Path) -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def ones(n: int) -> Any:
        return numpy.ones(n)

    @task
    def total(values: Any) -> float:
        return float(values.sum())

    @flow
    def f() -> float:
        made = ones.submit(100_000)
        made.wait()
        shutil.rmtree(home / "storage")
        return total.submit(made).result()

    assert f() == 100_000


def test_two_scripts_with_a_function_of_one_name_are_told_apart(tmp_path: Path, home: Path) -> None:
    shown = ""
    for name in ("first", "second"):
        script = tmp_path / f"{name}.py"
        script.write_text(
            textwrap.dedent(f"""
            from kept import task
            from kept.cache_policies import INPUTS
            @task(cache_policy=INPUTS)
            def load(path): return {name!r}
            load("x.csv")
            """)
        )
        shown += subprocess.run(
            [sys.executable, script], env={**os.environ, "KEPT_HOME": str(home)}, capture_output=True, text=True
        ).stderr
    assert "kept by another task, 'first.load'" in shown


def test_an_edit_during_the_run_never_keeps_the_old_result_under_the_new_source(tmp_path: Path, home: Path) -> None:
    module = tmp_path / "helpers.py"
    text = "from kept import task\nfrom kept.cache_policies import *\n"
    text += "@task(cache_policy=TASK_SOURCE)\ndef step(): return {}"
    module.write_text(text.format(2))
    program = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nimport helpers\nexec(sys.argv[2])\nprint(helpers.step())"
    )
    edit = f"t = os.stat(helpers.__file__); open(helpers.__file__, 'w').write({text.format(3)!r})\n"
    edit += "os.utime(helpers.__file__, ns=(t.st_atime_ns, t.st_mtime_ns))"
    for during in (edit, ""):
        done = subprocess.run(
            [sys.executable, "-B", "-c", program, str(tmp_path), during],
            env={**os.environ, "KEPT_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "3\n"


def test_what_another_process_kept_after_the_store_was_deleted_is_seen(home: Path) -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def step(x: int) -> int:
        return x

    step(1)
    shutil.rmtree(home / "storage")
    deadline = threading.Event()
    for _ in range(100):  # a hit may come from the deleted file for a tenth of a second
        if step(1, return_state=True).name == "Completed":
            break
        deadline.wait(0.02)
    assert (home / "storage" / "entries.sqlite").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_that_submit_tasks_and_wait_for_them_do_not_starve_each_other(workers: int) -> None:
    @task
    def countdown(n: int) -> int:
        return countdown.submit(n - 1).result() + 1 if n else 0

    @flow(task_runner=ThreadPoolTaskRunner(workers))
    def f() -> list[int]:
        return countdown.map([5, 6, 7]).result()

    assert f() == [5, 6, 7]


def test_what_a_task_submits_while_the_flow_ends_is_run() -> None:
    ran = []
    flow_has_returned = threading.Event()

    @task
    def last(x: int) -> None:
        ran.append(x)

    @task
    def passed_on(x: int) -> int:
        return x

    @task
    def late(x: int) -> None:
        flow_has_returned.wait(0.2)
        last.submit(passed_on.submit(x))

    @flow
    def f() -> None:
        late.submit(1)

    f()
    assert ran == [1]


def test_a_serializable_task_may_call_another_with_the_same_key() -> None:
    policy = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE)

    @task(cache_policy=policy)
    def clean(day: str) -> str:
        return f"clean {day}"

    @task(cache_policy=policy)
    def report(day: str) -> str:
        return f"report of {clean(day)}"

    assert report("monday") == "report of clean monday"


def test_a_lock_that_is_gone_does_not_fail_the_run(home: Path, log: Any) -> None:
    @task(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    def step(x: int) -> int:
        shutil.rmtree(home / "storage")
        return x

    assert step(1) == 1
    assert "The result was not kept: its lock is gone" in log


def test_an_empty_storage_key_is_told_and_blocks_nothing(tmp_path: Path, log: Any) -> None:
    files = LocalFileSystem(basepath=str(tmp_path / "files"))

    @task(result_storage=files, result_storage_key="{parameters[name]}")
    def step(name: str) -> str:
        return name

    assert step("") == ""
    assert "came out empty" in log
    assert [step("a", return_state=True).name for _ in range(2)] == ["Completed", "Cached"]


class Quits:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def test_a_result_that_ends_the_program_when_it_is_read_is_a_miss(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> Any:
        return Quits()

    assert isinstance(step(1), Quits)
    assert isinstance(step(1), Quits)
    assert "is not used: unreadable" in log


class Picky(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


def test_a_value_that_can_not_be_read_back_is_held_in_memory() -> None:
    @task(persist_result=True, cache_result_in_memory=False)
    def step() -> Exception:
        return Picky(1, 2)

    assert isinstance(step(), Picky)


def test_a_misspelt_exclusion_is_told(log: Any) -> None:
    @task(cache_policy=INPUTS - "debgu")
    def step(x: int, debug: bool = False) -> int:
        return x

    assert "no argument 'debgu' to leave out of its key; did you mean 'debug'?" in log


@task(cache_policy=INPUTS, retries=1)
def second_time(numbers: list[int], more: list[int], began: Path) -> int:
    if began.exists():
        return sum(numbers) + sum(more)
    began.touch()
    while numbers and not began.with_name("go-on").exists():
        pass
    raise ValueError("not yet")


@task(cache_policy=INPUTS)
def some(count: int) -> list[int]:
    return list(range(count))


def test_a_result_of_arguments_that_changed_before_another_process_tried_again_is_not_kept(
    tmp_path: Path, log: Any
) -> None:
    began = tmp_path / "began"

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def calls() -> list[int]:
        numbers = [1, 2]
        first = second_time.submit(numbers, [], began)
        while not began.exists():
            pass
        numbers.append(50)
        began.with_name("go-on").touch()
        return [first.result(), second_time.submit([1, 2], [], began).result()]

    assert calls()[1] == 3
    assert "changed the arguments" in log


def test_a_result_that_another_process_got_at_the_second_try_from_kept_inputs_is_kept(tmp_path: Path) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def calls() -> Any:
        inputs = [], some.submit(100_000), tmp_path / "began"
        second_time.submit(*inputs).wait()
        return second_time.submit(*inputs).state.name

    assert calls() == "Cached"


@task(cache_policy=INPUTS)
def steered(count: int) -> Any:
    at = 0
    while at < count:
        try:
            at = (yield at) or at + 1
        except KeyError:
            yield -1


@pytest.mark.parametrize("steer", [lambda values: values.send(3), lambda values: values.throw(KeyError())])
def test_values_that_a_caller_of_a_generator_had_a_part_in_are_not_kept(steer: Any, log: Any) -> None:
    values = steered(4)
    next(values)
    steer(values)
    list(values)
    assert "its caller sent something in" in log
    assert list(steered(4)) == list(steered(4)) == [0, 1, 2, 3]
    assert len(log.having("Finished in state Cached")) == 1


class Module:
    """What `copy.deepcopy` can't copy, and pickles can."""

    def __init__(self) -> None:
        self.module, self.count = operator, 0


def test_values_of_a_generator_that_can_only_be_pickled_are_kept_as_they_were_too() -> None:
    @task(cache_policy=INPUTS)
    def reuses(count: int) -> Any:
        row = Module()
        for row.count in range(count):
            yield row

    assert [row.count for row in reuses(3)] == [row.count for row in reuses(3)] == [0, 1, 2]


def test_what_a_generator_returns_is_not_lost_with_a_serializer_that_knows_only_lists(log: Any) -> None:
    @task(cache_policy=INPUTS, result_serializer="json")
    def pages(count: int) -> Any:
        yield from range(count)
        return "the end"

    for _ in range(2):
        values = pages(1)
        assert next(values) == 0
        with pytest.raises(StopIteration, match="the end"):
            next(values)
    assert "Use result_serializer='pickle'" in log


class Broken:
    """A file system on which nothing can be written."""

    def read_path(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    def write_path(self, path: str, content: bytes) -> None:
        raise OSError("no space left")


def test_a_transaction_that_can_not_note_that_it_was_done_is_rolled_back_with_all_inside(tmp_path: Path) -> None:
    undone = []
    store = ResultStore(result_storage=Broken(), metadata_storage=tmp_path)
    with transaction(key="done", store=store) as outer:
        outer.on_rollback_hooks.append(lambda _: undone.append("outer"))
        with transaction() as inner:
            inner.on_rollback_hooks.append(lambda _: undone.append("inner"))
    assert undone == ["outer", "inner"]
    assert inner.state is outer.state is TransactionState.ROLLED_BACK


def test_a_transaction_in_a_task_is_rolled_back_if_it_can_not_be_published_with_the_task() -> None:
    undone = []

    @task(cache_policy=INPUTS, result_storage=Broken())
    def pays(amount: int) -> Any:
        with transaction(key="paid") as txn:
            txn.stage(amount, on_rollback_hooks=[lambda _: undone.append(amount)])
        return txn.key

    assert pays(3) == "paid"
    assert undone == [3]


def test_a_transaction_whose_value_was_lost_is_not_taken_for_done(home: Path) -> None:
    for _ in range(2):
        with transaction(key="report") as txn:
            assert not txn.is_committed()
            txn.stage(bytes(100_000))
        shutil.rmtree(home / "storage" / "blobs")


class Rows(list[Any]):
    """A list that makes its elements when they are asked for."""

    def __iter__(self) -> Any:
        return ([value] for value in list.__iter__(self))


def test_elements_that_are_made_when_they_are_asked_for_are_not_taken_for_each_other() -> None:
    @task
    def same(value: Any) -> Any:
        return value

    @flow
    def calls() -> Any:
        rows = [Rows([same.submit(i), i, i + 10]) for i in range(10)]
        return [[value[0] for value in row] for row in same(rows)]

    assert calls() == [[[i], [i], [i + 10]] for i in range(10)]
