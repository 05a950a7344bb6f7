"""Transactions: results that become visible together, or not at all."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError, RollBack
from kept.locking.memory import MemoryLockManager
from kept.results import ResultStore, get_result_store
from kept.states import Completed
from kept.store import Miss
from kept.transactions import (
    AsyncTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    atransaction,
    get_transaction,
    transaction,
)
from tests.conftest import Lines

SERIALIZABLE = IsolationLevel.SERIALIZABLE


def keyed(key: str, **options: Any) -> Any:
    """A task whose result is kept under `key`."""

    @task(name=key, cache_key_fn=lambda context, parameters: key, **options)
    def step(value: Any = None) -> Any:
        if isinstance(value, Exception):
            raise value
        return value if value is not None else key

    return step


def visible(*keys: str) -> list[str]:
    """Which of the keys have a result that others can see."""
    store = get_result_store()
    return [key for key in keys if store.exists(key)]


# -- together or not at all


def test_results_become_visible_when_the_block_ends() -> None:
    with transaction():
        keyed("a")()
        keyed("b")()
        assert visible("a", "b") == []
    assert visible("a", "b") == ["a", "b"]


def test_an_error_leaves_nothing_visible() -> None:
    with pytest.raises(KeyError), transaction():
        keyed("a")()
        raise KeyError
    assert visible("a") == []


def test_a_task_that_fails_inside_undoes_what_others_did() -> None:
    with pytest.raises(ValueError, match="bad"), transaction():
        keyed("a")()
        keyed("b")(ValueError("bad"))
    assert visible("a", "b") == []


def test_a_failure_that_is_handled_inside_undoes_nothing_but_itself() -> None:
    with transaction():
        keyed("a")()
        assert keyed("b")(ValueError("bad"), return_state=True).is_failed()
        keyed("c")()
    assert visible("a", "b", "c") == ["a", "c"]


def test_outside_a_block_each_task_commits_its_own() -> None:
    keyed("a")()
    assert visible("a") == ["a"]


def test_a_run_that_is_killed_inside_leaves_nothing_visible(home: Path) -> None:
    program = """
import os
from kept import task
from kept.transactions import transaction
@task(cache_key_fn=lambda context, parameters: parameters["key"])
def step(key): return "x" * 100_000
step("before")
with transaction():
    step("inside")
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 9
    assert visible("before", "inside") == ["before"]


def test_large_results_are_staged_too() -> None:
    with pytest.raises(KeyError), transaction():
        keyed("big")("x" * 200_000)
        raise KeyError
    assert visible("big") == []
    with transaction():
        keyed("big")("x" * 200_000)
    assert get_result_store().read("big").result == "x" * 200_000


def test_what_is_staged_is_the_value_as_it_was() -> None:
    value = [1]
    with transaction():
        keyed("a")(value)
        value.append(2)
    assert get_result_store().read("a").result == [1]


def test_rolling_back_on_purpose_raises_nothing() -> None:
    with transaction() as txn:
        keyed("a")()
        raise RollBack
    assert txn.is_rolled_back()
    assert visible("a") == []


def test_an_interrupt_rolls_back() -> None:
    undone: list[str] = []
    with pytest.raises(KeyboardInterrupt), transaction():
        keyed("a", on_rollback=[lambda txn: undone.append("a")])()
        raise KeyboardInterrupt
    assert undone == ["a"]
    assert visible("a") == []


def test_results_in_several_stores_are_each_published(tmp_path: Path) -> None:
    with transaction():
        keyed("a")()
        keyed("b", result_storage=tmp_path / "other")()
    assert visible("a", "b") == ["a"]
    assert ResultStore(result_storage=tmp_path / "other").exists("b")


# -- nested


def test_an_inner_transaction_waits_for_the_outer_one() -> None:
    with transaction() as outer:
        with transaction() as inner:
            keyed("a")()
        assert inner.is_staged()
        assert visible("a") == []
        assert outer.is_active()
    assert inner.is_committed()
    assert outer.is_committed()
    assert visible("a") == ["a"]


