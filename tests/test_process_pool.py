"""Tasks in processes of their own: what travels, what stays, and what is left when one is killed."""

from __future__ import annotations

import functools
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from kept import flow, get_run_logger, runtime, task
from kept.cache_policies import INPUTS
from kept.context import FlowRunContext
from kept.exceptions import ConfigurationError, CrashedRun, SerializationError
from kept.results import KeptResult
from kept.settings import KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS, temporary_settings
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from kept.testing import check_task_runner, memory_store
from kept.transactions import get_transaction, transaction
from tests.conftest import Lines

two = ProcessPoolTaskRunner(max_workers=2)


@task
def where(x: Any = None) -> int:
    return os.getpid()


@task
def same(x: Any = None) -> Any:
    return x


@pytest.mark.parametrize(
    "make",
    [ThreadPoolTaskRunner, lambda: ThreadPoolTaskRunner(2), lambda: ProcessPoolTaskRunner(2)],
    ids=["threads", "two threads", "processes"],
)
def test_runners_keep_their_contract(make: Any) -> None:
    check_task_runner(make)


# -- how many, and where


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4"])
def test_a_wrong_number_of_workers_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_workers is .*whole number above 0"):
        ProcessPoolTaskRunner(max_workers=wrong)


def test_tasks_run_in_other_processes_and_no_more_than_there_may_be() -> None:
    @flow(task_runner=two)
    def f() -> set[int]:
        return set(where.map(range(20)).result())

    ran = f()
    assert os.getpid() not in ran
    assert len(ran) <= 2


def test_the_default_number_of_workers_is_a_setting() -> None:
    @flow(task_runner=ProcessPoolTaskRunner())
    def f() -> set[int]:
        return set(where.map(range(10)).result())

    with temporary_settings({KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS: 1}):
        assert len(f()) == 1


def test_a_runner_works_outside_of_a_flow() -> None:
    with ProcessPoolTaskRunner(max_workers=1) as runner:
        futures = [runner.submit(same, {"x": n}) for n in range(3)]
        assert [future.result() for future in futures] == [0, 1, 2]


def test_hits_are_there_at_once_and_start_no_process() -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return x

    @flow(task_runner=two)
    def f() -> Any:
        futures = step.map([1, 2])
        return [future.done() for future in futures], [future.result() for future in futures], children()

    f()
    assert f() == ([True, True], [1, 2], [])


