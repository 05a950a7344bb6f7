"""Every implementation of Entries and Blobs sits the same examination."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from kept.filesystems import LocalFileSystem, WritableFileSystem
from kept.store import MemoryBlobs, MemoryEntries, ObjectBlobs, ObjectEntries, open_store
from kept.store.disk import DiskBlobs
from kept.store.sqlite import SqliteEntries
from kept.testing import check_blobs, check_entries


class DictFileSystem(WritableFileSystem):
    """What a user may write: two verbs over a dict."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read_path(self, path: str) -> bytes:
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        assert type(content) is bytes
        self.files[path] = content


class AsyncDictFileSystem:
    """The same without a base class, as coroutine functions, and with the optional verbs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def read_path(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise ValueError(f"Path {path} does not exist.") from None

    async def write_path(self, path: str, content: bytes) -> None:
        self.files[path] = content

    async def delete_path(self, path: str) -> None:
        self.files.pop(path, None)

    async def list_paths(self, prefix: str) -> list[str]:
        return [path for path in self.files if path.startswith(prefix)]


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    counter = itertools.count()
    return lambda: tmp_path / str(next(counter))


def test_entries_in_memory_keep_the_contract() -> None:
    check_entries(MemoryEntries)


def test_blobs_in_memory_keep_the_contract() -> None:
    check_blobs(MemoryBlobs)


def test_entries_in_sqlite_keep_the_contract(fresh: Any) -> None:
    check_entries(lambda: SqliteEntries(fresh() / "entries.sqlite"))


def test_blobs_on_disk_keep_the_contract(fresh: Any) -> None:
    check_blobs(lambda: DiskBlobs(fresh()))


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_both_layouts_of_a_folder_keep_the_contract(fresh: Any, layout: str) -> None:
    check_entries(lambda: open_store(fresh(), layout).entries)
    check_blobs(lambda: open_store(fresh(), layout).blobs)


def test_a_local_file_system_with_keys_as_paths_keeps_the_contract(fresh: Any) -> None:
    check_entries(lambda: ObjectEntries(LocalFileSystem(basepath=fresh())), any_key=False)


def test_a_users_two_verb_file_system_keeps_the_contract_without_scanning() -> None:
    check_entries(lambda: ObjectEntries(DictFileSystem()), scans=False)
    check_blobs(lambda: ObjectBlobs(DictFileSystem()), scans=False)


def test_a_users_file_system_of_coroutine_functions_keeps_the_contract() -> None:
    check_entries(lambda: ObjectEntries(AsyncDictFileSystem(), prefix="p/"))
    check_blobs(lambda: ObjectBlobs(AsyncDictFileSystem()))


def test_the_examination_notices_a_store_that_cheats() -> None:
    class Forgetful(MemoryEntries):
        def put(self, entries: Any) -> None:
            super().put([entry._replace(seconds=0.0) for entry in entries])

    class Aliasing(MemoryBlobs):
        def open(self, digest: str) -> Any:
            if not isinstance(self._blobs[digest], bytearray):
                self._blobs[digest] = bytearray(self._blobs[digest])  # type: ignore[assignment]
            return memoryview(self._blobs[digest])

    with pytest.raises(AssertionError, match="read back as it was put"):
        check_entries(Forgetful)
    with pytest.raises(AssertionError, match="never reaches the store"):
        check_blobs(Aliasing)