def test_an_error_in_the_outer_one_undoes_the_inner_one() -> None:
    with pytest.raises(KeyError), transaction():
        with transaction() as inner:
            keyed("a")()
        raise KeyError
    assert inner.is_rolled_back()
    assert visible("a") == []


def test_an_error_in_the_inner_one_that_is_handled_leaves_the_outer_one() -> None:
    with transaction():
        keyed("a")()
        with pytest.raises(KeyError), transaction():
            keyed("b")()
            raise KeyError
    assert visible("a", "b") == ["a"]


def test_an_eager_inner_one_commits_at_once() -> None:
    with pytest.raises(KeyError), transaction():
        with transaction(commit_mode=CommitMode.EAGER) as inner:
            keyed("a")()
        assert inner.is_committed()
        raise KeyError
    assert visible("a") == ["a"]


def test_the_tasks_in_an_eager_one_commit_at_once_and_stay() -> None:
    said = []
    kept = keyed("a", on_commit=[lambda txn: said.append("committed")], on_rollback=[lambda txn: said.append("back")])
    with pytest.raises(KeyError), transaction(commit_mode=CommitMode.EAGER):
        kept()
        said.append("after")
        raise KeyError
    assert said == ["committed", "after"]
    assert visible("a") == ["a"]


def test_one_that_is_off_commits_only_when_told() -> None:
    with transaction(commit_mode=CommitMode.OFF) as txn:
        keyed("a")()
    assert visible("a") == []
    assert txn.commit()
    assert visible("a") == ["a"]
    with transaction(commit_mode=CommitMode.OFF) as txn:
        keyed("b")()
    assert txn.rollback()
    assert not txn.commit()
    assert visible("b") == []


def test_what_a_task_inside_a_task_keeps_does_not_wait_for_the_outer_one() -> None:
    inner = keyed("inner")

    @task
    def outer() -> None:
        inner()
        raise ValueError

    outer(return_state=True)
    assert visible("inner") == ["inner"]


def test_tasks_inside_tasks_belong_to_the_transaction_around_both() -> None:
    inner = keyed("inner")

    @task
    def outer() -> None:
        inner()

    with pytest.raises(KeyError), transaction():
        outer()
        raise KeyError
    assert visible("inner") == []


def test_what_is_kept_inside_a_task_that_returns_a_state_is_kept() -> None:
    inner = keyed("inner")

    @task
    def outer() -> Any:
        return Completed(data=inner())

    outer()
    assert visible("inner") == ["inner"]


def test_flows_inside_belong_to_it() -> None:
    @flow
    def f() -> Any:
        return keyed("a")()

    with pytest.raises(KeyError), transaction():
        f()
        raise KeyError
    assert visible("a") == []


# -- hooks


def test_rollback_hooks_run_last_staged_first() -> None:
    undone: list[str] = []

    def undo(name: str) -> Any:
        return lambda txn: undone.append(name)

    with pytest.raises(KeyError), transaction():
        keyed("a", on_rollback=[undo("a1"), undo("a2")])()
        keyed("b", on_rollback=[undo("b")])()
        with transaction():
            keyed("c", on_rollback=[undo("c")])()
            keyed("d", on_rollback=[undo("d")])()
        raise KeyError
    assert undone == ["d", "c", "b", "a2", "a1"]


def test_commit_hooks_run_in_order_once_everything_is_visible() -> None:
    seen: list[Any] = []

    def note(name: str) -> Any:
        return lambda txn: seen.append((name, visible("a", "b")))

    with transaction():
        keyed("a", on_commit=[note("a")])()
        keyed("b", on_commit=[note("b")])()
        assert seen == []
    assert seen == [("a", ["a", "b"]), ("b", ["a", "b"])]


def test_hooks_get_the_transaction_of_their_task() -> None:
    seen: list[Any] = []
    step = keyed("a")

    @step.on_commit
    def committed(txn: Transaction) -> None:
        seen.append(("commit", txn.key, txn.is_committed(), txn.get("word")))

    @step.on_rollback
    def rolled_back(txn: Transaction) -> None:
        seen.append(("rollback", txn.key, txn.is_rolled_back(), txn.get("word")))

    with transaction() as txn:
        txn.set("word", "one")
        step()
    with pytest.raises(KeyError), transaction() as txn:
        txn.set("word", "two")
        step.with_options(refresh_cache=True)()
        raise KeyError
    assert seen == [("commit", "a", True, "one"), ("rollback", "a", True, "two")]


