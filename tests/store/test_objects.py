from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import StoreError
from kept.filesystems import LocalFileSystem, NullFileSystem
from kept.store import Entry, Miss, ObjectBlobs, ObjectEntries
from kept.store.format import parsed, written
from kept.testing import an_entry
from tests.store.conftest import in_child
from tests.store.test_contracts import AsyncDictFileSystem, DictFileSystem


class Failing:
    """A file system whose server is lost."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read_path(self, path: str) -> bytes:
        raise self.error

    def write_path(self, path: str, content: bytes) -> None:
        raise self.error


class ClientError(Exception):
    """Shaped like boto3's."""

    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}}


def test_an_entry_is_the_file_at_its_key(tmp_path: Path) -> None:
    entries = ObjectEntries(LocalFileSystem(basepath=tmp_path))
    entries.put([an_entry("hello.json"), an_entry("folder/world.pickle")])
    assert (tmp_path / "hello.json").is_file()
    assert (tmp_path / "folder" / "world.pickle").is_file()
    assert entries.get("folder/world.pickle") == an_entry("folder/world.pickle")


def test_the_file_is_a_line_of_json_and_the_payload(tmp_path: Path) -> None:
    ObjectEntries(LocalFileSystem(basepath=tmp_path)).put([an_entry("k", payload=b"\n\x00 the payload")])
    line, _, payload = (tmp_path / "k").read_bytes().partition(b"\n")
    header = json.loads(line)
    assert payload == b"\n\x00 the payload"
    assert header["kept"] == 1
    assert header["entry"]["inline"] is True
    assert header["entry"]["task"] == "etl.clean"
    assert header["digest"].startswith("b3:")


@pytest.mark.parametrize("position", [0, 10, 100, 400, -1])
def test_a_flipped_bit_anywhere_in_an_entry_is_a_miss(position: int) -> None:
    files = DictFileSystem()
    entries = ObjectEntries(files)
    entries.put([an_entry("k")])
    content = bytearray(files.files["k"])
    content[position] ^= 1
    files.files["k"] = bytes(content)
    found = entries.get("k")
    assert isinstance(found, Miss) and ("damaged" in found.reason or "newer" in found.reason)


@pytest.mark.parametrize("content", [b"garbage", b"[1]\n", b"{}\n", b"null", b'{"kept": "x"}\n', b"\xff" * 99])
def test_a_file_that_is_no_entry_is_a_miss(content: bytes) -> None:
    files = DictFileSystem()
    files.files["k"] = content
    found = ObjectEntries(files).get("k")
    assert isinstance(found, Miss) and "damaged" in found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": 5}, {"serializer": ["pickle"]}, {"fingerprint": {}}, {"blob": 1}, {"created": "today"},
        {"expires": float("nan")}, {"seconds": None}, {"seconds": 10**400}, {"size": "5"}, {"parts": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_entry_whose_fields_no_entry_has_is_a_miss_though_its_digest_is_right(wrong: dict[str, Any]) -> None:
    found = parsed(written(an_entry()._replace(**wrong))).entry
    assert isinstance(found, Miss) and found.reason.startswith("damaged")


def test_an_entry_of_a_newer_format_is_a_miss_that_says_so() -> None:
    files = DictFileSystem()
    files.files["k"] = b'{"kept": 2, "entry": {}, "digest": ""}\n'
    assert ObjectEntries(files).get("k") == Miss("written by a newer version of kept (format 2)")


def test_an_entry_of_another_key_is_a_miss() -> None:
    files = DictFileSystem()
    entries = ObjectEntries(files)
    entries.put([an_entry("a")])
    files.files["b"] = files.files["a"]
    found = entries.get("b")
    assert isinstance(found, Miss) and "of another key, 'a'" in found.reason


def test_a_damaged_blob_is_a_miss() -> None:
    files = DictFileSystem()
    blobs = ObjectBlobs(files)
    digest = blobs.put([b"abc", b"def"])
    (path,) = files.files
    assert path == f"blobs/{digest[3:5]}/b3-{digest[3:]}"
    files.files[path] = b"abcdeg"
    found = blobs.open(digest)
    assert isinstance(found, Miss) and found.reason.startswith("damaged")


def test_a_local_file_system_that_changes_what_it_reads_is_respected(tmp_path: Path) -> None:
    class Backwards(LocalFileSystem):
        def read_path(self, path: str) -> bytes:
            return super().read_path(path)[::-1]

        def write_path(self, path: str, content: bytes) -> str:
            return super().write_path(path, content[::-1])

    blobs = ObjectBlobs(Backwards(basepath=tmp_path))
    assert bytes(blobs.open(blobs.put([b"content"]))) == b"content"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("x"),
        ValueError("Path does not exist."),
        KeyError("x"),
        ClientError("NoSuchKey"),
        ClientError("404"),
        type("NotFoundError", (Exception,), {})(),
    ],
)
def test_what_libraries_raise_for_a_missing_object_is_a_miss(error: Exception) -> None:
    assert ObjectEntries(Failing(error)).get("k") == Miss("not kept yet")
    assert isinstance(ObjectBlobs(Failing(error)).open("b3:" + "0" * 64), Miss)


