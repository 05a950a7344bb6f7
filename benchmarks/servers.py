"""The servers of the far cases on loopback: OpenStack Swift, which speaks S3 with authentication, and Redis."""

from __future__ import annotations

import base64
import getpass
import hmac
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import MappingProxyType
from urllib.request import Request, urlopen

HERE = Path(__file__).resolve().parent
USER, SECRET = "benchmark:far", "not-a-secret-0123456789"
SERVERS = ("account", "container", "object", "proxy")
PIPELINE = "catch_errors counted gatekeeper listing_formats s3api tempauth slo proxy-server"
# Each server is one process, with one copy of the data.
COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address = /dev/null
"""
STORAGE = """\
devices = {folder}/disks
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
FILTERS: Mapping[str, str] = MappingProxyType(
    {
        "counted": "paste.filter_factory = counted:factory",
        "catch_errors": "use = egg:swift#catch_errors",
        "gatekeeper": "use = egg:swift#gatekeeper",
        "listing_formats": "use = egg:swift#listing_formats",
        "s3api": "use = egg:swift#s3api\nlocation = us-east-1\ns3_acl = false",
        "tempauth": f"use = egg:swift#tempauth\nuser_{USER.replace(':', '_')} = {SECRET} .admin",
        "slo": "use = egg:swift#slo",
    }
)
PROXY = (
    f"[pipeline:main]\npipeline = {PIPELINE}\n[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
    + "".join(f"[filter:{name}]\n{text}\n" for name, text in FILTERS.items())
)


class NotServed(Exception):
    """A server could not be started; the message says which and why."""


@dataclass(kw_only=True)
class Servers:
    """Both servers, once started, and what a client needs to know of them."""

    folder: Path
    swift: Path
    """The `bin` folder of Swift's environment."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    def settings(self, bucket: str) -> dict[str, str]:
        """What goes into the environment of a worker, with a new bucket and an empty Redis."""
        if not self.started:
            self._start()
        self._make(bucket)
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "BENCHMARK_BUCKET": bucket,
            "BENCHMARK_REDIS_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
        }

    def stop(self) -> None:
        """End both, by process id."""
        for process in self.started:
            process.terminate()
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.ports['proxy']}"

    def _start(self) -> None:
        (self.folder / "disks" / "d1").mkdir(parents=True)
        self.ports = {name: free_port() for name in (*SERVERS, "redis")}
        self._configure()
        environment = os.environ | {"PYTHONPATH": str(HERE), "SWIFT_DIR": str(self.folder)}
        for name in SERVERS:
            self._run(name, [str(self.swift / f"swift-{name}-server"), f"{name}.conf"], environment)
        redis = shutil.which("redis-server")
        if redis is None:
            raise NotServed("there is no redis-server on the PATH (Debian: apt install redis-server)")
        options = ["--port", str(self.ports["redis"]), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._run("redis", [redis, *options], dict(os.environ))
        for name, port in self.ports.items():
            self._wait_for(name, port)

    def _configure(self) -> None:
        (self.folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n"
            "[storage-policy:0]\nname = gold\ndefault = yes\n"
        )
        for name in SERVERS:
            common = COMMON.format(port=self.ports[name], user=getpass.getuser(), folder=self.folder)
            rest = PROXY if name == "proxy" else STORAGE.format(name=name, folder=self.folder)
            (self.folder / f"{name}.conf").write_text(common + rest)
            if name != "proxy":
                self._ring(f"{name}.builder", "create", "4", "1", "1")
                self._ring(f"{name}.builder", "add", f"r1z1-127.0.0.1:{self.ports[name]}/d1", "1")
                self._ring(f"{name}.builder", "rebalance")

    def _ring(self, *arguments: str) -> None:
        command = [str(self.swift / "swift-ring-builder"), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode > 1:  # 1 is a warning
            raise NotServed(f"swift-ring-builder: {done.stdout}{done.stderr}")

    def _run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.started.append(process)

    def _wait_for(self, name: str, port: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.1)
        log = (self.folder / f"{name}.log").read_text(errors="replace").strip()
        raise NotServed(f"{name} did not answer within 30 s: {log[-500:]}")

    def _make(self, bucket: str) -> None:
        """With a signature of the second version, which fits in a line."""
        date = formatdate(usegmt=True)
        digest = hmac.digest(SECRET.encode(), f"PUT\n\n\n{date}\n/{bucket}".encode(), "sha1")
        signed = {"Date": date, "Authorization": f"AWS {USER}:{base64.b64encode(digest).decode()}"}
        urlopen(Request(f"{self._url}/{bucket}", method="PUT", headers=signed), timeout=30).close()


def requests_served() -> dict[str, int]:
    """How many requests the S3 server has had so far, by method; for the workers."""
    with urlopen(os.environ["AWS_ENDPOINT_URL"] + "/.requests", timeout=30) as answer:
        return dict(json.loads(answer.read()))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
