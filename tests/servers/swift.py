"""OpenStack Swift behind its own S3 interface: a real server, with authentication, that keeps what it has on disk.

Its conditional create is not atomic when two clients race, unlike that of S3: a useful adversary. Its write if a tag is
unchanged is not there at all (501). `FaultProxy(..., atomic=True)` in front of it mends both.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.servers.needs import TIED, end, free_ports, listening, until
from tests.servers.s3 import S3

VERSION = "2.38.3"
_SERVERS = ("account", "container", "object")
_FILTERS = "catch_errors gatekeeper listing_formats bulk s3api tempauth slo dlo symlink versioned_writes".split()
_RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in zip(sys.argv[2::2], sys.argv[3::2]):
    builder = RingBuilder(2, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""


def swift_home() -> Path | None:
    """The environment that Swift is installed in, if there is one."""
    repository = Path(__file__).parents[2]
    places = [Path(tempfile.gettempdir(), "kept-servers/swift"), repository / "build/servers/swift"]
    if chosen := os.environ.get("SWIFT_VENV"):
        places = [Path(chosen)]
    return next((place for place in places if (place / "bin/swift-proxy-server").exists()), None)


class Swift(S3):
    """A server of its own, in `folder`, with one replica; `kill()` and `start()` keep its address and its objects.

    Arguments:
        filters: what requests pass first, by name: modules in `filters_path` with a `factory` for PasteDeploy.
    """

    def __init__(self, home: Path, folder: Path, filters: Sequence[str] = (), filters_path: str = "") -> None:
        self.home = home
        self.folder = folder
        self.filters = filters
        self.environ = {**os.environ, "SWIFT_DIR": str(folder), "PYTHONPATH": filters_path}
        self.ports = dict(zip([*_SERVERS, "proxy"], free_ports(4), strict=True))
        self.processes: list[subprocess.Popen[bytes]] = []
        super().__init__(f"http://127.0.0.1:{self.ports['proxy']}", "keptaccess:x", "keptsecret0123456789")
        self._configure()

    def start(self) -> None:
        """Come up, and return when requests are answered."""
        for name in self.ports:
            with (self.folder / f"{name}.log").open("ab") as log:
                command = [*TIED, str(self.home / f"bin/swift-{name}-server"), str(self.folder / f"{name}.conf")]
                started = subprocess.Popen(command, stdout=log, stderr=log, env=self.environ, start_new_session=True)
            self.processes.append(started)
        until(self._answers, f"Swift does not answer:\n{self._log()}")

    def kill(self) -> None:
        """Die as by a power cut: all processes at once, whatever they are at."""
        for process in self.processes:
            process.kill()
        while self.processes:
            end(self.processes.pop())

    def _answers(self) -> bool:
        return all(listening(port) for port in self.ports.values()) and self.request("GET", "/").status == 200

    def _log(self) -> str:
        return "\n".join(log.read_text()[-2000:] for log in self.folder.glob("*.log"))

    def _configure(self) -> None:
        (self.folder / "disks/d1").mkdir(parents=True)
        hashes = "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n"
        policy = "[storage-policy:0]\nname = gold\ndefault = yes\n"
        self._write("swift.conf", hashes + policy)
        for name in _SERVERS:
            disks = f"devices = {self.folder / 'disks'}\nmount_check = false\nfallocate_reserve = 0\n"
            application = f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
            self._write(f"{name}.conf", self._common(name) + disks + application)
        options = {
            "s3api": f"location = {self.region}\ns3_acl = false\n",
            "tempauth": f"user_{self.access_key.replace(':', '_')} = {self.secret_key} .admin\n",
            "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true\n",
        }
        first, *others = _FILTERS  # the first catches the errors of the others
        pipeline = f"[pipeline:main]\npipeline = {' '.join([first, *self.filters, *others])} proxy-server\n"
        application = "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
        filters = [f"[filter:{name}]\nuse = egg:swift#{name}\n{options.get(name, '')}" for name in _FILTERS]
        filters += [f"[filter:{name}]\npaste.filter_factory = {name}:factory\n" for name in self.filters]
        self._write("proxy.conf", self._common("proxy") + pipeline + application + "".join(filters))
        rings = [text for name in _SERVERS for text in (name, str(self.ports[name]))]
        command = [str(self.home / "bin/python"), "-c", _RINGS, str(self.folder), *rings]
        subprocess.run(command, check=True, capture_output=True, env=self.environ)

    def _common(self, name: str) -> str:
        where = f"bind_ip = 127.0.0.1\nbind_port = {self.ports[name]}\nswift_dir = {self.folder}\n"
        quiet = "log_udp_host =\nlog_address = /dev/null\n"
        return f"[DEFAULT]\n{where}workers = 0\nuser = {getpass.getuser()}\n{quiet}"

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
