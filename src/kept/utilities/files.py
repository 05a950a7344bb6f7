"""Files on this machine: written so that they are seen whole or not at all, and read in pieces."""

# Paths are text here: making a Path of each costs more than what is done with it.
# ruff: noqa: PTH103, PTH105, PTH108, PTH118

from __future__ import annotations

import os
from collections.abc import Iterator

TEMPORARY = ".kept-tmp"
"""How the names of files end that are being written."""
_PIECE = 4 << 20


def write_whole(path: str | os.PathLike[str], content: bytes, *, replace: bool = True) -> bool:
    """Write a file, for this user's eyes only; a reader, or a crash of the machine, sees all of it or what was there.

    Makes its folder. Returns False if it is there and is not to be replaced. Raises OSError.
    """
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, f".{name[:40]}.{os.urandom(6).hex()}{TEMPORARY}")
    os.makedirs(parent, exist_ok=True, mode=0o700)
    try:
        with open(temporary, "xb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not replace:
            return _linked(temporary, path)
        os.replace(temporary, path)
        return True
    finally:
        unlink(temporary)


def read_pieces(descriptor: int) -> Iterator[memoryview]:
    """Give the content of an open file piece by piece, each until the next is asked for."""
    buffer = memoryview(bytearray(min(os.fstat(descriptor).st_size + 1, _PIECE)))
    while count := os.readv(descriptor, [buffer]):
        yield buffer[:count]


def unlink(path: str) -> None:
    """Remove a file if that can be done."""
    try:
        os.unlink(path)
    except OSError:
        pass


def _linked(temporary: str, path: str | os.PathLike[str]) -> bool:
    """Give the file its name, unless there is one of that name, which a rename would replace."""
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            os.replace(temporary, path)
    except FileExistsError:
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
