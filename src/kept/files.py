"""Files and folders as arguments and as results of tasks: `File("data/raw.csv")`, `Dir("site")`.

As an argument each counts by its content: where it lies and what it is called does not matter, nor when it was
written. Digests are remembered below KEPT_HOME, so an unchanged file costs a `stat`.

As a result, also inside lists, dicts and objects, what it holds goes into the store with the result, and on a hit a
file that is missing or different is given back: shared with the store where the disk can do that (a reflink, whose
writer gets a copy of its own), else copied. Never a hard link: the store would change with it. A folder gets back what
is missing; what else has come into it meanwhile is never removed, but makes the hit a miss.

What the pickle of a result holds of them, version 1, are calls of `_given_file(path, digest, size, mode)` and of
`_given_dir(path, [(name, other), ...], [(name, digest, size, mode), ...])`, relative paths as they were given.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH100, PTH101, PTH103, PTH105, PTH114, PTH116, PTH118, PTH123, PTH211

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from kept.exceptions import ParameterTypeError, SerializationError, StoreError
from kept.fingerprint import fingerprint
from kept.fingerprint.canonical import NoContent
from kept.fingerprint.files import content_digest, members, read_steadily
from kept.settings import get_current_settings
from kept.store.disk import load
from kept.store.entry import Miss
from kept.store.protocols import Blobs
from kept.store.stamps import FileDigests
from kept.utilities.files import TEMPORARY, unlink

__all__ = ["Dir", "File"]

T = TypeVar("T")

_MOST_NAMED = 3

_FileIn = tuple[str, str, int, int]
"""The name, digest, size and mode of a file in a folder."""
_OtherIn = tuple[str, str]
"""The name of what else is in it, and what that is, as `members` says it."""


class _Place(os.PathLike[str]):
    """A path that stands for what is there. Equal to another of its kind with the same text."""

    __slots__ = ("_path", "_was")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = type(self).__name__
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
        if not isinstance(text, str):
            raise ParameterTypeError(
                f"{name}() got {path!r}, of type {type(path).__name__}; it takes a path, as text or as a Path."
            )
        if not text or "\0" in text:
            raise ParameterTypeError(f"{name}() got {text!r}, which is the path of nothing; it takes a path.")
        self._path = text
        self._was = ""

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._path)

    def __fspath__(self) -> str:
        return self._path

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._path == os.fspath(other)

    def __lt__(self, other: _Place) -> bool:
        return self._path < other._path if isinstance(other, _Place) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._path))

    def __reduce__(self) -> Any:
        taking = _taking.get()
        if taking is None:
            kind = type(self)
            return (_as_it_is, (kind, self._path, fingerprint(self))) if _pinning.get() else (kind, (self._path,))
        made = self._given_by(taking)
        if self._was and self._was != fingerprint(self):
            raise SerializationError(
                f"{os.path.abspath(self._path)} is not what it was when it was yielded: let a generator give each file "
                "a name of its own"
            )
        return made

    def _given_by(self, taking: Taking) -> Any:
        """What makes it anew, and gives its content back."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"


class File(_Place):
    """A file that counts by its content, not by its name; kept with the result that holds it.

    Arguments:
        path: where it is; a relative one begins at the working directory, also where it is given back.

    Example:
        >>> File("data/raw.csv").path.suffix
        '.csv'
    """

    __slots__ = ()

    def __kept_fingerprint__(self) -> object:
        taking = _taking.get()
        return digest_now(self._path) if taking is None else taking.file(self._path).digest

    def _given_by(self, taking: Taking) -> Any:
        return _given_file, (self._path, *taking.file(self._path))


