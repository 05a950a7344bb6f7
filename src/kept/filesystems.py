"""Where users keep files: anything with `read_path(path) -> bytes` and `write_path(path, content)`.

A file system of the user's own subclasses `WritableFileSystem`, or just has these two methods, as plain
functions or as coroutine functions. Two more verbs are used where they exist: `delete_path(path)` and
`list_paths(prefix) -> paths`.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH108, PTH111, PTH116, PTH118, PTH123

from __future__ import annotations

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from kept.blocks.plain import PlainBlock
from kept.exceptions import ConfigurationError
from kept.utilities.effects import in_thread
from kept.utilities.files import TEMPORARY, write_whole

T = TypeVar("T")

_CREDENTIALS = re.compile(r"://[^/@]*@")
"""The user and password that a URL may begin with."""


class PathNotFoundError(FileNotFoundError, ValueError):
    """There is no file at a path. (A ValueError too, because that is what Prefect's file systems raise.)"""

    def __init__(self, path: str) -> None:
        super().__init__(2, "there is no file", path)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path,))


class Listed(NamedTuple):
    """A file, as the place where it lies tells of it."""

    path: str
    size: int
    """Its length in bytes."""
    modified: float
    """When it was written, in seconds since the epoch, by the clock of that place."""


class ReadableFileSystem(PlainBlock, ABC):
    """Files that can be read; a block, so that it can be saved under a name."""

    _is_block_base: ClassVar[bool] = True

    @abstractmethod
    def read_path(self, path: str) -> bytes:
        """The content of the file at `path`; raises FileNotFoundError or ValueError when there is none."""

    async def aread_path(self, path: str) -> bytes:
        """`read_path`, to be awaited."""
        return await _in_thread(self.read_path, path)


class WritableFileSystem(ReadableFileSystem):
    """Files that can be read and written."""

    _is_block_base: ClassVar[bool] = True

    @abstractmethod
    def write_path(self, path: str, content: bytes) -> Any:
        """Make `content` the content of the file at `path`: readers see all of it, or what was there
        before."""

    async def awrite_path(self, path: str, content: bytes) -> Any:
        """`write_path`, to be awaited."""
        return await _in_thread(self.write_path, path, content)