# -- what travels


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Awkward(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_closures_lambdas_and_local_classes_travel() -> None:
    offset = 10

    class Local:
        value = 5

    @task
    def step(x: Any, change: Any) -> Any:
        found = Local()
        found.value = change(x.value) + offset
        return found

    @flow(task_runner=two)
    def f() -> Any:
        return step.submit(Local(), lambda value: value * 2).result()

    found = f()
    assert (found.value, type(found)) == (20, Local)


@pytest.mark.parametrize("argument", [threading.Lock(), [1, {"deep": threading.Lock()}]], ids=["itself", "deep inside"])
def test_an_argument_that_can_not_be_pickled_is_named_at_the_submit(argument: Any) -> None:
    @flow(task_runner=two)
    def f() -> None:
        with pytest.raises(
            SerializationError, match=r"Task 'same' can't be run in another process: argument 'x'"
        ) as told:
            same.submit(argument)
        cause = told.value.__cause__
        assert isinstance(cause, TypeError)  # the log shows what pickling said once, and no trail of attempts
        assert cause.__context__ is None
        if isinstance(argument, list):
            assert "argument 'x' -> [1] -> ['deep']: " in str(told.value)

    f()


def test_a_task_that_can_not_be_pickled_is_told_at_the_submit() -> None:
    lock = threading.Lock()

    @task
    def step() -> Any:
        return lock

    @flow(task_runner=two)
    def f() -> None:
        with pytest.raises(SerializationError, match=r"task 'step'.*closure lock.*cannot pickle"):
            step.submit()

    f()


def test_what_is_no_value_yet_is_brought_to_its_end_by_the_process() -> None:
    @task
    def lines(count: int) -> Any:
        return (f"line {number}" for number in range(count))

    async def three() -> int:
        return 3

    @task
    @functools.wraps(three)
    def wrapped() -> Any:
        return three()

    @flow(task_runner=two)
    def calls() -> Any:
        return lines.submit(2).result(), wrapped.submit().result()

    assert calls() == (["line 0", "line 1"], 3)


def test_a_result_that_can_not_be_pickled_fails_the_run_and_says_why() -> None:
    @task
    def step() -> Any:
        return [threading.Lock()]

    @flow(task_runner=two)
    def f() -> Any:
        return step.submit(return_state=True)

    state = f(return_state=True)
    with pytest.raises(SerializationError, match=r"the result -> \[0\]: cannot pickle"):
        state.result()


def test_an_exception_comes_back_with_its_traceback() -> None:
    @task
    def step() -> None:
        raise KeyError("gone")

    @flow(task_runner=two)
    def f() -> Any:
        future = step.submit()
        return future.result(raise_on_failure=False), future.state.name

    error, name = f()
    assert (repr(error), name) == ("KeyError('gone')", "Failed")
    assert 'raise KeyError("gone")' in str(error.__cause__)


def test_an_exception_that_can_not_be_pickled_becomes_one_that_says_what_it_was() -> None:
    @task
    def step() -> None:
        raise Awkward(1, 2)

    @flow(task_runner=two)
    def f() -> Any:
        return step.submit().result(raise_on_failure=False)

    error = f()
    assert str(error).startswith("Awkward: 1 and 2 (the exception itself can't be pickled")


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Leaving(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


class Text(Exception):
    def __reduce__(self) -> Any:
        return str, ("not an exception",)


class OnlyThere:
    """Can be unpickled by the process that made it, and by no other."""

    def __reduce__(self) -> Any:
        return eval, (f"1 / (__import__('os').getpid() == {os.getpid()})",)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Mute, "Mute that can't be shown: ValueError"),
        (Leaving, "Leaving: .* can't be pickled: 3"),
        (Text, "unpickled as something else"),
    ],
)
def test_no_exception_is_too_strange_to_fail_the_run_that_raised_it(error: Any, said: str) -> None:
    @task
    def step() -> None:
        raise error

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return step.submit().wait() or step.submit(return_state=True), same.submit(1).result()

    state, after = f()
    assert state.is_failed()
    assert re.search(said, state.message)
    assert after == 1


@pytest.mark.parametrize("value", [threading.Lock, OnlyThere])
def test_what_is_set_in_a_transaction_and_can_not_travel_fails_its_run(value: Any) -> None:
    @task
    def step() -> None:
        txn = get_transaction()
        assert txn is not None
        txn.set("it", value())

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return step.submit(return_state=True).type, same.submit(1).result()

    assert f() == ("FAILED", 1)


def test_a_log_record_that_can_not_be_read_here_is_told_and_harms_nothing(log: Lines) -> None:
    @task
    def step() -> int:
        get_run_logger().warning("look", extra={"attribute": OnlyThere()})
        return 1

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return step.submit().result()

    assert f() == 1
    assert "A log record of another process can't be read in this one: division by zero" in log


def test_a_task_may_close_what_it_prints_to() -> None:
    @task
    def step() -> int:
        sys.stdout.close()
        return 1

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return step.submit().result(), same.submit(2).result()

    assert f() == (1, 2)


def test_a_process_that_a_task_forks_neither_answers_for_it_nor_holds_its_line(tmp_path: Path) -> None:
    @task
    def forking() -> int:
        child = os.fork()
        if child == 0:
            return -1
        return os.waitpid(child, 0)[1]

    @task
    def dying() -> None:
        child = os.fork()
        if child == 0:
            time.sleep(100)
        (tmp_path / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        forked, after = forking.submit(), same.submit(2)
        dead = dying.submit()
        return forked.result(), after.result(), dead.wait() or str(dead.state)

    *results, state = f()
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)  # it is still there
    assert results == [0, 2]
    assert "killed by SIGKILL" in state


