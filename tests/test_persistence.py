"""When results are kept, where, for how long, under which key, and what a caller gets of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy
import pytest

import kept
from kept import State, Task, flow, task
from kept.cache_policies import DEFAULT, FLOW_PARAMETERS, INPUTS, NO_CACHE, NONE, TASK_SOURCE
from kept.context import TaskRunContext
from kept.exceptions import LockNotHeldError, MissingResult, ParameterTypeError
from kept.filesystems import LocalFileSystem, WritableFileSystem
from kept.locking.memory import MemoryLockManager
from kept.results import ResultStore, get_result_store, should_persist_result
from kept.runtime import flow_run as flow_facts
from kept.runtime import task_run as run_facts
from kept.serializers import CompressedSerializer, JSONSerializer, PickleSerializer, Serializer
from kept.settings import (
    KEPT_LOCAL_STORAGE_PATH,
    KEPT_RESULTS_DEFAULT_SERIALIZER,
    KEPT_RESULTS_PERSIST_BY_DEFAULT,
    KEPT_TASKS_DEFAULT_NO_CACHE,
    KEPT_TASKS_DEFAULT_PERSIST_RESULT,
    KEPT_TASKS_DISABLE_CACHING,
    KEPT_TASKS_REFRESH_CACHE,
    temporary_settings,
)
from kept.states import StateType
from kept.store import Entry


def called(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    """The final state of a call that completed."""
    state = step(*args, return_state=True, **kwargs)
    assert isinstance(state, State)
    assert state.is_completed()
    return state


def names(step: Task[..., Any], *calls: Any) -> list[str]:
    """The names of the final states of a task called with each of these."""
    return [called(step, call).name for call in calls]


def entries() -> list[Entry]:
    """What is kept in the default store."""
    return list(ResultStore().entries.scan())


def keeps(step: Task[..., Any], *args: Any) -> bool:
    """Whether a call of the task keeps its result in the default store."""
    before = len(entries())
    called(step, *args)
    return len(entries()) > before


def files(folder: Path) -> list[str]:
    """The files under a folder, as relative paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def identity(x: Any = 1) -> Any:
    return x


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A list of one number: by how many seconds the clock is ahead."""
    ahead = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    yield ahead


# --- what asks for a result to be kept


def test_nothing_is_kept_and_nothing_is_cached_until_something_asks_for_it(home: Path) -> None:
    step = task(identity)

    @flow
    def twice() -> list[str]:
        return names(step, 1, 1)

    assert twice() == ["Completed", "Completed"]
    assert not (home / "storage").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"persist_result": True},
        {"cache_policy": INPUTS},
        {"cache_policy": DEFAULT},
        {"cache_key_fn": lambda context, parameters: "k"},
        {"result_storage_key": "k"},
        {"result_serializer": "json"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_each_of_these_options_asks_for_the_result_to_be_kept_save_with_persist_result_false(
    options: dict[str, Any],
) -> None:
    assert keeps(task(identity, **options))
    assert not keeps(task(identity, **{**options, "persist_result": False}), 2)


def test_result_storage_asks_for_the_result_to_be_kept(tmp_path: Path) -> None:
    @flow
    def twice() -> list[str]:
        return names(task(identity, result_storage=tmp_path / "mine"), 1, 1)

    assert twice() == ["Completed", "Cached"]
    assert (tmp_path / "mine").is_dir()
    assert names(task(identity, result_storage=tmp_path / "other", persist_result=False), 1) == ["Completed"]
    assert not (tmp_path / "other").exists()


def test_tasks_inherit_from_their_flow_that_results_are_kept_and_can_object() -> None:
    @flow(persist_result=True)
    def keeping() -> list[bool]:
        return [keeps(task(identity)), keeps(task(identity, persist_result=False), 2)]

    assert keeping() == [True, False]


@pytest.mark.parametrize("options", [{"result_storage": "./mine"}, {"result_serializer": "json"}])
def test_storage_or_serializer_of_a_flow_ask_for_its_tasks_to_be_kept_too(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    step = task(identity)

    @flow(**options)
    def twice() -> list[str]:
        return names(step, 1, 1)

    assert twice() == ["Completed", "Cached"]


def test_a_flow_that_keeps_nothing_says_so_for_its_tasks_unless_they_ask() -> None:
    @flow(persist_result=False)
    def careless() -> list[bool]:
        return [keeps(task(identity)), keeps(task(identity, persist_result=True), 2)]

    with temporary_settings({KEPT_RESULTS_PERSIST_BY_DEFAULT: True}):
        assert careless() == [False, True]


def test_a_subflow_inherits_from_the_flow_around_it() -> None:
    @flow
    def inner() -> bool:
        return keeps(task(identity))

    @flow(persist_result=False)
    def objecting() -> bool:
        return keeps(task(identity), 2)

    @flow(persist_result=True)
    def outer() -> list[bool]:
        return [inner(), objecting()]

    assert outer() == [True, False]
    assert not inner()


def test_the_setting_keeps_the_results_of_all_that_do_not_object() -> None:
    with temporary_settings({KEPT_RESULTS_PERSIST_BY_DEFAULT: True}):
        assert keeps(task(identity))
        assert not keeps(task(identity, persist_result=False), 2)

        @flow
        def kept_too() -> bool:
            return keeps(task(identity), 3)

        assert kept_too()


def test_the_setting_for_tasks_wins_over_the_general_one_and_over_the_flow() -> None:
    @flow(persist_result=True)
    def keeping() -> bool:
        return keeps(task(identity), 1)

    with temporary_settings({KEPT_RESULTS_PERSIST_BY_DEFAULT: True, KEPT_TASKS_DEFAULT_PERSIST_RESULT: False}):
        assert not keeps(task(identity), 2)
        assert not keeping()
        assert keeps(task(identity, cache_policy=INPUTS), 3)
    with temporary_settings({KEPT_TASKS_DEFAULT_PERSIST_RESULT: True}):
        assert keeps(task(identity), 4)


def test_the_settings_are_read_from_the_environment_at_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    step = task(identity)
    assert not keeps(step)
    monkeypatch.setenv("KEPT_RESULTS_PERSIST_BY_DEFAULT", "true")
    assert keeps(step)


def test_should_persist_result_tells_what_holds_for_the_run_around() -> None:
    @task
    def ask() -> bool:
        return should_persist_result()

    @flow
    def indifferent() -> list[bool]:
        return [should_persist_result(), ask(), ask.with_options(persist_result=True)()]

    assert not should_persist_result()
    assert indifferent() == [False, False, True]
    assert indifferent.with_options(persist_result=True)() == [True, True, True]
    with temporary_settings({KEPT_RESULTS_PERSIST_BY_DEFAULT: True}):
        assert should_persist_result()


@pytest.mark.parametrize("policy", [NO_CACHE, NONE])
def test_no_cache_means_no_caching_even_where_results_are_kept(policy: Any) -> None:
    assert not keeps(task(identity, cache_policy=policy))
    step = task(identity, cache_policy=policy, persist_result=True)

    @flow
    def twice() -> list[str]:
        return names(step, 1, 1)

    assert twice() == ["Completed", "Completed"]
    assert keeps(step, 2)


def test_the_default_policy_can_be_set_to_none_for_tasks_that_name_no_policy() -> None:
    with temporary_settings({KEPT_TASKS_DEFAULT_NO_CACHE: True, KEPT_RESULTS_PERSIST_BY_DEFAULT: True}):

        @flow
        def twice() -> list[list[str]]:
            return [
                names(task(identity), 1, 1),
                names(task(identity, cache_policy=INPUTS), 1, 1),
                names(task(identity, cache_key_fn=lambda context, parameters: "k"), 1, 1),
            ]

        assert twice() == [["Completed", "Completed"], ["Completed", "Cached"], ["Completed", "Cached"]]


def test_caching_can_be_disabled_altogether() -> None:
    step = task(identity, cache_policy=INPUTS)
    by_key = task(identity, result_storage_key="k")
    assert names(step, 1, 1) == ["Completed", "Cached"]
    called(by_key)
    with temporary_settings({KEPT_TASKS_DISABLE_CACHING: True}):
        assert names(step, 1, 1) == ["Completed", "Completed"]
        assert names(by_key, 1) == ["Completed"]
    assert names(step, 1) == ["Cached"]


def test_a_hit_is_named_cached_and_its_type_is_completed() -> None:
    step = task(identity, cache_policy=INPUTS)
    first, second = called(step), called(step)
    assert (first.name, first.type) == ("Completed", StateType.COMPLETED)
    assert (second.name, second.type) == ("Cached", StateType.COMPLETED)
    assert second.is_completed()
    assert first.cache_key == second.cache_key is not None
    assert second.result() == 1


def test_failed_runs_are_not_kept() -> None:
    ran = []

    @task(cache_policy=INPUTS)
    def fails(x: int) -> int:
        ran.append(x)
        raise ValueError(x)

    for _ in range(2):
        assert fails(1, return_state=True).is_failed()
    assert ran == [1, 1]
    assert not entries()


def test_a_result_of_none_is_a_result() -> None:
    step = task(identity, cache_policy=INPUTS)
    assert names(step, None, None) == ["Completed", "Cached"]
    assert called(step, None).result() is None


def test_async_tasks_are_kept_as_others_are() -> None:
    @task(cache_policy=INPUTS)
    async def step(x: int) -> int:
        return x

    @flow
    async def twice() -> list[str]:
        return [(await step(1, return_state=True)).name for _ in range(2)]

    assert asyncio.run(twice()) == ["Completed", "Cached"]


def test_results_of_an_earlier_process_are_hits(tmp_path: Path) -> None:
    program = """
        from dataclasses import dataclass
        from kept import task
        from kept.cache_policies import INPUTS, TASK_SOURCE

        @dataclass
        class Point:
            x: int

        @task(cache_policy=INPUTS + TASK_SOURCE)
        def step(points: dict[str, Point]) -> Point:
            return Point(points["a"].x + 1)

        state = step({"b": Point(2), "a": Point(1)}, return_state=True)
        print(state.name, state.result(), type(state.result()) is Point)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(program))
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
        said.append(done.stdout.strip())
    assert said == ["Completed Point(x=2) True", "Cached Point(x=2) True"]


