"""KEPT_CACHE_CHECK: hits that come out otherwise when they are computed again, and arguments that a task changes."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS, NO_CACHE
from kept.engine.plan import task_rules
from kept.exceptions import ConfigurationError
from kept.history import open_recorder
from kept.serializers import JSONSerializer
from kept.settings import KEPT_CACHE_CHECK, get_current_settings, temporary_settings
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from kept.transactions import get_transaction, transaction
from tests.conftest import Lines


@dataclasses.dataclass
class Row:
    name: str
    price: float


@pytest.fixture
def check() -> Iterator[None]:
    """All hits are checked."""
    with temporary_settings({KEPT_CACHE_CHECK: 1}):
        yield


@pytest.fixture
def history(home: Path) -> Callable[[], list[tuple[str, str]]]:
    """Gives the decisions so far and their reasons, oldest first."""

    def read() -> list[tuple[str, str]]:
        open_recorder(home / "history.sqlite").flush()
        with sqlite3.connect(home / "history.sqlite") as connection:
            rows = connection.execute("SELECT decision, reason FROM runs WHERE kind = 'task' ORDER BY rowid").fetchall()
        connection.close()
        return rows

    return read


def counting(**options: Any) -> Any:
    """A task that returns another number each time."""
    numbers = itertools.count(1)

    @task(cache_policy=INPUTS, **options)
    def count(x: int) -> dict[str, list[Row]]:
        return {"rows": [Row("a", 0.0), Row("b", float(next(numbers)))]}

    return count


# --- hits


def test_a_hit_that_comes_out_otherwise_is_told_with_where_it_differs(check: None, log: Lines, history: Any) -> None:
    count = counting()
    kept = count(1)
    assert count(1) == kept
    (line,) = log.having("ERROR", "KEPT_CACHE_CHECK")
    assert "task 'count' returns something else" in line
    assert "result['rows'][1].price: 1.0 -> 2.0" in line
    assert "seconds ago by run 'count-" in line and "refresh_cache=True" in line
    assert history()[1] == ("HIT", "kept; computed again: result['rows'][1].price: 1.0 -> 2.0")


def test_the_kept_value_stays_as_it_was(check: None) -> None:
    count = counting()
    kept = count(1)
    assert [count(1) for _ in range(3)] == [kept] * 3
    with temporary_settings({KEPT_CACHE_CHECK: 0}):
        assert count(1) == kept


def test_a_hit_that_comes_out_the_same_is_noted_and_nothing_is_said(check: None, log: Lines, history: Any) -> None:
    @task(cache_policy=INPUTS)
    def add(x: int) -> list[float]:
        return [x, float("nan")]

    add(1)
    state = add(1, return_state=True)
    assert state.name == "Cached" and state.result()[0] == 1
    assert "KEPT_CACHE_CHECK" not in log
    assert history()[1] == ("HIT", "kept; computed again: the same")


def test_off_nothing_is_computed_again_nor_looked_at(log: Lines) -> None:
    ran: list[list[int]] = []

    @task(cache_policy=INPUTS)
    def change(rows: list[int]) -> int:
        rows.append(1)
        ran.append(rows)
        return len(ran)

    assert (change([]), change([])) == (1, 1)
    assert len(ran) == 1 and "KEPT_CACHE_CHECK" not in log
    assert task_rules(change.spec, get_current_settings(), None).check == 0


def test_a_share_of_the_hits_is_checked() -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        ran.append(x)
        return x

    step(1)
    with temporary_settings({KEPT_CACHE_CHECK: 0.25}):
        for _ in range(400):
            step(1)
    assert 50 < len(ran) < 160


def test_a_flow_counts_what_was_found_and_stops_telling_each(check: None, log: Lines) -> None:
    count, fine = counting(), task(lambda x: x, name="fine", cache_policy=INPUTS)

    @flow
    def f() -> None:
        for _ in range(6):
            count(1)
            fine(2)

    f()
    assert len(log.having("ERROR", "returns something else")) == 2
    (line,) = log.having("Flow run", "What KEPT_CACHE_CHECK found")
    assert "hits computed again with another result: 5 (task 'count' 5)" in line
    assert "hits computed again with the same result: 5 (task 'fine' 5)" in line


def test_a_flow_in_which_all_is_right_says_nothing(check: None, log: Lines) -> None:
    fine = task(lambda x: x, name="fine", cache_policy=INPUTS)
    flow(lambda: [fine(1) for _ in range(3)], name="f")()
    assert "KEPT_CACHE_CHECK" not in log


def test_a_recomputation_that_raises_is_told_and_fails_nothing(check: None, log: Lines, history: Any) -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS, retries=2)
    def once(x: int) -> int:
        ran.append(x)
        if len(ran) > 1:
            raise [ValueError("gone"), SystemExit(3)][len(ran) % 2]
        return x

    assert [once(1), once(1), once(1)] == [1, 1, 1]
    assert len(ran) == 3, "it is not tried again"
    assert "can't be computed again and compared: ValueError: gone. Its kept result is used" in log
    assert "SystemExit: 3" in log
    assert history()[1] == ("HIT", "kept; could not be computed again and compared: ValueError: gone")


def test_one_that_takes_longer_than_its_timeout_is_told(check: None, log: Lines) -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS, timeout_seconds=0.2)
    def slow(x: int) -> int:
        ran.append(x)
        if len(ran) > 1:
            time.sleep(60)
        return x

    assert [slow(1), slow(1)] == [1, 1]
    assert "can't be computed again and compared: it took longer than its timeout_seconds, 0.2. Its kept" in log


def test_values_without_a_fingerprint_are_told_once(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def source(x: int) -> Any:
        return iter([x])

    for _ in range(3):
        assert list(source(1)) == [1]
    (line,) = log.having("KEPT_CACHE_CHECK", "WARNING")
    assert "an iterator" in line and "Its kept result is used" in line


def test_what_json_changes_is_no_difference(check: None, log: Lines) -> None:
    numbers = iter([(1, 2), (1, 2), (1, 3)])

    @task(cache_policy=INPUTS, result_serializer=JSONSerializer())
    def pair(x: int) -> tuple[int, int]:
        return next(numbers)

    assert pair(1) == (1, 2)
    pair(1)
    assert "KEPT_CACHE_CHECK" not in log
    pair(1)
    assert "result[1]: 2 -> 3" in log


def test_functions_among_results_are_compared_by_their_code(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def made(x: int) -> list[Any]:
        return [len, x]

    made(1)
    made(1)
    assert "KEPT_CACHE_CHECK" not in log


def test_a_task_that_is_never_to_be_refreshed_is_not_checked(check: None) -> None:
    count = counting(refresh_cache=False)
    assert count(1) == count(1) == count(1)
    count = counting()
    count(1)
    count(1)


def test_what_has_an_effect_has_it_in_a_transaction_of_its_own(check: None) -> None:
    noted: list[Any] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        txn = get_transaction()
        assert txn is not None
        txn.set("x", x)
        noted.append(txn.get("x"))
        return x

    @step.on_commit
    def committed(txn: Any) -> None:
        noted.append("committed")

    assert [step(1), step(1)] == [1, 1]
    with transaction():
        assert step(1) == 1
    assert noted == [1, "committed", 1, 1]


# --- arguments


def test_a_task_that_changes_its_argument_is_named(check: None, log: Lines, history: Any) -> None:
    @task(cache_policy=INPUTS)
    def discount(rows: list[Row], by: float) -> int:
        rows[1].price -= by
        return len(rows)

    rows = [Row("a", 1.0), Row("b", 3.0)]
    assert discount(rows, 1.0) == 2
    (line,) = log.having("ERROR", "KEPT_CACHE_CHECK")
    assert "task 'discount' changed its argument 'rows': rows[1].price: 3.0 -> 2.0." in line and "copy.deepcopy" in line
    assert history() == [("MISS", "not kept yet; changed its argument 'rows': rows[1].price: 3.0 -> 2.0")]


def test_a_hit_that_is_computed_again_does_not_touch_the_callers_arguments(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def pop(rows: list[int]) -> int:
        return rows.pop()

    assert pop([1, 2]) == 2
    log.clear()
    rows = [1, 2]
    assert pop(rows) == 2
    assert rows == [1, 2]
    assert "changed its argument 'rows': len(rows): 2 -> 1" in log


def test_it_is_named_though_only_few_hits_are_checked(log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def append(rows: list[int]) -> None:
        rows.append(1)

    with temporary_settings({KEPT_CACHE_CHECK: 1e-9}):
        append([])
    assert "task 'append' changed its argument 'rows'." in log


def test_a_failing_run_that_changed_its_argument_is_named(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def fails(rows: list[int]) -> None:
        rows.append(1)
        raise ValueError

    fails([], return_state=True)
    assert "changed its argument 'rows': len(rows): 0 -> 1" in log


def test_arguments_that_are_left_out_of_the_key_may_change(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS - "seen")
    def note(x: int, seen: list[int]) -> int:
        seen.append(x)
        return x

    seen: list[int] = []
    assert [note(1, seen), note(1, seen)] == [1, 1]
    assert "KEPT_CACHE_CHECK" not in log


@pytest.mark.parametrize("options", [{}, {"cache_policy": NO_CACHE}, {"persist_result": False}])
def test_a_task_that_keeps_nothing_may_change_what_it_gets(check: None, log: Lines, options: Any) -> None:
    task(lambda rows: rows.append(1), name="append", **options)([])
    assert "KEPT_CACHE_CHECK" not in log


def test_what_can_not_be_copied_is_watched_without_a_copy(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def change(thing: Uncopied) -> int:
        thing.x += 1
        return 0

    change(Uncopied())
    assert "changed its argument 'thing'." in log
    log.clear()
    thing = Uncopied()
    change(thing)
    assert thing.x == 1 and "changed its argument 'thing'." in log


class Uncopied:
    def __init__(self) -> None:
        self.x = 0

    def __kept_fingerprint__(self) -> int:
        return self.x

    def __deepcopy__(self, _: Any) -> Any:
        raise TypeError("there is one only")


# --- all kinds of runs


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner(), ProcessPoolTaskRunner(max_workers=1)])
def test_submitted_and_mapped_hits_are_checked(check: None, log: Lines, runner: Any) -> None:
    @task(cache_policy=INPUTS)
    def now(x: int) -> float:
        return time.time()

    @flow(task_runner=runner)
    def f() -> list[float]:
        return [now.submit(1).result(), *now.map([1, 1]).result()]

    values = f()
    assert f() == values
    assert "hits computed again with another result: 3 (task 'now' 3)" in log


def test_async_hits_are_checked(check: None, log: Lines) -> None:
    numbers = itertools.count()

    @task(cache_policy=INPUTS)
    async def count(rows: list[int]) -> int:
        await asyncio.sleep(0)
        rows.append(1)
        return next(numbers)

    async def twice() -> list[int]:
        return [await count([]), await count([])]

    assert asyncio.run(twice()) == [0, 0]
    assert "result: 0 -> 1" in log and len(log.having("changed its argument 'rows'")) == 2


def test_generators_are_checked_and_their_values_come_once(check: None, log: Lines) -> None:
    start = itertools.count(1)

    @task(cache_policy=INPUTS)
    def numbers(x: int) -> Iterator[int]:
        yield x
        yield next(start)

    assert [list(numbers(0)), list(numbers(0))] == [[0, 1], [0, 1]]
    assert "result[1]: 1 -> 2" in log


def test_async_generators_are_checked(check: None, log: Lines) -> None:
    start = itertools.count(1)

    @task(cache_policy=INPUTS)
    async def numbers(x: int) -> AsyncIterator[int]:
        yield x
        yield next(start)

    async def taken() -> list[int]:
        return [n async for n in numbers(0)]

    assert [asyncio.run(taken()), asyncio.run(taken())] == [[0, 1], [0, 1]]
    assert "result[1]: 1 -> 2" in log


def test_a_generator_whose_caller_changes_its_argument_is_not_blamed(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def each(rows: list[int]) -> Iterator[int]:
        yield from (1, 2)

    rows: list[int] = []
    for number in each(rows):
        rows.append(number)
    assert "KEPT_CACHE_CHECK" not in log


def test_flows_that_are_kept_are_checked(check: None, log: Lines) -> None:
    numbers = itertools.count()

    @flow(cache_policy=INPUTS)
    def sub(x: int) -> int:
        return next(numbers)

    assert [sub(1), sub(1)] == [0, 0]
    assert "KEPT_CACHE_CHECK: flow 'sub' returns something else than what is kept of it: result: 0 -> 1" in log


def test_inputs_that_are_kept_themselves_are_read_for_it(check: None, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def numbers(x: int) -> list[int]:
        return [x] * 3

    @task(cache_policy=INPUTS)
    def total(values: list[int], others: list[Any]) -> float:
        return sum(values) + time.time()

    @flow
    def f() -> float:
        first = numbers.submit(1)
        return total.submit(first, [numbers.submit(2)]).result()

    assert f() == f()
    assert "hits computed again with another result: 1 (task 'total' 1)" in log


# --- the setting


@pytest.mark.parametrize("value", [-0.1, 1.1, "often", True, float("nan")])
def test_a_share_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="KEPT_CACHE_CHECK.*a share of all, from 0 for none to 1 for all"):
        with temporary_settings({KEPT_CACHE_CHECK: value}):
            pass


def test_it_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_CACHE_CHECK", "0.05")
    assert KEPT_CACHE_CHECK.value() == 0.05
