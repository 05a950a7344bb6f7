"""Flows whose results are kept far away, with copies nearby: what goes over the wire, and what is seen of trouble."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.task_runners import ProcessPoolTaskRunner
from tests.conftest import Lines
from tests.servers.proxy import FaultProxy

LARGE = os.urandom(20_000_000)

Machine = Callable[[str], None]


@pytest.fixture
def bucket(quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Results are kept in this bucket."""
    name = quick_proxy.server.bucket()
    for variable, value in quick_proxy.environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE", f"s3://{name}/results")
    yield name
    quick_proxy.server.drop(name)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go on as another machine, whose tier is empty at first."""

    def go_on(name: str) -> None:
        monkeypatch.setenv("KEPT_RESULTS_LOCAL_TIER_PATH", str(tmp_path / name))

    return go_on


@task(cache_policy=INPUTS)
def add(x: int, y: int) -> int:
    computed.append((x, y))
    return x + y


@task(cache_policy=INPUTS)
def payload(size: int) -> bytes:
    computed.append(size)
    return LARGE[:size]


computed: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_computed() -> None:
    computed.clear()


@flow
def small() -> int:
    return add(1, 2)


@flow
def large() -> int:
    return len(payload(len(LARGE)))


def test_a_cold_small_hit_is_one_request_and_a_warm_one_is_none(
    bucket: str, machine: Machine, quick_proxy: FaultProxy
) -> None:
    machine("a")
    small()
    machine("b")
    quick_proxy.requests.clear()
    assert small() == 3
    assert [request.kind for request in quick_proxy.requests] == ["read"]
    quick_proxy.requests.clear()
    assert small() == 3
    assert quick_proxy.requests == []
    assert computed == [(1, 2)]


def test_a_large_hit_is_one_read_of_the_entry_and_those_of_its_parts(
    bucket: str, machine: Machine, quick_proxy: FaultProxy
) -> None:
    machine("a")
    large()
    machine("b")
    quick_proxy.requests.clear()
    assert large() == len(LARGE)
    kinds = [(request.kind, request.key.split("/")[1]) for request in quick_proxy.requests]
    assert kinds[0] == ("read", "entries")
    assert set(kinds[1:]) == {("read", "blobs")}
    assert 3 <= len(kinds) - 1 <= 4
    quick_proxy.requests.clear()
    large()
    assert quick_proxy.requests == []
    assert computed == [len(LARGE)]


def test_an_outage_costs_recomputation_and_a_few_requests(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, log: Lines
) -> None:
    @flow
    def many() -> int:
        return sum(add(number, 1) for number in range(100))

    machine("a")
    add(0, 1)
    with quick_proxy.fault("reset"):
        quick_proxy.requests.clear()
        assert many() == 5050
        assert len(computed) == 100, "what is in the tier is a hit all the same"
        assert quick_proxy.count("read") < 10, "the attempts of the client's one question"
        assert quick_proxy.count("write") == 0
    assert len(log.having("does not answer")) == 1


def test_a_poisoned_blob_is_computed_anew_and_kept_anew(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, log: Lines
) -> None:
    machine("a")
    large()
    (key,) = [key for key in quick_proxy.server.keys(bucket) if "/blobs/" in key]
    quick_proxy.server.put(bucket, key, b"poison" + LARGE[6:])
    machine("b")
    large()
    assert "it is deleted there" in log
    machine("c")
    large()
    assert len(computed) == 2


def test_who_may_only_read_has_hits_and_keeps_the_rest_here(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, log: Lines
) -> None:
    machine("a")
    small()
    machine("b")
    with quick_proxy.fault("deny", "write"):
        assert small() == 3
        assert [large(), add(5, 5), large(), add(5, 5)] == [len(LARGE), 10, len(LARGE), 10]
    assert computed == [(1, 2), len(LARGE), (5, 5)]
    assert len(log.having("kept on this machine only")) == 1
    assert "was not kept" not in log


def test_a_hit_without_a_tier_is_read_from_afar(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_LOCAL_TIER_SIZE", "0")
    machine("a")
    large()
    quick_proxy.requests.clear()
    large()
    assert quick_proxy.requests
    assert computed == [len(LARGE)]
    assert not (tmp_path / "a").exists()


def test_what_is_written_behind_is_there_when_the_flow_ends(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_WRITE_BEHIND", "true")

    @flow
    def both() -> None:
        add(1, 2)
        large()

    machine("a")
    both()
    machine("b")
    both()
    assert computed == [(1, 2), len(LARGE)]


def test_worker_processes_share_the_tier(bucket: str, machine: Machine, quick_proxy: FaultProxy, log: Lines) -> None:
    @task(cache_policy=INPUTS)
    def in_a_worker(size: int) -> bytes:
        return bytes(size)

    @task(cache_policy=INPUTS)
    def length(content: bytes) -> int:
        return len(content)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def spread() -> list[int]:
        return length.map(in_a_worker.map([20_000_000, 3_000_000])).result()  # type: ignore[return-value]

    machine("a")
    assert spread() == [20_000_000, 3_000_000]
    assert quick_proxy.count("read") == 4 + 2, "four entries that were not there, and two payloads that were looked for"
    assert len(quick_proxy.server.keys(bucket)) == 6
    quick_proxy.requests.clear()
    assert spread() == [20_000_000, 3_000_000]
    assert quick_proxy.requests == []
    assert not log.having("WARNING")


SCRIPT = """
import os, signal, sys
from kept import flow, task
from kept.cache_policies import INPUTS

@task(cache_policy=INPUTS)
def payload(size: int) -> bytes:
    print("computed", flush=True)
    return b"x" * size

@flow
def killed():
    payload(3_000_000)
    os.kill(os.getpid(), signal.SIGKILL)

@flow
def done():
    payload(3_000_000)

def unseen():
    payload(3_000_000)

{call}()
"""


def test_what_a_killed_process_had_not_sent_is_a_hit_here_and_sent_by_the_next(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_WRITE_BEHIND", "true")
    machine("a")

    def run(call: str) -> str:
        code = textwrap.dedent(SCRIPT).format(call=call)
        return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False).stdout

    with quick_proxy.fault("stall", "write"):
        assert run("killed") == "computed\n"
    assert quick_proxy.server.keys(bucket) == []
    assert run("done") == ""
    assert len(quick_proxy.server.keys(bucket)) == 2
    machine("b")
    assert run("done") == ""


def test_what_is_written_behind_outside_of_flows_is_sent_before_the_process_ends(
    bucket: str, machine: Machine, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_WRITE_BEHIND", "true")
    machine("a")
    code = textwrap.dedent(SCRIPT).format(call="unseen")
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert len(quick_proxy.server.keys(bucket)) == 2
