"""Two hosts, one bucket: each result is computed once, whatever becomes of who computes it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.clock import wrong_clock
from tests.servers.hosts import Hosts
from tests.servers.needs import until
from tests.servers.proxy import FaultProxy
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3
from tests.survival.conftest import Place, Workers, ended_well

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def known(s3: S3, hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A bucket that both hosts reach, with conditional writes as on S3; both have asked it, by a thousand requests."""
    with FaultProxy(s3, hosts.address, atomic=True) as proxy:
        place = Place(proxy, s3.bucket())
        workers = Workers(tmp_path_factory.mktemp("known"))
        for host in (1, 2):
            workers.run("first", 1000 + host, env=place.environment, host=(hosts, host))
        yield place


@pytest.fixture
def shared(known: Place, tmp_path: Path) -> Place:
    """A folder of this test in that bucket."""
    return known._replace(folder=tmp_path.name)


@pytest.fixture
def shared_redis(hosts: Hosts, redis_server: RedisServer) -> Iterator[dict[str, str]]:
    """The setting by which both hosts take locks from one Redis."""
    server = RedisServer(redis_server.folder, hosts.address)
    server.start()
    yield {"KEPT_LOCKING_REDIS_URL": server.url}
    server.kill()


def computed_once(workers: Workers, hosts: Hosts, settings: dict[str, str], keys: int) -> None:
    processes = [workers.start("alone", keys, env=settings, host=(hosts, number % 2 + 1)) for number in range(8)]
    for process in processes:
        out, err = ended_well(process)
        assert int(out) == 3 * sum(range(keys))
        assert "WARNING" not in err
    assert sorted(workers.begun()) == list(range(keys))
    assert len({pid for _, pid in workers.notes("begin")}) > 1, "one process did it all, so nothing was tested"


def test_eight_processes_on_two_hosts_compute_each_key_once_with_leases(
    shared: Place, hosts: Hosts, workers: Workers
) -> None:
    computed_once(workers, hosts, shared.environment, keys=48)


def test_eight_processes_on_two_hosts_compute_each_key_once_with_redis(
    shared: Place, hosts: Hosts, shared_redis: dict[str, str], workers: Workers
) -> None:
    computed_once(workers, hosts, shared.environment | shared_redis, keys=200)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_ten_minutes_wrong_changes_nothing(
    minutes: int, shared: Place, hosts: Hosts, workers: Workers
) -> None:
    wrong = shared.environment | wrong_clock(minutes)
    keys = 12
    processes = [
        workers.start("alone", keys, env=settings, host=(hosts, host))
        for host, settings in [(1, shared.environment), (2, wrong)] * 2
    ]
    for process in processes:
        out, err = ended_well(process)
        assert int(out) == 3 * sum(range(keys))
        assert "WARNING" not in err
    assert sorted(workers.begun()) == list(range(keys))
    for host, settings in [(1, wrong), (2, shared.environment)]:
        workers.run("alone", keys, env=settings, host=(hosts, host))
    assert len(workers.begun()) == keys


@pytest.mark.parametrize("locks", ["leases", "redis"])
def test_a_hundred_lease_holders_are_killed_and_no_key_is_blocked_or_computed_twice(
    locks: str, atomic_place: Place, redis_server: RedisServer, workers: Workers
) -> None:
    settings = atomic_place.environment | {"KEPT_LOCKING_LEASE_SECONDS": "2", "KEPT_HOME": str(workers.folder)}
    if locks == "redis":
        settings["KEPT_LOCKING_REDIS_URL"] = redis_server.url
    keys, lost = 60, 0
    workers.run("first", keys, env=settings)
    workers.notes_file.unlink()
    while len(workers.notes("hold")) < 100:
        held = len(workers.notes("hold"))
        processes = [workers.start("alone", keys, env=settings | {"WORK_HOLD": "0.8"}) for _ in range(3)]
        # Of twelve threads; the others may wait for one of these.
        until(lambda: len(workers.notes("hold")) >= held + 6, "no step begins")
        for process in processes:
            process.kill()
            process.communicate()
        lost += unfinished(workers, processes)
    for process in [workers.start("alone", keys, env=settings) for _ in range(2)]:
        assert int(ended_well(process)[0]) == 3 * sum(range(keys))
    nothing_was_computed_after_it_was_kept(workers)
    assert set(workers.begun()) == set(range(keys))
    assert len(workers.begun()) <= keys + lost, "a step was computed that no killed process had begun with"


def unfinished(workers: Workers, processes: list[subprocess.Popen[str]]) -> int:
    """How many steps these processes have begun and not said to be kept."""
    pids = {process.pid for process in processes}
    kept = set(workers.notes("kept"))
    return sum(note[1] in pids and note not in kept for note in workers.notes("begin"))


def nothing_was_computed_after_it_was_kept(workers: Workers) -> None:
    kept: set[str] = set()
    for word, number, _ in map(str.split, workers.notes_file.read_text().splitlines()):
        assert word == "kept" or number not in kept, f"{number} was computed after it was kept"
        if word == "kept":
            kept.add(number)
