"""Arguments that are left out of the key by their annotation or by their type."""

from __future__ import annotations

import functools
import json
import logging
import threading
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

import kept
from kept import Ignore, flow, task
from kept.cache_policies import FLOW_PARAMETERS, INPUTS, PURE, TASK_SOURCE, ignore_type
from kept.engine.binding import Binder
from kept.futures import wait
from kept.results import ResultStore

if TYPE_CHECKING:
    from nowhere import Client  # type: ignore[import-not-found]

Quiet = Ignore[logging.Logger]


def ignored(function: Any) -> set[str]:
    return set(Binder(function, "task 'f'").ignored)


def states(step: Any, *calls: tuple[Any, ...]) -> list[str]:
    return [step(*call, return_state=True).name for call in calls]


def parts_of(state: Any) -> list[str]:
    entry = ResultStore().lookup(state.cache_key)
    return sorted(json.loads(entry.parts))  # type: ignore[union-attr]


def test_an_annotated_argument_is_no_part_of_the_key() -> None:
    @task(cache_policy=INPUTS)
    def load(day: str, lock: Ignore[Any]) -> str:
        return day

    assert states(load, ("mon", threading.Lock()), ("mon", threading.Lock()), ("tue", 1)) == [
        "Completed", "Cached", "Completed",
    ]  # fmt: skip
    assert parts_of(load("mon", None, return_state=True)) == ["inputs.day"]


def test_annotation_and_subtraction_say_the_same() -> None:
    @task(cache_policy=INPUTS)
    def annotated(day: str, log: Ignore[Any] = None) -> str:
        return day

    @task(cache_policy=INPUTS - "log")
    def subtracted(day: str, log: Any = None) -> str:
        return day

    assert annotated("mon", return_state=True).cache_key == subtracted("mon", 1, return_state=True).cache_key


def test_a_task_whose_arguments_are_all_ignored_has_one_result() -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def load(log: Ignore[Any]) -> int:
        return 1

    assert states(load, (1,), (2,)) == ["Completed", "Cached"]


def test_a_flow_ignores_what_it_is_annotated_with() -> None:
    @flow(cache_policy=INPUTS)
    def load(day: str, log: Ignore[logging.Logger], lock: Ignore[Any] = None) -> str:
        return day

    log = logging.getLogger("a")
    assert states(load, ("mon", log), ("mon", log, threading.Lock())) == ["Completed", "Cached"]


def test_the_parameters_of_the_flow_around_are_ignored_as_it_says() -> None:
    @task(cache_policy=FLOW_PARAMETERS)
    def step(x: int) -> int:
        return x

    @flow
    def run(day: str, lock: Ignore[Any]) -> str:
        return step(1, return_state=True).name  # type: ignore[no-any-return]

    assert [run("mon", threading.Lock()), run("mon", threading.Lock()), run("tue", 1)] == [
        "Completed", "Cached", "Completed",
    ]  # fmt: skip


def test_a_submitted_task_ignores_too() -> None:
    @task(cache_policy=INPUTS)
    def load(day: str, lock: Ignore[Any]) -> str:
        return day

    @flow
    def all() -> list[str]:
        first = load.submit("mon", threading.Lock())
        second = load.submit("mon", threading.Lock(), wait_for=[first])
        wait([first, second])
        return [first.state.name, second.state.name]

    assert all() == ["Completed", "Cached"]


def test_the_annotation_is_found_in_each_form() -> None:
    def plain(a: Ignore[int], b: kept.Ignore[int], c: int) -> None: ...
    def aliased(a: Quiet, b: Quiet | None, c: Optional[Ignore[int]] = None) -> None: ...  # noqa: UP045
    def nested(a: Annotated[Ignore[int], "note"], b: Annotated[int, "note"]) -> None: ...
    def starred(a: int, *args: Ignore[int], **kwargs: kept.Ignore[int]) -> None: ...

    def bare(a: Ignore, b: int) -> None: ...  # type: ignore[type-arg]

    assert ignored(plain) == {"a", "b"}
    assert ignored(bare) == {"a"}
    assert ignored(aliased) == {"a", "b", "c"}
    assert ignored(nested) == {"a"}
    assert ignored(starred) == {"args", "kwargs"}


def test_the_annotation_is_found_where_the_type_is_imported_for_checkers_only() -> None:
    def f(client: Ignore[Client], other: kept.Ignore[Client], x: Client, y: undefined[int]) -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert ignored(f) == {"client", "other"}


def test_names_of_a_function_around_are_known() -> None:
    mine = Ignore[int]

    def f(a: mine, b: int) -> Any:  # type: ignore[valid-type]
        return mine

    assert ignored(f) == {"a"}


@pytest.mark.parametrize("text", ["the path to the file", "", "lambda", "[", "1 +", "x[0"])
def test_annotations_that_are_mere_texts_do_no_harm(text: str) -> None:
    def f(a: Any, b: int) -> None: ...

    f.__annotations__["a"] = text
    assert ignored(f) == set()


def test_whatever_can_be_called_may_be_annotated() -> None:
    class Caller:
        def __call__(self, a: Ignore[int], b: int) -> None: ...

    assert ignored(len) == ignored(print) == set()
    assert ignored(Caller()) == ignored(Caller().__call__) == {"a"}
    assert ignored(functools.partial(Caller.__call__, Caller())) == {"a"}


def test_a_type_that_is_ignored_counts_as_nothing_wherever_it_stands() -> None:
    class Metrics:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    @task(cache_policy=INPUTS)
    def load(day: str, tools: dict[str, Any]) -> str:
        return day

    ignore_type(Metrics)
    calls = [("mon", {"metrics": Metrics(), "log": logging.getLogger(name)}) for name in "ab"]
    assert states(load, *calls) == ["Completed", "Cached"]


def test_an_argument_without_stable_content_is_told_to_be_annotated(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def load(day: str, lock: Any) -> str:
        return day

    load("mon", threading.Lock())
    assert "Leave it out with cache_policy=INPUTS - 'lock' or annotate it as Ignore[...], turn caching off" in log


class Telemetry:
    def send(self) -> int:
        return 1


class Meter:
    def read(self) -> int:
        return 1


def test_the_code_of_what_is_ignored_does_not_count_either() -> None:
    @task(cache_policy=PURE)
    def load(day: str, telemetry: Telemetry, meter: Ignore[Meter], other: Meter | None = None) -> str:
        return day

    ignore_type(Telemetry)
    assert "code.Meter" not in parts_of(load("mon", Telemetry(), Meter(), return_state=True))
    parts = parts_of(load("mon", Telemetry(), Meter(), Meter(), return_state=True))
    assert "code.Meter" in parts and "code.Telemetry" not in parts