def test_the_hooks_of_the_task_that_failed_do_not_run() -> None:
    undone: list[str] = []
    with pytest.raises(ValueError, match="bad"), transaction():
        keyed("a", on_rollback=[lambda txn: undone.append("a")])()
        keyed("b", on_rollback=[lambda txn: undone.append("b")], on_commit=[lambda txn: undone.append("commit")])(
            ValueError("bad")
        )
    assert undone == ["a"]


def test_a_task_whose_result_is_not_kept_has_its_hooks_too() -> None:
    seen: list[str] = []

    @task(on_rollback=[lambda txn: seen.append("rollback")], on_commit=[lambda txn: seen.append("commit")])
    def step() -> None: ...

    with transaction():
        step()
        assert seen == []
    assert seen == ["commit"]
    with pytest.raises(KeyError), transaction():
        step()
        raise KeyError
    assert seen == ["commit", "rollback"]


def test_a_hook_that_raises_is_logged_and_the_others_run(log: Lines) -> None:
    seen: list[str] = []

    def broken(txn: Any) -> None:
        raise RuntimeError("hook trouble")

    keyed("a", on_commit=[broken, lambda txn: seen.append("after")])()
    with pytest.raises(KeyError), transaction():
        keyed("b", on_rollback=[lambda txn: seen.append("before"), broken])()
        raise KeyError
    assert seen == ["after", "before"]
    assert len(log.having("hook 'broken'")) == 2
    assert "hook trouble" in log


def test_hooks_may_be_async() -> None:
    seen: list[str] = []

    async def note(txn: Any) -> None:
        await asyncio.sleep(0)
        seen.append("noted")

    keyed("a", on_commit=[note])()
    assert seen == ["noted"]


# -- values


def test_values_are_remembered_and_seen_from_inside() -> None:
    with transaction() as outer:
        outer.set("path", "/tmp/x")
        with transaction() as inner:
            assert inner.get("path") == "/tmp/x"
            inner.set("path", "/tmp/y")
            assert (inner.get("path"), outer.get("path")) == ("/tmp/y", "/tmp/x")
            assert inner.get("other", None) is None
            assert inner.get("other", default="d") == "d"
            with pytest.raises(ValueError, match="Nothing was set under 'other'"):
                inner.get("other")


def test_what_is_got_is_a_copy_until_it_is_set_again() -> None:
    with transaction() as txn:
        txn.set("list", [1, 2])
        changed = txn.get("list")
        changed.append(3)
        assert txn.get("list") == [1, 2]
        txn.set("list", changed)
        assert txn.get("list") == [1, 2, 3]


def test_what_can_not_be_copied_is_given_itself() -> None:
    lock = threading.Lock()
    with transaction() as txn:
        txn.set("lock", lock)
        assert txn.get("lock") is lock


def test_tasks_see_the_transaction_that_they_are_in() -> None:
    @task
    def step() -> Any:
        txn = get_transaction()
        assert txn is not None
        return txn.get("word")

    with transaction() as txn:
        txn.set("word", "hello")
        assert get_transaction() is txn
        assert step() == "hello"
    assert get_transaction() is None


# -- keys


def test_a_value_can_be_staged_under_a_key() -> None:
    with transaction(key="mine") as txn:
        assert not txn.is_committed()
        txn.stage({"n": 1})
        assert visible("mine") == []
    assert txn.is_committed()
    with transaction(key="mine") as txn:
        assert txn.is_committed()
        record = txn.read()
        assert record is not None
        assert record.result == {"n": 1}


def test_a_key_alone_tells_later_that_it_was_done() -> None:
    with transaction(key="mine") as txn:
        assert not txn.is_committed()
    with transaction(key="mine") as txn:
        assert txn.is_committed()
    with pytest.raises(KeyError), transaction(key="failed"):
        raise KeyError
    assert visible("mine", "failed") == ["mine"]