def test_a_process_that_can_not_be_started_crashes_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return same.submit(1, return_state=True)

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    state = f(return_state=True)
    assert state.is_crashed()
    assert "No process could be started" in state.message
    del state
    gc.collect()  # a socket that was left open would be told


def test_a_call_that_goes_on_and_logs_when_its_time_is_up_is_killed() -> None:
    @task(timeout_seconds=0.2)
    def stuck() -> None:
        while True:
            try:
                get_run_logger().info("still here")
                time.sleep(0.05)
            except BaseException:
                pass

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def f() -> Any:
        return stuck.submit(return_state=True).name

    assert f() == "TimedOut"


def test_large_kept_results_are_written_by_the_process_and_mapped_here() -> None:
    numpy = pytest.importorskip("numpy")

    @task(cache_policy=INPUTS)
    def make(n: int) -> Any:
        return numpy.full(n, 7.0)

    @task
    def total(array: Any) -> float:
        return float(array.sum())

    @flow(task_runner=two)
    def f() -> Any:
        made = make.submit(1_000_000)
        return made.state, total.submit(made).result(), made.result().sum(), made.state.data.entry

    _, there, here, entry = f()
    assert there == here == 7_000_000
    assert entry.blob is not None
    assert entry.run.startswith("make")


def test_kept_inputs_are_read_by_the_process_that_needs_them() -> None:
    @task(cache_policy=INPUTS)
    def make(size: int) -> bytes:
        return bytes(size)

    @task(cache_policy=INPUTS)
    def sizes(one: bytes, more: dict[str, list[bytes]]) -> list[int]:
        return [len(one), len(more["x"][0])]

    @flow(task_runner=two)
    def f() -> Any:
        made = make.submit(2_000_000)
        made.wait()
        state = made.state
        assert isinstance(state.data, KeptResult)
        # Nobody but the worker can read it now: the blob is there, the value no longer in memory.
        state.data._value = KeptResult._UNREAD
        found = sizes.submit(made, {"x": [made]}).result()
        assert state.data._value is KeptResult._UNREAD
        # Lost from the store, it travels by value.
        value = made.result()
        state.data.store.blobs.delete([state.data.entry.blob])
        return found, same.submit(made).result() == value

    assert f() == ([2_000_000, 2_000_000], True)


def test_results_kept_in_memory_or_in_the_users_own_files_come_back_by_value() -> None:
    class Files:
        def __init__(self) -> None:
            self.content: dict[str, bytes] = {}

        def read_path(self, path: str) -> bytes:
            return self.content[path]

        def write_path(self, path: str, content: bytes) -> None:
            self.content[path] = content

    @task(cache_policy=INPUTS)
    def make(n: int) -> bytes:
        return bytes(n)

    @flow(task_runner=two)
    def f(step: Any) -> Any:
        made = step.submit(1_000_000)
        return len(made.result()), len(same.submit(made).result()), step.submit(1_000_000, return_state=True).name

    with memory_store():
        assert f(make) == (1_000_000, 1_000_000, "Cached")
    assert f(make.with_options(result_storage=Files())) == (1_000_000, 1_000_000, "Cached")


def test_a_call_that_does_not_stop_when_its_time_is_up_is_killed() -> None:
    @task(timeout_seconds=0.2)
    def stuck() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(100)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def f() -> Any:
        late, after = stuck.submit(), same.submit(1)
        late.wait()
        return late.state.name, after.result()

    assert f() == ("TimedOut", 1)


def test_all_that_has_not_ended_can_be_cancelled() -> None:
    @task
    def forever() -> None:
        time.sleep(100)

    @flow
    def f() -> Any:
        with ProcessPoolTaskRunner(max_workers=1) as runner:
            futures = [runner.submit(forever, {}) for _ in range(3)]
            while not children():
                time.sleep(0.01)
            runner.cancel_all()
            return [future.state.name for future in futures if not future.wait()]

    names = f()
    assert names[1:] == ["Cancelled", "Cancelled"]
    assert names[0] in ("Crashed", "Cancelled")


