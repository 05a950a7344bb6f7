"""Collecting what was left, and nothing else."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import StoreError
from kept.filesystems import Listed
from kept.store import MemoryEntries, Miss, ObjectBlobs, ObjectEntries, Store, open_store
from kept.store.format import parsed
from kept.store.upkeep import DAY, Collected, collect
from kept.testing import an_entry
from tests.store.test_contracts import DictFileSystem
from tests.store.test_publishing import KEYS, ConditionalFiles, Files, Fuse, Killed, Wrapped, seen, versions


class Aging:
    """Gives files a clock that the test sets."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, float] = {}
        self.files = _Timed(self)

    def list_files(self, prefix: str) -> list[Listed]:
        return [found for path in list(self.files) if path.startswith(prefix) and (found := self.stat_path(path))]

    def stat_path(self, path: str) -> Listed | None:
        return Listed(path, len(self.files[path]), self.times[path]) if path in self.files else None


class _Timed(dict[str, bytes]):
    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __setitem__(self, path: str, content: bytes) -> None:
        super().__setitem__(path, content)
        self.owner.times[path] = self.owner.now

    def setdefault(self, path: str, content: bytes = b"") -> bytes:
        if path not in self:
            self[path] = content
        return self[path]


class AgingFiles(Aging, Files):
    """A user's file system that tells ages."""


class AgingObjects(Aging, ConditionalFiles):
    """An object store."""


BOTH = [AgingFiles, AgingObjects]


def store_on(files: Any) -> Store:
    return Store(ObjectEntries(files), ObjectBlobs(files), "a store")


@pytest.mark.parametrize("kind", BOTH)
def test_whoever_was_killed_where_a_collection_changes_nothing_that_is_seen_and_leaves_nothing(kind: Any) -> None:
    for number in range(1, 30):
        files = kind()
        store = store_on(files)
        ObjectEntries(files).put(versions("old", KEYS[:1]))
        ObjectEntries(files).put(versions("old", KEYS[1:2]))
        try:
            ObjectEntries(Wrapped(files, Fuse(number, Killed))).put(versions("new"))
        except Killed:
            pass
        before = seen(files)
        marked = sum(bool(parsed(content).txn) for content in files.files.values())
        files.now = DAY / 2
        collect(store)
        assert sum(bool(parsed(content).txn) for content in files.files.values()) == marked
        files.now = DAY + 2
        would = collect(store, dry_run=True)
        assert sum(bool(parsed(content).txn) for content in files.files.values()) == marked
        done = collect(store)
        assert (done.marks, done.manifests) == (would.marks, would.manifests)
        assert done.marks == marked
        assert seen(files) == before
        assert all(not parsed(content).txn for content in files.files.values())
        assert set(files.files) <= set(KEYS)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("seed", range(30))
def test_after_many_kills_one_collection_is_enough(kind: Any, seed: int) -> None:
    files, chance = kind(), random.Random(seed)
    for turn in range(6):
        keys = tuple(chance.sample(KEYS, 3))
        try:
            fuse = Fuse(chance.randrange(1, 14), Killed)
            ObjectEntries(Wrapped(files, fuse)).put(versions(f"v{turn}", keys))
        except Killed:
            pass
    before = seen(files)
    files.now = DAY + 2
    collect(store_on(files))
    assert seen(files) == before
    assert set(files.files) <= set(KEYS)


def test_a_blob_goes_when_no_entry_points_to_it_and_it_is_a_day_old(tmp_path: Path) -> None:
    files = AgingObjects()
    store = store_on(files)
    kept, lost, again = (store.blobs.put([name]) for name in (b"kept", b"lost", b"again"))
    store.entries.put([an_entry("k", payload=None, blob=kept)])
    files.now = DAY - 1
    assert collect(store) == Collected()
    store.blobs.put([b"again"])
    files.now = DAY + 2
    young = store.blobs.put([b"young"])
    assert collect(store) == Collected(blobs=1, blob_bytes=4)
    assert {digest for digest, _ in store.blobs.scan()} == {kept, again, young}
    assert lost not in dict(store.blobs.scan())


def test_a_blob_that_only_an_entry_points_to_which_is_not_visible_yet_stays() -> None:
    files = AgingObjects()
    store = store_on(files)
    blobs = [store.blobs.put([name]) for name in (b"one", b"two")]
    files.now = DAY
    with pytest.raises(Killed):
        entries = [an_entry(f"k{n}", payload=None, blob=blob) for n, blob in enumerate(blobs)]
        ObjectEntries(Wrapped(files, Fuse(3, Killed))).put(entries)
    files.now = DAY + 2
    assert collect(store).blobs == 0


def test_blobs_whose_entries_are_elsewhere_stay() -> None:
    files, elsewhere = AgingObjects(), MemoryEntries()
    store = store_on(files)
    elsewhere.put([an_entry("k", payload=None, blob=store.blobs.put([b"x"]))])
    store.blobs.put([b"lost"])
    files.now = DAY + 2
    assert "no entry points to any: if entries are kept elsewhere" in collect(store).kept_blobs
    assert collect(store, entries=[elsewhere]).blobs == 1
    assert len(list(store.blobs.scan())) == 1


def test_locks_on_an_object_store_that_nobody_touched_go() -> None:
    files = AgingObjects()
    files.create_path("locks/old", b"free")
    files.now = DAY + 2
    files.create_path("locks/new", b"held")
    assert collect(store_on(files)).locks == 1
    assert set(files.files) == {"locks/new"}


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_a_folder_is_collected(tmp_path: Path, layout: str) -> None:
    store = open_store(tmp_path / "s", layout)
    kept, lost = store.blobs.put([b"kept" * 100_000]), store.blobs.put([b"lost"])
    store.entries.put([an_entry("k", payload=None, blob=kept)])
    assert collect(store) == Collected()
    time.sleep(0.02)
    assert collect(store, 0.01).blobs == 1
    assert dict(store.blobs.scan()) == {kept: 400_000}
    assert isinstance(store.blobs.open(lost), Miss)


def test_files_that_a_killed_process_was_writing_go(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s", "directory")
    store.entries.put([an_entry("k")])
    (left,) = (tmp_path / "s" / "entries").glob("*")
    left = left / ".name.0123.kept-tmp"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert collect(store).files == 1
    assert not left.exists()
    assert [entry.key for entry in store.entries.scan()] == ["k"]


def test_a_file_system_that_tells_no_ages_is_not_collected() -> None:
    with pytest.raises(StoreError, match=r"list_files\(prefix\)"):
        collect(store_on(DictFileSystem()))