def test_a_transaction_begins_with_its_block_and_knows_the_one_around() -> None:
    outer, inner = transaction(key="outer"), transaction()
    assert outer.is_pending()
    with outer, inner:
        assert outer.is_active()
        assert inner.get_parent() is outer
        assert Transaction.get_active() is inner
    assert outer.get_parent() is None
    assert repr(outer) == "Transaction(key='outer', state=COMMITTED)"


def test_the_isolation_level_and_the_commit_mode_can_be_given_by_name() -> None:
    names: Any = {"isolation_level": "SERIALIZABLE", "commit_mode": "EAGER"}
    with transaction(key="mine", **names) as txn:
        assert txn.isolation_level is SERIALIZABLE
        assert txn.commit_mode is CommitMode.EAGER
        assert txn.commit_mode == "EAGER"
        assert get_result_store().locks().is_locked("mine")
        with transaction(key="mine"):
            pass  # the lock is held around: waiting for it would never end
        assert get_result_store().locks().is_locked("mine")
    assert not get_result_store().locks().is_locked("mine")


def test_hooks_that_raise_are_told_to_the_logger_given(caplog: pytest.LogCaptureFixture) -> None:
    def leave(txn: Any) -> None:
        raise SystemExit(3)

    seen: list[str] = []
    logger = logging.LoggerAdapter(logging.getLogger("mine"), {})
    with transaction(key="a", logger=logger) as txn:
        txn.stage(1, on_commit_hooks=[leave, lambda txn: seen.append("after")])
    assert [record.name for record in caplog.records] == ["mine"]
    assert seen == ["after"]


def test_staged_hooks_run_with_the_outcome() -> None:
    seen: list[str] = []
    hooks: dict[str, Any] = {
        "on_commit_hooks": [lambda txn: seen.append("commit")],
        "on_rollback_hooks": [lambda txn: seen.append("rollback")],
    }
    with transaction(key="a") as txn:
        txn.stage(1, **hooks)
    with pytest.raises(KeyError), transaction(key="b") as txn:
        txn.stage(1, **hooks)
        raise KeyError
    assert seen == ["commit", "rollback"]
    assert visible("a", "b") == ["a"]


def test_overwriting_ignores_what_is_kept() -> None:
    for value, overwrite in ((1, False), (2, True)):
        with transaction(key="mine", overwrite=overwrite) as txn:
            assert not txn.is_committed()
            txn.stage(value)
    assert get_result_store().read("mine").result == 2


def test_without_writing_nothing_is_kept() -> None:
    with transaction(key="mine", write_on_commit=False) as txn:
        txn.stage(1)
    assert txn.is_committed()
    assert visible("mine") == []


def test_nothing_is_read_where_nothing_is_kept() -> None:
    with transaction(key="mine") as txn:
        assert txn.read() is None
    with transaction() as txn:
        assert txn.read() is None


def test_a_store_can_be_given(tmp_path: Path) -> None:
    store = ResultStore(result_storage=tmp_path / "s")
    with transaction(key="mine", store=store) as txn:
        txn.stage(1)
    assert store.read("mine").result == 1
    assert visible("mine") == []


def test_work_inside_one_that_was_committed_already_is_kept_all_the_same() -> None:
    with transaction(key="mine") as txn:
        txn.stage(1)
    with transaction(key="mine") as txn:
        assert txn.is_committed()
        keyed("a")()
    assert visible("a") == ["a"]


def test_a_later_hit_counts_as_committed() -> None:
    kept = keyed("a")
    kept()
    with pytest.raises(KeyError), transaction():
        assert kept(return_state=True).name == "Cached"
        raise KeyError
    assert visible("a") == ["a"]


def test_the_states_tell_where_it_stands() -> None:
    with transaction() as txn:
        assert (txn.state, txn.is_active()) == (TransactionState.ACTIVE, True)
    assert txn.state is TransactionState.COMMITTED
    assert not txn.is_active()
    assert txn.commit()
    assert not txn.rollback()