# --- refresh


def test_refresh_cache_runs_and_overwrites() -> None:
    numbers = iter(range(10))

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return next(numbers)

    fresh = step.with_options(refresh_cache=True)
    assert [step(1), fresh(1), step(1), fresh(1), step(1)] == [0, 1, 1, 2, 2]


def test_the_setting_refreshes_all_tasks_but_those_that_object_which_still_write_what_is_missing() -> None:
    numbers = iter(range(10))

    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return next(numbers)

    steady = step.with_options(refresh_cache=False)
    assert step(1) == 0
    with temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}):
        assert [step(1), steady(1), steady(2), steady(2)] == [1, 1, 2, 2]
    assert [step(1), step(2)] == [1, 2]


# --- expiration


def test_a_result_is_used_until_it_expires_and_then_computed_and_kept_anew(clock: list[float]) -> None:
    step = task(identity, cache_policy=INPUTS, cache_expiration=timedelta(minutes=1))
    assert names(step, 1, 1) == ["Completed", "Cached"]
    clock[0] = 59
    assert names(step, 1) == ["Cached"]
    clock[0] = 61
    assert names(step, 1, 1) == ["Completed", "Cached"]
    clock[0] = 118
    assert names(step, 1) == ["Cached"]


def test_the_expiration_of_an_entry_holds_for_all_who_share_its_key(clock: list[float]) -> None:
    short = task(identity, cache_policy=INPUTS, cache_expiration=timedelta(minutes=1))
    forever = task(identity, cache_policy=INPUTS)
    assert names(short, 1) == ["Completed"]
    assert names(forever, 1) == ["Cached"]
    clock[0] = 61
    assert names(forever, 1) == ["Completed"]


