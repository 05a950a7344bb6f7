"""The fixtures. Servers start when the first test asks for them and are there for all the others."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import pytest

from tests.servers.hosts import Hosts
from tests.servers.moto import Moto
from tests.servers.needs import need
from tests.servers.proxy import FaultProxy
from tests.servers.redis import RedisServer
from tests.servers.swift import VERSION, Swift, swift_home


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """A real S3 server; takes two seconds to start, and answers about a hundred requests a second."""
    home = swift_home()
    install = "python3 -m venv build/servers/swift && build/servers/swift/bin/pip install swift"
    need(home, "Swift", f"{install}=={VERSION}, or say where it is by SWIFT_VENV")
    assert home
    server = Swift(home, tmp_path_factory.mktemp("swift"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def quick_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """An S3 server for quick tests; it lets anybody do anything."""
    need(importlib.util.find_spec("moto"), "moto", "pip install 'kept[test]'")
    server = Moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server, for this machine."""
    need(shutil.which("redis-server"), "Redis", "apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two hosts beside this one."""
    both = Hosts(tmp_path_factory.mktemp("hosts"))
    try:
        both.up()
        yield both
    finally:
        both.down()


@pytest.fixture
def fault_proxy(s3: Swift) -> Iterator[FaultProxy]:
    """A proxy of this test's own in front of `s3`, which does nothing until it is told to."""
    with FaultProxy(s3) as proxy:
        yield proxy


@pytest.fixture
def quick_proxy(quick_s3: Moto) -> Iterator[FaultProxy]:
    """A proxy of this test's own in front of `quick_s3`."""
    with FaultProxy(quick_s3) as proxy:
        yield proxy