# -- threads


def test_submitted_tasks_belong_to_the_transaction_around() -> None:
    @flow
    def f(fail: bool) -> None:
        with transaction():
            keyed("a").submit().wait()
            assert visible("a") == []
            if fail:
                raise KeyError

    assert f(True, return_state=True).is_failed()
    assert visible("a") == []
    f(False)
    assert visible("a") == ["a"]


def test_a_task_that_ends_after_its_transaction_is_kept_or_not_as_that_was() -> None:
    gate = threading.Event()
    undone: list[str] = []

    @task(cache_key_fn=lambda context, parameters: parameters["key"], on_rollback=[lambda txn: undone.append(txn.key)])
    def slow(key: str) -> str:
        assert gate.wait(10)
        return key

    @flow
    def f() -> None:
        with transaction():
            slow.submit("committed")
        with transaction(), transaction():
            slow.submit("nested")
        with pytest.raises(KeyError), transaction():
            slow.submit("rolled-back")
            raise KeyError
        gate.set()

    f()
    assert visible("committed", "nested", "rolled-back") == ["committed", "nested"]
    assert undone == ["rolled-back"]


@pytest.mark.parametrize("lock_manager", [None, MemoryLockManager()])
def test_of_eight_threads_with_one_key_one_computes(lock_manager: Any) -> None:
    ran: list[int] = []
    start = threading.Barrier(8)

    @task(cache_policy=INPUTS.configure(isolation_level=SERIALIZABLE, lock_manager=lock_manager))
    def step(x: int) -> int:
        ran.append(x)
        return x * 2

    def call(_: int) -> Any:
        start.wait()
        return step(21, return_state=True)

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(call, range(8)))
    assert [state.result() for state in states] == [42] * 8
    assert ran == [21]
    assert sorted(state.name for state in states) == ["Cached"] * 7 + ["Completed"]


def test_a_lock_is_given_back_after_a_failure_too() -> None:
    tries: list[int] = []

    @task(cache_policy=INPUTS.configure(isolation_level=SERIALIZABLE))
    def step(x: int) -> int:
        tries.append(x)
        if len(tries) == 1:
            raise ValueError
        return x

    assert step(1, return_state=True).is_failed()
    assert step(1) == 1


def test_serializable_transactions_on_one_key_take_turns() -> None:
    inside: list[int] = []
    most: list[int] = []
    start = threading.Barrier(4)

    def work(_: int) -> bool:
        start.wait()
        with transaction(key="mine", isolation_level=SERIALIZABLE) as txn:
            inside.append(1)
            most.append(len(inside))
            if not txn.is_committed():
                txn.stage("value")
                inside.pop()
                return True
            inside.pop()
        return False

    with ThreadPoolExecutor(4) as pool:
        computed = list(pool.map(work, range(4)))
    assert most == [1, 1, 1, 1]
    assert computed.count(True) == 1


def test_serializable_needs_a_key() -> None:
    with (
        pytest.raises(ConfigurationError, match="this one has none: pass key="),
        transaction(isolation_level=SERIALIZABLE),
    ):
        pass


def test_a_result_that_can_not_be_kept_does_not_undo_the_others(log: Lines) -> None:
    with transaction():
        keyed("a")()
        keyed("lock")(threading.Lock())
    assert visible("a", "lock") == ["a"]
    assert "The result was not kept" in log


# -- async


def test_async_transactions_do_the_same() -> None:
    seen: list[Any] = []

    @task(cache_key_fn=lambda context, parameters: parameters["key"], on_rollback=[lambda txn: seen.append(txn.key)])
    async def step(key: str) -> str:
        await asyncio.sleep(0)
        return key

    async def main() -> None:
        async with atransaction() as txn:
            assert isinstance(txn, AsyncTransaction)
            await asyncio.gather(step("a"), step("b"))
            assert visible("a", "b") == []
        assert visible("a", "b") == ["a", "b"]
        with pytest.raises(KeyError):
            async with atransaction():
                await step("c")
                raise KeyError
        async with atransaction(key="d", isolation_level=SERIALIZABLE) as txn:
            txn.stage(1)
        assert get_transaction() is None

    asyncio.run(main())
    assert seen == ["c"]
    assert visible("c", "d") == ["d"]


