"""Runs that want the same thing at the same moment: one computes, and nobody writes over who took over from it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import LockError, LockLostError
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.locking.objects import ObjectLockManager
from kept.locking.protocol import LockManager
from kept.results import ResultStore
from kept.settings import KEPT_CACHE_SINGLE_FLIGHT, KEPT_LOCKING_REDIS_URL, temporary_settings
from kept.store.objects import ObjectEntries, put_over
from kept.testing import an_entry
from kept.transactions import IsolationLevel, atransaction, transaction
from kept_redis import RedisLockManager
from tests.conftest import Lines
from tests.locking.files import TaggedFiles
from tests.servers.moto import Moto
from tests.servers.proxy import FaultProxy
from tests.servers.redis import RedisServer

SERIALIZABLE = IsolationLevel.SERIALIZABLE
ALONE = INPUTS.configure(isolation_level=SERIALIZABLE)


class Away(MemoryLockManager):
    """Locks of a server that does not answer."""

    def acquire_lock(self, *_: Any, **__: Any) -> bool:
        raise LockError("nobody answers")

    async def aacquire_lock(self, *_: Any, **__: Any) -> bool:
        raise LockError("nobody answers")


class Forgetful(MemoryLockManager):
    """Locks that are gone when one looks again, as for a process that was stopped for too long."""

    def release_lock(self, key: str, holder: str) -> None:
        MemoryLockManager().release_lock(key, holder)

    def is_lock_holder(self, key: str, holder: str) -> bool:
        return False


class Silent(Forgetful):
    """Locks of a server that goes away while they are held."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        raise LockError("nobody answers")


# --- which locks


def test_locks_fit_the_place_of_the_results(tmp_path: Path, home: Path) -> None:
    assert ResultStore(tmp_path).locks() == FileSystemLockManager(os.path.realpath(tmp_path) + "/locks")
    files = TaggedFiles()
    assert ResultStore(files).locks() == ObjectLockManager(files)
    from kept.filesystems import LocalFileSystem

    locks = ResultStore(LocalFileSystem(basepath=str(tmp_path))).locks()
    assert isinstance(locks, FileSystemLockManager) and home in locks.lock_files_directory.parents

    class Plain:
        def read_path(self, path: str) -> bytes:
            raise FileNotFoundError(path)

        def write_path(self, path: str, content: bytes) -> None: ...

    assert ResultStore(Plain()).locks() == MemoryLockManager()


def test_locks_are_where_the_entries_are(tmp_path: Path) -> None:
    locks = ResultStore(tmp_path / "results", metadata_storage=tmp_path / "keys").locks()
    assert locks == FileSystemLockManager(os.path.realpath(tmp_path) + "/keys/locks")


