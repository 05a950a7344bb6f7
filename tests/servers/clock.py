"""A process whose clock is wrong, by libfaketime (Debian: libfaketime)."""

from __future__ import annotations

from pathlib import Path

from tests.servers.needs import need


def wrong_clock(minutes: int) -> dict[str, str]:
    """What a new process needs in its environment for a clock that is so far ahead, or behind if negative.

    The clock that only measures intervals is as far off, which is of no consequence among processes that all have this
    environment: left alone it would make every sleep of Python fail, by a mistake of libfaketime 0.9.10.
    """
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    need(found, "libfaketime", "apt-get install libfaketime")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{minutes:+d}m"}
