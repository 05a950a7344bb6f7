"""Two hosts on one machine: network namespaces on a bridge, each with an address, a host name and a disk of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.needs import need

_ENTER = 'hostname "$1"; mount --bind "$2" "$3"; shift 3; exec "$@"'


class Hosts:
    """`run(1, [...])` and `run(2, [...])` start processes on the hosts; `address` is this side, as they see it.

    In both, `local` is a folder of their own: what one writes there the other can't see.
    """

    def __init__(self, folder: Path) -> None:
        need(os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare"), "root and iproute2", "see hosts.py")
        self.local = folder / "local"
        self.local.mkdir()
        self.folder = folder
        used = _ip("-o", "addr") + _ip("-o", "link")
        self.number = next(n for n in range(1, 250) if f" 10.77.{n}." not in used and f" kv{n}-" not in used)
        self.address = f"10.77.{self.number}.1"
        self._bridge = f"kb{self.number}"

    def up(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for host in (1, 2):
            space, cable = self._space(host), f"kv{self.number}-{host}"
            _ip("netns", "add", space)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", space, "addr", "add", f"10.77.{self.number}.{host + 1}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            (self.folder / f"disk{host}").mkdir()

    def down(self) -> None:
        for host in (1, 2):
            subprocess.run(["ip", "netns", "del", self._space(host)], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)

    def run(
        self, host: int, command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a process on a host; options as for `subprocess.Popen`."""
        disk = str(self.folder / f"disk{host}")
        inside = ["bash", "-ec", _ENTER, "_", f"kept-host{host}", disk, str(self.local), *command]
        entered = ["ip", "netns", "exec", self._space(host), "unshare", "-m", "-u", *inside]
        return subprocess.Popen(entered, env=env, text=True, **options)

    def _space(self, host: int) -> str:
        return f"kh{self.number}-{host}"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
