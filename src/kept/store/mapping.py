"""Private, writable memory maps of files that keep no file handle open.

Python's `mmap` keeps a duplicate of the file's descriptor for as long as the map lives (until 3.13, where
`trackfd=False` stops it): a flow that holds 1,000 large results would run out of handles. So the map is made
by the C library's function there.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes

_NORESERVE = 0x4000 if sys.platform == "linux" else 0
"""Don't count the map against memory: only pages that are written to need any. Python names it from 3.13."""


def map_private(descriptor: int, size: int, offset: int = 0) -> memoryview:
    """`size` bytes of the file from `offset` (a multiple of the page size) as a writable view of its own.

    The map is undone when the last view of it is gone. Raises OSError.
    """
    if os.name != "posix":
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY, offset=offset))
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _NORESERVE
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(descriptor, size, flags=flags, prot=protection, offset=offset, trackfd=False))
    return _map_by_libc(descriptor, size, offset, protection, flags)


def _map_by_libc(descriptor: int, size: int, offset: int, protection: int, flags: int) -> memoryview:
    import ctypes  # noqa: PLC0415  # 5 ms that programs without large results never need

    libc = _libc()
    address = libc.mmap(None, size, protection, flags, descriptor, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    pages = (ctypes.c_ubyte * size).from_address(address)
    # Views hold on to `pages`; when the last is gone so is it, and the map with it. Not at exit, where views
    # may still be in use and the kernel cleans up anyway.
    weakref.finalize(pages, libc.munmap, address, size).atexit = False
    return memoryview(pages).cast("B")


@lru_cache(maxsize=1)
def _libc() -> Any:
    import ctypes  # noqa: PLC0415  # as above

    libc: ctypes.CDLL = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
