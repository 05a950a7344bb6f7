"""A local tier in front of a store that is far away, and what a process remembers of that."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import StoreError
from kept.filesystems import Listed
from kept.store import Entry, MemoryBlobs, MemoryEntries, Miss, ObjectBlobs, ObjectEntries, Store, opening
from kept.store.digests import digest_of
from kept.store.reach import Reach, ReachedBlobs
from kept.store.tier import TierBlobs, TierEntries
from kept.store.tiered import Link, Tier, TieredBlobs, tiered
from kept.testing import an_entry, check_blobs, check_entries
from tests.conftest import Lines
from tests.store.conftest import in_child

BIG = os.urandom(3_000_000)


class Far:
    """Files that are far away: what is asked of them is noted, and they can be taken away."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.trouble: dict[str, Exception] = {}

    def _note(self, verb: str, path: str) -> None:
        self.asked.append((verb, path))
        for each in (verb, "all"):
            if each in self.trouble:
                raise self.trouble[each]

    def read_path(self, path: str) -> bytes:
        self._note("read", path)
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self._note("write", path)
        self.files[path] = content

    def delete_path(self, path: str) -> None:
        self._note("delete", path)
        self.files.pop(path, None)

    def list_paths(self, prefix: str) -> list[str]:
        self._note("list", prefix)
        return [path for path in self.files if path.startswith(prefix)]

    def stat_path(self, path: str) -> Listed | None:
        self._note("size", path)
        return Listed(path, len(self.files[path]), time.time()) if path in self.files else None

    def upload_path(self, path: str, file: str) -> None:
        self._note("upload", path)
        self.files[path] = Path(file).read_bytes()

    def download_path(self, path: str, file: str) -> int:
        self._note("download", path)
        return Path(file).write_bytes(self.files[path])

    def verbs(self) -> list[str]:
        """What was asked since this was called last."""
        verbs = [verb for verb, _ in self.asked]
        self.asked.clear()
        return verbs


@pytest.fixture
def far() -> Far:
    return Far()


def store_of(far: Far) -> Store:
    entries, blobs = ObjectEntries(far, "entries/", verbatim=False), ObjectBlobs(far, "blobs/")
    return Store(entries, blobs, "s3://there", slow=True, address=f"there-{id(far)}")


def machine(far: Far, folder: Path, **options: Any) -> Any:
    """The far store as another machine, or process, with a tier in this folder sees it."""
    return tiered(store_of(far), Tier(folder, options.pop("size", 10**9), **options))


def a_view(found: memoryview | Miss) -> bytes:
    assert isinstance(found, memoryview), found
    return bytes(found)


# --- the contract


def test_tiered_stores_keep_the_contract(tmp_path: Path) -> None:
    count = itertools.count()

    def fresh() -> Store:
        far = Far()
        return tiered(store_of(far), Tier(tmp_path / str(next(count)), 10**9))

    check_entries(lambda: fresh().entries)
    check_blobs(lambda: fresh().blobs)


def test_a_tier_of_a_size_of_nothing_keeps_the_contract_too(tmp_path: Path) -> None:
    check_entries(lambda: tiered(store_of(Far()), Tier(tmp_path, 0)).entries)
    check_blobs(lambda: tiered(store_of(Far()), Tier(tmp_path, 0)).blobs)
    assert list(tmp_path.iterdir()) == []


def test_a_tier_stands_in_front_of_any_entries_and_blobs(tmp_path: Path) -> None:
    count = itertools.count()

    def near() -> Path:
        return tmp_path / str(next(count))

    def here() -> Store:
        return tiered(Store(MemoryEntries(), MemoryBlobs(), "the store", address="there"), Tier(near(), 10**8))

    check_entries(lambda: here().entries)
    check_blobs(lambda: here().blobs)


# --- hits


def test_a_cold_small_hit_is_one_read_and_a_warm_one_is_none(far: Far, tmp_path: Path) -> None:
    store_of(far).entries.put([an_entry()])
    far.verbs()
    here = machine(far, tmp_path)
    assert here.entries.near("key") is None
    assert here.entries.get("key") == an_entry()
    assert far.verbs() == ["read"]
    assert here.entries.near("key") == here.entries.get("key") == an_entry()
    assert far.verbs() == []