@pytest.mark.parametrize("error", [ConnectionError("lost"), PermissionError(13, "denied"), ClientError("AccessDenied")])
def test_a_lost_server_is_a_store_error_with_its_reason(error: Exception) -> None:
    reason = getattr(error, "strerror", None) or str(error)
    for ask in (
        lambda: ObjectEntries(Failing(error)).get("k"),
        lambda: ObjectEntries(Failing(error)).put([an_entry()]),
        lambda: ObjectBlobs(Failing(error)).put([b"x"]),
    ):
        with pytest.raises(StoreError) as caught:
            ask()
        assert reason in str(caught.value)
        assert caught.value.__cause__ is error


def test_a_file_system_that_does_not_give_bytes_is_a_store_error() -> None:
    files = DictFileSystem()
    files.files = {"k": "text", "blobs/00/b3-" + "0" * 64: "text"}  # type: ignore[dict-item]
    for ask in (lambda: ObjectEntries(files).get("k"), lambda: ObjectBlobs(files).open("b3:" + "0" * 64)):
        with pytest.raises(StoreError, match="gave str where bytes are expected"):
            ask()


def test_a_file_system_may_give_any_kind_of_bytes() -> None:
    files = DictFileSystem()
    entries, blobs = ObjectEntries(files), ObjectBlobs(files)
    entries.put([an_entry("k")])
    digest = blobs.put([b"content"])
    for kind in (bytearray, memoryview):
        files.files = {path: kind(content) for path, content in files.files.items()}  # type: ignore[misc]
        found = entries.get("k")
        assert found == an_entry("k") and isinstance(found, Entry) and type(found.payload) is bytes
        view = blobs.open(digest)
        assert isinstance(view, memoryview) and not view.readonly
        view[0] = 0
        assert bytes(blobs.open(digest)) == b"content"  # type: ignore[arg-type]


def test_a_key_that_leaves_the_folder_is_a_store_error(tmp_path: Path) -> None:
    entries = ObjectEntries(LocalFileSystem(basepath=tmp_path / "inside"))
    for key in ("../outside", "/etc/kept"):
        with pytest.raises(StoreError, match="leaves the folder"):
            entries.put([an_entry(key)])
        with pytest.raises(StoreError, match="leaves the folder"):
            entries.get(key)


def test_without_delete_path_a_deleted_entry_leaves_an_empty_object() -> None:
    files = DictFileSystem()
    entries, blobs = ObjectEntries(files), ObjectBlobs(files)
    entries.put([an_entry("k")])
    digest = blobs.put([b"x"])
    entries.delete(["k"])
    blobs.delete([digest])
    assert set(files.files.values()) == {b""}
    assert entries.get("k") == blobs.open(digest) == Miss("deleted")


def test_without_list_paths_scanning_says_what_is_missing() -> None:
    for store in (ObjectEntries(DictFileSystem()), ObjectBlobs(DictFileSystem())):
        with pytest.raises(StoreError, match="give it a method `list_paths"):
            list(store.scan())


def test_scanning_passes_over_what_is_not_kepts(tmp_path: Path) -> None:
    files = LocalFileSystem(basepath=tmp_path)
    entries, blobs = ObjectEntries(files), ObjectBlobs(files)
    entries.put([an_entry("k")])
    digest = blobs.put([b"content"])
    (tmp_path / "README").write_text("hello")
    (tmp_path / "blobs" / "README").write_text("hello")
    assert [entry.key for entry in entries.scan()] == ["k"]
    assert list(blobs.scan()) == [(digest, 7)]


def test_a_null_file_system_keeps_nothing() -> None:
    entries = ObjectEntries(NullFileSystem())
    entries.put([an_entry()])
    assert entries.get("key") == Miss("not kept yet")


def test_coroutine_functions_are_run_to_their_end_while_a_loop_is_running() -> None:
    entries = ObjectEntries(AsyncDictFileSystem())

    async def work() -> Entry | Miss:
        entries.put([an_entry()])
        await asyncio.sleep(0)
        return entries.get("key")

    assert asyncio.run(work()) == an_entry()


def test_coroutine_functions_find_the_same_loop_at_each_call() -> None:
    class Client(AsyncDictFileSystem):
        loops: set[int] = set()

        async def read_path(self, path: str) -> bytes:
            self.loops.add(id(asyncio.get_running_loop()))
            return await super().read_path(path)

    entries = ObjectEntries(Client())
    for _ in range(3):
        entries.get("k")
    assert len(Client.loops) == 1


def test_coroutine_functions_work_in_a_forked_child() -> None:
    entries: Any = ObjectEntries(AsyncDictFileSystem())
    entries.put([an_entry()])

    def child() -> None:
        assert entries.get("key") == an_entry()

    in_child(child)
