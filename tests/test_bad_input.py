"""What bad input gets: a sentence that says what, where and what to do; and work that succeeded is never lost.

Each test of a refusal looks for three things in its message: what is wrong, with which thing, and the cure.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy
import pytest

from kept import State, Task, flow, task
from kept.cache_policies import DEFAULT, INPUTS, NO_CACHE, TASK_SOURCE, CachePolicy
from kept.exceptions import (
    ConfigurationError,
    InvalidNameError,
    KeptException,
    MissingContextError,
    MissingResult,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgumentError,
    SerializationError,
    StoreError,
    ValidationError,
)
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore
from kept.serializers import Serializer
from kept.settings import KEPT_LOCAL_STORAGE_PATH, KEPT_RESULTS_STORE_LAYOUT, temporary_settings
from kept.store.sqlite import SCHEMA_VERSION
from kept.task_runners import ThreadPoolTaskRunner


def identity(x: Any = 1) -> Any:
    return x


def called(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    """The final state of a call that completed."""
    state = step(*args, return_state=True, **kwargs)
    assert isinstance(state, State)
    assert state.is_completed()
    return state


def refused(kind: type[Exception], act: Callable[[], Any], *words: str) -> str:
    """The message with which `act` was refused, which has all the words in it."""
    with pytest.raises(kind) as caught:
        act()
    assert isinstance(caught.value, KeptException)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# --- options


@pytest.mark.parametrize(
    ("decorate", "words"),
    [
        (lambda: task(cache_polcy=INPUTS), ["@task", "'cache_polcy'", "Did you mean 'cache_policy'?"]),  # type: ignore[call-overload]
        (lambda: flow(retris=1), ["@flow", "'retris'", "Did you mean 'retries'?"]),  # type: ignore[call-overload]
        (lambda: task(nonsense=1), ["@task", "'nonsense'", "It takes: asset_deps, cache_expiration, cache_key_fn"]),  # type: ignore[call-overload]
        (lambda: task(identity, nonsense=1), ["@task", "'nonsense'", "It takes"]),  # type: ignore[call-overload]
        (lambda: flow(tags=["a"]), ["@flow", "'tags'", "It is an option of @task"]),  # type: ignore[call-overload]
        (lambda: task(flow_run_name="a"), ["@task", "It is an option of @flow"]),  # type: ignore[call-overload]
        (lambda: flow(identity).with_options(nonsense=1), ["with_options", "'nonsense'"]),  # type: ignore[call-arg]
        (lambda: task(identity).with_options(nonsense=1), ["with_options", "'nonsense'", "It takes"]),  # type: ignore[call-arg]
        (lambda: flow(cache_key_fn=len), ["@flow", "'cache_key_fn'", "It is an option of @task"]),  # type: ignore[call-overload]
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_right_one(decorate: Any, words: list[str]) -> None:
    refused(ParameterTypeError, decorate, *words)


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("cache_policy", "INPUTS", "such as INPUTS or INPUTS + TASK_SOURCE"),
        ("cache_policy", type(INPUTS), "such as INPUTS"),
        ("cache_key_fn", "x", "a function of the run's context and its parameters"),
        ("cache_expiration", 10, "datetime.timedelta"),
        ("retries", "3", "a whole number, 0 or more"),
        ("retries", -1, "a whole number, 0 or more"),
        ("retries", True, "a whole number, 0 or more"),
        ("retry_delay_seconds", "5", "a number of seconds, a list of them"),
        ("retry_delay_seconds", [1, -1], "a number of seconds, a list of them"),
        ("retry_jitter_factor", -0.5, "a number, 0 or more"),
        ("retry_condition_fn", True, "a function of task, task run and state"),
        ("task_run_name", 3, "a template, such as 'report-{day}'"),
        ("task_run_name", "", "a template, such as 'report-{day}'"),
        ("name", 3, "a string"),
        ("description", ["d"], "a string"),
        ("version", 1.0, "a string"),
        ("log_prints", 1, "True, False or None"),
        ("persist_result", "yes", "True, False or None"),
        ("refresh_cache", 1, "True, False or None"),
        ("cache_result_in_memory", None, "True or False"),
        ("result_storage", 3, "LocalFileSystem(basepath=...)"),
        ("result_storage", dict, "an object with read_path and write_path"),
        ("result_serializer", 3, "a Serializer or the name of one"),
        ("result_storage_key", 3, "'report-{parameters[day]}.pickle'"),
        ("result_storage_key", "", "'report-{parameters[day]}.pickle'"),
        ("tags", "nightly", "a list of strings, such as ['nightly']"),
        ("tags", [["a"]], "each tag has to be a string"),
        ("on_completion", print, "a list of functions"),
        ("on_rollback", ["undo"], "a list of functions"),
        ("timeout_seconds", 0, "more than 0"),
        ("timeout_seconds", float("inf"), "more than 0"),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_with_what_the_option_takes(option: str, value: Any, cure: str) -> None:
    options: dict[str, Any] = {option: value}
    refused(ParameterTypeError, lambda: task(**options), "@task", option, repr(value), cure)
    refused(ParameterTypeError, lambda: task(identity).with_options(**options), "with_options", option, cure)


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("task_runner", "threads", "such as ThreadPoolTaskRunner()"),
        ("validate_parameters", "no", "True or False"),
        ("flow_run_name", 3, "a template, such as 'report-{day}'"),
        ("on_cancellation", print, "a list of functions"),
        ("on_crashed", [3], "a list of functions"),
        ("retries", True, "a whole number, 0 or more"),
        ("timeout_seconds", "5", "more than 0"),
    ],
)
def test_so_is_one_of_a_flow(option: str, value: Any, cure: str) -> None:
    options: dict[str, Any] = {option: value}
    refused(ParameterTypeError, lambda: flow(**options), "@flow", option, repr(value), cure)
    refused(ParameterTypeError, lambda: flow(identity).with_options(**options), "with_options", option, cure)


def test_a_negative_expiration_is_refused() -> None:
    refused(ConfigurationError, lambda: task(cache_expiration=timedelta(-1)), "negative", "timedelta(hours=1)")


def test_an_unknown_serializer_is_named_with_those_there_are() -> None:
    refused(ConfigurationError, lambda: task(result_serializer="jsno"), "'jsno'", "compressed/json", "pickle")


def test_a_storage_that_reads_as_a_saved_block_is_refused_with_how_to_name_a_folder() -> None:
    step = task(identity, result_storage="s3-bucket/mine")
    refused(ConfigurationError, step, "result_storage", "'s3-bucket/mine'", "'./s3-bucket/mine'")


def test_a_storage_that_is_a_bare_word_is_refused_by_the_decorator() -> None:
    refused(
        ConfigurationError, lambda: task(result_storage="results"), "@task", "'results'", "'./results'", "type/name"
    )
    policy = INPUTS.configure(key_storage="keys")
    refused(ConfigurationError, lambda: task(cache_policy=policy), "key_storage", "'keys'", "'./keys'")


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"key_storage": 3}, ["key_storage=3", "LocalFileSystem(basepath=...)"]),
        ({"isolation_level": "SERIAL"}, ["isolation_level='SERIAL'", "IsolationLevel.SERIALIZABLE"]),
        ({"lock_manager": 3}, ["lock_manager=3", "FileSystemLockManager"]),
    ],
)
def test_a_wrong_configuration_of_a_policy_is_refused_where_it_is_used(
    configuration: dict[str, Any], words: list[str]
) -> None:
    for policy in (INPUTS.configure(**configuration), DEFAULT.configure(**configuration)):
        refused(ParameterTypeError, lambda: task(cache_policy=policy), "@task", *words)


def test_policies_that_can_not_be_combined_say_which_values_differ_and_how_to_agree() -> None:
    def add() -> Any:
        return INPUTS.configure(key_storage="./a") + TASK_SOURCE.configure(key_storage="./b")

    refused(ConfigurationError, add, "key_storage", "'./a'", "'./b'", "A.configure(key_storage=x)")


def test_what_can_not_be_decorated_is_told() -> None:
    refused(ParameterTypeError, lambda: task("name"), "'name'", "not a function", "@task(name=...)")  # type: ignore[call-overload]
    refused(ParameterTypeError, lambda: task(dict), "class 'dict'", "decorate one of its methods")
    refused(ParameterTypeError, lambda: task(staticmethod(3)), "3", "not a function")  # type: ignore[arg-type]
    for decorate in (task, flow):
        refused(InvalidNameError, lambda: decorate(name="a/b"), f"@{decorate.__name__}", "'a/b'", "without any of")
        # @task("name") and @task()() stand above the function, which never gets there.
        refused(ParameterTypeError, lambda: decorate("name"), "'name'", f"@{decorate.__name__}(name=...)")  # type: ignore[call-overload]
        refused(ParameterTypeError, lambda: decorate()(), "None", "not a function")  # type: ignore[call-arg]


@pytest.mark.parametrize("decorated", [task(identity), flow(identity)])
def test_a_hook_that_is_no_function_is_told_and_so_are_parentheses(decorated: Any) -> None:
    for wrong in ((), (3,)):
        refused(ParameterTypeError, lambda: decorated.on_failure(*wrong), "'identity'", "@identity.on_failure")
    assert decorated.spec.options.on_failure == ()


@pytest.mark.parametrize("decorated", [task(identity), flow(identity)])
def test_wait_for_takes_a_list(decorated: Any) -> None:
    @flow
    def outer() -> None:
        for act in (decorated, decorated.submit, decorated.map):
            refused(ParameterTypeError, lambda: act([1], wait_for=3), "'identity'", "wait_for=3", "a list of futures")

    outer()


def test_a_parameter_named_like_an_option_of_each_call_is_refused() -> None:
    def step(wait_for: int) -> None: ...

    refused(ReservedArgumentError, lambda: task(step), "'wait_for'", "Rename the parameter")
    refused(ReservedArgumentError, lambda: flow(step), "'wait_for'", "Rename the parameter")


def test_a_task_runner_may_be_a_class_but_nothing_else() -> None:
    assert flow(identity, task_runner=ThreadPoolTaskRunner)(3) == 3
    refused(ParameterTypeError, lambda: flow(identity, task_runner=3), "task_runner=3", "ThreadPoolTaskRunner()")


# --- calls


@pytest.mark.parametrize("decorate", [task, flow])
@pytest.mark.parametrize(
    ("args", "kwargs", "what"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"z": 2}, "unexpected keyword argument 'z'"),
        ((1,), {"x": 2}, "multiple values for argument 'x'"),
    ],
)
def test_a_call_that_does_not_fit_shows_the_signature(decorate: Any, args: Any, kwargs: Any, what: str) -> None:
    @decorate  # type: ignore[untyped-decorator]
    def step(x: int, y: int = 2) -> int:
        return x

    refused(ParameterBindError, lambda: step(*args, **kwargs), "'step'", what, "(x: 'int', y: 'int' = 2)")


def test_a_misspelt_argument_is_told_with_the_nearest_right_one() -> None:
    @flow
    def report(customer: str, month: int = 1) -> None: ...

    refused(ParameterBindError, lambda: report("acme", mont=2), "flow 'report'", "'mont'", "Did you mean 'month'?")  # type: ignore[call-overload]


def test_flow_parameters_that_do_not_fit_their_annotations_are_all_named() -> None:
    @flow
    def typed(x: int, y: float) -> None: ...

    refused(
        ValidationError,
        lambda: typed("a", "b"),  # type: ignore[arg-type]
        "'typed'",
        "x: ",
        "y: ",
        "'a'",
        "validate_parameters=False",
    )


def test_submitting_outside_a_flow_is_told() -> None:
    step = task(identity)
    for act in (lambda: step.submit(1), lambda: step.map([1])):
        refused(MissingContextError, act, "'identity'", "@flow")


# --- keys that can't be made: the run goes on, uncached, and says so


def uncached(log: Any, step: Task[..., Any], *args: Any) -> str:
    """The line with which a call that completed twice, uncached, said why."""
    log.clear()
    assert [called(step, *args).name for _ in range(2)] == ["Completed", "Completed"]
    lines: list[str] = log.having("ERROR", "The cache key can't be computed, so this run is not cached: ")
    assert len(lines) == 2
    assert not list(ResultStore().entries.scan())
    return lines[0]


@pytest.mark.parametrize("value", [3, "", b"x", ["k"]])
def test_a_key_function_that_gives_no_string_is_told_what_to_return(value: Any, log: Any) -> None:
    def my_key(context: Any, parameters: dict[str, Any]) -> Any:
        return value

    line = uncached(log, task(identity, cache_key_fn=my_key))
    assert "my_key'" in line
    assert f"returned {value!r}" in line
    assert "as a non-empty string, or None to turn caching off" in line


def test_a_key_function_that_raises_is_shown_with_its_traceback(log: Any) -> None:
    def my_key(context: Any, parameters: dict[str, Any]) -> str:
        return str(1 / 0)

    line = uncached(log, task(identity, cache_key_fn=my_key))
    assert "ZeroDivisionError: division by zero" in line
    assert "in my_key" in line


def test_a_policy_of_the_users_own_that_gives_no_string_is_told_too(log: Any) -> None:
    class MyPolicy(CachePolicy):
        def compute_key(self, *args: Any, **kwargs: Any) -> Any:
            return 3

    assert "MyPolicy.compute_key() returned 3" in uncached(log, task(identity, cache_policy=MyPolicy()))


@pytest.mark.parametrize("template", ["{parameters[nope]}", "{nope}", "{", "{flow_run.nope}"])
def test_a_storage_key_that_can_not_be_filled_in_says_what_it_can_name(template: str, log: Any) -> None:
    line = uncached(log, task(identity, result_storage_key=template))
    assert "result_storage_key of task 'identity'" in line
    assert repr(template) in line
    assert "It can name: parameters, flow_run, task_run" in line


class Session:
    def __init__(self) -> None:
        self.locks = [threading.Lock()]


class Model:
    def __init__(self) -> None:
        self.session = Session()


def test_an_argument_without_stable_content_is_named_by_its_path_with_the_cures(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def predict(model: Any) -> int:
        return 1

    line = uncached(log, predict, Model())
    assert "argument 'model' -> .session -> .locks -> [0]" in line
    assert "lock" in line
    for cure in ("INPUTS - 'model'", "NO_CACHE", "cache_key_fn"):
        assert cure in line


def test_generators_sockets_and_open_files_are_such_arguments(log: Any, tmp_path: Path) -> None:
    step = task(identity, cache_policy=INPUTS)
    with socket.socket() as opened, (tmp_path / "file").open("w") as file:
        for value in ((n for n in range(3)), opened, file):
            assert "argument 'x'" in uncached(log, step, [value])


def test_the_cures_cure(log: Any) -> None:
    lock = threading.Lock()

    def step(model: Any, x: int) -> int:
        return x

    for policy in (INPUTS - "model", NO_CACHE):
        called(task(step, cache_policy=policy), lock, 1)
    called(task(step, cache_key_fn=lambda context, parameters: str(parameters["x"])), lock, 1)
    assert "ERROR" not in log


# --- results that can't be kept: the run completes, and says so


def not_kept(log: Any, step: Task[..., Any], *args: Any) -> str:
    """The line with which a call that completed said why its result was not kept."""
    log.clear()
    state = called(step, *args)
    assert state.name == "Completed"
    assert state.result() is not None
    (line,) = log.having("ERROR", "The result was not kept, so the next run computes it again: ")
    found: str = line
    return found


def test_an_unpicklable_result_is_named_by_its_path_with_the_cures(log: Any) -> None:
    @task(persist_result=True)
    def build() -> Any:
        return {"model": Model()}

    line = not_kept(log, build)
    assert "result -> ['model'] -> .session -> .locks -> [0]" in line
    for cure in ("__getstate__", "result_serializer", "persist_result=False"):
        assert cure in line


def test_what_json_can_not_hold_is_named_too(log: Any) -> None:
    line = not_kept(log, task(identity, result_serializer="json", cache_policy=INPUTS), {"a": [b"bytes", object]})
    assert "result -> ['a'] -> [1]" in line
    assert 'result_serializer="pickle"' in line


def test_an_unpicklable_result_reaches_who_asked_for_it_in_a_flow() -> None:
    @task(persist_result=True)
    def build() -> Any:
        return threading.Lock()

    @task
    def use(lock: Any) -> bool:
        with lock:
            return True

    @flow
    def around() -> bool:
        return use.submit(build.submit()).result()

    assert around()


def test_the_unpicklable_result_of_a_flow_is_not_lost_either(log: Any) -> None:
    @flow(persist_result=True)
    def around() -> Any:
        return threading.Lock()

    assert around() is not None
    assert "The result was not kept: " in log


class Broken(Serializer):
    """Does what it is told to."""

    type: str = "broken"
    writes: str = "bytes"

    def dumps(self, obj: Any) -> Any:
        if self.writes == "nothing":
            raise RuntimeError("no ink")
        return b"bytes" if self.writes == "bytes" else "text"

    def loads(self, blob: Any) -> Any:
        raise RuntimeError("no glasses")


def test_trouble_in_a_serializer_of_the_users_own_is_told_and_nothing_is_lost(log: Any) -> None:
    step = task(identity, cache_policy=INPUTS, result_serializer=Broken(writes="nothing"))
    line = not_kept(log, step)
    assert "Broken" in line
    assert "RuntimeError: no ink" in line
    assert "use another result_serializer" in line
    line = not_kept(log, step.with_options(result_serializer=Broken(writes="text")))
    assert "gave a str instead of bytes" in line


def test_what_a_serializer_can_not_read_is_a_miss_that_names_it(log: Any) -> None:
    step = task(identity, cache_policy=INPUTS, result_serializer=Broken())
    called(step)
    assert called(step).name == "Completed"
    (line,) = log.having("WARNING", "is not used")
    assert "Broken raised RuntimeError: no glasses" in line


class BrokenFiles:
    """A file system of which each verb fails, or reads something strange."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def read_path(self, path: str) -> Any:
        if self.content is None:
            raise RuntimeError("unplugged")
        return self.content

    def write_path(self, path: str, content: bytes) -> None:
        raise RuntimeError("write-protected")


