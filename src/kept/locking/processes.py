"""Which process holds a lock, and whether it is still there.

A process is told by its machine and the boot id of it, its process id namespace, its id, and when it was started in
clock ticks (field 22 of /proc/<pid>/stat, proc(5)), since ids are given anew.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_STOPPED = (b"T", b"t")
_DEAD = (b"Z", b"X")


def this_process() -> dict[str, Any]:
    """What a lock says of the process that holds it: `host`, `boot`, `space`, `pid`, `started`."""
    return dict(_of(os.getpid()))


def shares_clock(process: Mapping[str, Any]) -> bool:
    """Whether a monotonic clock reading of that process can be compared with one of this process."""
    here = _here()
    return bool(here["boot"]) and process["host"] == here["host"] and process["boot"] == here["boot"]


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether the process is provably no more: it was of this host, and there is none such now."""
    here = _here()
    if process["host"] != here["host"]:
        return False
    if process["boot"] != here["boot"]:
        return True
    if process["space"] != here["space"]:
        return False
    started = _started(process["pid"])
    return not _exists(process["pid"]) or (started is not None and started != process["started"])


def is_at_work(process: Mapping[str, Any]) -> bool:
    """Whether the process is provably there, on this host, and not stopped by a signal or a debugger."""
    here = _here()
    if any(process[name] != here[name] for name in ("host", "boot", "space")):
        return False
    fields = _status(process["pid"])
    return fields is not None and fields[0] not in _STOPPED + _DEAD and int(fields[19]) == process["started"]


@lru_cache(maxsize=1)
def _of(pid: int) -> dict[str, Any]:
    return {**_here(), "pid": pid, "started": _started(pid)}


@lru_cache(maxsize=1)
def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot(), "space": _space()}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot: 0 if it is dead, None if nobody says."""
    fields = _status(pid)
    if fields is None:
        return None
    return 0 if fields[0] in _DEAD else int(fields[19])


def _status(pid: int) -> list[bytes] | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the program's name, may itself have spaces and parentheses.
    return status.rpartition(b")")[2].split()