class LocalFileSystem(WritableFileSystem):
    """Files on this machine, under one folder.

    >>> import tempfile
    >>> files = LocalFileSystem(basepath=tempfile.mkdtemp())
    >>> _ = files.write_path("a/hello.txt", b"hello")
    >>> files.read_path("a/hello.txt"), list(files.list_paths("a"))
    (b'hello', ['a/hello.txt'])
    """

    _block_type_name: ClassVar[str] = "Local File System"

    basepath: str | None = None
    """The folder, `~` allowed; None for the current one."""

    def __init__(self, basepath: str | os.PathLike[str] | None = None) -> None:
        super().__init__(basepath=None if basepath is None else os.fspath(basepath))

    def read_path(self, path: str) -> bytes:
        try:
            with open(self._resolve(path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise PathNotFoundError(path) from None

    def view_path(self, path: str) -> memoryview:
        """The content of the file at `path` in memory of its own, which may be written to; raises as `read_path`."""
        try:
            with open(self._resolve(path), "rb", buffering=0) as file:
                content = bytearray(os.fstat(file.fileno()).st_size)
                filled = 0
                while filled < len(content) and (count := file.readinto(memoryview(content)[filled:])):
                    filled += count
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise PathNotFoundError(path) from None
        return memoryview(content)[:filled]

    def write_path(self, path: str, content: bytes) -> str:
        """Write the file at once: a reader, or a crash of the machine, sees all of it or what was there
        before.

        Returns the whole path. Raises OSError, and ConfigurationError for a path that leaves the folder.
        """
        target = self._resolve(path)
        write_whole(target, content)
        return target

    def delete_path(self, path: str) -> None:
        """Remove the file at `path`, if there is one."""
        try:
            os.unlink(self._resolve(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass

    def list_paths(self, prefix: str = "") -> Iterator[str]:
        """The paths of all files in the folder `prefix` and its folders, relative to the base path."""
        return (path for path in self._walk(prefix) if not path.endswith(TEMPORARY))

    def list_files(self, prefix: str = "") -> Iterator[Listed]:
        """All files in the folder `prefix` and its folders, with those that a killed process was writing."""
        return (found for path in self._walk(prefix) if (found := self.stat_path(path)) is not None)

    def stat_path(self, path: str) -> Listed | None:
        """What is known of the file at `path`; None if there is none."""
        try:
            status = os.stat(self._resolve(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Listed(path, status.st_size, status.st_mtime)

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> None:
        """Copy a folder from here to a local one.

        Arguments:
            from_path: the folder here; None for all.
            local_path: where to; None for the current folder.
        """
        shutil.copytree(self._resolve(from_path or ""), Path(local_path or "."), dirs_exist_ok=True)

    def put_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> None:
        """Copy a local folder to here.

        Arguments:
            local_path: the local folder; None for the current one.
            to_path: where to; None for the base path.
            ignore_file: a file with a pattern a line, as in `.gitignore` (no `!`), of what is left out.
        """
        target = self._resolve(to_path or "")
        source = Path(local_path or ".").resolve()
        choose = _ignored(source, ignore_file)
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=choose)

    async def aget_directory(self, from_path: str | None = None, local_path: str | None = None) -> None:
        """`get_directory`, to be awaited."""
        await _in_thread(self.get_directory, from_path, local_path)

    async def aput_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> None:
        """`put_directory`, to be awaited."""
        await _in_thread(self.put_directory, local_path, to_path, ignore_file)

    def _walk(self, prefix: str) -> Iterator[str]:
        base = self._base()
        for folder, _, names in os.walk(self._resolve(prefix)):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), base).replace(os.sep, "/")

    def _base(self) -> str:
        return os.path.realpath(os.path.expanduser(self.basepath or "."))

    def _resolve(self, path: str) -> str:
        base = self._base()
        if "\0" in path:
            raise ConfigurationError(f"{path!r} can't be a path: it has a NUL character")
        target = os.path.realpath(os.path.join(base, path))
        if target != base and not target.startswith(base.rstrip(os.sep) + os.sep):
            raise ConfigurationError(f"the path {path!r} leaves the folder {base} of this file system")
        return target


class RemoteFileSystem(WritableFileSystem):
    """Files on any file system that fsspec knows, at a URL such as "s3://bucket/folder".

    Needs `pip install fsspec` and the package for the URL's scheme.
    """

    _block_type_name: ClassVar[str] = "Remote File System"
    _secret_fields: ClassVar[frozenset[str]] = frozenset({"settings"})

    basepath: str
    """The URL under which all paths are."""
    settings: dict[str, Any] = {}
    """Options for the fsspec file system."""

    def __init__(self, basepath: str, settings: dict[str, Any] | None = None) -> None:
        scheme, separator, rest = basepath.partition("://")
        if not separator or not scheme:
            raise ConfigurationError(
                f"the base path {basepath!r} needs a scheme, as in 's3://bucket/folder'; for files on this "
                "machine use LocalFileSystem"
            )
        if scheme in ("file", "local"):
            raise ConfigurationError("for files on this machine use LocalFileSystem")
        if not rest.strip("/"):
            raise ConfigurationError(f"the base path {basepath!r} needs a place after its scheme")
        super().__init__(basepath=basepath, settings=dict(settings or {}))

    def __repr__(self) -> str:
        # Without the settings, which may hold keys and passwords, and without those of the URL.
        return f"RemoteFileSystem(basepath={_CREDENTIALS.sub('://***@', self.basepath)!r})"

    def read_path(self, path: str) -> bytes:
        try:
            with self._fsspec().open(self._resolve(path), "rb") as file:
                content: bytes = file.read()
        except FileNotFoundError:
            raise PathNotFoundError(path) from None
        return content

    def write_path(self, path: str, content: bytes) -> str:
        files, target = self._fsspec(), self._resolve(path)
        files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        with files.open(target, "wb") as file:
            file.write(content)
        return target

    def delete_path(self, path: str) -> None:
        """Remove the file at `path`, if there is one."""
        try:
            self._fsspec().rm_file(self._resolve(path))
        except FileNotFoundError:
            pass

    def list_paths(self, prefix: str = "") -> Iterator[str]:
        """The paths of all files under the folder `prefix`, relative to the base path."""
        files = self._fsspec()
        base = files._strip_protocol(self.basepath).rstrip("/") + "/"
        for found in files.find(self._resolve(prefix)):
            yield str(found).removeprefix(base)

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> None:
        """Copy a folder from here to a local one."""
        self._fsspec().get(self._resolve(from_path or ""), local_path or ".", recursive=True)

    def put_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> int:
        """Copy a local folder to here; returns the number of files."""
        files = to_be_put(local_path, to_path, ignore_file)
        for file, path in files:
            self.write_path(path, file.read_bytes())
        return len(files)

    def _resolve(self, path: str) -> str:
        base = self.basepath.rstrip("/")
        if path.startswith(base):
            path = path[len(base) :]
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ConfigurationError(f"the path {path!r} leaves {base}")
        return "/".join([base, *parts])

    def implementation(self) -> Any:
        """The class of fsspec for this address. Raises `ConfigurationError` if it is not installed, or not known."""
        try:
            # Optional, so imported when used.
            import fsspec  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(f"{self!r} needs fsspec: pip install fsspec") from None
        try:
            return fsspec.get_filesystem_class(self.basepath.partition("://")[0])
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"fsspec can't open {self!r}: {error}") from None

    def _fsspec(self) -> Any:
        implementation = self.implementation()
        try:
            return implementation(**self.settings)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"fsspec can't open {self!r}: {error}") from error


class NullFileSystem(WritableFileSystem):
    """Keeps nothing: writing does nothing, reading gives None."""

    def read_path(self, path: str) -> bytes:
        return None  # type: ignore[return-value]  # as in Prefect

    def write_path(self, path: str, content: bytes) -> None:
        """Do nothing."""

    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> None:
        """Do nothing."""

    def put_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> None:
        """Do nothing."""


def to_be_put(local_path: str | None, to_path: str | None, ignore_file: str | None) -> list[tuple[Path, str]]:
    """The files of a local folder that are not left out, each with its path in the folder `to_path` elsewhere."""
    source, found = Path(local_path or ".").resolve(), list[tuple[Path, str]]()
    choose = _ignored(source, ignore_file)
    for folder, folders, names in os.walk(source):
        dropped = choose(folder, [*folders, *names])
        folders[:] = [name for name in folders if name not in dropped]
        for file in (Path(folder, name) for name in sorted(set(names) - dropped)):
            relative = file.relative_to(source).as_posix()
            found.append((file, f"{to_path}/{relative}" if to_path else relative))
    return found


def _ignored(root: Path, ignore_file: str | None) -> Callable[[Any, list[str]], set[str]]:
    """A function for `shutil.copytree` that names what the patterns of the ignore file leave out."""
    lines = Path(ignore_file).read_text(encoding="utf-8").splitlines() if ignore_file else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def choose(folder: Any, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else inside + "/"
        return {name for name in names if any(_matches(prefix + name, name, each) for each in patterns)}

    return choose


def _matches(path: str, name: str, pattern: str) -> bool:
    pattern = pattern.rstrip("/")
    if "/" in pattern:
        return fnmatch(path, pattern.lstrip("/"))
    return fnmatch(name, pattern)


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    result: Any = await in_thread(function, *arguments)
    # A file system of the user's own may have a coroutine function here.
    return await result if hasattr(result, "__await__") else result  # type: ignore[no-any-return]
