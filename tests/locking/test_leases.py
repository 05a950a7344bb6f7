from __future__ import annotations

import json
import pickle
import threading
import time
from typing import Any

import pytest

from kept.exceptions import LockError, LockNotHeldError
from kept.locking.heartbeat import keep_alive, let_go
from kept.locking.leases import Lease, Watch, is_over, watched
from kept.locking.objects import ObjectLockManager
from kept.locking.processes import this_process
from kept.store.addresses import Address
from kept.store.bucket import Bucket, bucket_at
from kept.testing import check_lock_manager
from tests.locking.files import TaggedFiles
from tests.servers.moto import Moto
from tests.servers.s3 import S3

PATH = "locks/key.lock"
ELSEWHERE = {"host": "elsewhere", "boot": "b", "space": "s", "pid": 1, "started": 1}


def forge(files: TaggedFiles, **changes: Any) -> None:
    ObjectLockManager(files).acquire_lock("key", "other")
    let_go((ObjectLockManager(files), "key"))
    files.contents[PATH] = json.dumps({**json.loads(files.contents[PATH]), **changes}).encode()


def record(files: TaggedFiles) -> dict[str, Any]:
    return dict(json.loads(files.contents[PATH]))


def test_a_lease_is_judged_by_what_was_watched_and_by_no_clock_of_another_machine() -> None:
    lease = Lease("other", "t", 1, 5, lease=10, until=0.0, process=ELSEWHERE)
    watch = watched(lease, None, now=100)
    assert watch == Watch("t", 5, 100, 100)
    assert not is_over(lease, watch, now=109)
    assert is_over(lease, watch, now=110)
    beaten = watched(lease._replace(beat=6), watch, now=109)
    assert not is_over(lease, beaten, now=118) and is_over(lease, beaten, now=119)
    assert is_over(lease._replace(hold=9), beaten, now=109), "a hold timeout counts from when it was first seen"
    assert watched(lease._replace(token="u"), beaten, now=130) == Watch("u", 5, 130, 130)


def test_who_is_at_work_on_this_machine_holds_its_lock_though_its_heartbeat_is_held_up() -> None:
    lease = Lease("other", "t", 1, 5, lease=10, process=this_process())
    assert not is_over(lease, watched(lease, None, now=0), now=1e9)


def test_a_lease_that_nobody_renews_is_taken_over_with_a_larger_number() -> None:
    files = TaggedFiles()
    forge(files, host="elsewhere", lease=0.05, fence=2**60)
    locks = ObjectLockManager(files)
    assert locks.acquire_lock("key", "me", acquire_timeout=0) is False
    assert locks.acquire_lock("key", "me")
    assert (record(files)["holder"], locks.fence_of("key")) == ("me", 2**60 + 1)
    locks.release_lock("key", "me")
    assert locks.acquire_lock("key", "me") and locks.fence_of("key") > 2**60 + 1


def test_looks_that_are_far_apart_count_together() -> None:
    files = TaggedFiles()
    forge(files, host="elsewhere", lease=0.05)
    locks = ObjectLockManager(files)
    while locks.is_locked("key"):
        time.sleep(0.001)
    assert locks.acquire_lock("key", "me", acquire_timeout=0)


def test_a_lease_is_renewed_as_long_as_it_is_held() -> None:
    files = TaggedFiles()
    locks = ObjectLockManager(files, lease_seconds=0.06)
    locks.acquire_lock("key", "me")
    while record(files)["beat"] < 3:
        time.sleep(0.001)
    locks.release_lock("key", "me")
    assert record(files)["holder"] is None


def test_a_hold_timeout_is_kept_by_the_holder_itself() -> None:
    files = TaggedFiles()
    locks = ObjectLockManager(files, lease_seconds=0.03)
    locks.acquire_lock("key", "me", hold_timeout=0.05)
    while record(files)["holder"] is not None:
        time.sleep(0.001)
    assert not locks.is_lock_holder("key", "me")


def test_who_was_taken_over_neither_holds_nor_renews_nor_releases_the_lock_of_its_successor() -> None:
    files = TaggedFiles()
    locks = ObjectLockManager(files, lease_seconds=0.03)
    locks.acquire_lock("key", "me")
    successor = json.dumps({**record(files), "token": "successor", "beat": 0}).encode()
    let_go((locks, "key"))  # as if the process were stopped
    files.contents[PATH] = successor  # even under the same name
    assert not locks.is_lock_holder("key", "me")
    assert not locks._beat("key", "stale")
    with pytest.raises(LockNotHeldError):
        locks.release_lock("key", "me")
    assert files.contents[PATH] == successor