def test_trouble_in_a_file_system_of_the_users_own_is_told_and_nothing_is_lost(log: Any) -> None:
    line = not_kept(log, task(identity, cache_policy=INPUTS, result_storage=BrokenFiles()))
    assert "write-protected" in line
    (warning,) = log.having("WARNING", "is not used: the store can't be read")
    assert "unplugged" in warning


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("text", "gave str where bytes are expected"),
        (b"no entry", "damaged: this is not an entry"),
        (3, "gave int where bytes are expected"),
    ],
)
def test_strange_content_of_a_file_system_is_a_miss_with_a_reason(content: Any, why: str, log: Any) -> None:
    called(task(identity, cache_policy=INPUTS, result_storage=BrokenFiles(content)))
    assert why in log


def test_a_storage_key_that_leaves_its_folder_is_told_and_nothing_is_written_there(log: Any, tmp_path: Path) -> None:
    storage = LocalFileSystem(basepath=str(tmp_path / "files"))
    line = not_kept(log, task(identity, result_storage=storage, result_storage_key="../outside"))
    assert "leaves the folder" in line
    assert not (tmp_path / "outside").exists()


# --- what is kept and can't be used: a miss with a reason


def missed(log: Any, step: Task[..., Any], *args: Any) -> str:
    """The warning with which a call said why it did not use what is kept; the call after it is a hit again."""
    log.clear()
    assert called(step, *args).name == "Completed"
    (line,) = log.having("WARNING", "The result kept under", "is not used", "Running instead.")
    assert called(step, *args).name == "Cached"
    found: str = line
    return found


