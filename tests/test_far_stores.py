"""What runs do with a store that is far away: look many things up at a time, and fetch what somebody looks at."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import StoreError
from kept.store import ObjectBlobs, ObjectEntries, Store
from tests.conftest import Lines


class Far:
    """A file system in memory that counts what is asked of it, and is in another place as far as kept knows."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.meet: threading.Barrier | None = None

    def read_path(self, path: str) -> bytes:
        self.reads.append(path)
        if self.meet is not None:
            self.meet.wait()
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.files[path] = bytes(content)

    def reads_of(self, kind: str) -> int:
        return sum(path.startswith(kind) for path in self.reads)


@pytest.fixture
def far() -> Far:
    return Far()


def test_mapped_runs_look_into_it_at_the_same_time(far: Far) -> None:
    @task(cache_policy=INPUTS, result_storage=far)
    def double(x: int) -> int:
        return 2 * x

    @flow
    def doubled() -> list[Any]:
        return double.map(range(30), return_state=True)

    doubled()
    far.meet = threading.Barrier(30, timeout=20)
    assert {state.name for state in doubled()} == {"Cached"}


def test_gathered_async_runs_look_into_it_at_the_same_time(far: Far, log: Lines) -> None:
    @task(cache_policy=INPUTS, result_storage=far)
    async def double(x: int) -> int:
        return 2 * x

    @flow
    async def doubled() -> list[int]:
        return await asyncio.gather(*[double(x) for x in range(30)])

    asyncio.run(doubled())
    log.clear()
    far.meet = threading.Barrier(30, timeout=20)
    assert asyncio.run(doubled()) == [2 * x for x in range(30)]
    assert len(log.having("Cached")) == 30


def kept_in(far: Any) -> Any:
    """A task that keeps the double of a number there, unless it fails."""

    @task(cache_policy=INPUTS, result_storage=far)
    def double(x: int, fails: bool = False) -> int:
        if fails:
            raise ValueError("not today")
        return 2 * x

    return double


def test_a_key_that_it_did_not_have_is_asked_for_once_a_flow_run(far: Far) -> None:
    double = kept_in(far)

    @flow
    def twice() -> None:
        double(1, fails=True, return_state=True)
        double(1, fails=True, return_state=True)

    twice()
    assert len(far.reads) == 1
    twice()
    assert len(far.reads) == 2


def test_a_key_that_was_put_meanwhile_is_asked_for_again(far: Far) -> None:
    double = kept_in(far)

    @flow
    def thrice() -> list[str]:
        return [double(1, return_state=True).name for _ in range(3)]

    assert thrice() == ["Completed", "Cached", "Cached"]


def test_a_key_that_another_flow_of_the_process_has_put_is_asked_for_again(far: Far) -> None:
    @task(cache_policy=INPUTS, result_storage=far)
    def fails_first(x: int) -> int:
        if not far.reads[1:]:
            raise ValueError("not today")
        return x

    @flow
    def other() -> int:
        return fails_first(1)

    @flow
    def outer() -> str:
        fails_first(1, return_state=True)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return fails_first(1, return_state=True).name

    assert outer() == "Cached"


def test_subflows_share_what_is_known_of_it(far: Far) -> None:
    double = kept_in(far)

    @flow
    def inner() -> None:
        double(1, fails=True, return_state=True)

    @flow
    def outer() -> None:
        inner()
        inner()

    outer()
    assert len(far.reads) == 1


