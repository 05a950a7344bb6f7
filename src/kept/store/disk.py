"""Blobs as files: content-addressed, written once, loaded by private memory map.

    <root>/5f/b3-5fc1...    a blob, mode 0400
    <root>/tmp/...          a blob being written; renamed when whole

**How a blob is verified without reading it.** When a blob has been written and hashed its file is *sealed*:
the modification time is set to a second between 1973 and 1998 that is derived from the digest, the size and
the machine's boot id. Whatever writes to the file later, through any path, makes the kernel set the time to
now. So a file with the right size and the right time holds what was hashed, and is mapped at once. Any other
file is hashed in full: right, it is sealed again; wrong, it is thrown away and `open` says "damaged".

**Why nothing is fsynced.** Within one boot, what the page cache holds is what was written. After a crash of
the machine a file may have any length and hold zeros, and its time may well be the sealed one: but the boot
id is another, so no seal of an earlier boot is believed, and the first load after a boot hashes in full. (It
reads from the disk anyway, which takes longer than hashing.) A power cut may lose a result, and never gives a
wrong one. A cache that was copied from elsewhere, with times or without, is verified in the same way. Where
there is no boot id the seal holds for ever, and so blobs are fsynced there.

What the seal does not see: a program that changes a file and then sets its time back, and a medium that
silently returns other bytes than it was given within one boot.
"""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH104, PTH108, PTH112, PTH116, PTH118

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from kept.exceptions import StoreError
from kept.filesystems import Listed
from kept.store.digests import PREFIX, digest_of, is_digest
from kept.store.entry import Miss
from kept.store.mapping import map_private
from kept.utilities.blake import hasher
from kept.utilities.files import read_pieces, unlink

try:
    import fcntl
except ImportError:  # Windows, where no file shares its content
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("kept.store")

_FILE_PREFIX = "b3-"
_MAP_FROM = 256 * 1024
"""Smaller blobs are read: mapping, and the page faults that follow, cost more than the copy."""
_WINDOW = 64 << 20
_COPY = 4 << 20
_TEMPORARY_SECONDS = 3600.0
"""A file in tmp/ that nobody has touched for so long belonged to a writer that was killed."""


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""


_BOOT = _boot_id()


