"""Redis, which keeps nothing on disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.needs import TIED, end, free_ports, listening, until


class RedisServer:
    """A server of its own at `url`, until `kill()`; `start()` brings it back at its address, with nothing in it.

    Arguments:
        address: where it listens besides 127.0.0.1, such as the address of this side for `hosts`.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.address = address
        (self.port,) = free_ports(1)
        self.url = f"redis://{address}:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--bind", *dict.fromkeys(["127.0.0.1", self.address]), "--port", str(self.port)]
        unsaved = ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--protected-mode", "no"]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen([*TIED, "redis-server", *where, *unsaved], stdout=log, stderr=log)
        until(lambda: listening(self.port), f"Redis does not answer, see {self.folder / 'redis.log'}")

    def kill(self) -> None:
        if self.process:
            end(self.process)