def test_a_cold_large_hit_is_one_download_and_a_warm_one_is_none(far: Far, tmp_path: Path) -> None:
    digest = store_of(far).blobs.put([BIG])
    far.verbs()
    here = machine(far, tmp_path)
    assert not here.blobs.is_near(digest)
    assert a_view(here.blobs.open(digest)) == BIG
    assert here.blobs.is_near(digest)
    assert a_view(here.blobs.open(digest)) == BIG
    assert far.verbs() == ["download"]


def test_what_was_put_here_is_a_hit_without_asking(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    assert far.verbs() == ["size", "upload", "write"]
    assert here.entries.near("key") == an_entry(payload=None, blob=digest)
    assert a_view(here.blobs.open(digest)) == BIG
    assert far.verbs() == []


def test_a_large_blob_that_is_there_already_is_not_sent_again(far: Far, tmp_path: Path) -> None:
    machine(far, tmp_path / "a").blobs.put([BIG])
    far.verbs()
    machine(far, tmp_path / "b").blobs.put([BIG])
    assert far.verbs() == ["size"]


def test_what_is_very_large_is_sent_while_it_is_copied(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    digest = here.blobs.put([BIG] * 6)
    assert far.verbs() == ["size", "write"]
    assert list(far.files.values()) == [BIG * 6]
    assert a_view(here.blobs.open(digest)) == BIG * 6
    assert far.verbs() == []
    assert machine(far, tmp_path / "b").blobs.put([BIG] * 6) == digest
    assert far.verbs() == ["size"]
    far.trouble["all"] = ConnectionResetError("gone")
    with pytest.raises(StoreError, match="gone"):
        here.blobs.put([BIG] * 7)


def test_a_value_that_changes_while_it_is_sent_and_copied_is_kept_as_it_was_copied(far: Far, tmp_path: Path) -> None:
    value = bytearray(BIG * 6)

    class Changed(TierBlobs):
        def put(self, chunks: Any) -> str:
            value[:4] = b"late"
            return super().put(chunks)

    link = Link(store_of(far), Tier(tmp_path, 10**9), Reach("the store"))
    here = TieredBlobs(Changed(tmp_path / "blobs", 10**9), ReachedBlobs(link.store.blobs, link.reach), link)
    digest = here.put([memoryview(value)])
    assert digest == digest_of([value], len(value))
    assert {path[-64:]: content for path, content in far.files.items()} == {digest[3:]: bytes(value)}


def test_threads_that_want_one_blob_fetch_it_once(far: Far, tmp_path: Path) -> None:
    digest = store_of(far).blobs.put([BIG])
    far.verbs()
    here = machine(far, tmp_path)
    threads = [threading.Thread(target=lambda: a_view(here.blobs.open(digest))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert far.verbs() == ["download"]


def test_stores_at_different_addresses_do_not_answer_for_each_other(tmp_path: Path) -> None:
    one, other = machine(Far(), tmp_path), machine(Far(), tmp_path)
    one.entries.put([an_entry()])
    assert isinstance(other.entries.get("key"), Miss)


# --- freshness


def test_what_is_replaced_or_deleted_elsewhere_is_seen_when_the_copy_is_no_longer_fresh(
    far: Far, tmp_path: Path
) -> None:
    here, late = machine(far, tmp_path, fresh_seconds=1000), machine(far, tmp_path, fresh_seconds=0)
    there = store_of(far).entries
    there.put([an_entry(payload=b"old")])
    assert here.entries.get("key") == an_entry(payload=b"old")
    there.put([an_entry(payload=b"new")])
    assert here.entries.get("key") == an_entry(payload=b"old")
    assert late.entries.near("key") is None
    assert late.entries.get("key") == here.entries.get("key") == an_entry(payload=b"new")
    there.delete(["key"])
    assert here.entries.get("key") == an_entry(payload=b"new")
    assert isinstance(late.entries.get("key"), Miss)
    assert isinstance(here.entries.get("key"), Miss)


def test_who_asks_afar_sees_what_is_there_now(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    here.entries.put([an_entry(payload=b"old")])
    store_of(far).entries.put([an_entry(payload=b"new")])
    assert here.entries.ask("key") == an_entry(payload=b"new")
    assert here.entries.near("key") == an_entry(payload=b"new")


def test_an_answer_from_before_a_put_does_not_take_the_place_of_what_was_put(far: Far, tmp_path: Path) -> None:
    machine(far, tmp_path / "elsewhere").entries.put([an_entry(payload=b"old")])
    here, read = machine(far, tmp_path), far.read_path

    def slowly(path: str) -> bytes:
        content = read(path)
        far.read_path = read  # type: ignore[method-assign]
        here.entries.put([an_entry(payload=b"new")])
        return content

    far.read_path = slowly  # type: ignore[method-assign]
    assert here.entries.ask("key") == an_entry(payload=b"old")
    assert here.entries.get("key") == an_entry(payload=b"new")


def test_of_an_expired_copy_the_far_store_is_asked(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    here.entries.put([an_entry(expires=1.0)])
    store_of(far).entries.put([an_entry(payload=b"renewed")])
    assert here.entries.get("key") == an_entry(payload=b"renewed")


def test_a_copy_of_later_than_now_is_not_fresh(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine(far, tmp_path)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)  # the clock was wrong when it was fetched
    here.entries.put([an_entry()])
    monkeypatch.undo()
    assert here.entries.near("key") is None


# --- a store that is away


def test_a_store_that_is_away_is_asked_once_and_said_once(far: Far, tmp_path: Path, log: Lines) -> None:
    here = machine(far, tmp_path)
    here.entries.put([an_entry("known")])
    late = machine(far, tmp_path, fresh_seconds=0)
    far.trouble["all"] = ConnectionRefusedError("nobody listens")
    far.verbs()
    for number in range(50):
        with pytest.raises(StoreError, match="nobody listens"):
            late.entries.get(f"k{number}")
        with pytest.raises(StoreError, match="not asked again before"):
            late.blobs.put([BIG])
        with pytest.raises(StoreError, match="not asked again before"):
            late.entries.put([an_entry()])
        with pytest.raises(StoreError, match="not asked again before"):
            late.entries.near("unknown")
        assert late.entries.near("known") == an_entry("known")
    assert far.verbs() == ["read"]
    assert not list(tmp_path.glob("blobs/*/b3-*")), "a blob was written that can't be sent"
    assert len(log.having("does not answer")) == 1
    assert len(log.having("Older copies")) == 1


def test_a_store_that_is_back_is_used_again_and_said_once(
    far: Far, tmp_path: Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(far, tmp_path)
    far.trouble["all"] = TimeoutError("too late")
    clock = float(int(time.monotonic()) + 1)  # whole, so that sums of halves are exact
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    pauses = []
    for _ in range(7):
        with pytest.raises(StoreError):
            here.entries.get("key")
        far.verbs()
        began = clock
        while not far.verbs():
            clock += 0.5
            with contextlib.suppress(StoreError):
                here.entries.get("key")
        pauses.append(clock - began)
        monkeypatch.setattr(time, "monotonic", lambda: clock)
    far.trouble.clear()
    clock += 100
    assert isinstance(here.entries.get("key"), Miss)
    here.entries.put([an_entry()])
    assert pauses == [2, 4, 8, 16, 30, 30, 30]
    assert len(log.having("does not answer")) == len(log.having("answers again")) == 1


def test_a_store_that_answers_others_is_not_away_because_one_was_not_answered_in_time(
    far: Far, tmp_path: Path, log: Lines
) -> None:
    here = machine(far, tmp_path)
    begun, slow = threading.Event(), threading.Event()

    def late(path: str) -> bytes:
        if path.endswith("slow"):
            begun.set()
            slow.wait()
            raise TimeoutError("too late")
        return b""

    far.read_path = late  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(here.entries.get, "slow")
        begun.wait()
        assert isinstance(here.entries.get("quick"), Miss)
        slow.set()
        assert isinstance(asked.exception(), StoreError)
    assert isinstance(here.entries.get("other"), Miss)
    assert not log.having("does not answer")


def test_many_threads_ask_a_store_some_at_a_time(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    asking: list[int] = []
    most = 0

    def count(path: str) -> bytes:
        nonlocal most
        asking.append(1)
        most = max(most, len(asking))
        time.sleep(0.01)
        asking.pop()
        return b""

    far.read_path = count  # type: ignore[method-assign]
    with ThreadPoolExecutor(150) as pool:
        assert all(isinstance(found, Miss) for found in pool.map(here.entries.get, map(str, range(300))))
    assert 1 < most <= 64


def test_an_error_that_is_an_answer_is_no_outage(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    far.trouble["all"] = ValueError("what is this?")
    for _ in range(3):
        with pytest.raises(StoreError, match="what is this"):
            here.entries.get("key")
    assert far.verbs() == ["read"] * 3


def test_a_forked_child_has_the_hits_of_the_tier(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path)
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    far.trouble["all"] = StoreError("not in a forked child")

    def work() -> None:
        assert here.entries.get("key") == an_entry(payload=None, blob=digest)
        assert a_view(here.blobs.open(digest)) == BIG
        with pytest.raises(StoreError, match="not in a forked child"):
            here.entries.get("unknown")

    in_child(work)


# --- a store that takes nothing


def test_what_a_store_refuses_is_kept_here_and_said_once(far: Far, tmp_path: Path, log: Lines) -> None:
    here = machine(far, tmp_path, fresh_seconds=0)
    store_of(far).entries.put([an_entry("theirs")])
    far.trouble |= {"write": PermissionError("read only"), "upload": PermissionError("read only")}
    far.verbs()
    for number in range(20):
        digest = here.blobs.put([BIG, b"%d" % number])
        here.entries.put([an_entry(f"k{number}", payload=None, blob=digest)])
    assert far.verbs() == ["size", "upload"] + ["size"] * 19
    assert here.entries.get("k7") == an_entry("k7", payload=None, blob=digest_of([BIG, b"7"], 0))
    assert here.entries.get("theirs") == an_entry("theirs")
    assert len(log.having("kept on this machine only")) == 1


def test_what_is_kept_here_only_gives_way_to_what_is_newer(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path, fresh_seconds=0)
    there = store_of(far).entries
    there.put([an_entry(payload=b"older")])
    far.trouble["write"] = PermissionError("read only")
    mine = an_entry(payload=b"mine")._replace(created=1_800_000_000.0)
    here.entries.put([mine])
    assert here.entries.get("key") == mine
    del far.trouble["write"]
    newer = an_entry(payload=b"newer")._replace(created=1_900_000_000.0)
    there.put([newer])
    assert here.entries.get("key") == newer


def test_nothing_is_written_to_a_store_that_is_read_only(far: Far, tmp_path: Path, log: Lines) -> None:
    here = tiered(store_of(far)._replace(read_only=True), Tier(tmp_path, 10**8, 0.0))
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    assert far.verbs() == []
    assert here.entries.get("key") == an_entry(payload=None, blob=digest)
    assert "kept on this machine only" in log


# --- blobs that are not what they should be


@pytest.mark.parametrize("content", [b"poison" + BIG[6:], BIG[:1_000_000], b""])
def test_a_blob_that_is_not_what_it_should_be_is_deleted_and_sent_anew(
    far: Far, tmp_path: Path, content: bytes
) -> None:
    digest = store_of(far).blobs.put([BIG])
    (path,) = far.files
    far.files[path] = content
    here = machine(far, tmp_path)
    found = here.blobs.open(digest)
    assert isinstance(found, Miss)
    assert "damaged" in found.reason and "deleted there" in found.reason
    assert path not in far.files
    assert not list(tmp_path.glob("blobs/*/b3-*"))
    here.blobs.put([BIG])
    assert far.files[path] == BIG


def test_a_poisoned_blob_that_can_not_be_deleted_is_overwritten(far: Far, tmp_path: Path) -> None:
    digest = store_of(far).blobs.put([BIG])
    (path,) = far.files
    far.files[path] = b"poison" + BIG[6:]
    far.trouble["delete"] = ValueError("not allowed")
    here = machine(far, tmp_path)
    found = here.blobs.open(digest)
    assert isinstance(found, Miss) and "can't be deleted" in found.reason
    here.blobs.put([BIG])
    assert far.files[path] == BIG


def test_a_download_that_breaks_off_leaves_nothing(far: Far, tmp_path: Path) -> None:
    digest = store_of(far).blobs.put([BIG])

    def broken(path: str, file: str) -> None:
        Path(file).write_bytes(BIG[:1000])
        raise ConnectionResetError("broke off")

    far.download_path = broken  # type: ignore[method-assign,assignment]
    here = machine(far, tmp_path)
    with pytest.raises(StoreError, match="broke off"):
        here.blobs.open(digest)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


# --- the bound


def test_blobs_that_were_not_used_for_longest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = TierBlobs(tmp_path / "blobs", 10_000_000)
    clock = time.time() - 1_000_000
    monkeypatch.setattr(time, "time", lambda: clock)
    monkeypatch.setattr(time, "time_ns", lambda: int(clock * 1e9))
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    digests = []
    for number in range(30):
        clock += 10_000
        digests.append(blobs.put([b"%d" % number, BIG[:1_000_000]]))
        if number >= 5:
            assert isinstance(blobs.open(digests[0]), memoryview), "what is used stays"
    left = [digest for digest in digests if blobs.has(digest)]
    assert left == [digests[0], *digests[-len(left) + 1 :]]
    assert 7 <= len(left) <= 10
    view = blobs.open(digests[-1])
    (tmp_path / "blobs").rename(tmp_path / "gone")
    assert a_view(view)[-10:] == BIG[999_990:1_000_000], "a map outlives its file"


def test_what_is_not_sent_yet_is_never_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = TierBlobs(tmp_path / "blobs", 5_000_000)
    entries = TierEntries(tmp_path / "entries.sqlite", "there", 2_000_000)
    clock = time.time() - 1_000_000
    monkeypatch.setattr(time, "time", lambda: clock)
    monkeypatch.setattr(time, "time_ns", lambda: int(clock * 1e9))
    first = blobs.put([BIG])
    blobs.hold(first, 7)
    entries.put([an_entry("unsent", payload=b"x" * 30_000)], 2)
    for number in range(200):
        clock += 10
        blobs.put([b"%d" % number, BIG[:1_000_000]])
        entries.put([an_entry(f"k{number}", payload=b"x" * 30_000)])
    assert blobs.has(first)
    assert entries.find("unsent", clock) is not None
    assert sum(size for _, size in blobs.scan()) <= 6_000_000
    assert entries.find("k199", clock) is not None and entries.find("k0", clock) is None
    assert (tmp_path / "entries.sqlite").stat().st_size <= 3_000_000


def test_on_a_network_disk_there_is_no_tier_which_is_said(
    far: Far, tmp_path: Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "file_system_type", lambda path: "nfs4")
    here = machine(far, tmp_path / "tier")
    here.entries.put([an_entry()])
    assert here.entries.get("key") == an_entry()
    assert not (tmp_path / "tier").exists()
    assert log.having("no local tier", "network disk", "KEPT_RESULTS_LOCAL_TIER_PATH")


def test_a_full_disk_costs_the_tier_and_not_the_result(far: Far, small_disk: Path, log: Lines) -> None:
    here = machine(far, small_disk / "tier")
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    assert a_view(here.blobs.open(digest)) == BIG
    assert here.entries.get("key") == an_entry(payload=None, blob=digest)
    assert "read into memory" in log


# --- write-behind


def test_what_is_put_is_sent_behind_and_flush_waits_for_it(far: Far, tmp_path: Path) -> None:
    gate = threading.Event()
    upload = far.upload_path
    far.upload_path = lambda path, file: (gate.wait(), upload(path, file))[1]  # type: ignore[method-assign,misc]
    here = machine(far, tmp_path, write_behind=True)
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    assert far.files == {}, "an entry was sent before its blob"
    assert here.entries.near("key") == an_entry(payload=None, blob=digest)
    gate.set()
    assert here.entries.flush() == 0
    assert [path.split("/")[0] for path in far.files] == ["blobs", "entries"]
    elsewhere = machine(far, tmp_path / "elsewhere")
    assert elsewhere.entries.get("key") == an_entry(payload=None, blob=digest)
    assert not list(tmp_path.glob("unsent/*/*"))


def test_what_can_not_be_sent_is_counted_kept_and_sent_by_the_next_process(
    far: Far, tmp_path: Path, log: Lines
) -> None:
    here = machine(far, tmp_path, write_behind=True)
    far.trouble["all"] = ConnectionResetError("gone")
    for number in range(3):
        digest = here.blobs.put([BIG, b"%d" % number])
        here.entries.put([an_entry(f"k{number}", payload=None, blob=digest)])
    assert here.entries.flush() == 3
    assert log.having("3 results were not sent to s3://there", "gone")
    assert far.files == {}
    far.trouble.clear()
    afterwards = machine(far, tmp_path, write_behind=True, fresh_seconds=1)
    assert afterwards.entries.get("k1") == an_entry("k1", payload=None, blob=digest_of([BIG, b"1"], 0))
    assert afterwards.entries.flush() == 0
    assert sorted(path.split("/")[0] for path in far.files) == ["blobs"] * 3 + ["entries"] * 3


def test_what_was_kept_together_and_left_behind_is_seen_together(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path, write_behind=True)
    far.trouble["write"] = ConnectionResetError("gone")
    here.entries.put([an_entry(f"k{number}") for number in range(3)])
    assert here.entries.flush() == 3
    far.trouble.clear()
    left, write = iter(range(2)), far.write_path

    def some(path: str, content: bytes) -> None:
        if next(left, None) is None:
            raise ConnectionResetError("gone again")
        write(path, content)

    far.write_path = some  # type: ignore[method-assign]
    assert machine(far, tmp_path, write_behind=True, fresh_seconds=3).entries.flush() == 3
    assert not any(isinstance(store_of(far).entries.get(f"k{number}"), Entry) for number in range(3))


def test_what_was_left_behind_does_not_replace_what_is_newer(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path, write_behind=True)
    far.trouble["write"] = ConnectionResetError("gone")
    here.entries.put([an_entry(payload=b"left")])
    assert here.entries.flush() == 1
    far.trouble.clear()
    newer = an_entry(payload=b"newer")._replace(created=1_900_000_000.0)
    store_of(far).entries.put([newer])
    assert machine(far, tmp_path, write_behind=True, fresh_seconds=2).entries.flush() == 0
    assert store_of(far).entries.get("key") == newer
    assert here.entries.near("key") == newer


def test_what_is_deleted_before_it_is_sent_is_not_sent(far: Far, tmp_path: Path) -> None:
    gate = threading.Event()
    write = far.write_path
    far.write_path = lambda path, content: (gate.wait(), write(path, content))[1]  # type: ignore[method-assign,misc]
    here = machine(far, tmp_path, write_behind=True)
    here.entries.put([an_entry(f"k{number}") for number in range(3)])
    for number in range(20):
        here.entries.put([an_entry(f"later{number}")])
    here.entries.delete([f"later{number}" for number in range(20)])
    gate.set()
    here.entries.flush()
    assert len(far.files) < 20


def test_a_store_that_refuses_what_is_sent_behind_is_told_and_the_results_stay(far: Far, tmp_path: Path) -> None:
    here = machine(far, tmp_path, write_behind=True, fresh_seconds=0)
    far.trouble |= {"write": PermissionError("read only"), "upload": PermissionError("read only")}
    digest = here.blobs.put([BIG])
    here.entries.put([an_entry(payload=None, blob=digest)])
    assert here.entries.flush() == 1
    assert here.entries.get("key") == an_entry(payload=None, blob=digest)
    assert not list(tmp_path.glob("unsent/*/*"))