def test_an_entry_whose_class_no_longer_exists_is_a_miss_that_names_it(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = types.ModuleType("gone")
    exec("class Thing: pass", gone.__dict__)
    monkeypatch.setitem(sys.modules, "gone", gone)

    @task(cache_policy=INPUTS)
    def build(x: int) -> Any:
        return gone.Thing() if hasattr(gone, "Thing") else "anew"

    called(build, 1)
    del gone.Thing
    line = missed(log, build, 1)
    assert "a class or function that no longer exists" in line
    assert "'Thing'" in line
    assert build(1) == "anew"


def test_an_entry_whose_module_no_longer_exists_is_a_miss_that_names_it(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = types.ModuleType("gone")
    exec("class Thing: pass", gone.__dict__)
    build = task(lambda x: gone.Thing(), cache_policy=INPUTS, name="build")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gone", gone)
        called(build, 1)
    log.clear()
    state = build(1, return_state=True)
    assert (state.name, state.is_completed()) == ("Completed", True)
    assert log.having("needs the module 'gone'", "Running instead.")


def test_a_serializer_that_no_longer_exists_is_a_miss_that_names_it(log: Any) -> None:
    step = task(identity, cache_policy=INPUTS)
    called(step)
    (entry,) = ResultStore().entries.scan()
    ResultStore().entries.put([entry._replace(serializer="my_old_package:Codec")])
    assert "my_old_package" in missed(log, step)


def blobs(home: Path) -> list[Path]:
    """The blob files of the default store."""
    return [path for path in (home / "storage" / "blobs").rglob("*") if path.is_file()]


@task(cache_policy=INPUTS)
def zeros(n: int) -> Any:
    return numpy.zeros(n)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda blob: blob.write_bytes(b"x" * blob.stat().st_size), "damaged"),
        (lambda blob: blob.write_bytes(blob.read_bytes()[:1000]), "damaged"),
        (lambda blob: blob.write_bytes(b""), "damaged"),
        (lambda blob: blob.unlink(), "missing"),
    ],
    ids=["overwritten", "cut off", "empty", "deleted"],
)
def test_a_damaged_or_missing_blob_is_a_miss_with_a_reason(damage: Any, why: str, log: Any, home: Path) -> None:
    called(zeros, 100_000)
    (blob,) = blobs(home)
    blob.chmod(0o600)
    damage(blob)
    assert f"is not used: {why}" in missed(log, zeros, 100_000)
    assert not zeros(100_000).any()


