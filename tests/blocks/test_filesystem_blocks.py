"""File systems are blocks, too: kept's own and the user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kept.blocks.core import Block
from kept.exceptions import ConfigurationError, SerializationError
from kept.filesystems import LocalFileSystem, NullFileSystem, RemoteFileSystem, WritableFileSystem
from tests.blocks.test_blocks import document


class Shelf(WritableFileSystem):
    """Files in memory."""

    folder: str
    token: SecretStr | None = None

    def read_path(self, path: str) -> bytes:
        return (Path(self.folder) / path).read_bytes()

    def write_path(self, path: str, content: bytes) -> None:
        (Path(self.folder) / path).write_bytes(content)


class Loose(WritableFileSystem):
    def __init__(self, root: str) -> None:
        self.root = root

    def read_path(self, path: str) -> bytes: ...
    def write_path(self, path: str, content: bytes) -> None: ...


def test_a_local_file_system_is_saved_and_loaded(tmp_path: Path) -> None:
    files = LocalFileSystem(basepath=str(tmp_path))
    files.save("here")
    assert LocalFileSystem.load("here") == Block.load("local-file-system/here") == files
    assert LocalFileSystem.get_block_type_name() == "Local File System"
    assert NullFileSystem.get_block_type_slug() == "null-file-system"


def test_settings_of_a_remote_one_are_encrypted_as_a_whole(home: Path) -> None:
    files = RemoteFileSystem(basepath="memory://x", settings={"key": "hunter2", "options": {"n": 1}})
    files.save("there")
    assert RemoteFileSystem.load("there").settings == {"key": "hunter2", "options": {"n": 1}}
    assert "hunter2" not in str(document(home, "remote-file-system/there"))
    assert document(home, "remote-file-system/there")["fields"]["basepath"] == "memory://x"


def test_one_without_settings_needs_no_key(home: Path) -> None:
    RemoteFileSystem(basepath="memory://x").save("there")
    assert not (home / "keys").exists()


def test_one_of_the_user_s_own_is_a_block_with_secret_fields(home: Path, tmp_path: Path) -> None:
    shelf = Shelf(folder=str(tmp_path), token="hunter2")
    shelf.save("mine")
    loaded = Shelf.load("mine")
    assert loaded == shelf and loaded.token is not None and loaded.token.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(loaded) + str(document(home, "shelf/mine"))
    assert Shelf.get_description() == "Files in memory."


class First(Block, WritableFileSystem):
    folder: str
    token: SecretStr = SecretStr("none")

    def read_path(self, path: str) -> bytes:
        return b"x"

    def write_path(self, path: str, content: bytes) -> None: ...


class Second(WritableFileSystem, Block):
    folder: str
    token: SecretStr = SecretStr("none")

    def read_path(self, path: str) -> bytes:
        return b"x"

    def write_path(self, path: str, content: bytes) -> None: ...


@pytest.mark.parametrize("kind", [First, Second])
def test_one_may_inherit_from_block_too(kind: type[Any], home: Path) -> None:
    block = kind(folder="a", token="hunter2")
    block.save("it")
    assert kind.load("it") == block and kind.load("it").token.get_secret_value() == "hunter2"
    assert isinstance(block, Block) and isinstance(block, WritableFileSystem)
    assert "hunter2" not in f"{block} {block!r}" + str(document(home, f"{kind.get_block_type_slug()}/it"))
    with pytest.raises(ValueError, match="folder"):
        kind(folder=[])


def test_what_it_holds_beside_its_fields_is_named(tmp_path: Path) -> None:
    with pytest.raises(SerializationError, match=r"This Loose can't be saved: it holds 'root', which is no field"):
        Loose(str(tmp_path)).save("x")


def test_the_interfaces_are_no_types_of_blocks() -> None:
    with pytest.raises(ConfigurationError, match="WritableFileSystem does not say of which type the block 'x' is"):
        WritableFileSystem.load("x")
    LocalFileSystem(basepath="/x").save("x")
    assert WritableFileSystem.load("local-file-system/x") == LocalFileSystem(basepath="/x")


def test_one_is_a_field_of_another_block(tmp_path: Path) -> None:
    class Archive(Block):
        files: LocalFileSystem
        more: WritableFileSystem | None = None

    Archive(files=LocalFileSystem(basepath="/x"), more=Shelf(folder=str(tmp_path))).save("a")
    loaded = Archive.load("a")
    assert loaded.files == LocalFileSystem(basepath="/x") and loaded.more == Shelf(folder=str(tmp_path))


def test_saving_one_loads_neither_pydantic_nor_cryptography() -> None:
    program = (
        "import sys\n"
        "from kept.filesystems import LocalFileSystem\n"
        "LocalFileSystem(basepath='/x').save('x'); LocalFileSystem.load('x')\n"
        "assert not {'pydantic', 'cryptography', 'pydantic_core'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
