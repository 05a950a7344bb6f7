from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import redis

from kept.exceptions import ConfigurationError, LockError, LockNotHeldError
from kept.locking.heartbeat import let_go
from kept.testing import check_lock_manager
from kept_redis import RedisLockManager
from tests.servers.redis import RedisServer


@pytest.fixture
def locks(redis_server: RedisServer) -> RedisLockManager:
    return RedisLockManager(port=redis_server.port)


@pytest.fixture
def key() -> str:
    return f"key-{os.urandom(4).hex()}"


HOLD = """
import sys
from kept_redis import RedisLockManager
locks = RedisLockManager.from_url(sys.argv[1])
assert locks.acquire_lock(sys.argv[2], "child", acquire_timeout=0)
print("held", flush=True)
sys.stdin.read()
print(locks.is_lock_holder(sys.argv[2], "child"))
"""


def holding(url: str, key: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, url, key], stdin=-1, stdout=-1, text=True)
    assert child.stdout and child.stdout.readline() == "held\n"
    return child


def test_it_keeps_the_contract_of_lock_managers(locks: RedisLockManager) -> None:
    check_lock_manager(locks)


def test_managers_of_one_server_are_equal_travel_and_show_no_password(redis_server: RedisServer) -> None:
    locks = RedisLockManager("127.0.0.1", redis_server.port, 1, password="secret")
    assert locks == pickle.loads(pickle.dumps(locks)) and hash(locks) == hash(pickle.loads(pickle.dumps(locks)))
    assert locks != RedisLockManager("127.0.0.1", redis_server.port, 2, password="secret")
    assert repr(locks) == f"RedisLockManager(127.0.0.1:{redis_server.port})"
    url = f"redis://:secret@127.0.0.1:{redis_server.port}/1"
    assert repr(RedisLockManager.from_url(url)) == repr(RedisLockManager(connection_url=url)) == repr(locks)


def test_a_killed_holder_blocks_nobody_for_longer_than_its_lease(
    redis_server: RedisServer, locks: RedisLockManager, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_LOCKING_LEASE_SECONDS", "0.4")
    child = holding(redis_server.url, key)
    child.kill()
    child.communicate()
    assert locks.acquire_lock(key, "me", acquire_timeout=30)
    assert locks.is_lock_holder(key, "me")
    locks.release_lock(key, "me")


def test_a_stopped_holder_loses_its_lock_and_knows_it_when_it_goes_on(
    redis_server: RedisServer, locks: RedisLockManager, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_LOCKING_LEASE_SECONDS", "0.4")
    child = holding(redis_server.url, key)
    child.send_signal(signal.SIGSTOP)
    assert locks.acquire_lock(key, "me", acquire_timeout=30)
    child.send_signal(signal.SIGCONT)
    assert child.communicate()[0] == "False\n"
    assert locks.is_lock_holder(key, "me")
    locks.release_lock(key, "me")


def test_a_stopped_holder_does_not_take_a_key_back_that_was_free_again_when_it_went_on(
    redis_server: RedisServer, locks: RedisLockManager, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_LOCKING_LEASE_SECONDS", "0.4")
    child = holding(redis_server.url, key)
    child.send_signal(signal.SIGSTOP)
    assert locks.acquire_lock(key, "me", acquire_timeout=30)
    locks.release_lock(key, "me")
    child.send_signal(signal.SIGCONT)
    assert child.communicate()[0] == "False\n"


def test_a_lock_is_renewed_as_long_as_it_is_held(redis_server: RedisServer, key: str) -> None:
    locks = RedisLockManager(port=redis_server.port, lease_seconds=0.3)
    locks.acquire_lock(key, "me")
    assert locks.wait_for_lock(key, timeout=1) is False
    assert locks.client.pttl(f"kept:{{{key}}}:lock") > 0
    locks.release_lock(key, "me")


def test_the_number_of_an_acquisition_grows_also_when_the_server_has_lost_everything(
    locks: RedisLockManager, key: str
) -> None:
    numbers = []
    for flush in (False, False, True, False):
        if flush:
            locks.client.flushall()
        locks.acquire_lock(key, "me")
        numbers.append(locks.fence_of(key))
        locks.release_lock(key, "me")
    assert numbers == sorted(set(numbers))


def test_a_lock_outlives_a_server_that_lost_everything_unless_somebody_had_it_since(
    locks: RedisLockManager, key: str
) -> None:
    locks.acquire_lock(key, "me")
    locks.client.flushall()
    assert locks.is_lock_holder(key, "me")
    let_go((locks, key))
    locks.client.flushall()
    other = RedisLockManager.from_url(f"redis://localhost:{locks.port}")
    assert other.acquire_lock(key, "other", acquire_timeout=0)
    other.release_lock(key, "other")
    assert not locks.is_lock_holder(key, "me")
    with pytest.raises(LockNotHeldError):
        locks.release_lock(key, "me")


def test_who_waits_is_told(redis_server: RedisServer, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kept_redis.locking._LOOK_AGAIN", 1e6)  # nobody looks again but when told
    locks = RedisLockManager(port=redis_server.port, lease_seconds=1e5)
    locks.acquire_lock(key, "a")
    taken: list[Any] = []

    def wait() -> None:
        taken.append(locks.acquire_lock(key, "b"))
        locks.release_lock(key, "b")

    async def await_() -> None:
        taken.append(await locks.aacquire_lock(key, "c"))
        locks.release_lock(key, "c")

    waiting = [threading.Thread(target=wait), threading.Thread(target=lambda: asyncio.run(await_()))]
    for thread in waiting:
        thread.start()
    while sum(count for _, count in locks.client.pubsub_numsub(f"kept:{{{key}}}:free")) < 2:
        pass
    locks.release_lock(key, "a")
    for thread in waiting:
        thread.join(60)
    assert taken == [True, True]


def test_a_server_that_is_not_there_is_a_lock_error_with_a_sentence_and_without_the_password() -> None:
    locks = RedisLockManager(port=1, password="secret")
    with pytest.raises(LockError, match="can't be had from Redis at localhost:1: .* KEPT_LOCKING_REDIS_URL") as caught:
        locks.acquire_lock("key", "me")
    assert "secret" not in str(caught.value)


def test_a_wrong_address_is_said_without_the_password() -> None:
    for url in ("http://:secret@host", "redis://:sec#ret@host:secret/0", "redis+sentinel://secret@a:1/master"):
        with pytest.raises(ConfigurationError, match="write redis://user") as caught:
            RedisLockManager.from_url(url)
        assert "sec" not in str(caught.value)


def test_a_server_that_comes_back_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, key: str
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        locks = RedisLockManager.from_url(server.url, lease_seconds=60)
        locks.acquire_lock(key, "a")
        taken: list[Any] = []
        waiting = threading.Thread(target=lambda: taken.append(locks.acquire_lock(key, "b")))
        waiting.start()
        while not locks.client.pubsub_channels():
            pass
        server.kill()
        server.start()
        assert locks.is_lock_holder(key, "a") or taken
        if not taken:
            locks.release_lock(key, "a")
        waiting.join(60)
        assert taken == [True]
    finally:
        server.kill()


def test_the_number_of_script_calls_is_one_to_take_and_one_to_give_back(locks: RedisLockManager, key: str) -> None:
    def calls() -> int:
        stats: Any = redis.Redis(port=locks.port).info("commandstats")
        return sum(stats[name]["calls"] for name in stats if "eval" in name)

    locks.acquire_lock(key, "me")
    locks.release_lock(key, "me")
    before = calls()
    locks.acquire_lock(key, "me")
    locks.release_lock(key, "me")
    assert calls() == before + 2
