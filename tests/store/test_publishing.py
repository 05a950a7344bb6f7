"""Entries that are put together on files and object stores: no reader ever sees half, whoever is killed when."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kept.exceptions import LockLostError, StoreError, StoreUnsupported
from kept.filesystems import LocalFileSystem
from kept.storage import store_in
from kept.store import Entry, Miss, ObjectEntries
from kept.store.format import parsed
from kept.store.objects import put_over
from kept.store.upkeep import collect
from kept.testing import an_entry, check_entries
from tests.servers.s3 import S3
from tests.store.test_bucket import bucket_of
from tests.store.test_contracts import DictFileSystem

KEYS = ("a", "b", "c", "d")


class Files:
    """A dict with the verbs of a user's file system that can delete."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def read_path(self, path: str) -> bytes:
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.files[path] = content

    def delete_path(self, path: str) -> None:
        self.files.pop(path, None)

    def list_paths(self, prefix: str) -> list[str]:
        return [path for path in self.files if path.startswith(prefix)]


class ConditionalFiles(Files):
    """The same with the verbs of an object store."""

    def tagged_path(self, path: str) -> tuple[bytes, str]:
        return self.files[path], str(hash(self.files[path]))

    def create_path(self, path: str, content: bytes) -> bool:
        with self.lock:
            return self.files.setdefault(path, content) == content

    def replace_path(self, path: str, content: bytes, tag: str) -> bool:
        with self.lock:
            if path not in self.files or str(hash(self.files[path])) != tag:
                return False
            self.files[path] = content
            return True


class UnconditionalFiles(ConditionalFiles):
    """An object store whose server has no conditional writes."""

    def create_path(self, path: str, content: bytes) -> bool:
        raise StoreUnsupported("no conditional writes here")

    def replace_path(self, path: str, content: bytes, tag: str) -> bool:
        raise StoreUnsupported("no conditional writes here")


class Wrapped:
    """Files of which each verb asks `before` first, and `after` when it is done."""

    def __init__(self, files: Files, before: Callable[[], None], after: Callable[[], None] = lambda: None) -> None:
        self.files, self.before, self.after = files, before, after

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.files, name)

        def wrapped(*arguments: Any) -> Any:
            self.before()
            try:
                return verb(*arguments)
            finally:
                self.after()

        return wrapped


class Killed(BaseException):
    """The process is no more."""


class Fuse:
    """Raises at the call of this number, and at all after it if it is a kill."""

    def __init__(self, number: int, error: type[BaseException]) -> None:
        self.left, self.error = number, error

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.error is Killed):
            raise self.error


ALL_FILES = [Files, ConditionalFiles, UnconditionalFiles]


def versions(name: str, keys: tuple[str, ...] = KEYS) -> list[Entry]:
    return [an_entry(key, payload=name.encode()) for key in keys]


def seen(files: Any, keys: tuple[str, ...] = KEYS) -> list[str]:
    """What a reader finds at each key: the version, or "" for none."""
    found = (ObjectEntries(files).get(key) for key in keys)
    return ["" if isinstance(entry, Miss) else (entry.payload or b"").decode() for entry in found]


def visible(entries: ObjectEntries) -> list[str]:
    """As `seen`, of entries."""
    return ["" if isinstance(entry := entries.get(key), Miss) else (entry.payload or b"").decode() for key in KEYS]


def with_old(kind: type[Files]) -> tuple[Files, list[str]]:
    """Files with an earlier version at two of the keys."""
    files = kind()
    for entry in versions("old", KEYS[:2]):
        ObjectEntries(files).put([entry])
    return files, ["old", "old", "", ""]


@pytest.mark.parametrize("kind", ALL_FILES)
def test_the_contract_is_kept(kind: type[Files]) -> None:
    check_entries(lambda: ObjectEntries(kind()))


def test_nothing_is_left_of_a_put_but_its_entries() -> None:
    for kind in ALL_FILES:
        files, _ = with_old(kind)
        ObjectEntries(files).put(versions("new"))
        assert sorted(files.files) == list(KEYS)
        assert all(not parsed(content).txn for content in files.files.values())
        assert seen(files) == ["new"] * 4


