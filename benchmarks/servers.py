"""The servers of the far cases on loopback: those that the tests have, and a count of what the S3 server is asked."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))
from tests.servers.needs import free_ports  # noqa: E402
from tests.servers.redis import RedisServer  # noqa: E402
from tests.servers.swift import Swift  # noqa: E402

__all__ = ["NotServed", "Servers", "free_ports"]


class NotServed(Exception):
    """A server can't be started; the message says why."""


@dataclass(kw_only=True)
class Servers:
    """Both, each started when it is first asked for."""

    home: Path
    """The environment that Swift is installed in."""
    folder: Path

    @cached_property
    def s3(self) -> Swift:
        server = Swift(self.home, self._folder("swift"), ["counted"], str(HERE))
        server.start()
        return server

    @cached_property
    def redis(self) -> RedisServer:
        if shutil.which("redis-server") is None:
            raise NotServed("there is no redis-server on the PATH (Debian: apt install redis-server)")
        server = RedisServer(self._folder("redis"))
        server.start()
        return server

    def settings(self) -> dict[str, str]:
        """What goes into the environment of a worker, with a bucket of its own."""
        bucket, redis = self.s3.bucket(), self.redis.url
        return {**self.s3.environment, "BENCHMARK_BUCKET": bucket, "BENCHMARK_REDIS_URL": redis}

    def stop(self) -> None:
        """End those that were started, by process id."""
        for server in (vars(self).get("s3"), vars(self).get("redis")):
            if server is not None:
                server.kill()

    def _folder(self, name: str) -> Path:
        (self.folder / name).mkdir(parents=True)
        return self.folder / name