def test_a_damaged_row_is_a_miss_with_a_reason(log: Any, home: Path) -> None:
    step = task(identity, cache_policy=INPUTS)
    called(step)
    connection = sqlite3.connect(home / "storage" / "entries.sqlite", isolation_level=None)
    connection.execute("UPDATE entry SET record = zeroblob(length(record))")
    connection.close()
    assert "damaged" in missed(log, step)
    assert called(step).result() == 1


def test_a_damaged_database_is_moved_aside_with_one_warning_and_results_are_kept_again(log: Any, home: Path) -> None:
    step = task(identity, cache_policy=INPUTS)
    called(step)
    ResultStore().entries.close()
    database = home / "storage" / "entries.sqlite"
    for part in home.joinpath("storage").glob("entries.sqlite-*"):
        part.unlink()
    database.write_bytes(os.urandom(8192))
    assert [called(step).name, called(step).name] == ["Completed", "Cached"]
    (line,) = log.having("WARNING", str(database))
    assert "damaged" in line
    assert "moved to" in line
    assert "a fresh one is begun" in line
    assert len(list(database.parent.glob("*.damaged-1"))) == 1


def test_a_store_written_by_a_newer_version_is_told_and_left_as_it_is(log: Any, home: Path) -> None:
    step = task(identity, cache_policy=INPUTS)
    called(step)
    ResultStore().entries.close()
    database = home / "storage" / "entries.sqlite"
    version_of(database, 99)
    line = not_kept(log, step)
    (warning,) = log.having("WARNING", "is not used: the store can't be read")
    for said in (line, warning):
        assert str(database) in said
        assert "newer version of kept" in said
        assert "Upgrade kept, or set KEPT_LOCAL_STORAGE_PATH to another folder" in said
    with pytest.raises(StoreError, match="newer version"):
        ResultStore().write(1, key="k")
    ResultStore().entries.close()
    version_of(database, SCHEMA_VERSION)
    assert called(step).name == "Cached"