def test_a_lock_whose_reply_was_lost_is_known_as_ones_own() -> None:
    files = TaggedFiles()
    files.lose_replies = True
    locks = ObjectLockManager(files)
    assert locks.acquire_lock("key", "me", acquire_timeout=0), "created"
    locks.release_lock("key", "me")
    assert locks.acquire_lock("key", "me"), "replaced"
    files.lose_replies = False
    locks.release_lock("key", "me")
    assert not locks.is_locked("key")


def test_a_server_that_is_down_is_a_lock_error_with_a_sentence() -> None:
    files = TaggedFiles()
    files.down = True
    with pytest.raises(LockError, match="the lock on 'key' can't be written: the server does not answer"):
        ObjectLockManager(files).acquire_lock("key", "me")


def test_who_waits_gives_a_server_that_goes_away_time_to_come_back() -> None:
    files = TaggedFiles()
    locks = ObjectLockManager(files, lease_seconds=0.3)
    locks.acquire_lock("key", "a")
    answers: list[Any] = []

    def wait() -> None:
        try:
            answers.append(ObjectLockManager(files, lease_seconds=60).acquire_lock("key", "b"))
        except LockError as error:
            answers.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    before = files.asked
    while files.asked < before + 3:
        time.sleep(0.001)
    files.down = True
    before = files.asked
    while files.asked < before + 3:
        time.sleep(0.001)
    files.down = False
    locks.release_lock("key", "a")
    waiting.join()
    assert answers == [True]


def test_beats_that_fall_due_together_are_given_side_by_side() -> None:
    together = threading.Barrier(3)

    def beat() -> bool:
        together.wait(30)
        return False

    for name in range(3):
        keep_alive(("side", name), 0.05, beat)
    together_again = threading.Event()
    keep_alive(("side", "last"), 0.2, lambda: together_again.set() or False)
    assert together_again.wait(30)
    assert not together.broken


def test_what_is_let_go_is_not_renewed_any_more() -> None:
    beats: list[int] = []
    other = threading.Event()
    keep_alive(("let go", 1), 0.03, lambda: not beats.append(1))
    let_go(("let go", 1))
    keep_alive(("let go", 2), 0.06, lambda: other.set() or False)
    assert other.wait(30) and beats == []


def bucket_of(server: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return bucket_at(Address.of(f"s3://{server.bucket()}/x"))


def test_leases_on_an_s3_server_keep_the_contract(quick_s3: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = bucket_of(quick_s3, monkeypatch)
    check_lock_manager(ObjectLockManager(bucket))
    assert pickle.loads(pickle.dumps(ObjectLockManager(bucket))) == ObjectLockManager(bucket)


def test_a_bucket_that_is_gone_is_a_lock_error(quick_s3: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = bucket_of(quick_s3, monkeypatch)
    quick_s3.drop(bucket.address.bucket)
    with pytest.raises(LockError, match="the lock on 'key' can't be written"):
        ObjectLockManager(bucket).acquire_lock("key", "me")
    with pytest.raises(LockError, match="the lock on 'key' can't be read"):
        ObjectLockManager(bucket).is_locked("key")


def test_a_beat_that_raises_whatever_it_is_does_not_end_the_others() -> None:
    more = threading.Event()
    beats: list[int] = []

    def beat() -> bool:
        beats.append(1)
        if len(beats) > 2:
            more.set()
        raise ValueError("not what locks raise")

    keep_alive(("raises", 1), 0.02, beat)
    other = threading.Event()
    keep_alive(("raises", 2), 0.1, lambda: other.set() or False)  # type: ignore[func-returns-value]
    assert more.wait(10) and other.wait(10)
    let_go(("raises", 1))


def test_a_beat_that_hangs_does_not_hold_up_others() -> None:
    over, other = threading.Event(), threading.Event()
    keep_alive(("hangs", 1), 0.02, lambda: over.wait(30) and False)
    time.sleep(0.1)
    keep_alive(("hangs", 2), 0.02, lambda: other.set() or False)  # type: ignore[func-returns-value]
    assert other.wait(10)
    over.set()
