"""What files and folders hold: digests of their content, and when one that is known already may be believed.

A file counts by its bytes alone, and its digest is that of a blob with the same bytes. What was read is remembered
with the *stamp* of the file: size, times of the last modification and the last change, inode and device. The time of
change is there because nobody can set it: who edits a file and sets its modification time back is noticed.

A stamp is worth nothing if the file was changed in the moment in which it was read: the clock of a file system ticks
every ten milliseconds, on some every two seconds, and a second change within a tick leaves no trace. Such a file is
*unsettled*, and its digest is not remembered, as git does with its index. For a large one, waiting for the tick costs
less than reading it again.

Read in pieces, not mapped: it is as quick (4 GB/s here on two cores, from memory), and a mapped file that somebody
truncates kills the process.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH100, PTH114, PTH115, PTH116

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from kept.fingerprint.canonical import NoContent
from kept.utilities.blake import hasher
from kept.utilities.files import TEMPORARY, read_pieces

_ATTEMPTS = 3
_TICK = 20_000_000
_COARSE_TICK = 2_000_000_000
_WORTH_WAITING = 256 << 20
"""Reading a file of so many bytes takes longer than a tick."""
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class Stamp(NamedTuple):
    """What the file system says of a file: if it is the same, so is the content."""

    size: int
    modified: int
    """In nanoseconds since the epoch."""
    changed: int
    """The same; of content, name, owner and mode, whatever the modification time was set to."""
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp in what `stat` says."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)

    def settles_at(self) -> int:
        """From when on, in nanoseconds since the epoch, another change of the file gives another stamp."""
        coarse = self.changed % 1_000_000_000 == 0
        return max(self.changed, self.modified) + (_COARSE_TICK if coarse else _TICK)


class Memo(Protocol):
    """Remembers digests of files by their absolute paths."""

    def get(self, path: str, stamp: Stamp) -> str | None:
        """The digest of the file at a path, if it was read when it had this stamp."""

    def put(self, path: str, stamp: Stamp, digest: str) -> None:
        """Remember that the file has this digest."""


def content_digest(path: str, memo: Memo) -> str:
    """Return the digest of a file's bytes, `b3:` and 64 hex digits. Raises `NoContent` if there is no such file."""
    path = os.path.abspath(path)
    return memo.get(path, _stamp_at(path)) or read_steadily(path, memo, _hashed)


def read_steadily(path: str, memo: Memo, read: Callable[[int], str]) -> str:
    """Return the digest that `read` makes of the open file, and remember it; read it anew if it changes meanwhile.

    Raises `NoContent` if there is no such file, or if it never holds still.
    """
    for _ in range(_ATTEMPTS):
        _wait_if_worth_it(_stamp_at(path))
        try:
            descriptor = os.open(path, _FLAGS)
            try:
                before, began = Stamp.of(os.fstat(descriptor)), time.time_ns()
                digest = read(descriptor)
                steady = before == Stamp.of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise NoContent(why_not_read(path, error)) from error
        if steady:
            if before.settles_at() < began:
                memo.put(path, before, digest)
            return digest
    raise NoContent(f"the file {path} changes while it is read: wait until whatever writes it is done")


def members(folder: str) -> list[tuple[str, str | None]]:
    """Return all that is in a folder, at any depth: names with slashes, in order, each with what it is but a file.

    That is None for a file, the empty text for a folder, and `-> ` and its text for a link that leads nowhere or to a
    folder that it is in. Other links are followed, as what a task reads through them counts. Files that kept is
    writing there are passed over. Raises `NoContent`.
    """
    try:
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            raise NoContent(f"{os.path.abspath(folder)} is a file: pass File(...) instead of Dir(...)")
        return sorted(_walk(folder, "", ((status.st_dev, status.st_ino),)))
    except OSError as error:
        raise NoContent(why_not_read(error.filename or folder, error, "folder")) from error


def _walk(folder: str, prefix: str, around: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str | None]]:
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.endswith(TEMPORARY)]
    for entry in entries:
        name = prefix + entry.name
        status = _stat_unless_dangling(entry)
        identity = status and (status.st_dev, status.st_ino)
        if status is None or identity in around:
            yield name, f"-> {os.readlink(entry.path)}"
        elif stat.S_ISDIR(status.st_mode):
            yield name, ""
            yield from _walk(entry.path, f"{name}/", (*around, (status.st_dev, status.st_ino)))
        else:
            yield name, None


def _stat_unless_dangling(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        if entry.is_symlink():
            return None
        raise


def _stamp_at(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise NoContent(why_not_read(path, error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise NoContent(f"{path} is a folder: pass Dir(...) instead of File(...)")
    if not stat.S_ISREG(status.st_mode):
        raise NoContent(f"{path} is a pipe, a socket or a device, and has no content to count by: pass a regular file")
    return Stamp.of(status)


def _wait_if_worth_it(stamp: Stamp) -> None:
    wait = stamp.settles_at() - time.time_ns()
    if stamp.size >= _WORTH_WAITING and 0 <= wait <= _TICK:
        time.sleep((wait + 1_000_000) / 1_000_000_000)


def _hashed(descriptor: int) -> str:
    running = hasher(os.fstat(descriptor).st_size)
    for piece in read_pieces(descriptor):
        running.update(piece)
    return f"b3:{running.hexdigest()}"


def why_not_read(path: str, error: Exception, what: str = "file") -> str:
    """Return why a file or folder can't be read, and what to do about it."""
    path = os.path.abspath(path)
    if isinstance(error, PermissionError):
        return f"the {what} {path} can't be read, for want of permission: let this user read it"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if os.path.islink(path):
            return f"the link {path} leads to {os.readlink(path)}, which does not exist: correct the link"
        return f"the {what} {path} does not exist: make it first, or correct the path"
    return f"the {what} {path} can't be read: {getattr(error, 'strerror', None) or error}"