class Dir(_Place):
    """A folder that counts by the names in it and their content, at any depth; kept with the result that holds it.

    Links in it are followed; one that leads nowhere counts by its text. Empty folders count, modes don't.

    Arguments:
        path: where it is; a relative one begins at the working directory, also where it is given back.
    """

    __slots__ = ()

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.path / name

    def __kept_fingerprint__(self) -> object:
        taking = _taking.get()
        if taking is not None:
            others, files = taking.folder(self._path)
            return sorted([*others, *((name, digest) for name, digest, _, _ in files)])
        found = members(self._path)
        return [(name, digest_now(f"{self._path}/{name}") if other is None else other) for name, other in found]

    def _given_by(self, taking: Taking) -> Any:
        return _given_dir, (self._path, *taking.folder(self._path))


# --- what is remembered

_memos: dict[str, FileDigests] = {}
_noting: ContextVar[dict[str, str] | None] = ContextVar("kept_files_noting", default=None)


def known_digests() -> FileDigests:
    """What is remembered of files below KEPT_HOME."""
    home = str(get_current_settings().home)
    return _memos.get(home) or _memos.setdefault(home, FileDigests(Path(home) / "files.sqlite"))


def note_files(seen: dict[str, str]) -> Token[dict[str, str] | None]:
    """Note the digest of each file that is fingerprinted here, until what this returns is reset."""
    return _noting.set(seen)


def digest_now(path: str) -> str:
    """The digest of the content of a file, and a note of it if one is wanted. Raises `NoContent`."""
    digest, seen = content_digest(path, known_digests()), _noting.get()
    if seen is not None:
        seen[os.path.abspath(path)] = digest
    return digest


def changed_file(seen: dict[str, str], made: str) -> str:
    """The path of a file that no longer has the digest that was noted; empty if there is none.

    What is gone was used up: it can't have been read as something else. What the result holds, by the digests in
    `made`, is the work of who made it.
    """
    for path, digest in seen.items():
        try:
            now = content_digest(path, known_digests())
        except NoContent:
            continue
        if now not in (digest, *made.split()):
            return path
    return ""


def pinned(copied: Callable[[T], T], value: T) -> T:
    """A copy of a value that can be kept only as long as the files in it are what they are now."""
    token = _pinning.set(True)
    try:
        return copied(value)
    finally:
        _pinning.reset(token)


def _as_it_is(kind: type[_Place], path: str, was: str) -> _Place:
    place = kind(path)
    place._was = was
    return place


_pinning: ContextVar[bool] = ContextVar("kept_files_pinning", default=False)


# --- into a store


class Kept(NamedTuple):
    """A file as it was taken."""

    digest: str
    size: int
    mode: int


