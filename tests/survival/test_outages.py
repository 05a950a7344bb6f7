"""A store that can't be reached, or refuses: the run goes on, computes what it can't look up, says so and counts it."""

from __future__ import annotations

from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS, TASK_SOURCE
from tests.conftest import Lines
from tests.servers.needs import until
from tests.survival.conftest import Place

computed: list[int] = []


@pytest.fixture(autouse=True)
def nothing_computed() -> None:
    computed.clear()


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def triple(number: int) -> int:
    computed.append(number)
    return 3 * number


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def large(number: int) -> bytes:
    computed.append(number)
    return b"%d" % number * 100_000


@flow
def steps(count: int) -> list[Any]:
    return [triple(number) for number in range(count)] + [large(number) for number in range(count)]


COUNT = 5
RIGHT = [3 * number for number in range(COUNT)] + [b"%d" % number * 100_000 for number in range(COUNT)]
ALL = sorted([*range(COUNT)] * 2)


def run() -> list[int]:
    """What the flow computed; it has to return what is right."""
    computed.clear()
    assert steps(COUNT) == RIGHT
    return sorted(computed)


def hits_again() -> None:
    """Results are found again, as soon as the server is asked again."""

    def found() -> bool:
        return run() == []

    until(found, "nothing is found, or kept, after the outage")


SLOW = ["reset", "lose", "busy", "broken", "stall"]
OUTAGES = ["deny", *(pytest.param(what, marks=pytest.mark.slow) for what in SLOW)]


@pytest.mark.parametrize("what", OUTAGES)
def test_an_outage_costs_recomputation_and_a_warning_never_the_run(what: str, place: Place, log: Lines) -> None:
    run()
    assert run() == []
    log.clear()
    with place.proxy.fault(what) as met:
        assert run() == ALL
        assert met.is_set()
    assert log.having("WARNING", place.bucket), str(log)
    assert "Traceback" not in log
    assert len(log.having("WARNING") + log.having("ERROR")) <= 6, "the same is said again and again:\n" + str(log)
    assert place.proxy.secret_key not in log
    hits_again()


@pytest.mark.parametrize("what", ["reset", "lose", "busy"])
def test_a_hiccup_of_the_server_is_not_seen_at_all(what: str, place: Place, log: Lines) -> None:
    with place.proxy.fault(what, times=1):
        run()
    with place.proxy.fault(what, times=1) as met:
        assert run() == []
        assert met.is_set()
    assert not log.having("WARNING"), str(log)


@pytest.mark.slow
def test_slow_replies_are_waited_for(place: Place, log: Lines) -> None:
    with place.proxy.fault("slow"):
        run()
        assert run() == []
    assert not log.having("WARNING"), str(log)


def test_who_may_not_write_still_gets_hits(place: Place, log: Lines) -> None:
    run()
    with place.proxy.fault("deny", "write", "delete"):
        assert run() == []
        assert not log.having("WARNING"), str(log)
        assert steps(COUNT + 1)[COUNT] == 3 * COUNT
        assert computed == [COUNT, COUNT]
        assert log.having("not kept"), str(log)


def test_who_may_not_read_computes(place: Place, log: Lines) -> None:
    run()
    with place.proxy.fault("deny", "read"):
        assert run() == ALL
    assert log.having("WARNING", place.bucket), str(log)
    hits_again()


def test_who_may_not_list_gets_hits_and_keeps_results(place: Place, log: Lines) -> None:
    with place.proxy.fault("deny", "list"):
        assert run() == ALL
        assert run() == []
    assert not log.having("WARNING"), str(log)


def test_a_bucket_that_is_gone_is_named(place: Place, log: Lines) -> None:
    run()
    place.proxy.server.drop(place.bucket)
    log.clear()
    assert run() == ALL
    assert log.having("WARNING", "bucket", place.bucket), str(log)
    assert "not kept yet" not in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_server_that_says_nothing_holds_up_one_step_not_each(place: Place) -> None:
    """Each step that waits for its own timeout would make a flow of a thousand steps one of hours."""
    run()
    with place.proxy.fault("stall"):
        place.proxy.requests.clear()
        run()
        assert place.proxy.count() < COUNT


def test_a_small_hit_is_one_read_and_no_other_request(place: Place) -> None:
    run()
    place.proxy.requests.clear()
    assert triple(1) == 3
    assert [request.kind for request in place.proxy.requests] == ["read"]