def test_one_entry_is_one_write_and_a_plain_hit_one_read() -> None:
    calls: list[int] = []
    files = Wrapped(ConditionalFiles(), lambda: calls.append(1))
    ObjectEntries(files).put(versions("new", ("a",)))
    assert len(calls) == 1
    assert seen(files, ("a",)) == ["new"]
    assert len(calls) == 2


def test_new_entries_on_an_object_store_cost_three_requests_each_and_two() -> None:
    calls: list[int] = []
    ObjectEntries(Wrapped(ConditionalFiles(), lambda: calls.append(1))).put(versions("new"))
    assert len(calls) == 3 * len(KEYS) + 2


def test_a_file_system_that_cannot_delete_gets_them_one_by_one() -> None:
    files = DictFileSystem()
    ObjectEntries(files).put(versions("new"))
    assert sorted(files.files) == list(KEYS)


@pytest.mark.parametrize("kind", ALL_FILES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_who_is_killed_at_any_verb_leaves_all_or_nothing_visible(kind: type[Files], when: str) -> None:
    outcomes = set()
    for number in range(1, 40):
        files, old = with_old(kind)
        fuse = Fuse(number, Killed)
        try:
            ObjectEntries(Wrapped(files, **{"before": lambda: None, when: fuse})).put(versions("new"))
        except Killed:
            outcome = seen(files)
            assert outcome in (old, ["new"] * 4)
            outcomes.add(tuple(outcome))
            ObjectEntries(files).put(versions("newer"))
            assert seen(files) == ["newer"] * 4
    assert len(outcomes) == 2


@pytest.mark.parametrize("kind", ALL_FILES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_fails_at_any_verb_is_undone_or_done(kind: type[Files], when: str) -> None:
    """Also if the verb did what it should, and only its reply was lost."""
    for number in range(1, 40):
        files, old = with_old(kind)
        fuse = Fuse(number, ConnectionResetError)
        try:
            ObjectEntries(Wrapped(files, **{"before": lambda: None, when: fuse})).put(versions("new"))
        except StoreError:
            assert seen(files) == old
            assert sorted(files.files) == ["a", "b"]
        else:
            assert seen(files) == ["new"] * 4


def test_where_nobody_knows_whether_the_commit_came_there_all_of_it_counts_or_nothing() -> None:
    class Lost(Files):
        def write_path(self, path: str, content: bytes) -> None:
            super().write_path(path, content)
            if path.startswith("manifests/"):
                raise ConnectionResetError

        def delete_path(self, path: str) -> None:
            if path.startswith("manifests/"):
                raise ConnectionResetError
            super().delete_path(path)

    files, _ = with_old(Lost)
    with pytest.raises(StoreError):
        ObjectEntries(files).put(versions("new"))
    assert seen(files) == ["new"] * 4


class Stepped:
    """A writer in a thread of its own that does one verb for each step that it is allowed."""

    def __init__(self, files: Files, name: str) -> None:
        self.allowed, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False
        entries = ObjectEntries(Wrapped(files, self.allowed.acquire, self.done.release))  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self._run, args=(entries, versions(name)))
        self.thread.start()

    def _run(self, entries: ObjectEntries, new: list[Entry]) -> None:
        try:
            entries.put(new)
        finally:
            self.over = True
            self.done.release()

    def step(self) -> None:
        if not self.over:
            self.allowed.release()
            self.done.acquire()

    def finish(self) -> None:
        while not self.over:
            self.step()
        self.thread.join()


def interleaved(files: Files, writers: list[Stepped], chance: random.Random) -> Iterator[list[str]]:
    """What readers see who come between any two verbs of the writers, who come between any two of theirs."""

    def some_steps() -> None:
        while chance.random() < 0.6:
            chance.choice(writers).step()

    while not all(writer.over for writer in writers):
        keys = list(KEYS)
        chance.shuffle(keys)
        yield seen(Wrapped(files, some_steps), tuple(keys))
    for writer in writers:
        writer.finish()
    yield seen(files)


@pytest.mark.parametrize("kind", ALL_FILES)
@pytest.mark.parametrize("seed", range(60))
def test_a_reader_who_has_seen_a_new_entry_sees_no_old_one_after_it(kind: type[Files], seed: int) -> None:
    files, _ = with_old(kind)
    for found in interleaved(files, [Stepped(files, "new")], random.Random(seed)):
        assert "new" not in found or set(found[found.index("new") :]) == {"new"}
    assert found == ["new"] * 4


@pytest.mark.parametrize("seed", range(60))
def test_two_transactions_on_the_same_keys_are_both_whole(seed: int) -> None:
    files, _ = with_old(ConditionalFiles)
    writers = [Stepped(files, "one"), Stepped(files, "two")]
    for found in interleaved(files, writers, random.Random(seed)):
        first = next((place for place, version in enumerate(found) if version in ("one", "two")), len(found))
        assert set(found[first:]) <= {"one", "two"}
    assert set(found) <= {"one", "two"}


def test_the_folder_of_a_local_file_system_has_transactions(tmp_path: Any) -> None:
    files = LocalFileSystem(basepath=tmp_path)
    fuse = Fuse(4, Killed)
    with pytest.raises(Killed):
        ObjectEntries(Wrapped(files, fuse), prefix="entries/", verbatim=False).put(versions("new"))  # type: ignore[arg-type]
    entries = ObjectEntries(files, prefix="entries/", verbatim=False)
    assert list(entries.scan()) == []
    assert len(list(files.list_paths())) > 0


@pytest.mark.parametrize("held", ["nothing", "what was there"])
def test_what_somebody_else_kept_under_a_lease_that_was_lost_is_left_with_all_others(held: str) -> None:
    files, old = with_old(ConditionalFiles)
    entries = ObjectEntries(files)
    key = "a" if held == "what was there" else "c"
    tags = {key: entries.tag_of(key)}
    entries.put(versions("theirs", (key,)))
    before = seen(files)
    with pytest.raises(LockLostError, match=f"under the key '{key}'"), put_over(tags):
        entries.put(versions("new"))
    assert seen(files) == before != old
    with put_over({key: entries.tag_of(key)}):
        entries.put(versions("new"))
    assert seen(files) == ["new"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("server", ["s3", "quick_s3"])
def test_a_real_server_of_objects_shows_all_or_nothing_and_is_collected(
    server: str, request: pytest.FixtureRequest
) -> None:
    found: S3 = request.getfixturevalue(server)
    store = store_in(bucket_of(found, found.bucket()))
    files, entries = store.bare.filesystem, store.bare  # type: ignore[union-attr]
    entries.put(versions("old", KEYS[:2]))
    versions_seen = set()
    for number in (3, 17, 20, 24, 32, 48):
        dying = ObjectEntries(Wrapped(files, Fuse(number, Killed)), prefix="entries/", verbatim=False)  # type: ignore[arg-type]
        with contextlib.suppress(Killed):
            dying.put(versions(f"v{number}"))
        versions_seen.add(tuple(visible(entries)))
    assert all(len(set(one)) == 1 or one == ("old", "old", "", "") for one in versions_seen)
    assert len(versions_seen) > 1
    dying = ObjectEntries(Wrapped(files, Fuse(14, Killed)), prefix="entries/", verbatim=False)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        dying.put(versions("last"))
    before = visible(entries)
    assert collect(store).marks == 0
    time.sleep(1.1)  # the server tells whole seconds
    assert any(collect(store, 0.01))
    assert visible(entries) == before
    assert {path.split("/")[0] for path in files.list_paths()} == {"entries"}
    assert all(not parsed(files.read_path(path)).txn for path in files.list_paths("entries"))


def test_a_mark_that_names_another_path_is_damage() -> None:
    files, _ = with_old(Files)
    mark = b'"before":0,"txn":"../../secrets/hostile/id"'
    files.files["a"] = files.files["a"].replace(b'"kept":1}\n', b'"kept":1,' + mark + b"}\n", 1)
    assert ObjectEntries(files).get("a") == Miss("damaged: the mark of a transaction on it is not one of kept")