def test_todays_expiration_holds_for_what_was_kept_before(clock: list[float]) -> None:
    forever = task(identity, cache_policy=INPUTS)
    short = forever.with_options(cache_expiration=timedelta(minutes=1))
    longer = forever.with_options(cache_expiration=timedelta(hours=1))
    assert names(forever, 1) == ["Completed"]
    clock[0] = 61
    assert names(longer, 1) == ["Cached"]
    assert names(short, 1) == ["Completed"]


def test_a_longer_expiration_today_does_not_revive_what_has_expired(clock: list[float]) -> None:
    short = task(identity, cache_policy=INPUTS, cache_expiration=timedelta(minutes=1))
    assert names(short, 1) == ["Completed"]
    clock[0] = 61
    assert names(short.with_options(cache_expiration=timedelta(days=1)), 1) == ["Completed"]


def test_an_expiration_of_zero_is_never_a_hit() -> None:
    step = task(identity, cache_policy=INPUTS, cache_expiration=timedelta(0))
    assert names(step, 1, 1) == ["Completed", "Completed"]


def test_expiration_holds_for_key_functions_and_storage_keys_too(clock: list[float]) -> None:
    minute = timedelta(minutes=1)
    by_function = task(identity, cache_key_fn=lambda context, parameters: "a", cache_expiration=minute)
    by_template = task(identity, result_storage_key="b", cache_expiration=minute)
    for step in (by_function, by_template):
        clock[0] = 0
        assert names(step, 1, 1) == ["Completed", "Cached"]
        clock[0] = 61
        assert names(step, 1) == ["Completed"]