def version_of(database: Path, version: int) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()


def test_an_entry_file_written_by_a_newer_version_is_a_miss_that_says_so(log: Any, tmp_path: Path) -> None:
    step = task(identity, result_storage=LocalFileSystem(basepath=str(tmp_path)), result_storage_key="file")
    called(step)
    file = tmp_path / "file"
    file.write_bytes(file.read_bytes().replace(b'"kept":1', b'"kept":99'))
    assert "newer version of kept (format 99)" in missed(log, step)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"{}\n", b'{"kept":1}\n', b"[1]", b'{"kept":"1","entry":{}}\n'])
def test_an_entry_file_with_anything_else_in_it_is_a_miss(content: bytes, log: Any, tmp_path: Path) -> None:
    step = task(identity, result_storage=LocalFileSystem(basepath=str(tmp_path)), result_storage_key="file")
    called(step)
    (tmp_path / "file").write_bytes(content)
    assert [called(step).name, called(step).name] == ["Completed", "Cached"]
    assert not content or "is not used: damaged" in log


def test_reading_a_result_that_is_not_there_says_where_it_was_looked_for() -> None:
    refused(MissingResult, lambda: ResultStore().read("nope"), "'nope'", ResultStore().location, "not kept")


def test_writing_what_can_not_be_kept_is_an_error_where_somebody_asked_for_it() -> None:
    refused(SerializationError, lambda: ResultStore().write(Model(), key="k"), ".session -> .locks -> [0]")