def test_under_a_lock_it_is_asked_again(far: Far) -> None:
    @task(cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE"), result_storage=far)
    def double(x: int) -> int:
        return 2 * x

    @flow
    def once() -> int:
        return double(1)

    assert once() == 2
    assert len(far.reads) == 2


class Down(Far):
    """The same, which can be out of order."""

    out_of_order = False

    def read_path(self, path: str) -> bytes:
        if self.out_of_order:
            raise ConnectionError("nobody answers")
        return super().read_path(path)

    def write_path(self, path: str, content: bytes) -> None:
        if self.out_of_order:
            raise ConnectionError("nobody answers")
        super().write_path(path, content)

    def __repr__(self) -> str:
        return "s3://somewhere"


def test_an_outage_is_told_twice_by_tasks_and_as_a_whole_by_the_flow(log: Lines) -> None:
    far = Down()
    double = kept_in(far)

    @flow
    def doubled() -> list[int]:
        return double.map(range(50)).result()

    far.out_of_order = True
    assert doubled() == [2 * x for x in range(50)]
    assert len(log.having("WARNING", "is not used: the store can't be read", "nobody answers")) == 2
    assert len(log.having("ERROR", "The result was not kept", "nobody answers")) == 2
    (line,) = log.having("WARNING", "Flow run", "The store Down gave trouble")
    assert "looked up or read: 50; results that were not kept: 50." in line
    assert "The first time: " in line and "nobody answers" in line


def test_a_flow_without_trouble_tells_of_none(far: Far, log: Lines) -> None:
    double = kept_in(far)
    flow(lambda: double(1))()
    assert "trouble" not in log


def test_outside_of_flows_each_task_tells_of_an_outage(log: Lines) -> None:
    far = Down()
    far.out_of_order = True
    double = kept_in(far)
    for x in range(4):
        double(x)
    assert len(log.having("WARNING", "is not used: the store can't be read")) == 4


def test_a_subflow_leaves_the_telling_to_the_flow_around(log: Lines) -> None:
    far = Down()
    far.out_of_order = True
    double = kept_in(far)

    @flow
    def inner(x: int) -> int:
        return double(x)

    @flow
    def outer() -> None:
        for x in range(5):
            inner(x)

    outer()
    assert len(log.having("gave trouble")) == 1


def test_the_flow_tells_of_the_trouble_with_its_own_result(log: Lines) -> None:
    far = Down()
    far.out_of_order = True

    @flow(persist_result=True, result_storage=far)
    def whole() -> int:
        return 1

    assert whole() == 1
    assert len(log.having("gave trouble", "results that were not kept: 1")) == 1


class Later(ObjectEntries):
    """Entries that are sent when somebody waits for it."""

    def __init__(self, far: Far) -> None:
        super().__init__(far)
        self.events: list[str] = []
        self.lost = 0

    def put(self, entries: Any) -> None:
        self.events.append("put")
        super().put(entries)

    def flush(self) -> int:
        self.events.append("flush")
        return self.lost


@pytest.fixture
def later(far: Far) -> Later:
    return Later(far)


def sent_later(far: Far, later: Later) -> Any:
    return kept_in(Store(later, ObjectBlobs(far), "afar", slow=True))


def test_a_flow_ends_when_what_its_runs_put_is_there(far: Far, later: Later, log: Lines) -> None:
    double = sent_later(far, later)

    @flow(on_completion=[lambda *_: later.events.append("completed")])
    def doubled() -> None:
        double.map([1, 2]).wait()

    doubled()
    assert later.events == ["put", "put", "flush", "completed"]
    doubled()
    assert later.events == ["put", "put", "flush", "completed", "completed"]
    assert "trouble" not in log


def test_an_async_flow_does_as_well_and_holds_up_no_event_loop(far: Far, later: Later) -> None:
    double = sent_later(far, later)
    at_loop = []
    later.flush = lambda: at_loop.append(threading.current_thread() is threading.main_thread()) or 0  # type: ignore[method-assign,func-returns-value]

    @flow
    async def doubled() -> int:
        return double(1)

    assert asyncio.run(doubled()) == 2
    assert at_loop == [False]


def test_outside_of_flows_a_task_ends_when_its_result_is_there(far: Far, later: Later) -> None:
    double = sent_later(far, later)
    double.with_options(on_completion=[lambda *_: later.events.append("completed")])(1)
    assert later.events == ["put", "flush", "completed"]


def test_what_could_not_be_sent_is_told_at_the_end(far: Far, later: Later, log: Lines) -> None:
    double = sent_later(far, later)
    later.lost = 3
    flow(lambda: double(1))()
    assert len(log.having("WARNING", "The store afar gave trouble", "results that were not kept: 3")) == 1


def test_a_flow_ends_also_where_waiting_for_it_fails(far: Far, later: Later, log: Lines) -> None:
    double = sent_later(far, later)

    def fails() -> int:
        raise StoreError("the line is cut")

    later.flush = fails  # type: ignore[method-assign]
    assert flow(lambda: double(1))() == 2
    assert len(log.having("WARNING", "gave trouble", "the line is cut")) == 1
    assert double(2) == 4


def test_who_is_cancelled_while_it_is_asked_does_not_wait_for_the_answer(far: Far, log: Lines) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hangs(path: str) -> bytes:
        asked.set()
        answer.wait(60)
        raise KeyError(path)

    @task(cache_policy=INPUTS, result_storage=far)
    async def double(x: int) -> int:
        return 2 * x

    async def cancelled() -> bool:
        work = asyncio.ensure_future(double(1))
        while not asked.is_set():
            await asyncio.sleep(0.001)
        work.cancel()
        await asyncio.wait({work})
        return work.cancelled()

    far.read_path = hangs  # type: ignore[method-assign]
    assert asyncio.run(cancelled())
    assert not answer.is_set()
    assert "Crash detected" in log
    answer.set()