def test_parameters_of_the_flow_that_can_not_travel_are_missed_only_where_they_are_needed() -> None:
    @task
    def look() -> Any:
        return sorted(runtime.flow_run.parameters), str(runtime.flow_run.parameters["lock"])

    @flow(task_runner=two, validate_parameters=False)
    def f(lock: Any, x: int) -> Any:
        return look.submit().result()

    names, lock = f(threading.Lock(), 1)
    assert names == ["lock", "x"]
    assert "not sent to this process" in lock


def test_hooks_policies_and_conditions_run_in_this_process() -> None:
    seen: list[Any] = []

    @task(
        retries=1,
        on_running=[lambda task, run, state: seen.append(("running", os.getpid()))],
        on_failure=[lambda task, run, state: seen.append((state.name, os.getpid()))],
        retry_condition_fn=lambda task, run, state: seen.append(("again?", os.getpid())) or True,
    )
    def step() -> None:
        raise ValueError(runtime.task_run.run_count)

    @flow(task_runner=two)
    def f() -> Any:
        return step.submit().result(raise_on_failure=False).args

    assert f() == (2,)
    here = os.getpid()
    assert seen == [("running", here), ("again?", here), ("running", here), ("Failed", here)]


def test_results_join_the_transaction_of_the_flow() -> None:
    rolled: list[Any] = []

    @task(cache_policy=INPUTS, on_rollback=[lambda txn: rolled.append(txn.get("noted"))])
    def step(x: int) -> int:
        txn = get_transaction()
        assert txn is not None
        txn.set("noted", f"step {x}")
        return x

    @flow(task_runner=two)
    def f(fail: bool) -> Any:
        with transaction():
            state = step.submit(1, return_state=True)
            if fail:
                raise RuntimeError
        return state.name

    assert f(True, return_state=True).is_failed()
    assert rolled == ["step 1"]
    assert [f(False), f(False)] == ["Completed", "Cached"]


def test_tasks_inside_of_tasks_run_in_the_same_process() -> None:
    @task(cache_policy=INPUTS)
    def inner(x: int) -> int:
        return x + 1

    @task
    def outer(x: int) -> Any:
        submitted = where.submit()
        return inner(x), inner.submit(x + 1).result(), submitted.result() == os.getpid(), runtime.flow_run.name

    @flow(task_runner=two)
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return outer.submit(1).result(), context.flow_run.name

    (one, two_, same_process, inside), outside = f()
    assert (one, two_, same_process, inside) == (2, 3, True, outside)


