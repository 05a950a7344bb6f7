from __future__ import annotations

import asyncio
import os
import pickle
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import ConfigurationError
from kept.filesystems import (
    LocalFileSystem,
    NullFileSystem,
    ReadableFileSystem,
    RemoteFileSystem,
    WritableFileSystem,
)
from kept.results import ResultStore
from kept.settings import get_current_settings
from kept.storage import resolve_storage


@pytest.fixture
def files(tmp_path: Path) -> LocalFileSystem:
    return LocalFileSystem(basepath=tmp_path / "base")


def test_what_is_written_is_read(files: LocalFileSystem) -> None:
    whole = files.write_path("a/b/hello.txt", b"hello")
    assert Path(whole).read_bytes() == b"hello"
    assert files.read_path("a/b/hello.txt") == files.read_path(whole) == b"hello"
    files.write_path("a/b/hello.txt", b"")
    assert files.read_path("a/b/hello.txt") == b""


def test_the_async_forms_do_the_same(files: LocalFileSystem, tmp_path: Path) -> None:
    async def work() -> bytes:
        await files.awrite_path("x", b"hello")
        await files.aget_directory(local_path=str(tmp_path / "copy"))
        await files.aput_directory(str(tmp_path / "copy"), "again")
        return await files.aread_path("again/x")

    assert asyncio.run(work()) == b"hello"


def test_a_plain_read_is_plain_inside_a_running_loop_too(files: LocalFileSystem) -> None:
    async def work() -> bytes:
        files.write_path("x", b"hello")
        return files.read_path("x")

    assert asyncio.run(work()) == b"hello"


