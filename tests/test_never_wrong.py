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

from kept import flow, task
from kept.cache_policies import INPUTS, TASK_SOURCE
from kept.filesystems import LocalFileSystem
from kept.task_runners import ThreadPoolTaskRunner
from kept.transactions import IsolationLevel


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
    assert "The lock on the key can't be given back" in log


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