def test_what_a_task_delays_in_its_process_comes_to_its_end(log: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kept.task_runners.process._PATIENCE", 0.1)

    @task
    def later() -> None:
        time.sleep(0.5)
        get_run_logger().info("delayed, and done")

    @task
    def step() -> None:
        later.delay()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def f() -> None:
        step.submit().result()

    f()
    assert "delayed, and done" in log


def test_a_subflow_can_be_submitted() -> None:
    @flow
    def sub(x: int) -> Any:
        return os.getpid(), [future.result() for future in same.map([x, x + 1])], runtime.flow_run.parent_flow_run_id

    @flow(task_runner=two)
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return sub.submit(1).result(), context.flow_run.id

    (process, values, parent), own = f()
    assert process != os.getpid()
    assert (values, parent) == ([1, 2], own)


def test_lines_come_in_order_and_once(log: Lines) -> None:
    @task(log_prints=True)
    def step(x: int) -> int:
        print("first", x)
        get_run_logger().warning("second %s", x)
        return x

    @flow(task_runner=two)
    def f() -> None:
        step.map(range(3)).wait()

    f()
    for x in range(3):
        name = log.having(f"first {x}")[0].partition("'")[2].partition("'")[0]
        told = [line.partition(" - ")[2] for line in log.having(f"'{name}'")]
        assert told == [f"first {x}", f"second {x}", "Finished in state Completed()"]


LOGGING = """
import logging
from kept import flow, get_run_logger, task
from kept.settings import temporary_settings
from kept.task_runners import ProcessPoolTaskRunner

@task(log_prints=True)
def step():
    print("printed")
    get_run_logger().debug("run at DEBUG")
    logging.getLogger("extra").info("extra at INFO")
    logging.getLogger("other").info("other at INFO")
    logging.getLogger("other").warning("other at WARNING")
    raise ValueError("wrong")

@task
def plain():
    print("to stdout")

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def f():
    step.submit().wait()
    with temporary_settings({"KEPT_LOGGING_LEVEL": "DEBUG"}):
        step.submit().wait()
    plain.submit().wait()

logging.getLogger("other").addHandler(logging.StreamHandler())
f()
"""


def test_processes_log_through_the_handlers_and_levels_of_the_program(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LOGGING)
    environment = {**os.environ, "KEPT_LOGGING_EXTRA_LOGGERS": "extra"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "to stdout\n"
    said = [line.rpartition(" - ")[2] for line in done.stderr.splitlines()]
    told = {text: said.count(text) for text in ("printed", "run at DEBUG", "extra at INFO", "other at WARNING")}
    assert told == {"printed": 2, "run at DEBUG": 1, "extra at INFO": 2, "other at WARNING": 2}, done.stderr
    assert "other at INFO" not in done.stderr
    assert done.stderr.count('raise ValueError("wrong")') >= 2


# -- what is left


@pytest.fixture(autouse=True)
def others() -> None:
    """Servers of other tests, which run until the last one ends, are no processes of ours."""
    _others[:] = [child.pid for child in psutil.Process().children()]


_others: list[int] = []


def children() -> list[int]:
    ours = [child for child in psutil.Process().children() if child.pid not in _others]
    return [child.pid for one in ours for child in (one, *one.children(recursive=True))]


def test_a_process_that_is_killed_takes_only_its_own_run_with_it(log: Lines) -> None:
    @task
    def step(x: int) -> int:
        if x == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    @flow(task_runner=two)
    def f() -> Any:
        futures = step.map(range(8))
        futures.wait()
        with pytest.raises(CrashedRun, match="killed by SIGKILL"):
            futures[3].result()
        return [future.state.name for future in futures]

    assert f() == ["Completed"] * 3 + ["Crashed"] + ["Completed"] * 4
    assert "Crash detected!" in log
    assert children() == []


@pytest.mark.parametrize(("how", "said"), [(lambda: os._exit(3), "left with exit code 3"), (sys.exit, "SystemExit")])
def test_a_task_that_leaves_its_process_crashes_and_the_next_one_runs(how: Any, said: str) -> None:
    @task
    def step() -> None:
        how()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def f() -> Any:
        crashed = step.submit()
        after = same.submit(5)
        return str(crashed.state) if not crashed.wait() else "", crashed.state.name, after.result()

    message, name, after = f()
    assert said in message
    assert (name, after) == ("Crashed", 5)


def test_an_interrupted_flow_leaves_no_process_behind() -> None:
    @task
    def forever() -> None:
        subprocess.Popen(["sleep", "100"])
        time.sleep(100)

    @flow(task_runner=two)
    def f() -> None:
        futures = [forever.submit() for _ in range(5)]
        while len(children()) < 4:
            time.sleep(0.01)
        assert not futures[0].done()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f()
    assert children() == []
    assert [thread for thread in threading.enumerate() if thread.name == "kept-process"] == []


SCRIPT = """
import os, sys, time
from kept import flow, task
from kept.task_runners import ProcessPoolTaskRunner

class Point:
    def __init__(self, x): self.x = x

@task(persist_result=True)
def step(point):
    if len(sys.argv) > 1:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(100)
    return Point(point.x + 1)

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def f():
    point = step.submit(Point(1)).result()
    assert type(point) is Point
    return point.x

print(f())
"""


def test_a_script_needs_no_guard_and_its_classes_stay_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script, mark = tmp_path / "script.py", tmp_path / "mark"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script, mark], stderr=subprocess.DEVNULL) as parent:
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.01)
        worker = psutil.Process(int(mark.read_text()))
        parent.kill()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_import_kept_task_runners_starts_no_multiprocessing() -> None:
    program = "import sys, kept.task_runners; assert 'multiprocessing' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
