"""The servers that other tests rest on are what they say: a test of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.clock import wrong_clock
from tests.servers.hosts import Hosts
from tests.servers.moto import Moto
from tests.servers.needs import need
from tests.servers.proxy import FaultProxy
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3
from tests.servers.swift import Swift

CREATE = {"if-none-match": "*"}


def test_what_is_not_here_skips_a_test_but_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a moon, which is not here: go outside"):
        need(False, "a moon", "go outside")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a moon"):
        need(False, "a moon", "go outside")
    need(True, "a moon", "go outside")


def keeps_objects(server: S3) -> None:
    bucket = server.bucket()
    server.put(bucket, "a/b c+ü.txt", b"hello")
    assert server.get(bucket, "a/b c+ü.txt") == b"hello"
    server.put(bucket, "<&>", b"")
    assert server.keys(bucket) == ["<&>", "a/b c+ü.txt"]
    assert server.keys(bucket, "a/") == ["a/b c+ü.txt"]
    server.delete(bucket, "<&>")
    server.drop(bucket)
    assert server.request("GET", f"/{bucket}/a").status == 404


def test_the_quick_server_keeps_objects(quick_s3: Moto, quick_proxy: FaultProxy) -> None:
    keeps_objects(quick_s3)
    keeps_objects(quick_proxy)


def test_the_quick_server_creates_and_replaces_on_condition(quick_s3: Moto) -> None:
    path = f"/{quick_s3.bucket()}/key"
    first = quick_s3.request("PUT", path, b"1", CREATE)
    assert first.status == 200
    assert quick_s3.request("PUT", path, b"2", CREATE).status == 412
    assert quick_s3.request("PUT", path, b"2", {"if-match": first.headers["etag"]}).status == 200
    assert quick_s3.request("PUT", path, b"3", {"if-match": first.headers["etag"]}).status == 412


def test_requests_are_counted_by_what_they_do(quick_proxy: FaultProxy) -> None:
    bucket = quick_proxy.bucket()
    quick_proxy.requests.clear()
    quick_proxy.put(bucket, "key", b"1")
    quick_proxy.get(bucket, "key")
    quick_proxy.keys(bucket)
    quick_proxy.delete(bucket, "key")
    assert [request.kind for request in quick_proxy.requests] == ["write", "read", "list", "delete"]
    assert quick_proxy.requests[0] == ("write", bucket, "key")
    assert quick_proxy.count("read", "list") == 2
    assert quick_proxy.count() == 4


def test_faults_meet_the_requests_that_they_are_for(quick_proxy: FaultProxy) -> None:
    bucket = quick_proxy.bucket()
    quick_proxy.put(bucket, "one", b"1")
    with quick_proxy.fault("deny", "read", key="one", times=1) as met:
        quick_proxy.put(bucket, "two", b"2")
        assert quick_proxy.get(bucket, "two") == b"2"
        assert not met.is_set()
        assert quick_proxy.request("GET", f"/{bucket}/one").status == 403
        assert met.is_set()
        assert quick_proxy.get(bucket, "one") == b"1"
    with quick_proxy.fault("busy", "list"):
        assert quick_proxy.request("GET", f"/{bucket}", query="list-type=2").status == 503
    assert quick_proxy.keys(bucket) == ["one", "two"]


def test_a_lost_reply_is_that_of_a_request_that_got_through(quick_proxy: FaultProxy) -> None:
    bucket = quick_proxy.bucket()
    with quick_proxy.fault("reset", "write"), pytest.raises(OSError):
        quick_proxy.put(bucket, "reset", b"1")
    with quick_proxy.fault("lose", "write"), pytest.raises(OSError):
        quick_proxy.put(bucket, "lost", b"1")
    assert quick_proxy.keys(bucket) == ["lost"]


def test_bodies_are_damaged_on_their_way_only(quick_proxy: FaultProxy) -> None:
    bucket, content = quick_proxy.bucket(), bytes(range(256))
    quick_proxy.put(bucket, "key", content)
    with quick_proxy.fault("flip", "read"):
        flipped = quick_proxy.get(bucket, "key")
    assert [index for index in range(256) if flipped[index] != content[index]] == [128]
    with quick_proxy.fault("truncate", "read"), pytest.raises(OSError):
        quick_proxy.get(bucket, "key")
    with quick_proxy.fault("slow", "read"):
        assert quick_proxy.get(bucket, "key") == content


def test_a_stalled_request_ends_with_the_fault(quick_proxy: FaultProxy) -> None:
    bucket = quick_proxy.bucket()
    errors: list[BaseException] = []

    def stalled() -> None:
        try:
            quick_proxy.keys(bucket)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=stalled)
    with quick_proxy.fault("stall", "list") as met:
        thread.start()
        assert met.wait(60)
        assert not errors
    thread.join(60)
    assert errors


def test_redis_answers_and_forgets_all_when_it_is_killed(redis_server: RedisServer) -> None:
    client = pytest.importorskip("redis").Redis.from_url(redis_server.url)
    client.set("key", "1")
    redis_server.kill()
    redis_server.start()
    assert client.get("key") is None
    client.close()


def test_hosts_have_names_addresses_and_disks_of_their_own(hosts: Hosts) -> None:
    for host in (1, 2):
        script = f"hostname; hostname -I; ls {hosts.local}; touch {hosts.local}/only-here-{host}; ls {hosts.local}"
        process = hosts.run(host, ["bash", "-c", script], stdout=subprocess.PIPE)
        name, address, *disk = (process.communicate()[0] or "").split()
        assert name == f"kept-host{host}"
        assert address == f"{hosts.address[:-1]}{host + 1}"
        assert disk == [f"only-here-{host}"]
    assert list(hosts.local.iterdir()) == []


def test_a_wrong_clock_is_wrong_for_one_process_only() -> None:
    program = "import time; before = time.time(); time.sleep(0.1); print(before, time.time())"
    environment = {**os.environ, **wrong_clock(10)}
    printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
    before, after = (float(text) for text in printed.split())
    assert before < after
    assert abs(after - 600 - time.time()) < 300


def answers_creates_as_s3_does(server: S3) -> None:
    path = f"/{server.bucket()}/key"
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            jobs = [pool.submit(server.request, "PUT", f"{path}{number}", b"%d" % n, CREATE) for n in range(8)]
            statuses = [job.result().status for job in jobs]
            assert sorted(statuses) == [200] + [412] * 7
            winner = b"%d" % statuses.index(200)
            assert server.request("GET", f"{path}{number}").body == winner


@pytest.mark.slow
def test_swift_keeps_objects_when_it_is_killed(s3: Swift, fault_proxy: FaultProxy) -> None:
    keeps_objects(s3)
    keeps_objects(fault_proxy)
    bucket = s3.bucket()
    s3.put(bucket, "key", b"1")
    s3.kill()
    with pytest.raises(OSError):
        fault_proxy.get(bucket, "key")
    s3.start()
    assert fault_proxy.get(bucket, "key") == b"1"


@pytest.mark.slow
def test_swift_knows_who_may(s3: Swift) -> None:
    wrong = S3(s3.endpoint, s3.access_key, "wrong", s3.region)
    reply = wrong.request("GET", "/")
    assert reply.status == 403
    assert b"SignatureDoesNotMatch" in reply.body


@pytest.mark.slow
def test_the_proxy_makes_conditional_writes_of_swift_atomic(s3: Swift) -> None:
    with FaultProxy(s3, atomic=True) as proxy:
        answers_creates_as_s3_does(proxy)
        path = f"/{proxy.bucket()}/key"
        assert proxy.request("PUT", path, b"0", {"if-match": '"none"'}).status == 404
        tag = proxy.request("PUT", path, b"1", CREATE).headers["etag"]
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(proxy.request, "PUT", path, b"%d" % n, {"if-match": tag}) for n in range(2, 10)]
            statuses = [job.result().status for job in jobs]
        assert sorted(statuses) == [200] + [412] * 7
        assert proxy.request("GET", path).body == b"%d" % (2 + statuses.index(200))