@pytest.mark.parametrize("path", ["missing", "missing/deeper", "folder", "file/below"])
def test_a_missing_file_is_both_errors_that_users_expect(files: LocalFileSystem, path: str) -> None:
    files.write_path("folder/x", b"")
    files.write_path("file", b"")
    for kind in (FileNotFoundError, ValueError):
        with pytest.raises(kind, match=path) as caught:
            files.read_path(path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../up", "link/x", "nul\0"])
def test_a_path_that_leaves_the_folder_is_an_error(files: LocalFileSystem, path: str, tmp_path: Path) -> None:
    files.write_path("inside", b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base" / "link").symlink_to(tmp_path / "elsewhere")
    for ask in (lambda: files.read_path(path), lambda: files.write_path(path, b"x")):
        with pytest.raises(ConfigurationError, match=r"leaves the folder|NUL"):
            ask()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_whose_name_only_begins_alike_is_outside(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        LocalFileSystem(basepath=tmp_path / "base").read_path(str(tmp_path / "based"))


def test_without_a_base_path_it_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LocalFileSystem().write_path("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalFileSystem(basepath="~").read_path("x") == b"1"


def test_a_tilde_in_a_path_is_a_plain_character(files: LocalFileSystem) -> None:
    files.write_path("~root/x", b"1")
    assert list(files.list_paths()) == ["~root/x"]


def test_files_are_private_and_folders_too(files: LocalFileSystem, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files.write_path("a/x", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "base" / "a" / "x").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "base" / "a").stat().st_mode) == 0o700


def test_a_reader_never_sees_half_a_file(files: LocalFileSystem) -> None:
    contents = [bytes([number]) * 500_000 for number in (1, 2)]
    files.write_path("x", contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            files.write_path("x", contents[number % 2])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert files.read_path("x") in contents
    thread.join()
    assert list(files.list_paths()) == ["x"]


def test_a_write_that_fails_leaves_nothing_behind(files: LocalFileSystem, tmp_path: Path) -> None:
    files.write_path("folder/x", b"1")
    with pytest.raises(OSError):
        files.write_path("folder", b"1")
    assert sorted(os.listdir(tmp_path / "base")) == ["folder"]


def test_files_are_listed_and_deleted(files: LocalFileSystem) -> None:
    assert list(files.list_paths()) == []
    for path in ("a/1", "a/b/2", "3"):
        files.write_path(path, b"")
    assert sorted(files.list_paths()) == ["3", "a/1", "a/b/2"]
    assert sorted(files.list_paths("a")) == ["a/1", "a/b/2"]
    files.delete_path("a/1")
    files.delete_path("a/1")
    files.delete_path("a")
    assert sorted(files.list_paths()) == ["3", "a/b/2"]


def test_folders_are_copied_in_and_out(files: LocalFileSystem, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("keep.py", "drop.pyc", "sub/keep.txt", "sub/drop.pyc", "build/drop.o"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (tmp_path / "ignore").write_text("# generated\n*.pyc\nbuild/\n\n")
    files.put_directory(str(source), "copy", ignore_file=str(tmp_path / "ignore"))
    assert sorted(files.list_paths()) == ["copy/keep.py", "copy/sub/keep.txt"]
    files.get_directory("copy/sub", str(tmp_path / "out"))
    assert (tmp_path / "out" / "keep.txt").read_text() == "sub/keep.txt"


def test_file_systems_are_equal_by_their_options_and_can_be_pickled() -> None:
    assert LocalFileSystem("a") == LocalFileSystem(basepath=Path("a")) != LocalFileSystem("b")
    assert RemoteFileSystem("s3://b", settings={"k": 1}) == RemoteFileSystem(basepath="s3://b", settings={"k": 1})
    assert NullFileSystem() == NullFileSystem()
    for each in (LocalFileSystem("a"), RemoteFileSystem("memory://x", {"k": [1]}), NullFileSystem()):
        assert pickle.loads(pickle.dumps(each)) == each
        assert hash(pickle.loads(pickle.dumps(each))) == hash(each)
    assert repr(LocalFileSystem("a")) == "LocalFileSystem(basepath='a')"


def test_a_null_file_system_does_nothing(tmp_path: Path) -> None:
    files = NullFileSystem()
    files.write_path("x", b"1")
    files.put_directory(str(tmp_path))
    files.get_directory("x", str(tmp_path))
    assert files.read_path("x") is None


def test_a_users_file_system_needs_two_methods_and_may_have_options() -> None:
    class Mine(WritableFileSystem):
        bucket: str
        prefix: str = ""

        def read_path(self, path: str) -> bytes:
            return f"{self.bucket}/{self.prefix}{path}".encode()

        def write_path(self, path: str, content: bytes) -> Any:
            return None

    assert Mine(bucket="b", prefix="p/").read_path("x") == b"b/p/x"
    assert asyncio.run(Mine(bucket="b").aread_path("x")) == b"b/x"
    with pytest.raises(ConfigurationError, match="needs the option 'bucket'"):
        Mine()
    with pytest.raises(ConfigurationError, match="no option 'buckt'"):
        Mine(buckt="b")
    with pytest.raises(TypeError, match="read_path"):
        ReadableFileSystem()  # type: ignore[abstract]


def test_a_users_coroutine_functions_can_be_awaited_too() -> None:
    class Mine(WritableFileSystem):
        async def read_path(self, path: str) -> bytes:  # type: ignore[override]
            return path.encode()

        async def write_path(self, path: str, content: bytes) -> int:
            return len(content)

    assert asyncio.run(Mine().aread_path("x")) == b"x"
    assert asyncio.run(Mine().awrite_path("x", b"123")) == 3


@pytest.mark.parametrize(
    ("basepath", "words"),
    [("folder", "needs a scheme"), ("file:///x", "use LocalFileSystem"), ("s3://", "a place after its scheme")],
)
def test_a_wrong_remote_base_path_is_an_error_that_says_so(basepath: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RemoteFileSystem(basepath)


def test_a_remote_path_stays_under_its_base_path() -> None:
    files = RemoteFileSystem("memory://bucket/folder/")
    assert files._resolve("a//b/./c") == "memory://bucket/folder/a/b/c"
    assert files._resolve("memory://bucket/folder/a") == "memory://bucket/folder/a"
    with pytest.raises(ConfigurationError, match="leaves"):
        files._resolve("a/../../x")


def test_a_missing_fsspec_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigurationError, match="pip install fsspec"):
        RemoteFileSystem("memory://bucket").read_path("x")
    with pytest.raises(ConfigurationError, match="pip install fsspec"):
        resolve_storage("sftp://host/folder", get_current_settings())


def test_a_scheme_that_nothing_knows_is_told_where_the_place_is_named() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigurationError, match="s4"):
        resolve_storage("s4://bucket/folder", get_current_settings())


def test_a_remote_file_system_reads_and_writes_through_fsspec(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    files = RemoteFileSystem("memory://bucket/folder")
    with pytest.raises(FileNotFoundError):
        files.read_path("missing")
    files.write_path("a/x", b"1")
    assert files.read_path("a/x") == b"1"
    assert list(files.list_paths()) == ["a/x"]
    files.get_directory(None, str(tmp_path / "out"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "y").write_bytes(b"2")
    assert files.put_directory(str(tmp_path / "in"), "b") == 1
    assert files.read_path("b/y") == b"2"
    files.delete_path("b/y")
    files.delete_path("b/y")
    with pytest.raises(ValueError):
        files.read_path("b/y")


def test_what_a_file_system_is_called_shows_no_secrets() -> None:
    class Vault:
        def __repr__(self) -> str:
            return "Vault(token='hush')"

        def read_path(self, path: str) -> bytes:
            raise FileNotFoundError(path)

        def write_path(self, path: str, content: bytes) -> None: ...

    remote = RemoteFileSystem("ftp://me:hush@host/folder", settings={"secret": "hush"})
    assert "hush" not in repr(remote)
    assert remote.basepath == "ftp://me:hush@host/folder"
    assert "hush" not in repr(ResultStore(result_storage=Vault()))