class DiskBlobs:
    """Blobs as files under `root`, which is made when the first blob is put."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)
        self._lock = threading.Lock()
        self._swept: float | None = None
        self._verified: dict[str, tuple[int, ...]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.root,))

    # --- the protocol

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        pieces = [memoryview(chunk).cast("B") for chunk in chunks if len(chunk)]
        size = sum(len(piece) for piece in pieces)
        return self._stored(lambda descriptor: (_write_all(descriptor, pieces, size), size))

    def open(self, digest: str) -> memoryview | Miss:
        descriptor = self._opened(digest)
        if isinstance(descriptor, Miss):
            return descriptor
        try:
            return load(descriptor, os.fstat(descriptor).st_size)
        except OSError as error:
            raise StoreError(self._sentence(error)) from error
        finally:
            os.close(descriptor)

    def _opened(self, digest: str) -> int | Miss:
        """The verified file of a blob, to be closed by the caller, or why it can't be had."""
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | _CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return Miss(f"missing: there is no blob {digest}")
        except OSError as error:
            raise StoreError(self._sentence(error)) from error
        try:
            status = os.fstat(descriptor)
            if _is_sealed(status, digest) or self._verify(digest, descriptor, status):
                opened, descriptor = descriptor, -1
                return opened
            return Miss(f"damaged: the blob {digest} does not hold what was kept")
        except OSError as error:
            raise StoreError(self._sentence(error)) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def delete(self, digests: Iterable[str]) -> None:
        for digest in digests:
            try:
                os.unlink(self._path(digest))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise StoreError(self._sentence(error)) from error

    def scan(self) -> Iterator[tuple[str, int]]:
        for folder in _listing(self._root):
            if len(folder.name) == 2:
                for file in _listing(folder.path):
                    digest = PREFIX + file.name.removeprefix(_FILE_PREFIX)
                    if is_digest(digest):
                        yield from _sized(digest, file)

    def has(self, digest: str) -> bool:
        """Whether the blob is here and can be opened without hashing it. Raises `StoreError` for what is no digest."""
        try:
            return _is_sealed(os.stat(self._path(digest)), digest)
        except OSError:
            return False

    def aged(self) -> Iterator[tuple[str, Listed]]:
        """The digest of every blob, with its file and when that was put last."""
        for digest, size in self.scan():
            path = self._path(digest)
            try:
                # The change time: the modification time is the seal.
                yield digest, Listed(path, size, os.stat(path).st_ctime)
            except OSError:
                continue  # deleted meanwhile

    # --- files of the user's

    def take(self, source: int) -> str:
        """Keep the content of an open file, shared with it where the disk can do that, and return its digest."""

        def fill(descriptor: int) -> tuple[str, int]:
            if not _cloned(source, descriptor):
                return _copied(source, descriptor)
            size = os.fstat(descriptor).st_size
            return _hash_file(descriptor, size), size

        return self._stored(fill)

    def give(self, digest: str, path: str) -> Miss | None:
        """Make a new file with the content of a blob, shared with it where the disk can do that; why not, or None.

        Raises OSError for trouble with the new file.
        """
        source = self._opened(digest)
        if isinstance(source, Miss):
            return source
        try:
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o600)
            try:
                if not _cloned(source, target):
                    for piece in read_pieces(source):
                        _write_part(target, piece)
            finally:
                os.close(target)
        finally:
            os.close(source)
        return None

    # --- writing

    def receive(self, digest: str, fill: Callable[[str], bool]) -> Miss | None:
        """Take in the blob that `fill(path)` writes to a new file; it says whether there was one. Why not, or None.

        Raises:
            StoreError: there is no room for it here, or what `fill` raises.
        """
        temporary = ""
        try:
            temporary = self._temporary()
            if not fill(temporary):
                return Miss(f"missing: there is no blob {digest}")
            return self._admit(temporary, digest)
        except OSError as error:
            raise StoreError(self._sentence(error)) from error
        finally:
            unlink(temporary)

    def _admit(self, temporary: str, digest: str) -> Miss | None:
        descriptor = os.open(temporary, os.O_RDONLY | _CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if _hash_file(descriptor, size) != digest:
                return Miss(f"damaged: the blob {digest} does not hold what was kept")
            _finish(descriptor, digest, size)
        finally:
            os.close(descriptor)
        _rename(temporary, self._path(digest))
        return None

    def _stored(self, fill: Callable[[int], tuple[str, int]]) -> str:
        try:
            digest = self._write(fill)
            self._sweep()
        except OSError as error:
            raise StoreError(self._sentence(error)) from error
        return digest

    def _write(self, fill: Callable[[int], tuple[str, int]]) -> str:
        """Let `fill` write to a new file and say its digest and size, by one pass over what it writes.

        So the digest is that of the file whatever becomes of the value meanwhile. The price is a file written in vain
        when the blob is here already, which is rare: a hit comes before that.
        """
        temporary = self._temporary()
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o600)
        try:
            try:
                digest, size = fill(descriptor)
                known = self._refreshed(digest)
                if not known:
                    _finish(descriptor, digest, size)
            finally:
                os.close(descriptor)
            if known:
                unlink(temporary)
            else:
                _rename(temporary, self._path(digest))
        except BaseException:
            unlink(temporary)
            raise
        return digest

    def _refreshed(self, digest: str) -> bool:
        """Whether the blob is already here and intact; its change time, by which upkeep tells its age, is
        renewed."""
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | _CLOEXEC)
        except OSError:
            return False
        try:
            status = os.fstat(descriptor)
            if not _is_sealed(status, digest):
                return self._verify(digest, descriptor, status)
            _seal_if_allowed(descriptor, digest, status.st_size)
            return True
        finally:
            os.close(descriptor)

    def _temporary(self) -> str:
        folder = os.path.join(self._root, "tmp")
        name = f"{os.getpid()}-{os.urandom(8).hex()}"
        if not os.path.isdir(folder):
            Path(folder).parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(folder).parent.mkdir(exist_ok=True, mode=0o700)
            Path(folder).mkdir(exist_ok=True, mode=0o700)
        return os.path.join(folder, name)

    def _sweep(self) -> None:
        """Remove what killed writers left, at most once an hour."""
        now = time.time()
        with self._lock:
            if self._swept is not None and now - self._swept < _TEMPORARY_SECONDS:
                return
            self._swept = now
        for file in _listing(os.path.join(self._root, "tmp")):
            try:
                # The change time: the modification time of a file that has just been sealed is long ago.
                if now - file.stat().st_ctime > _TEMPORARY_SECONDS:
                    os.unlink(file.path)
            except OSError:
                continue  # someone else swept it

    # --- verifying

    def _verify(self, digest: str, descriptor: int, status: os.stat_result) -> bool:
        """Hash a file whose seal is not right: seal it again when it is intact, else remove it."""
        seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._verified.get(digest) == seen:
            return True
        if _hash_file(descriptor, status.st_size) == digest:
            if not _seal_if_allowed(descriptor, digest, status.st_size):
                self._verified[digest] = seen  # another user's file: remembered while this process lives
            return True
        logger.warning("the blob %s does not hold what was kept: it is removed", self._path(digest))
        self._remove_damaged(digest, status.st_ino)
        return False

    def _remove_damaged(self, digest: str, inode: int) -> None:
        path, aside = self._path(digest), self._temporary()
        try:
            # Moved away and looked at again, because another process may have put a good one here meanwhile.
            os.rename(path, aside)
            if os.stat(aside).st_ino != inode:
                os.link(aside, path)
        except OSError:
            pass  # removed by another process, or on a read-only medium
        unlink(aside)

    # --- paths and sentences

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise StoreError(f"{digest!r} is not the digest of a blob")
        name = digest[len(PREFIX) :]
        return f"{self._root}/{name[:2]}/{_FILE_PREFIX}{name}"

    def _sentence(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk that holds {self._root} is full: free some space, or move the store"
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return f"{self._root} is not writable: nothing new can be kept there ({error.strerror})"
        return f"the blobs in {self._root} can't be used: {error.strerror}"


_FICLONE = 0x40049409  # of linux/fs.h; Python has no name for it
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


def _sealed_second(digest: str, size: int) -> int:
    tag = blake3(f"{digest} {size} ".encode() + _BOOT).digest()
    # An even one, because some file systems keep no odd ones.
    return 100_000_000 + 2 * (int.from_bytes(tag[:8], "little") % 400_000_000)


def _is_sealed(status: os.stat_result, digest: str) -> bool:
    # Whole seconds: some file systems, archives and copying tools keep no more of a time.
    return status.st_mtime_ns == _sealed_second(digest, status.st_size) * 1_000_000_000


def _seal(descriptor: int, digest: str, size: int) -> None:
    os.utime(descriptor, ns=(time.time_ns(), _sealed_second(digest, size) * 1_000_000_000))


def _finish(descriptor: int, digest: str, size: int) -> None:
    os.fchmod(descriptor, 0o400)
    if not _BOOT:
        os.fsync(descriptor)
    _seal(descriptor, digest, size)


def _seal_if_allowed(descriptor: int, digest: str, size: int) -> bool:
    try:
        _seal(descriptor, digest, size)
    except OSError:
        return False
    return True


def load(descriptor: int, size: int) -> memoryview:
    """The content of an open file of this size, as a private view: mapped if it is large. Raises OSError."""
    if size >= _MAP_FROM:
        return map_private(descriptor, size)
    content = bytearray(size)
    if size and os.readv(descriptor, [content]) != size:
        raise OSError(errno.EIO, "the file became shorter while it was read")
    return memoryview(content)


def _hash_file(descriptor: int, size: int) -> str:
    """The digest of the file's content; empty when its size is another."""
    if os.fstat(descriptor).st_size != size:
        return ""
    return digest_of(_windows(descriptor, size), size)


def _windows(descriptor: int, size: int) -> Iterator[bytes | memoryview]:
    """The file's content in pieces, so that at most one of them is in memory."""
    if size < _MAP_FROM:
        yield os.pread(descriptor, size, 0)
        return
    for start in range(0, size, _WINDOW):
        yield map_private(descriptor, min(_WINDOW, size - start), start)


def _write_all(descriptor: int, pieces: list[memoryview], size: int) -> str:
    """Write the pieces one after another and return the digest of what was written.

    Each part is copied first, and what is hashed and written is the copy: a value that another thread changes
    meanwhile can't be hashed as one thing and written as another.
    """
    running = hasher(size)
    copy = memoryview(bytearray(min(size, _COPY)))
    filled = 0
    for piece in pieces:
        while piece:
            count = min(len(piece), len(copy) - filled)
            copy[filled : filled + count] = piece[:count]
            piece, filled = piece[count:], filled + count
            if filled == len(copy):
                running.update(copy)
                _write_part(descriptor, copy)
                filled = 0
    running.update(copy[:filled])
    _write_part(descriptor, copy[:filled])
    return PREFIX + running.hexdigest()


def _copied(source: int, target: int) -> tuple[str, int]:
    """Copy an open file and return the digest and the size of what was written, which is what was read once."""
    running, size = hasher(os.fstat(source).st_size), 0
    for piece in read_pieces(source):
        running.update(piece)
        _write_part(target, piece)
        size += len(piece)
    return PREFIX + running.hexdigest(), size


def _cloned(source: int, target: int) -> bool:
    """Let an empty file share the content of another, each to get its own copy of what is written to it."""
    if fcntl is None or sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another disk, or a file system without that
        return False
    return True


def _write_part(descriptor: int, part: memoryview) -> None:
    while part:
        written = os.write(descriptor, part)
        if not written:
            raise OSError(errno.ENOSPC, "nothing more could be written")
        part = part[written:]


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        Path(target).parent.mkdir(exist_ok=True, mode=0o700)
        os.rename(source, target)


def _listing(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as files:
            return list(files)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder} can't be listed: {error.strerror}") from error


def _sized(digest: str, file: os.DirEntry[str]) -> Iterator[tuple[str, int]]:
    try:
        yield digest, file.stat().st_size
    except OSError:
        return
