"""Payloads that are far away: fetched when somebody looks at them, and computed anew if they can't be had."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS, TASK_SOURCE
from kept.exceptions import MissingResult
from kept.store import ObjectBlobs, ObjectEntries, Store
from kept.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from kept.utilities.annotations import unmapped
from tests.conftest import Lines
from tests.test_far_stores import Far

BIG = 50_000


@pytest.fixture
def far() -> Far:
    return Far()


def at(far: Any) -> Store:
    return Store(ObjectEntries(far, "entries/"), ObjectBlobs(far), "far", slow=True)


def lose_blobs(far: Any) -> None:
    for path in [path for path in far.files if path.startswith("blobs/")]:
        del far.files[path]


def big_at(far: Any, calls: list[int] | None = None, **options: Any) -> Any:
    """A task with a large result there."""
    noted = [] if calls is None else calls

    @task(cache_policy=INPUTS, result_storage=at(far), **options)
    def big(x: int) -> bytes:
        noted.append(x)
        return bytes([x]) * BIG

    return big


def test_a_chain_of_hits_fetches_no_payload(far: Far) -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE, result_storage=at(far))
    def first(x: int) -> bytes:
        return bytes([x]) * BIG

    @task(cache_policy=INPUTS + TASK_SOURCE, result_storage=at(far))
    def second(data: bytes) -> bytes:
        return data + b"2"

    @task(cache_policy=INPUTS + TASK_SOURCE, result_storage=at(far))
    def third(data: bytes) -> bytes:
        return data + b"3"

    @flow
    def chain() -> list[str]:
        ones = first.map(range(20))
        return [state.name for state in third.map(second.map(ones), return_state=True)]

    chain()
    far.reads.clear()
    assert chain() == ["Cached"] * 20 or set(chain()) == {"Cached"}
    assert (far.reads_of("entries/"), far.reads_of("blobs/")) == (60, 0)


def test_a_submitted_hit_is_fetched_when_somebody_looks_at_it_and_once(far: Far) -> None:
    big = big_at(far)

    @flow
    def look() -> None:
        future = big.submit(1)
        future.wait()
        assert far.reads_of("blobs/") == 0
        assert future.result() == bytes([1]) * BIG
        assert future.result() is future.result()
        assert far.reads_of("blobs/") == 1

    big(1)
    look()


def test_a_state_that_was_asked_for_fetches_nothing_and_a_value_does(far: Far) -> None:
    big = big_at(far)
    big(1)
    state = big(1, return_state=True)
    assert (state.name, far.reads_of("blobs/")) == ("Cached", 0)
    assert big(1) == bytes([1]) * BIG
    assert far.reads_of("blobs/") == 1
    assert state.result() == bytes([1]) * BIG
    assert far.reads_of("blobs/") == 2


def test_results_of_a_map_are_fetched_at_the_same_time(far: Far) -> None:
    big = big_at(far)

    @flow
    def mapped() -> list[bytes]:
        futures = big.map(range(20))
        futures.wait()
        if far.files and futures[0].state.name == "Cached":
            far.meet = threading.Barrier(20, timeout=20)
        return futures.result()

    first = mapped()
    assert mapped() == first
    assert far.reads_of("blobs/") == 20


def test_inputs_of_a_run_that_computes_are_fetched_at_the_same_time(far: Far) -> None:
    @task(cache_policy=INPUTS, result_storage=at(far))
    def numbers(x: int) -> list[int]:
        return [x] * BIG

    @task
    def total(lists: list[list[int]]) -> int:
        return sum(map(sum, lists))

    @flow
    def summed() -> int:
        futures = numbers.map(range(10))
        futures.wait()
        if futures[0].state.name == "Cached":
            far.meet = threading.Barrier(10, timeout=20)
        return total(futures)

    assert summed() == summed() == 45 * BIG
    assert far.reads_of("blobs/") >= 10


def test_an_event_loop_goes_on_while_inputs_are_fetched(far: Far) -> None:
    big = big_at(far)
    at_loop: list[bool] = []
    read = far.read_path

    def noted(path: str) -> bytes:
        at_loop.append(threading.current_thread() is threading.main_thread())
        return read(path)

    @task
    async def size(data: bytes) -> int:
        return len(data)

    @flow
    async def sized() -> int:
        future = big.submit(1)
        return await size(future)

    assert asyncio.run(sized()) == BIG
    far.read_path = noted  # type: ignore[method-assign]
    assert asyncio.run(sized()) == BIG
    assert set(at_loop[1:]) == {False}  # the first is the lookup of what the flow submitted in plain code


RUNNERS = [ThreadPoolTaskRunner(), ThreadPoolTaskRunner(max_workers=1)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_payload_that_is_gone_is_computed_anew_and_put_back(far: Far, log: Lines, runner: Any) -> None:
    calls: list[int] = []
    big = big_at(far, calls)

    @flow(task_runner=runner)
    def look() -> bytes:
        future = big.submit(1)
        future.wait()
        lose_blobs(far)
        assert future.state.name == "Cached"
        return future.result()

    big(1)
    assert look() == bytes([1]) * BIG
    assert calls == [1, 1]
    assert "its kept payload can't be read: missing: there is no blob" in log
    assert len(log.having("Flow run", "gave trouble", "computed again", ": 1")) == 1
    assert big(1) == bytes([1]) * BIG
    assert calls == [1, 1]


def test_a_payload_that_is_damaged_is_computed_anew(far: Far, log: Lines) -> None:
    calls: list[int] = []
    big = big_at(far, calls)
    big(1)
    state = big(1, return_state=True)
    for path in far.files:
        if path.startswith("blobs/"):
            far.files[path] = b"x" * BIG
    assert state.result() == bytes([1]) * BIG
    assert calls == [1, 1]
    assert "its kept payload can't be read: damaged" in log


def test_an_outage_between_lookup_and_use_costs_computing_anew(far: Far, log: Lines) -> None:
    calls: list[int] = []
    big = big_at(far, calls)
    big(1)

    def down(*_: Any) -> Any:
        raise ConnectionError("nobody answers")

    @flow
    def look() -> bytes:
        future = big.submit(1)
        future.wait()
        far.read_path = far.write_path = down  # type: ignore[method-assign]
        return future.result()

    assert look() == bytes([1]) * BIG
    assert calls == [1, 1]
    assert len(log.having("gave trouble", "computed again", ": 1", "nobody answers")) == 1


def test_after_its_flow_a_lost_payload_is_computed_anew_in_the_background(far: Far) -> None:
    calls: list[int] = []
    big = big_at(far, calls)

    @flow
    def states() -> Any:
        return big.submit(1)

    states()
    state = states(return_state=True)
    assert state.name == "Cached"
    lose_blobs(far)
    assert state.result() == bytes([1]) * BIG
    assert calls == [1, 1]


def test_who_awaits_it_holds_up_no_loop_and_has_it_computed_anew(far: Far) -> None:
    calls: list[int] = []

    @task(cache_policy=INPUTS, result_storage=at(far))
    async def big(x: int) -> bytes:
        calls.append(x)
        await asyncio.sleep(0)
        return bytes([x]) * BIG

    async def look() -> list[bytes]:
        await big(1)
        state = await big(1, return_state=True)
        assert state.name == "Cached"
        lose_blobs(far)
        return await asyncio.gather(*[state.aresult() for _ in range(5)])

    assert asyncio.run(look()) == [bytes([1]) * BIG] * 5
    assert calls == [1, 1]


def test_many_threads_that_look_at_a_lost_payload_have_it_computed_once(far: Far) -> None:
    calls: list[int] = []
    big = big_at(far, calls)
    big(1)
    state = big(1, return_state=True)
    lose_blobs(far)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: state.result(), range(8)))
    assert all(value is values[0] for value in values)
    assert calls == [1, 1]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_lost_input_is_computed_anew_for_the_run_that_wants_it(far: Far, is_async: bool) -> None:
    calls: list[int] = []
    big = big_at(far, calls)

    if is_async:

        @task
        async def size(data: bytes) -> int:
            return len(data)
    else:

        @task
        def size(data: bytes) -> int:  # type: ignore[misc]
            return len(data)

    @flow
    def sized() -> int:
        future = big.submit(1)
        future.wait()
        lose_blobs(far)
        return size.submit(future).result()

    big(1)
    assert sized() == BIG
    assert calls == [1, 1]


def test_a_whole_chain_that_is_lost_is_computed_anew(far: Far) -> None:
    calls: list[int] = []
    big = big_at(far, calls)

    @task(cache_policy=INPUTS, result_storage=at(far))
    def more(data: bytes) -> bytes:
        calls.append(-1)
        return data + b"more"

    @flow
    def chain(lose: bool) -> bytes:
        future = more.submit(big.submit(1))
        future.wait()
        if lose:
            lose_blobs(far)
        return future.result()

    assert chain(False) == chain(True) == bytes([1]) * BIG + b"more"
    assert calls == [1, -1, -1, 1] or calls == [1, -1, 1, -1]


def test_another_value_than_the_one_that_was_lost_makes_no_entry_under_its_fingerprint(far: Far, log: Lines) -> None:
    values = iter(range(100))

    @task(cache_policy=INPUTS, result_storage=at(far))
    def other(x: int) -> bytes:
        return bytes([next(values)]) * BIG

    @task(cache_policy=INPUTS)
    def first_byte(data: bytes) -> int:
        return data[0]

    @flow
    def look(lose: bool) -> tuple[int, str]:
        future = other.submit(1)
        future.wait()
        if lose:
            lose_blobs(far)
        state = first_byte(future, return_state=True)
        return state.result(), state.name

    other(1)
    assert look(True) == (1, "Completed")
    assert "what there is instead is another value" in log
    assert look(False) == (1, "Completed")  # nothing was kept under the fingerprint of the lost value


def test_arguments_that_have_changed_since_are_not_computed_with(far: Far) -> None:
    @task(cache_policy=INPUTS, result_storage=at(far))
    def big(numbers: list[int]) -> bytes:
        return bytes(numbers) * BIG

    numbers = [1]
    big(numbers)
    state = big(numbers, return_state=True)
    lose_blobs(far)
    numbers.append(2)
    with pytest.raises(MissingResult, match="arguments may have changed"):
        state.result()


def test_what_can_not_be_computed_anew_is_missing_with_the_reason(far: Far, log: Lines) -> None:
    fails = False

    @task(cache_policy=INPUTS, result_storage=at(far))
    def big(x: int) -> bytes:
        if fails:
            raise ValueError("not today")
        return bytes([x]) * BIG

    @task
    def size(data: bytes) -> int:
        return len(data)

    @flow
    def sized() -> Any:
        future = big.submit(1)
        future.wait()
        lose_blobs(far)
        with pytest.raises(MissingResult, match="can't be read any more: .*ValueError: not today"):
            future.result()
        return size(future, return_state=True)

    big(1)
    fails = True
    state = sized(return_state=True)
    assert state.is_failed()
    assert "An input can't be had" in str(state.message)


class Files:
    """A file system that other processes see, and which takes its time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_path(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def write_path(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)

    def lose_blobs(self) -> None:
        for path in (self.folder / "blobs").rglob("b3-*"):
            path.unlink()


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_that_can_not_read_its_input_gets_one_that_is_computed_anew(tmp_path: Path, shared: bool) -> None:
    files = Files(tmp_path)
    store = Store(ObjectEntries(files, "entries/"), ObjectBlobs(files), "far", slow=True, shared=shared)

    @task(cache_policy=INPUTS, result_storage=store)
    def big(x: int) -> bytes:
        with (tmp_path / "calls").open("a") as calls:
            calls.write(f"{os.getpid()}\n")
        return bytes([x]) * BIG

    @task
    def size(data: bytes) -> tuple[int, int]:
        return len(data), os.getpid()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def sized() -> tuple[int, int]:
        future = big.submit(1)
        future.wait()
        assert future.state.name == "Cached"
        files.lose_blobs()
        return size.submit(future).result()

    big(1)
    length, process = sized()
    assert length == BIG
    assert process != os.getpid()
    here, there = (tmp_path / "calls").read_text().split()
    assert int(here) == os.getpid() != int(there)


def test_a_process_reads_a_payload_that_is_far_away_for_itself(tmp_path: Path) -> None:
    files = Files(tmp_path)
    store = Store(ObjectEntries(files, "entries/"), ObjectBlobs(files), "far", slow=True, shared=True)
    read_here: list[str] = []
    read = files.read_path

    @task(cache_policy=INPUTS, result_storage=store)
    def big(x: int) -> bytes:
        return bytes([x]) * BIG

    @task
    def size(data: bytes) -> int:
        return len(data)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def sized() -> int:
        return size.submit(big.submit(1)).result()

    big(1)
    Files.read_path = lambda self, path: read_here.append(path) or read(path)  # type: ignore[method-assign,assignment,misc,func-returns-value]
    try:
        assert sized() == BIG
    finally:
        Files.read_path = lambda self, path: (self.folder / path).read_bytes()  # type: ignore[method-assign,misc]
    assert [path for path in read_here if path.startswith("blobs/")] == []


def test_a_lazy_value_is_passed_whole_where_it_is_mapped_over(far: Far) -> None:
    big = big_at(far)

    @task(cache_policy=INPUTS, result_storage=at(far))
    def byte(data: bytes, place: int) -> int:
        return data[place]

    @flow
    def bytes_of() -> list[int]:
        return byte.map(unmapped(big.submit(7)), range(3)).result()

    assert bytes_of() == bytes_of() == [7, 7, 7]