class Taking:
    """While this is entered, files in what is pickled go into the blobs, each once.

    Attributes:
        digests: those of all that was taken.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._files: dict[str, Kept] = {}
        self._folders: dict[str, tuple[list[_OtherIn], list[_FileIn]]] = {}

    @property
    def digests(self) -> str:
        """The digests of all that was taken, with spaces between."""
        return " ".join(sorted({kept.digest for kept in self._files.values()})) if self._files else ""

    def __enter__(self) -> Taking:
        self._token = _taking.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _taking.reset(self._token)

    def file(self, path: str) -> Kept:
        """The file as it was taken, now if it was not yet. Raises `SerializationError` or `StoreError`."""
        path = os.path.abspath(path)
        if path not in self._files:
            self._files[path] = self._taken(path)
        return self._files[path]

    def folder(self, path: str) -> tuple[list[_OtherIn], list[_FileIn]]:
        """What is in a folder besides files, and the files as they were taken. Raises as `file`."""
        path = os.path.abspath(path)
        if path not in self._folders:
            try:
                found = members(path)
            except NoContent as error:
                raise SerializationError(str(error)) from error
            files = [(name, *self.file(f"{path}/{name}")) for name, other in found if other is None]
            self._folders[path] = [(name, other) for name, other in found if other is not None], files
        return self._folders[path]

    def _taken(self, path: str) -> Kept:
        status: os.stat_result | None = None

        def put(descriptor: int) -> str:
            nonlocal status
            status = os.fstat(descriptor)
            take: Callable[[int], str] | None = getattr(self._blobs, "take", None)
            return take(descriptor) if take else self._blobs.put([load(descriptor, status.st_size)])

        try:
            digest = read_steadily(path, known_digests(), put)
        except NoContent as error:
            raise SerializationError(str(error)) from error
        assert status is not None
        return Kept(digest, status.st_size, status.st_mode & 0o777)


_taking: ContextVar[Taking | None] = ContextVar("kept_files_taking", default=None)
_giving: ContextVar[Blobs | None] = ContextVar("kept_files_giving", default=None)


# --- out of a store


def given(blobs: Blobs, loads: Callable[[Any], T], payload: Any) -> T:
    """What `loads` makes of a payload, the files in it given back from the blobs where they are missing or different.

    Raises:
        SerializationError: one can't be given back, or what `loads` raises.
    """
    token = _giving.set(blobs)
    try:
        return loads(payload)
    finally:
        _giving.reset(token)


def _given_file(path: str, digest: str, size: int, mode: int) -> File:
    blobs = _giving.get()
    if blobs is not None:
        _give_back(path, Kept(digest, size, mode), blobs)
    return File(path)


def _given_dir(path: str, others: Sequence[_OtherIn], files: Sequence[_FileIn]) -> Dir:
    _check_nothing_else(path, {**dict(others), **dict.fromkeys([name for name, *_ in files])})
    try:
        os.makedirs(path, exist_ok=True)
        for name, other in others:
            _make(f"{path}/{name}", other)
    except OSError as error:
        raise SerializationError(_not_given_back(path, str(error.strerror))) from error
    for name, digest, size, mode in files:
        _given_file(f"{path}/{name}", digest, size, mode)
    return Dir(path)


def _make(path: str, other: str) -> None:
    if not other:
        os.makedirs(path, exist_ok=True)
    elif not os.path.islink(path):
        os.symlink(other.removeprefix("-> "), path)


def _check_nothing_else(path: str, kept: dict[str, str | None]) -> None:
    """Raise `SerializationError` if there is something in a folder that was not in it when it was kept."""
    try:
        there = members(path) if os.path.lexists(path) else []
    except NoContent as error:
        raise SerializationError(_not_given_back(path, str(error))) from error
    others = [name for name, other in there if name not in kept or other != kept[name]]
    if others:
        named = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
        raise SerializationError(
            f"the folder {os.path.abspath(path)} holds what is not of the result, and kept removes nothing: {named}"
        )


def _give_back(path: str, kept: Kept, blobs: Blobs) -> None:
    target = os.path.realpath(path)  # a link to the file stays a link
    if _holds(target, kept):
        return
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:40]}.{os.urandom(6).hex()}{TEMPORARY}")
    try:
        os.makedirs(folder, exist_ok=True)
        missing = _write(blobs, kept.digest, temporary)
        if missing:
            raise SerializationError(_not_given_back(target, missing.reason))
        os.chmod(temporary, kept.mode)
        os.replace(temporary, target)
    except (OSError, StoreError) as error:
        raise SerializationError(_not_given_back(target, getattr(error, "strerror", None) or str(error))) from error
    finally:
        unlink(temporary)


def _holds(path: str, kept: Kept) -> bool:
    try:
        return os.stat(path).st_size == kept.size and content_digest(path, known_digests()) == kept.digest
    except (OSError, NoContent):
        return False


def _write(blobs: Blobs, digest: str, path: str) -> Miss | None:
    give = getattr(blobs, "give", None)
    if give is not None:
        return give(digest, path)  # type: ignore[no-any-return]
    content = blobs.open(digest)
    if isinstance(content, Miss):
        return content
    with open(path, "xb") as file:
        file.write(content)
    return None


def _not_given_back(path: str, why: str) -> str:
    return f"{os.path.abspath(path)} can't be given back as it was kept: {why}"