def test_the_redis_server_of_the_settings_is_for_stores_that_are_far_away(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with temporary_settings({KEPT_LOCKING_REDIS_URL: redis_server.url}):
        assert ResultStore(TaggedFiles()).locks() == RedisLockManager.from_url(redis_server.url)
        assert isinstance(ResultStore(tmp_path).locks(), FileSystemLockManager)


def test_a_server_that_is_not_fit_for_locks_has_them_on_this_machine_and_that_is_said_once(
    quick_s3: Moto, monkeypatch: pytest.MonkeyPatch, home: Path, log: Lines
) -> None:
    for name, value in quick_s3.environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{quick_s3.bucket()}/x"
    from kept.store import selftest

    unfit = selftest.Guarantees(conditional_create=False, conditional_replace=False, read_after_write=True)
    monkeypatch.setattr(selftest, "examine", lambda *_: unfit)
    for _ in range(2):
        locks = ResultStore(url).locks()
        assert isinstance(locks, FileSystemLockManager) and home in locks.lock_files_directory.parents
    (line,) = log.having("on this machine only")
    assert "KEPT_LOCKING_REDIS_URL" in line


# --- locks that can't be had


def test_a_lock_that_cant_be_had_costs_a_warning_and_not_the_run(log: Lines) -> None:
    @task(cache_policy=ALONE.configure(lock_manager=Away()))
    def double(x: int) -> int:
        return 2 * x

    @task(cache_policy=ALONE.configure(lock_manager=Away()))
    async def adouble(x: int) -> int:
        return 2 * x + 1

    assert double(1) == 2 and double(1, return_state=True).name == "Cached"
    assert asyncio.run(adouble(7)) == 15
    assert len(log.having("WARNING", "The lock on the key can't be had", "nobody answers")) == 2


@pytest.mark.parametrize("known", [False, True], ids=["before the self-test", "after it"])
def test_a_server_that_is_down_is_not_asked_for_the_lock_of_each_run(
    known: bool, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, log: Lines
) -> None:
    for name, value in quick_proxy.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE", f"s3://{quick_proxy.server.bucket()}/x")

    @task(cache_policy=ALONE)
    def double(x: int) -> int:
        return 2 * x

    @flow
    def work() -> list[int]:
        return [double(x) for x in range(20)]

    if known:
        double(100)
    quick_proxy.requests.clear()
    with quick_proxy.fault("reset"):
        assert work() == [2 * x for x in range(20)]
    assert len(quick_proxy.requests) < 20
    assert len(log.having("WARNING", "The lock on the key can't be had")) == 2
    assert log.having("results computed without the lock on their keys: 20")


def test_a_transaction_that_asks_for_a_lock_that_cant_be_had_raises() -> None:
    with pytest.raises(LockError, match="nobody answers"):
        with transaction(key="a", store=ResultStore(lock_manager=Away()), isolation_level=SERIALIZABLE):
            raise AssertionError("not begun")


# --- locks that are lost


@pytest.mark.parametrize(("locks", "why"), [(Forgetful(), "another run took over"), (Silent(), "nobody answers")])
def test_a_run_that_lost_its_lock_completes_and_keeps_nothing(locks: LockManager, why: str, log: Lines) -> None:
    @task(cache_policy=ALONE.configure(lock_manager=locks))
    def double(x: int) -> int:
        return 2 * x

    state = double(3, return_state=True)
    assert (state.name, state.result()) == ("Completed", 6)
    assert double(3, return_state=True).name == "Completed"
    lines = log.having("The result was not kept", why)
    assert lines and not [line for line in lines if "computes it again" in line]


def test_a_transaction_that_lost_its_lock_is_rolled_back_and_says_so(log: Lines) -> None:
    undone: list[str] = []
    store = ResultStore(lock_manager=Forgetful())
    with transaction(key="a", store=store, isolation_level=SERIALIZABLE) as txn:
        txn.stage(1, on_rollback_hooks=[lambda _: undone.append("a")])
    assert txn.is_rolled_back() and undone == ["a"] and not store.exists("a")
    assert "another run took over the key 'a'" in log

    async def other() -> None:
        async with atransaction(key="b", store=store, isolation_level=SERIALIZABLE) as txn:
            txn.stage(1)
        assert txn.is_rolled_back()

    asyncio.run(other())
    assert not store.exists("b")


PAUSED = """
import sys
from kept import task
from kept.cache_policies import INPUTS
from kept.locking.filesystem import FileSystemLockManager
from kept.transactions import IsolationLevel, transaction
from kept.results import ResultStore
from kept_redis import RedisLockManager

kind, place, redis, by, me = sys.argv[1:]
locks = RedisLockManager.from_url(redis) if kind == "redis" else None
policy = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=locks)

def work():
    print("at work", flush=True)
    if me == "first":
        sys.stdin.readline()
    return me

@task(cache_policy=policy, result_storage=place, persist_result=True)
def step(x):
    return work()

if by == "task":
    print("=", step(1), flush=True)
else:
    store = ResultStore(place, lock_manager=locks)
    with transaction("key", store, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
        if not txn.is_committed():
            txn.stage(work())
    print("=", txn.read().result, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", ["task", "transaction"])
@pytest.mark.parametrize("kind", ["files", "redis", "leases"])
def test_a_stopped_run_does_not_commit_over_its_successor(
    kind: str, by: str, tmp_path: Path, redis_server: RedisServer, quick_s3: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_LOCKING_LEASE_SECONDS", "1")
    for name, value in quick_s3.environment.items():
        monkeypatch.setenv(name, value)
    place = f"s3://{quick_s3.bucket()}/x" if kind == "leases" else str(tmp_path / "results")
    (tmp_path / "program.py").write_text(PAUSED)

    def begin(me: str) -> subprocess.Popen[str]:
        command = [sys.executable, "program.py", kind, place, redis_server.url, by, me]
        return subprocess.Popen(command, cwd=tmp_path, stdin=-1, stdout=-1, stderr=-1, text=True)

    first = begin("first")
    assert first.stdout and first.stdout.readline() == "at work\n"
    first.send_signal(signal.SIGSTOP)
    assert begin("second").communicate()[0] == "at work\n= second\n"
    first.send_signal(signal.SIGCONT)
    printed, said = first.communicate("\n")
    assert printed == ("= first\n" if by == "task" else "= second\n")
    assert "another run took over" in said
    assert begin("third").communicate()[0] == "= second\n"


# --- within one process


def test_by_the_setting_equal_calls_of_one_process_share_one_computation() -> None:
    ran: list[int] = []
    together = threading.Barrier(6)

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        ran.append(x)
        return x * 2

    def call(_: int) -> int:
        together.wait()
        return step(21)

    with temporary_settings({KEPT_CACHE_SINGLE_FLIGHT: True}), ThreadPoolExecutor(6) as pool:
        import contextvars

        contexts = [contextvars.copy_context() for _ in range(6)]
        assert list(pool.map(lambda context: context.run(call, 0), contexts)) == [42] * 6
    assert ran == [21]


def test_submitted_mapped_and_async_calls_share_it_too() -> None:
    ran: list[int] = []
    begun = threading.Event()

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        ran.append(x)
        begun.wait(0.2)
        return x

    @task(cache_policy=INPUTS)
    async def astep(x: int, y: int) -> int:
        ran.append(x)
        await asyncio.sleep(0.05)
        return x

    @flow
    def work() -> list[int]:
        return [*step.map([1] * 5 + [2]).result(), step.submit(1).result()]

    @flow
    async def awork() -> list[int]:
        return list(await asyncio.gather(*(astep(3, 0) for _ in range(5))))

    with temporary_settings({KEPT_CACHE_SINGLE_FLIGHT: True}):
        assert work() == [1] * 5 + [2, 1]
        assert asyncio.run(awork()) == [3] * 5
    assert sorted(ran) == [1, 2, 3]


def test_it_is_off_unless_asked_for() -> None:
    together = threading.Barrier(2)

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        together.wait(30)
        return x

    @flow
    def work() -> list[int]:
        return step.map([1, 1]).result()

    assert work() == [1, 1]


def test_a_task_that_calls_itself_with_the_same_key_does_not_wait_for_itself() -> None:
    deep: list[int] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        deep.append(x)
        return step(x) if len(deep) < 3 else step.submit(x).result() if len(deep) < 5 else x

    @flow
    def work() -> int:
        return step(1)

    with temporary_settings({KEPT_CACHE_SINGLE_FLIGHT: True}):
        assert work() == 1


def test_a_pool_full_of_those_who_wait_does_not_keep_the_one_who_computes_from_its_end() -> None:
    from kept.task_runners import ThreadPoolTaskRunner

    @task
    def inner(x: int) -> int:
        return x + 1

    @task(cache_policy=INPUTS)
    def outer(x: int) -> int:
        return inner.submit(x).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def work() -> list[int]:
        return outer.map([1] * 6).result()

    with temporary_settings({KEPT_CACHE_SINGLE_FLIGHT: True}):
        assert work() == [2] * 6


def test_a_generator_does_not_wait_for_an_equal_one_that_waits_for_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_CACHE_SINGLE_FLIGHT", "true")

    @task(cache_policy=INPUTS)
    def numbers(to: int) -> Iterator[int]:
        yield from range(to)

    first: Any = numbers(2)
    next(first)
    with ThreadPoolExecutor(1) as aside, contextlib.closing(first):
        assert aside.submit(lambda: list(numbers(2))).result(10) == [0, 1]
        assert list(first) == [1]


def test_those_who_wait_compute_in_turn_if_the_first_fails() -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        ran.append(x)
        if len(ran) == 1:
            raise KeyError(x)
        return x

    @flow
    def work() -> list[str]:
        return sorted(future.state.name for future in [step.submit(1) for _ in range(3)] if not future.wait())

    with temporary_settings({KEPT_CACHE_SINGLE_FLIGHT: True}):
        names = work(return_state=True).result(raise_on_failure=False)
    assert names == ["Cached", "Completed", "Failed"] and json.dumps(ran) == "[1, 1]"


# --- entries that came meanwhile, on stores that compare and write in one step


class Sure(ObjectLockManager):
    """Leases whose holder was paused between making sure of its lock and writing."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        return True


@pytest.mark.parametrize("before", ["nothing", "a result to be refreshed"])
def test_a_result_that_came_while_another_was_computed_is_left_as_it_is(before: str, log: Lines) -> None:
    files = TaggedFiles()
    refreshed = before != "nothing"

    meanwhile: dict[str, bytes] = {}

    @task(
        cache_policy=ALONE.configure(lock_manager=Sure(files)),
        result_storage=files,
        refresh_cache=refreshed or None,
    )
    def step(x: int) -> int:
        files.contents.update(meanwhile)
        return x

    assert step(1) == 1
    (path,) = (path for path in files.contents if not path.startswith("locks/"))
    by_the_successor = files.contents[path] + b" "
    if not refreshed:
        by_the_successor = files.contents.pop(path)
    meanwhile[path] = by_the_successor
    assert step(1) == 1
    assert files.contents[path] == by_the_successor
    assert "another run has kept something under the key" in log


def test_what_does_not_count_as_a_result_is_replaced() -> None:
    files = TaggedFiles()
    entries = ObjectEntries(files)
    files.contents["key"] = b"damaged, or of a transaction that was killed"
    with put_over({"key": None}):
        entries.put([an_entry()])
    assert entries.get("key") == an_entry()
    with pytest.raises(LockLostError), put_over({"key": None}):
        entries.put([an_entry(payload=b"other")])
    entries.put([an_entry(payload=b"other")])


def test_a_transaction_leaves_what_came_meanwhile_as_it_is(log: Lines) -> None:
    files = TaggedFiles()
    store = ResultStore(files, lock_manager=Sure(files))
    with transaction(key="a", store=store, isolation_level=SERIALIZABLE) as txn:
        txn.stage(1)
    assert store.read("a").result == 1
    with transaction(key="a", store=store, isolation_level=SERIALIZABLE, overwrite=True) as txn:
        txn.stage(2)
        files.contents["a"] = b"of the successor"
    assert txn.is_rolled_back() and files.contents["a"] == b"of the successor"
    assert "another run has kept something under the key 'a'" in log
