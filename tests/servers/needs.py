"""What a test needs from the machine, and what happens where it is not there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

TIED = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
"""What a command begins with to end with the tests, even if those are killed."""


def need(present: Any, what: str, cure: str) -> None:
    """Skip the test where `what` is not present, save in CI: there all is installed, so a test that skips is broken."""
    if present:
        return
    import pytest  # the benchmarks start these servers too, where there is no pytest

    sentence = f"needs {what}, which is not here: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens at."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until the condition holds; the limit is there so that a broken test ends, not to measure anything."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"after {seconds} seconds: {what}")
        time.sleep(0.02)


def listening(port: int) -> bool:
    """Whether a server accepts connections at the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that was started here, at once, and wait until it is gone."""
    process.kill()
    process.wait()