# --- storage keys


def test_a_storage_key_is_a_template_over_the_parameters() -> None:
    @task(result_storage_key="hello-{parameters[name]}.pickle")
    def hello(name: str = "world") -> str:
        return f"hello {name}"

    assert called(hello).cache_key == "hello-world.pickle"
    assert called(hello, "you").cache_key == "hello-you.pickle"
    assert ResultStore().read("hello-you.pickle").result == "hello you"
    assert called(hello, name="you").name == "Cached"


def test_a_storage_key_can_name_facts_of_the_runs() -> None:
    template = "{flow_run.flow_name}/{flow_run.parameters[day]}/{task_run.task_name}/{parameters[x]}"

    @task(result_storage_key=template)
    def step(x: int) -> int:
        return x

    @flow
    def daily(day: str) -> str | None:
        return called(step, 1).cache_key

    assert daily("mon") == "daily/mon/step/1"


def test_a_storage_key_can_hold_the_id_of_the_run() -> None:
    seen = []

    @task(result_storage_key="{task_run.id}-{flow_run.id}")
    def step() -> None:
        context = TaskRunContext.get()
        assert context is not None
        seen.append(f"{context.task_run.id}-{kept.runtime.flow_run.id}")

    @flow
    def around() -> list[str | None]:
        return [called(step).cache_key, called(step).cache_key]

    assert around() == seen
    assert len(set(seen)) == 2


def test_an_existing_result_at_a_storage_key_is_a_hit_whoever_put_it_there() -> None:
    ResultStore().write("put there", key="here")
    step = task(identity, result_storage_key="here")
    state = called(step)
    assert (state.name, state.result()) == ("Cached", "put there")
    assert called(step.with_options(refresh_cache=True)).name == "Completed"
    assert ResultStore().read("here").result == 1


def test_a_storage_key_wins_over_a_key_function_and_a_policy() -> None:
    for options in ({"cache_key_fn": lambda context, parameters: "function"}, {"cache_policy": INPUTS}):
        step = task(identity, result_storage_key="template", **options)  # type: ignore[call-overload]
        assert called(step).cache_key == "template"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"cache_policy": NO_CACHE}, {}),
        ({}, {KEPT_TASKS_DEFAULT_NO_CACHE: True}),
        ({}, {KEPT_TASKS_DISABLE_CACHING: True}),
    ],
)
def test_without_caching_a_result_is_written_to_its_storage_key_and_never_read(
    options: dict[str, Any], settings: dict[Any, Any]
) -> None:
    numbers = iter(range(10))

    @task(result_storage_key="report", **options)
    def report() -> int:
        return next(numbers)

    with temporary_settings(settings):
        assert [called(report).name, called(report).name] == ["Completed", "Completed"]
    assert ResultStore().read("report").result == 1


# --- where results are kept


def test_results_are_kept_in_the_storage_folder_of_the_home_which_is_private(home: Path) -> None:
    called(task(identity, cache_policy=INPUTS))
    assert (home / "storage" / "entries.sqlite").stat().st_mode & 0o077 == 0
    assert (home / "storage").stat().st_mode & 0o077 == 0


def test_the_default_store_can_be_moved_by_a_setting(home: Path, tmp_path: Path) -> None:
    with temporary_settings({KEPT_LOCAL_STORAGE_PATH: tmp_path / "moved"}):
        called(task(identity, cache_policy=INPUTS))
    assert (tmp_path / "moved" / "entries.sqlite").is_file()
    assert not (home / "storage").exists()


def test_result_storage_can_be_a_path_or_the_text_of_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for storage in (tmp_path / "a", str(tmp_path / "a"), "./a", Path("a")):
        called(task(identity, cache_policy=INPUTS, result_storage=storage))
    assert called(task(identity, cache_policy=INPUTS, result_storage="./a")).name == "Cached"
    assert files(tmp_path / "a")[0] == "entries.sqlite"
    assert not (home / "storage").exists()


