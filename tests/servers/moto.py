"""moto: the S3 of a library, in a process of its own. It is up within a second, asks nobody who he is, forgets all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.servers.needs import TIED, end, free_ports, until
from tests.servers.s3 import S3


class Moto(S3):
    """A server of its own, until `stop()`."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        super().__init__(f"http://127.0.0.1:{port}", "quickaccess", "quicksecret0123456789")
        command = [*TIED, sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with (folder / "moto.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, f"moto does not answer, see {folder / 'moto.log'}")

    def stop(self) -> None:
        end(self.process)

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/").status == 200
        except OSError:
            assert self.process.poll() is None, "moto has ended"
            return False
