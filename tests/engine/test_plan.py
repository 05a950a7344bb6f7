"""What applies to a run, and hit or run: pure functions, each decision with its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import DEFAULT, INPUTS, NO_CACHE, NONE
from kept.context import FlowRunContext
from kept.engine.plan import (
    Hit,
    Run,
    ago,
    caching,
    delay_before,
    flow_persists,
    judge,
    kept_by_another,
    persists,
    recorder,
    refreshing,
    retry_delays,
    task_rules,
)
from kept.results import ResultStore
from kept.settings import Settings, get_current_settings, temporary_settings
from kept.store import Entry, Miss
from kept.testing import an_entry


def spec(**options: Any) -> Any:
    @task(**options)
    def f(x: int = 1) -> int:
        return x

    return f.spec


def flow_spec(**options: Any) -> Any:
    @flow(**options)
    def f() -> None: ...

    return f.spec


def settings(**updates: Any) -> Settings:
    with temporary_settings(updates) as found:
        return found


def entry(**fields: Any) -> Entry:
    return an_entry("key")._replace(**fields)


# -- whether results are kept


@pytest.mark.parametrize(
    ("options", "updates", "of_flow", "kept"),
    [
        ({}, {}, None, False),
        ({"persist_result": True}, {}, None, True),
        ({"persist_result": True}, {"KEPT_TASKS_DEFAULT_PERSIST_RESULT": False}, False, True),
        ({"cache_policy": INPUTS}, {}, None, True),
        ({"cache_policy": INPUTS}, {"KEPT_TASKS_DEFAULT_PERSIST_RESULT": False}, False, True),
        ({"cache_key_fn": lambda c, p: "k"}, {}, None, True),
        ({"result_storage_key": "k"}, {}, None, True),
        ({"result_serializer": "json"}, {}, None, True),
        ({"result_storage": "/tmp/x"}, {}, None, True),
        ({"cache_policy": NO_CACHE}, {}, None, False),
        ({"cache_policy": NO_CACHE}, {}, True, True),
        ({"cache_policy": NO_CACHE, "persist_result": True}, {}, None, True),
        ({}, {}, True, True),
        ({}, {}, False, False),
        ({}, {"KEPT_RESULTS_PERSIST_BY_DEFAULT": True}, None, True),
        ({}, {"KEPT_RESULTS_PERSIST_BY_DEFAULT": True}, False, False),
        ({}, {"KEPT_TASKS_DEFAULT_PERSIST_RESULT": True}, None, True),
        ({}, {"KEPT_TASKS_DEFAULT_PERSIST_RESULT": True}, False, True),
        ({}, {"KEPT_TASKS_DEFAULT_PERSIST_RESULT": False}, True, False),
        ({"persist_result": False}, {"KEPT_RESULTS_PERSIST_BY_DEFAULT": True}, True, False),
        ({"persist_result": False, "cache_policy": INPUTS}, {}, True, False),
        ({"persist_result": False, "result_storage_key": "k"}, {}, True, False),
    ],
)
def test_a_result_is_kept_when_something_asks_for_it(
    options: dict[str, Any], updates: dict[str, Any], of_flow: bool | None, kept: bool
) -> None:
    assert persists(spec(**options), settings(**updates), of_flow) is kept


@pytest.mark.parametrize(
    ("options", "updates", "of_parent", "kept"),
    [
        ({}, {}, None, None),
        ({"persist_result": True}, {}, None, True),
        ({"persist_result": False}, {"KEPT_RESULTS_PERSIST_BY_DEFAULT": True}, True, False),
        ({"result_storage": "/tmp/x"}, {}, None, True),
        ({"result_serializer": "json"}, {}, False, True),
        ({}, {}, True, True),
        ({}, {}, False, False),
        ({}, {"KEPT_RESULTS_PERSIST_BY_DEFAULT": True}, None, True),
    ],
)
def test_a_flow_says_whether_its_tasks_keep_their_results(
    options: dict[str, Any], updates: dict[str, Any], of_parent: bool | None, kept: bool | None
) -> None:
    assert flow_persists(flow_spec(**options), settings(**updates), of_parent) is kept


# -- whether anything is looked up


@pytest.mark.parametrize(
    ("options", "updates", "persist", "policy", "off"),
    [
        ({}, {}, True, DEFAULT, ""),
        ({"cache_policy": INPUTS}, {}, True, INPUTS, ""),
        ({"cache_policy": NO_CACHE}, {}, True, None, "cache_policy=NO_CACHE"),
        ({"cache_policy": NONE}, {}, True, None, "cache_policy=NO_CACHE"),
        ({}, {}, False, None, "nothing asks for its result to be kept"),
        ({"persist_result": False}, {}, False, None, "persist_result=False"),
        ({}, {"KEPT_TASKS_DISABLE_CACHING": True}, True, None, "KEPT_TASKS_DISABLE_CACHING is set"),
        (
            {"cache_policy": INPUTS},
            {"KEPT_TASKS_DISABLE_CACHING": True},
            True,
            None,
            "KEPT_TASKS_DISABLE_CACHING is set",
        ),
        (
            {},
            {"KEPT_TASKS_DEFAULT_NO_CACHE": True},
            True,
            None,
            "KEPT_TASKS_DEFAULT_NO_CACHE is set and the task names no policy",
        ),
        ({"cache_policy": INPUTS}, {"KEPT_TASKS_DEFAULT_NO_CACHE": True}, True, INPUTS, ""),
    ],
)
def test_caching_is_off_only_for_a_reason(
    options: dict[str, Any], updates: dict[str, Any], persist: bool, policy: Any, off: str
) -> None:
    assert caching(spec(**options), settings(**updates), persist) == (policy, off)


@pytest.mark.parametrize(
    ("option", "setting", "reason"),
    [
        (None, False, ""),
        (None, True, "KEPT_TASKS_REFRESH_CACHE is set"),
        (True, False, "refresh_cache=True"),
        (True, True, "refresh_cache=True"),
        (False, False, ""),
        (False, True, ""),
    ],
)
def test_a_task_refreshes_by_its_own_word_before_that_of_the_setting(
    option: bool | None, setting: bool, reason: str
) -> None:
    assert refreshing(option, setting) == reason


# -- hit or run


def test_no_entry_is_a_run_for_the_reason_that_the_store_gives() -> None:
    assert judge(Miss("absent"), None, 100.0) == Run("absent")


def test_an_entry_is_a_hit() -> None:
    found = entry(created=90.0, expires=None)
    assert judge(found, None, 100.0) == Hit(found, "kept")


@pytest.mark.parametrize(
    ("expires", "expiration", "reason"),
    [
        (101.0, None, "kept"),
        (100.0, None, "expired 0.0 seconds ago"),
        (99.0, None, "expired 1.0 seconds ago"),
        (None, 11.0, "kept"),
        (None, 10.0, "kept 10.0 seconds ago, longer than cache_expiration allows"),
        (200.0, 5.0, "kept 10.0 seconds ago, longer than cache_expiration allows"),
        (99.0, 500.0, "expired 1.0 seconds ago"),
    ],
)
def test_expiry_is_judged_by_the_entry_and_by_todays_option(
    expires: float | None, expiration: float | None, reason: str
) -> None:
    decision = judge(entry(created=90.0, expires=expires), expiration, 100.0)
    assert decision.reason == reason
    assert isinstance(decision, Hit) is (reason == "kept")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 seconds ago"),
        (59.94, "59.9 seconds ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (7200, "2 hours ago"),
        (86400, "1 day ago"),
        (10 * 86400, "10 days ago"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    assert ago(seconds) == words


# -- retries


@pytest.mark.parametrize(
    ("said", "default", "delays"),
    [
        (None, 0, (0.0,)),
        (None, 2, (2.0,)),
        (None, [1, 2], (1, 2)),
        (None, None, (0.0,)),
        (3, 9, (3.0,)),
        (0, 9, (0.0,)),
        ([1, 2, 3], 0, (1, 2, 3)),
        ([], 0, ()),
        (lambda retries: [10 * n for n in range(retries)], 0, (0, 10)),
    ],
)
def test_delays_come_from_a_number_a_list_or_a_function(said: Any, default: Any, delays: Any) -> None:
    assert retry_delays(said, default, 2) == delays


def test_the_last_delay_repeats() -> None:
    assert [delay_before(retry, (1, 2)) for retry in (1, 2, 3, 9)] == [1, 2, 2, 2]
    assert delay_before(1, ()) == 0


# -- who kept it


@pytest.mark.parametrize(
    ("theirs", "ours", "another"),
    [
        ("etl.clean", "etl.clean", False),
        ("etl.clean", "etl.load", True),
        ("etl.clean", "elt.clean", True),
        ("jobs.etl.clean", "etl.clean", False),
        ("etl.clean", "jobs.etl.clean", False),
        ("metl.clean", "etl.clean", True),
        ("__main__.clean", "__main__.load", True),
        ("", "etl.clean", False),
    ],
)
def test_a_script_that_is_run_and_imported_is_the_same_script(theirs: str, ours: str, another: bool) -> None:
    assert kept_by_another(entry(task=theirs), ours) is another


# -- the rules of a task


def test_rules_are_worked_out_once_until_settings_or_flow_change() -> None:
    of = spec(cache_policy=INPUTS)
    now = get_current_settings()
    first = task_rules(of, now, None)
    assert task_rules(of, now, None) is first
    assert task_rules(of, settings(KEPT_TASKS_REFRESH_CACHE=True), None).refresh
    assert not task_rules(of, now, None).refresh


def test_rules_follow_the_flow_around() -> None:
    of = spec()
    now = get_current_settings()
    store = ResultStore(serializer="json")
    assert not task_rules(of, now, None).persist
    inside = task_rules(of, now, FlowRunContext(persist_result=True, result_store=store))
    assert (inside.persist, inside.store, inside.policy) == (True, store, DEFAULT)
    assert not task_rules(of, now, FlowRunContext(persist_result=False)).persist


def test_rules_follow_the_flow_in_whether_prints_are_logged() -> None:
    of = spec()
    now = get_current_settings()
    assert task_rules(of, now, FlowRunContext(log_prints=True)).log_prints
    assert not task_rules(of, now, FlowRunContext(log_prints=False)).log_prints
    assert not task_rules(of, now, None).log_prints


def test_a_task_takes_the_serializer_of_its_flow_with_storage_of_its_own_and_the_other_way_round(
    tmp_path: Any,
) -> None:
    now = get_current_settings()
    around = FlowRunContext(
        persist_result=True, result_store=ResultStore(result_storage=tmp_path / "flow", serializer="json")
    )
    own_storage = task_rules(spec(result_storage=tmp_path / "task"), now, around).store
    assert own_storage is not None
    assert (own_storage.serializer_name, own_storage.location) == ("json", str(tmp_path / "task"))
    own_serializer = task_rules(spec(result_serializer="pickle"), now, around).store
    assert own_serializer is not None
    assert (own_serializer.serializer_name, own_serializer.location) == ("pickle", str(tmp_path / "flow"))


def test_an_expiration_is_told_in_seconds() -> None:
    assert task_rules(spec(cache_expiration=timedelta(minutes=2)), get_current_settings(), None).expiration == 120.0


def test_records_are_taken_only_where_they_are_wanted() -> None:
    assert recorder(settings(KEPT_HISTORY_ENABLED=False)) is None
    first = recorder(get_current_settings())
    assert first is not None
    assert recorder(get_current_settings()) is first
