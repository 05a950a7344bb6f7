"""refresh="background": a result whose time is over is used once more and renewed meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import ParameterTypeError
from kept.futures import wait
from kept.history import open_recorder
from kept.settings import KEPT_CACHE_CHECK, KEPT_TASKS_REFRESH_CACHE, temporary_settings
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from kept.task_runners.background import background
from kept.transactions import IsolationLevel, transaction
from tests.conftest import Lines

AT_ONCE = timedelta(0)
"""An expiration that is over as soon as the result is there."""
ALWAYS: Any = {"cache_policy": INPUTS, "cache_expiration": AT_ONCE, "refresh": "background"}


def renewed() -> None:
    """Wait until nothing is under way in the background."""
    while pending := background().pending():
        wait(pending)


def counting(**options: Any) -> Any:
    numbers = itertools.count(1)

    @task(**{**ALWAYS, **options})
    def count(x: int) -> int:
        return next(numbers)

    return count


def test_a_result_that_is_too_old_is_used_at_once_and_renewed_meanwhile() -> None:
    go = threading.Event()
    numbers = itertools.count(1)

    @task(**ALWAYS)
    def count(x: int) -> int:
        number = next(numbers)
        if number > 1:
            go.wait()
        return number

    assert count(1) == 1
    assert [count(1) for _ in range(3)] == [1, 1, 1]
    go.set()
    renewed()
    assert count(1) == 2
    renewed()


def test_the_state_the_log_and_the_history_say_so(log: Lines, home: Path) -> None:
    count = counting()
    count(1)
    state = count(1, return_state=True)
    renewed()
    assert state.name == "Cached" and state.message
    assert state.message.startswith("Stale: expired ") and "renewed in the background" in state.message
    assert len(log.having("Finished in state Cached('Stale: expired")) == 1
    assert len(log.having("Renewing what Task run 'count-")) == 1
    open_recorder(home / "history.sqlite").flush()
    with sqlite3.connect(home / "history.sqlite") as connection:
        rows = connection.execute("SELECT decision, reason FROM runs ORDER BY rowid").fetchall()
    connection.close()
    assert sorted((decision, reason.partition(" ")[0]) for decision, reason in rows[1:]) == [
        ("HIT", "expired"),
        ("MISS", "expired"),
    ]
    assert any(reason.endswith("; renewed in the background") for _, reason in rows)


def test_what_is_not_too_old_is_a_hit_like_any_other() -> None:
    count = counting(cache_expiration=timedelta(days=1))
    assert count(1) == 1
    state = count(1, return_state=True)
    assert (state.result(), state.message) == (1, None)
    renewed()
    assert count(1) == 1


def test_a_shorter_expiration_of_today_makes_it_too_old_as_well() -> None:
    count = counting(cache_expiration=timedelta(days=1))
    assert count(1) == 1
    today = count.with_options(cache_expiration=AT_ONCE)
    assert today(1) == 1
    renewed()
    assert count(1) == 2


def test_what_is_not_kept_yet_is_computed_at_once() -> None:
    count = counting()
    assert [count(1), count(2)] == [1, 2]


def test_one_renewal_of_a_key_goes_on_at_a_time_and_others_beside_it() -> None:
    go, ran = threading.Event(), list[int]()

    @task(**ALWAYS)
    def step(x: int) -> int:
        ran.append(x)
        if len(ran) > 2:
            go.wait()
        return x

    step(1), step(2)
    for _ in range(5):
        step(1), step(2)
    go.set()
    renewed()
    assert sorted(ran) == [1, 1, 2, 2]


def test_a_renewal_that_fails_is_told_and_the_old_value_stays(log: Lines) -> None:
    ran: list[int] = []

    @task(**ALWAYS)
    def step(x: int) -> int:
        ran.append(x)
        if len(ran) == 2:
            raise ValueError("the service is down")
        return len(ran)

    assert [step(1), step(1)] == [1, 1]
    renewed()
    (line,) = log.having("WARNING", "could not be renewed")
    assert "the old one stays and the next call tries again" in line and "the service is down" in line
    assert step(1) == 1
    renewed()
    assert step(1) == 3
    renewed()


def test_the_caller_may_change_its_arguments_meanwhile() -> None:
    go = threading.Event()

    @task(**ALWAYS)
    def total(rows: list[int]) -> int:
        go.wait()
        return sum(rows)

    go.set()
    assert total([1, 2]) == 3
    go.clear()
    rows = [1, 2]
    assert total(rows) == 3
    rows.append(10)
    go.set()
    renewed()
    assert total([1, 2]) == 3
    assert total([1, 2, 10]) == 13
    renewed()


def test_a_task_that_changes_its_arguments_changes_none_of_the_callers_behind_its_back() -> None:
    @task(**ALWAYS)
    def pop(rows: list[int]) -> int:
        return rows.pop()

    pop([1, 2])
    rows = [1, 2]
    assert pop(rows) == 2
    renewed()
    assert rows == [1, 2]


class Single:
    def __kept_fingerprint__(self) -> int:
        return 1

    def __deepcopy__(self, _: Any) -> Any:
        raise TypeError("there is one only")


def test_a_call_with_an_argument_that_can_not_be_copied_computes_at_once(log: Lines) -> None:
    numbers = itertools.count(1)

    @task(**ALWAYS)
    def count(x: Any) -> int:
        return next(numbers)

    assert [count(Single()), count(Single())] == [1, 2]
    assert not background().pending()


def test_an_argument_that_is_left_out_of_the_key_needs_no_copy() -> None:
    numbers, single = itertools.count(1), Single()
    seen: list[Any] = []

    @task(**{**ALWAYS, "cache_policy": INPUTS - "client"})
    def count(x: int, client: Any) -> int:
        seen.append(client)
        return next(numbers)

    assert [count(1, single), count(1, single)] == [1, 1]
    renewed()
    assert seen == [single, single]


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner(), ProcessPoolTaskRunner(max_workers=1)])
def test_submitted_and_mapped_runs_and_their_kept_inputs(runner: Any) -> None:
    @task(cache_policy=INPUTS)
    def numbers(x: int) -> list[int]:
        return [x] * 3

    @task(**ALWAYS)
    def named(values: list[int]) -> str:
        import os

        return f"{sum(values)} {os.urandom(8).hex()}"

    @flow(task_runner=runner)
    def f() -> list[str]:
        return [named.submit(numbers.submit(1)).result(), *named.map([[2], [3]]).result()]

    first = f()
    assert f() == first
    renewed()
    assert not set(f()) & set(first)
    renewed()


def test_async_tasks_and_the_loop_does_not_wait() -> None:
    go = threading.Event()
    numbers = itertools.count(1)

    @task(**ALWAYS)
    async def count(x: int) -> int:
        number = next(numbers)
        while number > 1 and not go.is_set():
            await asyncio.sleep(0)
        return number

    async def twice() -> list[int]:
        return [await count(1), await count(1), await count(1)]

    assert asyncio.run(twice()) == [1, 1, 1]
    go.set()
    renewed()
    assert asyncio.run(count(1)) == 2
    renewed()


def test_flows_that_are_kept() -> None:
    numbers = itertools.count(1)

    @flow(**ALWAYS)
    def sub(x: int) -> int:
        return next(numbers)

    @flow
    def outer() -> int:
        return sub(1)

    assert [outer(), outer()] == [1, 1]
    renewed()
    assert outer() == 2
    renewed()


def test_methods() -> None:
    numbers = itertools.count(1)

    class Shop:
        @task(**ALWAYS)
        def cost(self, x: int) -> int:
            return next(numbers)

    assert [Shop().cost(1), Shop().cost(1)] == [1, 1]
    renewed()
    assert Shop().cost(1) == 2
    renewed()


def test_under_serializable_a_stale_result_waits_for_no_lock() -> None:
    count = counting(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    assert [count(1), count(1)] == [1, 1]
    renewed()
    assert count(1) == 2
    renewed()


def test_a_transaction_around_holds_no_renewal_back() -> None:
    count = counting()
    count(1)
    with pytest.raises(ValueError), transaction():
        assert count(1) == 1
        renewed()
        raise ValueError
    assert count(1) == 2
    renewed()


def test_a_damaged_stale_result_is_computed_at_once(home: Path, log: Lines) -> None:
    numbers = itertools.count(1)

    @task(**ALWAYS)
    def big(x: int) -> bytes:
        return bytes([next(numbers)]) * 100_000

    big(1)
    (blob,) = (path for path in (home / "storage").rglob("*") if path.is_file() and path.stat().st_size >= 100_000)
    blob.chmod(0o600)
    blob.write_bytes(b"damage")
    assert big(1)[0] == 2
    assert not background().pending()


def test_the_settings_refresh_at_once() -> None:
    count = counting()
    count(1)
    with temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}):
        assert count(1) == 2
    assert not background().pending()


def test_a_stale_hit_is_not_checked(log: Lines) -> None:
    count = counting()
    count(1)
    with temporary_settings({KEPT_CACHE_CHECK: 1}):
        assert count(1) == 1
        renewed()
    assert "KEPT_CACHE_CHECK" not in log


def test_the_process_ends_when_the_renewal_is_done(tmp_path: Path) -> None:
    program = f"""
        import time
        from datetime import timedelta
        from kept import task
        from kept.cache_policies import INPUTS

        @task(cache_policy=INPUTS, cache_expiration=timedelta(0), refresh="background")
        def step(x):
            with open({str(tmp_path / "ran")!r}, "a") as file:
                file.write("ran ")
            time.sleep(0.2)
            return time.time_ns()

        print(step(1))
        """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))

    def run() -> str:
        done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=True)
        return done.stdout

    first = run()
    assert run() == first
    assert (tmp_path / "ran").read_text() == "ran ran "
    assert run() != first


def test_a_forked_child_renews_by_itself() -> None:
    go = threading.Event()
    numbers = itertools.count(1)

    @task(**ALWAYS)
    def count(x: int) -> int:
        number = next(numbers)
        if number == 2:
            go.wait()
        return number

    count(1)
    count(1)
    pid = os.fork()
    if not pid:
        go.set()
        count(1)
        renewed()
        os._exit(0 if count(1) > 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go.set()
    renewed()


# --- what is said wrongly


@pytest.mark.parametrize("value", ["backgrund", 1, "", b"background"])
def test_another_word_is_refused(value: Any) -> None:
    with pytest.raises(ParameterTypeError, match="refresh=.*it takes 'background' or None"):
        task(refresh=value)


def test_what_runs_each_time_is_told_to_be_renewed_by_that(log: Lines) -> None:
    count = counting(refresh_cache=True)
    assert "Task 'count' has refresh_cache=True, so it runs each time" in log
    assert [count(1), count(1)] == [1, 2]
    assert not background().pending()


def test_refresh_cache_false_keeps_the_settings_out_and_is_renewed_all_the_same() -> None:
    count = counting(refresh_cache=False)
    count(1)
    with temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}):
        assert count(1) == 1
        renewed()
        assert count(1) == 2
        renewed()


def test_without_an_expiration_it_is_told_that_nothing_is_too_old(log: Lines) -> None:
    task(lambda x: x, name="step", cache_policy=INPUTS, refresh="background")
    assert "Task 'step' has refresh='background' and no cache_expiration" in log


def test_a_generator_is_computed_when_it_is_called_which_is_told(log: Lines) -> None:
    numbers = itertools.count(1)

    @task(**ALWAYS)
    def each(x: int) -> Iterator[int]:
        yield next(numbers)

    assert "Task 'each' is a generator, which can't be renewed in the background" in log
    assert [list(each(1)), list(each(1))] == [[1], [2]]