@pytest.mark.parametrize("large", [False, True])
def test_a_store_that_refuses_rolls_back_and_ends_nothing(home: Path, log: Lines, large: bool) -> None:
    store = ResultStore(result_storage=Refusing())
    undone: list[str] = []
    with transaction(key="a", store=store) as txn:
        txn.stage("x" * (200_000 if large else 1), on_rollback_hooks=[lambda txn: undone.append(txn.key)])
    assert "Transaction 'a' was rolled back, for it could not be committed:" in log
    assert "no space left" in log
    assert not txn.commit()
    assert isinstance(store.lookup("a"), Miss)
    assert txn.is_rolled_back()
    assert undone == ["a"]


def test_the_methods_of_an_async_transaction_are_awaited_and_its_hooks_run_on_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hooked = asyncio.Event()

        async def note(txn: Any) -> None:
            assert asyncio.get_running_loop() is loop
            hooked.set()

        async with atransaction(key="a", commit_mode=CommitMode.OFF) as txn:
            assert await txn.read() is None
            txn.stage(1, on_commit_hooks=[note])
        assert not hooked.is_set()
        assert await txn.commit()
        assert hooked.is_set()
        assert not await txn.rollback()
        async with atransaction(key="a") as txn:
            assert txn.is_committed()
            record = await txn.read()
            assert record is not None
            assert record.result == 1

    asyncio.run(main())


def test_the_async_hooks_of_an_async_task_run_on_its_loop() -> None:
    seen: list[Any] = []

    async def note(txn: Any) -> None:
        seen.append(asyncio.get_running_loop())

    @task(on_commit=[note], on_rollback=[note])
    async def step() -> None: ...

    async def main() -> Any:
        await step()
        with pytest.raises(KeyError):
            async with atransaction():
                await step()
                raise KeyError
        return asyncio.get_running_loop()

    loop = asyncio.run(main())
    assert seen == [loop, loop]


class SlowFiles:
    """A file system that writes when it is told to go on."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def read_path(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.asked.set()
        assert self.go_on.wait(10)
        self.files[path] = content


def test_the_commit_of_an_async_transaction_does_not_hold_up_the_loop() -> None:
    async def main() -> None:
        storage = SlowFiles()

        async def meanwhile() -> None:
            while not storage.asked.is_set():
                await asyncio.sleep(0)
            storage.go_on.set()

        other = asyncio.ensure_future(meanwhile())
        async with atransaction(key="a", store=ResultStore(result_storage=storage)) as txn:
            txn.stage(1)
        await other
        assert txn.is_committed()

    asyncio.run(main())


def test_who_is_cancelled_while_it_waits_for_a_lock_leaves_it_to_others() -> None:
    class Plain:
        """A lock manager without methods to await."""

        def __init__(self, locks: MemoryLockManager) -> None:
            self.acquire_lock, self.release_lock = locks.acquire_lock, locks.release_lock

    locks = MemoryLockManager()
    store = ResultStore(lock_manager=Plain(locks))

    async def once() -> None:
        async with atransaction(key="a", store=store, isolation_level=IsolationLevel.SERIALIZABLE):
            pass

    async def main() -> None:
        locks.acquire_lock("a", "somebody")
        waiting = asyncio.ensure_future(once())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        locks.release_lock("a", "somebody")
        await asyncio.wait_for(once(), 20)

    asyncio.run(main())


def test_a_commit_that_has_begun_when_its_task_is_cancelled_is_done_to_its_end() -> None:
    hooks = []

    async def main() -> None:
        storage = SlowFiles()
        store = ResultStore(result_storage=storage)

        async def work() -> None:
            async with atransaction(key="a", store=store) as txn:
                txn.stage(1, [lambda _: hooks.append("rollback")], [lambda _: hooks.append("commit")])

        working = asyncio.ensure_future(work())
        while not storage.asked.is_set():
            await asyncio.sleep(0)
        for _ in range(2):
            working.cancel()
            await asyncio.sleep(0)
        storage.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert store.exists("a")

    asyncio.run(main())
    assert hooks == ["commit"]


READER = """
import sys
from kept.results import ResultStore
store, seen, keys = ResultStore(), [False], [f"key-{i}" for i in range(100)]
print("ready", flush=True)
while not all(seen):
    keys.reverse()
    seen = [store.exists(key) for key in keys]
    assert seen == sorted(seen), "one is there, and one that is looked for later is not"
