"""Azurite: Microsoft's emulator of Azure Blob Storage, in Node. Where it is not installed its tests are skipped.

npm install --prefix /tmp/kept-servers/azurite azurite
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

from tests.servers.needs import end, free_ports, listening, until

ACCOUNT = "devstoreaccount1"
# Known to everybody: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def azurite_program() -> Path | None:
    """Where it is installed; None if it is not."""
    place = os.environ.get("AZURITE_HOME") or Path(tempfile.gettempdir(), "kept-servers/azurite")
    program = Path(place, "node_modules/.bin/azurite-blob")
    return program if program.exists() else None


class Azurite:
    """A server of its own, until `stop()`."""

    def __init__(self, program: Path, folder: Path) -> None:
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        command = [str(program), "--blobPort", str(port), "--skipApiVersionCheck", "--inMemoryPersistence"]
        with (folder / "azurite.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--disableTelemetry"], stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        until(lambda: listening(port), f"azurite does not answer, see {folder / 'azurite.log'}")

    def container(self) -> str:
        """The name of a new, empty container."""
        name, date = f"container-{uuid4().hex[:12]}", formatdate(usegmt=True)
        resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signed = "PUT" + 12 * "\n" + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
        headers = {
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {ACCOUNT}:{signature}",
            "Content-Length": "0",
        }
        request = Request(f"{self.endpoint}/{name}?restype=container", method="PUT", headers=headers)
        urlopen(request).close()
        return name

    def stop(self) -> None:
        end(self.process)
