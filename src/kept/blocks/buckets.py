"""What the blocks of all object stores have in common: a bucket, and a folder in it, as files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

from kept.blocks.core import Block
from kept.exceptions import StoreError
from kept.filesystems import WritableFileSystem, to_be_put
from kept.store.addresses import Address
from kept.store.bucket import Bucket, bucket_at
from kept.utilities.effects import in_thread

__all__ = ["BucketBlock"]


class BucketBlock(Block):
    """Files in a folder of a bucket, at paths relative to the folder.

    A path that begins with the folder is taken as whole, so that what a method returns can be passed to another.
    All methods raise `StoreError` with a sentence that says what to do and holds no secrets; those that read raise
    `PathNotFoundError` where there is no object.
    """

    _is_block_base: ClassVar[bool] = True

    def address(self) -> Address:
        """Where the objects are, and with which credentials. Raises `ConfigurationError`."""
        raise NotImplementedError

    def in_bucket(self) -> Bucket:
        """The objects as results are kept in them; one object for equal blocks.

        Where this block is saved it is pickled as the block is, with its secrets encrypted.
        """
        return bucket_at(self.address(), (_bucket_of, (self.model_copy(),)) if self._block_document_name else None)

    def read_path(self, path: str) -> bytes:
        """The content of the object at `path`."""
        return self._files().read_path(self._below(path))

    def write_path(self, path: str, content: bytes) -> str:
        """Make `content` the content of the object at `path`; returns its whole key."""
        self._files().write_path(self._below(path), content)
        return self._whole(path)

    def delete_path(self, path: str) -> None:
        """Remove the object at `path`, if there is one."""
        self._files().delete_path(self._below(path))

    def list_paths(self, prefix: str = "") -> list[str]:
        """The paths of all objects in the folder `prefix` and its folders."""
        return list(self._files().list_paths(self._below(prefix)))

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> list[Path]:
        """Copy a folder from here to a local one; returns the files that were written.

        Arguments:
            from_path: the folder here; None for all of the block's folder.
            local_path: where to; None for the current folder.
        """
        files, source = self._files(), self._below(from_path or "")
        return [
            self._fetched(path, Path(local_path or ".", _relative(path, source))) for path in files.list_paths(source)
        ]

    def put_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> int:
        """Copy a local folder to here; returns the number of files.

        Arguments:
            local_path: the local folder; None for the current one.
            to_path: the folder here; None for the block's own.
            ignore_file: a file with a pattern a line, as in `.gitignore` (no `!`), of what is left out.
        """
        files = to_be_put(local_path, to_path, ignore_file)
        for file, path in files:
            self.upload_from_path(file, path)
        return len(files)

    def upload_from_path(self, from_path: str | Path, to_path: str | None = None) -> str:
        """Copy a local file to here, by its name by default; returns its whole key."""
        path = to_path or Path(from_path).name
        self._files().upload_path(self._below(path), Path(from_path).expanduser())
        return self._whole(path)

    def upload_from_file_object(self, from_file_object: BinaryIO, to_path: str) -> str:
        """Make what is left to read of an open file the content of the object at `to_path`; returns its whole key."""
        return self.write_path(to_path, from_file_object.read())

    def upload_from_folder(self, from_folder: str | Path, to_folder: str | None = None) -> str | None:
        """Copy a local folder to here; returns the whole key of the folder, None if there was nothing to copy."""
        return self._whole(to_folder or "") if self.put_directory(str(from_folder), to_folder) else None

    def download_object_to_path(self, from_path: str, to_path: str | Path | None = None) -> Path:
        """Copy an object to a local file, by its name by default; returns the path of the file."""
        return self._fetched(self._below(from_path), Path(to_path or PurePosixPath(from_path).name).expanduser())

    def download_object_to_file_object(self, from_path: str, to_file_object: BinaryIO) -> BinaryIO:
        """Write the content of an object to an open file, and return that."""
        to_file_object.write(self._files().view_path(self._below(from_path)))
        return to_file_object

    def download_folder_to_path(self, from_folder: str, to_folder: str | Path | None = None) -> Path:
        """Copy a folder to a local one, the current one by default; returns that."""
        self.get_directory(from_folder, str(to_folder or "."))
        return Path(to_folder or ".").resolve()

    async def aread_path(self, path: str) -> bytes:
        """`read_path`, to be awaited."""
        return await in_thread(self.read_path, path)  # type: ignore[no-any-return]

    async def awrite_path(self, path: str, content: bytes) -> str:
        """`write_path`, to be awaited."""
        return await in_thread(self.write_path, path, content)  # type: ignore[no-any-return]

    async def aget_directory(self, from_path: str | None = None, local_path: str | None = None) -> list[Path]:
        """`get_directory`, to be awaited."""
        return await in_thread(self.get_directory, from_path, local_path)  # type: ignore[no-any-return]

    async def aput_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> int:
        """`put_directory`, to be awaited."""
        return await in_thread(self.put_directory, local_path, to_path, ignore_file)  # type: ignore[no-any-return]

    async def aupload_from_path(self, from_path: str | Path, to_path: str | None = None) -> str:
        """`upload_from_path`, to be awaited."""
        return await in_thread(self.upload_from_path, from_path, to_path)  # type: ignore[no-any-return]

    async def adownload_object_to_path(self, from_path: str, to_path: str | Path | None = None) -> Path:
        """`download_object_to_path`, to be awaited."""
        return await in_thread(self.download_object_to_path, from_path, to_path)  # type: ignore[no-any-return]

    def _files(self) -> Bucket:
        return bucket_at(self.address())

    def _below(self, path: str | Path) -> str:
        """A path without the block's folder."""
        text = str(path).strip("/")
        folder = self.address().folder
        return text.removeprefix(folder).lstrip("/") if folder and f"{text}/".startswith(f"{folder}/") else text

    def _whole(self, path: str) -> str:
        return "/".join(part for part in (self.address().folder, self._below(path)) if part)

    def _fetched(self, path: str, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._files().download_path(path, file)
        return file


WritableFileSystem.register(BucketBlock)


def _relative(path: str, folder: str) -> str:
    relative = path.removeprefix(folder).lstrip("/")
    if ".." in PurePosixPath(relative).parts:
        raise StoreError(f"the object {path!r} can't be written to a local folder: its name leaves it")
    return relative


def _bucket_of(block: BucketBlock) -> Bucket:
    return block.in_bucket()
