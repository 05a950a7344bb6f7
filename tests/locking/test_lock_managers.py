from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import LockError, LockNotHeldError
from kept.locking import processes
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.locking.objects import ObjectLockManager
from kept.locking.protocol import LockManager
from kept.testing import check_lock_manager
from tests.locking.files import TaggedFiles


@pytest.fixture(params=["memory", "filesystem", "objects"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return MemoryLockManager()
    if request.param == "filesystem":
        return FileSystemLockManager(tmp_path / "locks")
    return ObjectLockManager(TaggedFiles())


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return request.node.name  # locks in memory outlive a test


def test_a_lock_manager_keeps_the_contract(locks: LockManager) -> None:
    check_lock_manager(locks)


def test_an_error_about_a_lock_travels(locks: LockManager, key: str) -> None:
    with pytest.raises(LockNotHeldError, match=f"'a' can't release the lock on {key!r}".replace("[", r"\[")) as caught:
        locks.release_lock(key, "a")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


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


def holding(folder: Path, script: str = HOLD) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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


def test_a_stopped_holder_loses_its_lock_and_knows_it_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_LOCKING_LEASE_SECONDS", "0.2")
    script = HOLD + "print(locks.is_lock_holder('key', 'child'), flush=True)"
    child = holding(tmp_path, script)
    child.send_signal(signal.SIGSTOP)
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me")
    child.send_signal(signal.SIGCONT)
    assert child.communicate()[0] == "False\n"
    assert FileSystemLockManager(tmp_path).is_lock_holder("key", "me")


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
    forge(tmp_path, host="elsewhere", hold=0.05, lease=1e6)
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me")


def test_a_lock_of_another_machine_is_free_once_it_has_given_no_sign_of_life_for_the_time_of_its_lease(
    tmp_path: Path,
) -> None:
    forge(tmp_path, host="elsewhere", lease=0.05)
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me")


def test_locks_of_other_machines_hold_whatever_their_clocks_say(tmp_path: Path) -> None:
    forge(tmp_path, host="elsewhere", until=0.0, hold=600.0, fence=0)
    assert FileSystemLockManager(tmp_path).acquire_lock("key", "me", acquire_timeout=0) is False


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
    assert (processes._started(child.pid) or 0) > 1
    child.communicate()
    assert processes._started(os.getpid())


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
