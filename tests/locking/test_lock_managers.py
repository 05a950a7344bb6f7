from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import LockError, LockNotHeldError
from kept.locking import filesystem
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.locking.protocol import LockManager


@pytest.fixture(params=["memory", "filesystem"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryLockManager() if request.param == "memory" else FileSystemLockManager(tmp_path / "locks")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return request.node.name  # locks in memory outlive a test


def test_it_is_a_lock_manager(locks: LockManager) -> None:
    assert isinstance(locks, LockManager)


def test_a_lock_has_one_holder_at_a_time(locks: LockManager, key: str) -> None:
    assert not locks.is_locked(key)
    assert locks.acquire_lock(key, "a") is True
    assert locks.acquire_lock(key, "b", acquire_timeout=0) is False
    assert locks.is_locked(key)
    assert locks.is_lock_holder(key, "a") and not locks.is_lock_holder(key, "b")
    locks.release_lock(key, "a")
    assert not locks.is_locked(key)
    assert locks.acquire_lock(key, "b", acquire_timeout=0) is True
    locks.release_lock(key, "b")


def test_locks_on_different_keys_have_nothing_to_do_with_each_other(locks: LockManager, key: str) -> None:
    keys = [key, key + "/x", key + "X", key * 100, ".", "../" + key, "", "ü\ud800"]
    for each in keys:
        assert locks.acquire_lock(each, "holder of " + each, acquire_timeout=0)
    for each in keys:
        assert locks.is_lock_holder(each, "holder of " + each)
        locks.release_lock(each, "holder of " + each)


def test_a_lock_is_reentrant_and_one_release_frees_it(locks: LockManager, key: str) -> None:
    assert locks.acquire_lock(key, "a") and locks.acquire_lock(key, "a", acquire_timeout=0)
    locks.release_lock(key, "a")
    assert not locks.is_locked(key)


def test_releasing_what_one_does_not_hold_is_an_error(locks: LockManager, key: str) -> None:
    with pytest.raises(LockNotHeldError, match=f"'a' can't release the lock on {key!r}".replace("[", r"\[")):
        locks.release_lock(key, "a")
    locks.acquire_lock(key, "b")
    for kind in (LockError, ValueError):
        with pytest.raises(kind) as caught:
            locks.release_lock(key, "a")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    locks.release_lock(key, "b")


def test_who_waits_gets_the_lock_when_it_is_released(locks: LockManager, key: str) -> None:
    locks.acquire_lock(key, "a")
    order: list[str] = []

    def second() -> None:
        assert locks.acquire_lock(key, "b")
        order.append("b has it")
        locks.release_lock(key, "b")

    thread = threading.Thread(target=second)
    thread.start()
    assert locks.wait_for_lock(key, timeout=0.05) is False
    order.append("a gives it back")
    locks.release_lock(key, "a")
    thread.join()
    assert order == ["a gives it back", "b has it"]
    assert locks.wait_for_lock(key) is True


def test_a_lock_whose_hold_timeout_has_passed_is_free(locks: LockManager, key: str) -> None:
    locks.acquire_lock(key, "a", hold_timeout=0.05)
    assert locks.wait_for_lock(key) is True
    assert not locks.is_lock_holder(key, "a")
    assert locks.acquire_lock(key, "b", hold_timeout=100)
    with pytest.raises(LockNotHeldError):
        locks.release_lock(key, "a")
    locks.release_lock(key, "b")


def test_who_waits_gets_a_lock_that_times_out(locks: LockManager, key: str) -> None:
    locks.acquire_lock(key, "a", hold_timeout=0.05)
    assert locks.acquire_lock(key, "b") is True
    locks.release_lock(key, "b")


def test_threads_take_turns(locks: LockManager, key: str) -> None:
    inside: list[str] = []
    most = 0

    def work(me: str) -> None:
        nonlocal most
        for _ in range(10):
            assert locks.acquire_lock(key, me)
            inside.append(me)
            most = max(most, len(inside))
            inside.remove(me)
            locks.release_lock(key, me)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_coroutines_take_turns_and_the_loop_goes_on(locks: LockManager, key: str) -> None:
    order: list[str] = []

    async def first() -> None:
        assert await locks.aacquire_lock(key, "a")
        for _ in range(5):
            await asyncio.sleep(0.001)
            order.append("a")
        locks.release_lock(key, "a")

    async def second() -> None:
        assert await locks.aacquire_lock(key, "b", acquire_timeout=0) is False
        assert await locks.await_for_lock(key, timeout=0) is False
        assert await locks.aacquire_lock(key, "b")
        order.append("b")
        locks.release_lock(key, "b")

    async def work() -> None:
        await asyncio.gather(first(), second())
        assert await locks.await_for_lock(key)

    asyncio.run(work())
    assert order == ["a"] * 5 + ["b"]


def test_managers_are_equal_where_they_share_their_locks(tmp_path: Path) -> None:
    assert MemoryLockManager() == MemoryLockManager()
    assert FileSystemLockManager(tmp_path) == FileSystemLockManager(lock_files_directory=str(tmp_path))
    assert FileSystemLockManager(tmp_path) != FileSystemLockManager(tmp_path / "x")
    assert len({MemoryLockManager(), MemoryLockManager(), FileSystemLockManager(tmp_path)}) == 2
    assert pickle.loads(pickle.dumps(FileSystemLockManager(tmp_path))) == FileSystemLockManager(tmp_path)


def test_all_memory_managers_of_a_process_share_their_locks(key: str) -> None:
    MemoryLockManager().acquire_lock(key, "a")
    assert MemoryLockManager().is_lock_holder(key, "a")
    MemoryLockManager().release_lock(key, "a")


# --- between processes


HOLD = """
import sys, time
from kept.locking.filesystem import FileSystemLockManager
locks = FileSystemLockManager(sys.argv[1])
assert locks.acquire_lock("key", "child", acquire_timeout=0)
print("held", flush=True)
sys.stdin.read()
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout and child.stdout.readline() == "held\n"
    return child


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    locks = FileSystemLockManager(tmp_path)
    child = holding(tmp_path)
    assert locks.is_lock_holder("key", "child")
    assert locks.acquire_lock("key", "me", acquire_timeout=0) is False
    child.send_signal(signal.SIGKILL)
    assert locks.acquire_lock("key", "me")
    assert locks.is_lock_holder("key", "me")
    child.communicate()


def test_of_those_who_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    child = holding(tmp_path)
    child.kill()
    child.communicate()
    script = """
import sys
from kept.locking.filesystem import FileSystemLockManager
got = FileSystemLockManager(sys.argv[1]).acquire_lock("key", sys.argv[2], acquire_timeout=0)
print(got, flush=True)
sys.stdin.read()
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    answers = [racer.stdout.readline() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate()
    assert sorted(answers) == ["False\n"] * 5 + ["True\n"]


def forge(folder: Path, **changes: Any) -> None:
    locks = FileSystemLockManager(folder)
    locks.acquire_lock("key", "other")
    path = folder / "key.lock"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_lock_of_another_machine_holds_whatever_its_process_id(tmp_path: Path) -> None:
    forge(tmp_path, host="elsewhere", boot="another", pid=2**22 + 1)
    assert FileSystemLockManager(tmp_path).is_locked("key")


def test_a_lock_of_another_machine_is_free_after_its_hold_timeout(tmp_path: Path) -> None:
    forge(tmp_path, host="elsewhere", expires=1.0)
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me", acquire_timeout=0)


def test_a_lock_of_an_earlier_boot_is_free(tmp_path: Path) -> None:
    forge(tmp_path, boot="an earlier one")
    assert not FileSystemLockManager(tmp_path).is_locked("key")


def test_a_lock_of_a_process_id_that_was_given_anew_is_free(tmp_path: Path) -> None:
    forge(tmp_path, started=1)
    assert not FileSystemLockManager(tmp_path).is_locked("key")


def test_a_lock_of_another_container_holds(tmp_path: Path) -> None:
    forge(tmp_path, space="pid:[1]", pid=2**22 + 1)
    assert FileSystemLockManager(tmp_path).is_locked("key")


def test_a_lock_file_that_makes_no_sense_is_free(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"holder": 1}', "null"):
        (tmp_path / "key.lock").write_text(content)
        assert not FileSystemLockManager(tmp_path).is_locked("key")
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me", acquire_timeout=0)


def test_a_program_with_spaces_and_parentheses_in_its_name_has_a_start_time() -> None:
    child = subprocess.Popen(
        ["sh", "-c", "printf 'a) (b' > /proc/self/comm; echo; exec 3<&0; read x"], stdin=-1, stdout=-1
    )
    assert child.stdout
    child.stdout.readline()
    assert (filesystem._started(child.pid) or 0) > 1
    child.communicate()
    assert filesystem._started(os.getpid())


def test_a_folder_that_cant_be_made_is_a_lock_error_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LockError, match="locks can't be kept in"):
        FileSystemLockManager(tmp_path / "file").acquire_lock("key", "me")


def test_lock_files_are_private(tmp_path: Path) -> None:
    locks = FileSystemLockManager(tmp_path / "locks")
    old = os.umask(0)
    try:
        locks.acquire_lock("key", "me")
    finally:
        os.umask(old)
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
