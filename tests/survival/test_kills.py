"""Processes and servers that are killed at any moment: what is seen is whole, and the others go on."""

from __future__ import annotations

import ast

import pytest

from kept.results import ResultStore
from tests.servers.needs import until
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3
from tests.servers.swift import Swift
from tests.survival.conftest import Place, Workers, ended_well

pytestmark = pytest.mark.slow

PARTS = 4


def visible(place: Place) -> list[bool]:
    store = ResultStore(result_storage=place.url)
    return [store.exists(f"part-{number}") for number in range(PARTS)]


@pytest.mark.parametrize("moment", ["stall", "hang"], ids=["before_each_request", "after_each_request"])
def test_a_transaction_that_is_killed_at_any_moment_leaves_all_or_nothing(
    moment: str, quick_s3: S3, place: Place, workers: Workers
) -> None:
    seen = []
    for skip in range(200):
        attempt = Place(place.proxy, quick_s3.bucket())
        with place.proxy.fault(moment, skip=skip) as met:
            process = workers.start("together", PARTS, env=attempt.environment)
            until(lambda: met.is_set() or process.poll() is not None, "the program neither asked nor ended")
            process.kill()
            process.communicate()
        if not met.is_set():
            break
        found = visible(attempt)
        assert len(set(found)) == 1, f"after request {skip} a part of it is visible: {found}"
        seen.append(found[0])
    assert len(seen) > PARTS, "it was killed at none of its requests, so nothing was tested"
    assert seen == sorted(seen), "what was visible was gone again"
    assert not seen[0]
    assert visible(attempt) == [True] * PARTS


def test_a_server_that_is_killed_in_the_middle_of_writes_costs_recomputation_only(
    s3: Swift, fault_proxy: FaultProxy, workers: Workers
) -> None:
    place = Place(fault_proxy, s3.bucket())
    process = workers.start("led", 10_000, env=place.environment)
    for kill in range(2):
        workers.lead(process, 20)
        s3.kill()
        workers.lead(process, 20)
        s3.start()
        before = len(place.objects())
        until(lambda: workers.lead(process) or len(place.objects()) > before, "nothing is kept any more", 120)
    steps = len(workers.begun())
    out, err = ended_well(process)
    assert ast.literal_eval(out) == [3 * number for number in range(steps)]
    assert "not kept" in err
    assert "Traceback" not in err
    kept = len(place.objects())
    assert 40 < kept <= steps - 20
    begun = []
    for _ in range(2):
        out, err = workers.run("triples", steps, env=place.environment)
        assert ast.literal_eval(out) == [3 * number for number in range(steps)]
        begun.append(len(workers.begun()))
        assert "not kept" not in err
    # What Swift had taken just before it was killed it may have, and not list.
    assert steps < begun[0] <= steps + steps - kept
    assert begun[0] == begun[1]


def test_a_child_that_is_forked_after_the_store_was_used_goes_on(place: Place, workers: Workers) -> None:
    out, err = workers.run("forks", 3, env=place.environment)
    assert ast.literal_eval(out) == [0, 3, 6]
    assert len(workers.notes("kept")) == 1, "the child did not come to its end"
    assert "fork" in err