def test_two_storages_are_two_caches(tmp_path: Path) -> None:
    step = task(identity, cache_policy=INPUTS)
    assert names(step, 1, 1) == ["Completed", "Cached"]
    assert names(step.with_options(result_storage=tmp_path / "a"), 1, 1) == ["Completed", "Cached"]
    assert names(step.with_options(result_storage=tmp_path / "b"), 1) == ["Completed"]


def test_result_storage_can_be_a_local_file_system_which_holds_a_file_a_key(home: Path, tmp_path: Path) -> None:
    storage = LocalFileSystem(basepath=str(tmp_path / "files"))
    step = task(identity, result_storage=storage, result_storage_key="reports/{parameters[x]}.pickle")
    assert names(step, 1, 1) == ["Completed", "Cached"]
    assert files(tmp_path / "files") == ["reports/1.pickle"]
    assert called(step, 1).result() == 1
    assert not (home / "storage").exists()


class Dictionary(WritableFileSystem):
    """A file system as users write one: two methods on a dictionary."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read_path(self, path: str) -> bytes:
        if path not in self.content:
            raise ValueError(f"no such path: {path}")
        return self.content[path]

    def write_path(self, path: str, content: bytes) -> None:
        assert type(content) is bytes
        self.content[path] = content


class Bare:
    """No base class and no other method."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read_path(self, path: str) -> bytes:
        return self.content[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.content[path] = content


class Awaited:
    """The same as coroutine functions."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def read_path(self, path: str) -> bytes:
        await asyncio.sleep(0)
        return self.content[path]

    async def write_path(self, path: str, content: bytes) -> None:
        await asyncio.sleep(0)
        self.content[path] = content


@pytest.mark.parametrize("kind", [Dictionary, Bare, Awaited])
def test_result_storage_can_be_anything_with_read_path_and_write_path(kind: Any, home: Path) -> None:
    storage = kind()
    step = task(identity, cache_policy=INPUTS, result_storage=storage)
    large = numpy.arange(20_000.0)
    assert names(step, 1, 1, large, large) == ["Completed", "Cached", "Completed", "Cached"]
    assert (called(step, large).result() == large).all()
    assert called(step, 1).cache_key in storage.content
    assert not (home / "storage").exists()


@pytest.mark.parametrize("kind", [Dictionary, Bare, Awaited])
def test_such_storage_serves_async_runs_and_threads_too(kind: Any) -> None:
    storage = kind()

    @task(cache_policy=INPUTS, result_storage=storage)
    async def step(x: int) -> int:
        return x

    @flow
    async def twice() -> list[str]:
        states = [await step(1, return_state=True) for _ in range(2)]
        return [state.name for state in states]

    assert asyncio.run(twice()) == ["Completed", "Cached"]

    plain = task(identity, cache_policy=INPUTS, result_storage=storage)

    @flow
    def mapped() -> list[str]:
        plain.map(range(5)).wait()
        return [future.state.name for future in plain.map(range(5)) if future.wait() is None]

    assert mapped() == ["Cached"] * 5


def test_tasks_inherit_storage_and_serializer_from_their_flow_and_can_differ() -> None:
    storage, other = Dictionary(), Dictionary()
    step = task(identity, cache_policy=INPUTS)

    @flow(result_storage=storage, result_serializer="json")
    def around() -> None:
        called(step, 1)
        called(step.with_options(result_storage=other), 2)
        inner()

    @flow
    def inner() -> None:
        called(step, 3)

    around()
    # The flows' own results besides: that of `around`, and that of `inner`, which inherits too.
    assert len(storage.content) == 4
    assert all(b'"serializer":"json"' in content for content in storage.content.values())
    assert len(other.content) == 1
    assert b'"serializer":"json"' in next(iter(other.content.values()))


def test_key_storage_holds_the_entries_and_result_storage_the_payloads(tmp_path: Path, home: Path) -> None:
    keys, payloads = tmp_path / "keys", tmp_path / "payloads"
    step = task(identity, cache_policy=INPUTS.configure(key_storage=keys), result_storage=payloads)
    assert names(step, 1, 1) == ["Completed", "Cached"]
    assert [name for name in files(payloads) if "blobs" in name]
    assert "entries.sqlite" in files(keys)
    assert not [name for name in files(payloads) if "sqlite" in name]
    assert not (home / "storage").exists()


def test_key_storage_can_be_a_file_system_and_deleting_the_entry_there_is_a_miss(home: Path) -> None:
    keys = Bare()
    step = task(identity, cache_policy=(INPUTS + TASK_SOURCE).configure(key_storage=keys))
    assert names(step, 1, 1) == ["Completed", "Cached"]
    assert len(keys.content) == 1
    assert not entries()
    keys.content.clear()
    assert names(step, 1) == ["Completed"]


def test_get_result_store_is_that_of_the_run_around(tmp_path: Path) -> None:
    @task(result_storage=tmp_path / "mine")
    def where() -> str:
        return get_result_store().location

    assert where() == str((tmp_path / "mine").resolve())
    assert get_result_store().location == ResultStore().location


# --- serializers


@pytest.mark.parametrize(
    ("serializer", "remembered"),
    [
        ("json", "json"),
        ("pickle", "pickle"),
        ("compressed/pickle", "compressed/pickle"),
        ("compressed/json", "compressed/json"),
        (JSONSerializer(), "json"),
        (PickleSerializer(), "pickle"),
        (CompressedSerializer(serializer="json"), 'compressed{"serializer":"json"}'),
    ],
    ids=repr,
)
def test_a_serializer_is_named_or_given_and_remembered_with_the_entry(serializer: Any, remembered: str) -> None:
    called(task(identity, result_serializer=serializer, cache_policy=INPUTS), {"a": [1, 2]})
    (entry,) = entries()
    assert entry.serializer == remembered
    by_a_task_of_another_serializer = called(task(identity, cache_policy=INPUTS), {"a": [1, 2]})
    assert by_a_task_of_another_serializer.name == "Cached"
    assert by_a_task_of_another_serializer.result() == {"a": [1, 2]}


class Shouting(Serializer):
    """A serializer as users write one."""

    type: str = "shouting"

    def dumps(self, obj: Any) -> bytes:
        return str(obj).upper().encode()

    def loads(self, blob: Any) -> str:
        return bytes(blob).decode()


def test_a_serializer_of_the_users_own_serves_by_instance_and_by_name() -> None:
    assert called(task(identity, cache_policy=INPUTS, result_serializer=Shouting()), "a").result() == "a"
    assert called(task(identity, cache_policy=INPUTS, result_serializer="shouting"), "a").result() == "A"
    assert called(task(identity, cache_policy=INPUTS), "a").result() == "A"


def test_the_default_serializer_is_a_setting() -> None:
    with temporary_settings({KEPT_RESULTS_DEFAULT_SERIALIZER: "json"}):
        called(task(identity, cache_policy=INPUTS), [1])
    assert [(entry.serializer, entry.payload) for entry in entries()] == [("json", b"[1]")]


# --- what a caller gets


def test_what_a_caller_does_to_a_result_is_not_kept() -> None:
    step = task(identity, cache_policy=INPUTS)
    first = step([1])
    first.append(2)
    second = step([1])
    assert second == [1]
    second.append(3)
    assert step([1]) == [1]


def test_what_a_task_does_to_an_array_from_the_store_is_not_kept() -> None:
    @task(cache_policy=INPUTS)
    def zeros(n: int) -> Any:
        return numpy.zeros(n)

    for _ in range(3):
        array = zeros(100_000)
        assert not array.any()
        array[:] = 1
        assert array.all()


def test_those_who_take_a_future_do_not_see_what_others_do_to_its_value() -> None:
    @task(cache_policy=INPUTS)
    def make(x: int) -> list[int]:
        return [x]

    @task
    def spoil(values: list[int]) -> list[int]:
        values.append(0)
        return values

    @flow
    def sharing() -> list[list[int]]:
        future = make.submit(1)
        spoiled = [spoil.submit(future).result(), spoil.submit(future).result()]
        return [*spoiled, make(1)]

    assert sharing() == [[1, 0], [1, 0], [1]]
    assert sharing() == [[1, 0], [1, 0], [1]]


def test_a_state_gives_the_same_value_each_time_it_is_asked() -> None:
    step = task(identity, cache_policy=INPUTS)
    called(step, [1])
    state = called(step, [1])
    assert state.result() is state.result()


def test_a_result_that_is_not_held_in_memory_is_read_from_the_store_when_asked_for() -> None:
    ran = []

    @task(persist_result=True, cache_result_in_memory=False)
    def step(x: int) -> list[int]:
        ran.append([x])
        return ran[-1]

    state = called(step, 1)
    assert state.result() == [1]
    assert state.result() is not ran[0]


def test_a_large_result_that_is_not_held_in_memory_comes_from_its_blob() -> None:
    @task(persist_result=True, cache_result_in_memory=False)
    def zeros() -> Any:
        return numpy.zeros(100_000)

    state = called(zeros)
    state.result()[:] = 1
    assert len(list(ResultStore().blobs.scan())) == 1
    assert ResultStore().read(str(state.cache_key)).result.sum() == 0


def test_a_result_that_was_deleted_before_it_was_asked_for_is_an_error_that_names_it() -> None:
    @task(persist_result=True, cache_result_in_memory=False)
    def zeros() -> Any:
        return numpy.zeros(100_000)

    state = called(zeros)
    ResultStore().blobs.delete([digest for digest, _ in ResultStore().blobs.scan()])
    with pytest.raises(MissingResult, match=rf"{state.cache_key}.*Run the flow again"):
        state.result()


def test_a_result_without_a_key_still_comes_from_the_store_if_it_is_not_held_in_memory() -> None:
    @task(persist_result=True, cache_policy=NO_CACHE, cache_result_in_memory=False)
    def step() -> list[int]:
        return [1]

    state = called(step)
    assert state.result() == [1]
    assert len(entries()) == 1


def test_an_input_that_comes_from_the_store_makes_the_same_key_as_the_value_itself() -> None:
    @task(cache_policy=INPUTS)
    def make(x: int) -> Any:
        return {"x": [x], "array": numpy.arange(10_000)}

    @task(cache_policy=INPUTS)
    def use(value: Any) -> int:
        return len(value)

    @flow
    def chain() -> list[str]:
        future = make.submit(1)
        return [
            use.submit(future, return_state=True).name,
            called(use, make(1)).name,
            called(use, {"x": [1], "array": numpy.arange(10_000)}).name,
        ]

    assert chain() == ["Completed", "Cached", "Cached"]


@pytest.mark.parametrize("serializer", ["json", "compressed/json"])
def test_an_input_that_its_serializer_changed_makes_the_key_of_what_it_became(serializer: str) -> None:
    @task(cache_policy=INPUTS, result_serializer=serializer)
    def make(x: int) -> Any:
        return (x, x)

    @task(cache_policy=INPUTS)
    def kind(value: Any) -> str:
        return type(value).__name__

    @flow
    def chain() -> list[str]:
        return [kind.submit(make.submit(1)).result(), kind((1, 1)), kind([1, 1])]

    assert chain() == ["list", "tuple", "list"]
    assert chain() == ["list", "tuple", "list"]


# --- sharing


def plus_one(x: int) -> int:
    return x + 1


def plus_two(x: int) -> int:
    return x + 2


def test_tasks_with_equal_inputs_share_results_under_inputs_alone_and_are_warned_once(log: Any) -> None:
    one, two = task(plus_one, cache_policy=INPUTS), task(plus_two, cache_policy=INPUTS)
    assert one(1) == two(1) == 2
    (warning,) = log.having("WARNING", "kept by another task")
    assert "plus_one" in warning
    assert "TASK_SOURCE" in warning
    two(1)
    assert len(log.having("kept by another task")) == 1


def test_nobody_is_warned_of_sharing_on_purpose(log: Any) -> None:
    for options in (
        {"cache_policy": INPUTS + TASK_SOURCE},
        {"cache_key_fn": lambda context, parameters: "k"},
        {"result_storage_key": "k"},
        {"cache_policy": FLOW_PARAMETERS},
    ):
        called(task(plus_one, **options), 1)  # type: ignore[call-overload]
        called(task(plus_two, **options), 1)  # type: ignore[call-overload]
    called(task(plus_one, cache_policy=INPUTS), 7)
    called(task(plus_one, name="renamed", cache_policy=INPUTS), 7)
    assert "kept by another task" not in log


# --- the result of a flow


def test_the_result_of_a_flow_is_kept_if_asked_for_and_never_looked_up() -> None:
    ran = []

    @flow(persist_result=True)
    def counting() -> int:
        ran.append(1)
        return len(ran)

    states = [counting(return_state=True) for _ in range(2)]
    assert [state.result() for state in states] == [1, 2]
    assert [state.name for state in states] == ["Completed", "Completed"]
    assert len(entries()) == 2


# --- what an entry tells


def test_an_entry_tells_who_computed_it_when_and_for_how_long() -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> int:
        return x

    @flow(flow_run_name="monday")
    def daily() -> None:
        called(step.with_options(task_run_name="step-{x}"), 1)

    before = time.time()
    daily()
    (entry,) = entries()
    assert entry.task.endswith(".step")
    assert (entry.run, entry.flow_run) == ("step-1", "monday")
    assert before <= entry.created <= time.time()
    assert 0 <= entry.seconds < 60
    assert entry.expires is None


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/below", "/tmp/" + "n" * 300])
def test_a_place_where_nothing_can_be_kept_fails_no_run(place: str, log: Any) -> None:
    step = task(lambda x: x + 1, cache_policy=INPUTS, result_storage=Path(place), name="step")
    assert step(1) == 2
    assert "The result was not kept" in log


def test_a_record_tells_how_its_result_is_kept() -> None:
    store = ResultStore(serializer="json")
    until = datetime.now(timezone.utc) + timedelta(days=1)
    store.write([1], "k", expiration=until)
    metadata = ResultStore().read("k").metadata
    assert (metadata.storage_key, metadata.serializer, metadata.expiration) == ("k", JSONSerializer(), until)


class Far:
    """A file system that notes in which threads it was asked."""

    def __init__(self, threads: set[int]) -> None:
        self.files: dict[str, bytes] = {}
        self.threads = threads

    def read_path(self, path: str) -> bytes:
        self.threads.add(threading.get_ident())
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.files[path] = content


def test_a_store_that_is_far_away_does_not_hold_up_the_loop() -> None:
    threads: set[int] = set()

    @task(result_storage=Far(threads), result_storage_key="state", cache_result_in_memory=False)
    def far() -> str:
        return "x" * 100_000

    async def main() -> None:
        store = ResultStore(result_storage=Far(threads))
        await store.awrite(1, "k")
        assert await store.aexists("k")
        assert (await store.aread("k")).result == 1
        assert threads

    asyncio.run(main())
    assert threading.get_ident() not in threads
    state = far(return_state=True)
    threads.clear()
    assert asyncio.run(state.aresult()) == "x" * 100_000
    assert threads
    assert threading.get_ident() not in threads


def test_payloads_that_are_far_away_do_not_hold_up_the_loop_where_the_entries_are_near(tmp_path: Path) -> None:
    threads: set[int] = set()

    @task(cache_policy=INPUTS.configure(key_storage=tmp_path), result_storage=Far(threads))
    async def far(x: int) -> int:
        return x

    async def main() -> list[Any]:
        return [await far(1, return_state=True) for _ in range(2)]

    assert [state.name for state in asyncio.run(main())] == ["Completed", "Cached"]
    assert threads
    assert threading.get_ident() not in threads


def test_the_details_of_a_state_tell_its_run_and_its_key() -> None:
    @task(cache_key_fn=lambda context, parameters: "k", cache_expiration=timedelta(days=1))
    def step() -> Any:
        return [run_facts.id]

    @flow
    def f() -> Any:
        states = step(return_state=True), step(return_state=True)
        assert [state.name for state in states] == ["Completed", "Cached"]
        for state in states:
            details = state.state_details
            assert (details.flow_run_id, details.cache_key) == (flow_facts.id, "k")
            assert details.cache_expiration == ResultStore().read("k").metadata.expiration is not None
        first, second = (state.state_details.task_run_id for state in states)
        assert ([first], first == second) == (states[0].result(), False)
        return states[0]

    state = f(return_state=True)
    assert state.state_details.task_run_id == state.result()[0]
    empty = flow(lambda: None, name="empty")
    details = empty(return_state=True).state_details
    assert (details.flow_run_id is None, details.task_run_id) == (False, None)


def test_a_store_hands_out_locks() -> None:
    store = ResultStore(lock_manager=MemoryLockManager())
    assert store.acquire_lock("k")
    assert store.is_locked("k")
    assert store.is_lock_holder("k")
    assert not store.is_lock_holder("k", "another")
    assert not store.acquire_lock("k", "another", timeout=0)
    assert not store.wait_for_lock("k", timeout=0)
    store.release_lock("k")
    assert store.wait_for_lock("k")
    with pytest.raises(LockNotHeldError):
        store.release_lock("k")


def test_a_result_store_takes_a_key_of_its_own_and_says_what_it_can_not_take() -> None:
    ResultStore().write(1)
    with pytest.raises(ParameterTypeError, match="write\\(obj, key\\)"):
        ResultStore().write("key", {"value": 1})  # type: ignore[arg-type]
    with pytest.raises(ParameterTypeError, match="datetime"):
        ResultStore().write(1, "key", timedelta(days=1))  # type: ignore[arg-type]