# --- places that can't be written


def test_a_home_that_is_a_file_loses_no_work_and_is_told(
    log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("KEPT_HOME", str(tmp_path / "file"))
    line = not_kept(log, task(identity, cache_policy=INPUTS))
    assert f"nothing can be kept in {tmp_path / 'file'}" in line
    assert "KEPT_LOCAL_STORAGE_PATH" in line
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small disk with these options, of which each call remounts the same."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")

    def remount(options: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
        return folder

    yield remount
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_a_full_disk_loses_no_work_and_is_told(layout: str, log: Any, mounted: Callable[[str], Path]) -> None:
    folder = mounted("size=1m")
    with temporary_settings({KEPT_LOCAL_STORAGE_PATH: folder / "storage", KEPT_RESULTS_STORE_LAYOUT: layout}):
        called(zeros, 10)
        line = not_kept(log, zeros, 1_000_000)
        assert str(folder) in line
        assert re.search(r"full|No space left", line)
        assert called(zeros, 10).name == "Cached"
        ResultStore().entries.close()


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_a_read_only_store_gives_hits_and_is_told_where_nothing_new_can_be_kept(
    layout: str, log: Any, mounted: Callable[[str], Path]
) -> None:
    folder = mounted("rw")
    with temporary_settings({KEPT_LOCAL_STORAGE_PATH: folder / "storage", KEPT_RESULTS_STORE_LAYOUT: layout}):
        called(zeros, 10)
        ResultStore().entries.close()
        mounted("ro")
        assert called(zeros, 10).name == "Cached"
        line = not_kept(log, zeros, 11)
        assert str(folder) in line
        assert re.search(r"read-only", line, re.IGNORECASE)
        ResultStore().entries.close()


# --- settings and history


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


PROGRAM = """
    from kept import task

    @task
    def step():
        return 1

    print(step())
"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[tasks\nx = 1\n", ["kept.toml", "not valid TOML", "line 1", "Correct it there, or delete the file"]),
        ("[tasks]\nrefres_cache = true", ["kept.toml", "refres_cache", "did you mean tasks.refresh_cache?"]),
        ("[tasks]\nrefresh_cache = 3", ["kept.toml", "refresh_cache", "3", "true"]),
    ],
)
def test_a_damaged_settings_file_is_told_by_its_path_line_and_nearest_right_name(
    content: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "kept.toml").write_text(content)
    done = run(PROGRAM, tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("kept.exceptions.ConfigurationError: ")
    for word in words:
        assert word in last


def test_a_wrong_variable_is_told_with_the_nearest_right_one(tmp_path: Path) -> None:
    last = run(PROGRAM, tmp_path, KEPT_TASKS_REFRESH_CACHE="maybe").stderr.splitlines()[-1]
    assert "KEPT_TASKS_REFRESH_CACHE" in last
    assert "maybe" in last
    last = run(PROGRAM, tmp_path, KEPT_TASKS_REFRES_CACHE="1").stderr.splitlines()[-1]
    assert "did you mean KEPT_TASKS_REFRESH_CACHE?" in last


def test_a_damaged_history_disturbs_no_run_and_is_told_once(tmp_path: Path, home: Path) -> None:
    home.mkdir()
    (home / "history.sqlite").write_bytes(b"garbage" * 100)
    done = run(PROGRAM, tmp_path)
    assert (done.returncode, done.stdout) == (0, "1\n")
    (line,) = [line for line in done.stderr.splitlines() if "history" in line]
    assert str(home / "history.sqlite") in line
    assert "moved to" in line