"""

WRITER = """
import os, signal, sys
from kept import task
from kept.transactions import transaction
@task(cache_key_fn=lambda context, parameters: f"key-{parameters['i']}")
def step(i): return "x" * 1000
with transaction():
    for i in range(100):
        step(i)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_another_process_sees_all_of_a_transaction_or_nothing(home: Path) -> None:
    def write(how: str) -> int:
        return subprocess.run([sys.executable, "-c", WRITER, how], capture_output=True, timeout=60).returncode

    with subprocess.Popen([sys.executable, "-c", READER], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        assert write("killed") == -9
        assert visible(*(f"key-{i}" for i in range(100))) == []
        assert write("whole") == 0
        assert reader.wait(60) == 0


def test_a_key_that_is_no_text_is_refused() -> None:
    wrong: Any = 3
    with pytest.raises(ConfigurationError, match="The key of a transaction is text.* not 3"), transaction(key=wrong):
        raise AssertionError("it began")
    assert get_transaction() is None


@pytest.mark.parametrize("option", ["commit_mode", "isolation_level"])
def test_a_mode_that_there_is_not_is_told_with_those_that_there_are(option: str) -> None:
    wrong: Any = {option: "nope"}
    with pytest.raises(
        ConfigurationError, match=r"got 'nope', which is none of (CommitMode.EAGER|IsolationLevel.READ)"
    ):
        transaction(**wrong).__enter__()
    assert get_transaction() is None


class Refusing:
    """A file system that takes nothing."""

    def read_path(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    def write_path(self, path: str, content: bytes) -> None:
        raise OSError("no space left")


def test_a_store_that_can_not_be_asked_does_not_keep_a_block_from_running(log: Lines) -> None:
    class Dumb(Refusing):
        """A file system that answers nothing."""

        def read_path(self, path: str) -> bytes:
            raise OSError("no route to host")

    @flow
    def f() -> list[str]:
        done = []
        with transaction(key="a", store=ResultStore(result_storage=Dumb())):
            done.append("ran")
        return done

    assert f() == ["ran"]
    assert "Whether transaction 'a' is done can't be looked up, so it goes on" in log
    assert "results that were not kept: 1" in log


def test_what_one_store_has_taken_is_taken_back_when_another_refuses(home: Path) -> None:
    undone: list[str] = []
    refusing = ResultStore(result_storage=Refusing())

    def work() -> None:
        with transaction():
            keyed("a", on_rollback=[lambda txn: undone.append("a")])()
            with transaction(key="b", store=refusing):
                pass

    work()
    assert undone == ["a"]
    assert visible("a") == []


def test_results_that_can_not_be_taken_back_are_said(caplog: pytest.LogCaptureFixture) -> None:
    class Keeping(Refusing):
        """A file system that gives nothing back."""

        def write_path(self, path: str, content: bytes) -> None: ...

        def delete_path(self, path: str) -> None:
            raise OSError("for ever")

    with (
        transaction(key="outer", store=ResultStore(result_storage=Refusing())),
        transaction(key="inner", store=ResultStore(result_storage=Keeping())),
    ):
        pass
    assert "still holds results of it that can't be deleted" in caplog.text


def test_what_is_staged_after_the_end_is_neither_kept_nor_written(home: Path) -> None:
    large = "x" * 200_000
    with transaction(key="a") as txn:
        txn.stage(1)
        assert txn.commit()
        txn.stage(large)
    with transaction(key="a") as txn:
        txn.stage(large)
    assert get_result_store().read("a").result == 1
    assert [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > len(large)] == []
