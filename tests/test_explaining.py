"""`task.explain()`, the line in the log, and what is remembered for them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS, NO_CACHE, PURE, RUN_ID, TASK_SOURCE
from kept.exceptions import ParameterBindError, ValidationError
from kept.filesystems import LocalFileSystem
from kept.history import close_recorders, open_recorder
from kept.settings import (
    KEPT_HISTORY_ARGUMENTS,
    KEPT_HISTORY_ENABLED,
    KEPT_LOGGING_EXPLAIN,
    KEPT_LOGGING_LEVEL,
    temporary_settings,
)
from kept.store import open_store
from tests.conftest import Lines

ran: list[Any] = []


@task(cache_policy=INPUTS)
def train(cfg: Any, seed: int = 0) -> Any:
    ran.append(cfg)
    return cfg


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    yield


@pytest.fixture
def explained(log: Lines) -> Iterator[Any]:
    """Gives the lines that explain, as the log shows them by now."""
    with temporary_settings({KEPT_LOGGING_LEVEL: "DEBUG"}):
        yield lambda: [line.partition(" - ")[2] for line in log.having("DEBUG") if _explains(line)]


def _explains(line: str) -> bool:
    return line.partition(" - ")[2].startswith(("HIT: ", "MISS: ", "OFF: "))


def recorded(home: Path, column: str) -> list[Any]:
    open_recorder(home / "history.sqlite").flush()
    with sqlite3.connect(home / "history.sqlite") as connection:
        rows = connection.execute(f"SELECT {column} FROM runs ORDER BY rowid").fetchall()
    connection.close()
    return [row[0] for row in rows]


class TestExplain:
    def test_says_that_nothing_was_kept_yet_and_runs_nothing(self, home: Path, log: Lines) -> None:
        found = train.explain({"lr": 0.1})
        assert (found.decision, found.reason, found.nearest, ran) == ("MISS", "not kept yet", None, [])
        assert found.parts.keys() == {"inputs.cfg", "inputs.seed"}
        assert len(log) == 0
        assert not home.exists()

    def test_says_how_the_call_differs_from_the_nearest_kept_one(self) -> None:
        train({"lr": 0.1, "n": 3})
        found = train.explain({"lr": 0.2, "n": 3}, 1)
        assert [str(one) for one in found.differences] == ["inputs.cfg['lr'] 0.1 -> 0.2", "inputs.seed 0 -> 1"]
        assert found.nearest is not None
        assert found.nearest.run.startswith("train-")

    def test_says_of_a_hit_who_computed_it_and_what_that_saves(self) -> None:
        @flow(flow_run_name="mint-otter")
        def nightly() -> None:
            train(1)

        nightly()
        found = train.explain(1)
        assert found.decision == "HIT"
        assert "in run 'mint-otter', which took" in found.line
        assert found.saved > 0

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"persist_result": False}, "persist_result=False"),
            ({"cache_policy": NO_CACHE}, "nothing asks for its result to be kept"),
            ({"cache_key_fn": lambda context, parameters: None}, "the cache policy gives no key for this call"),
        ],
    )
    def test_says_which_rule_turned_the_cache_off(self, options: dict[str, Any], reason: str) -> None:
        assert train.with_options(**options).explain(1).line == f"OFF: {reason}"

    def test_says_why_an_entry_is_not_used(self) -> None:
        train(1)
        assert train.with_options(refresh_cache=True).explain(1).line == "MISS: refresh_cache=True"
        assert "longer than cache_expiration" in train.with_options(cache_expiration=timedelta(0)).explain(1).line

    def test_says_of_a_key_that_can_not_be_made_why(self) -> None:
        found = train.explain(asyncio.Lock())
        assert found.decision == "OFF"
        assert "argument 'cfg'" in found.reason

    def test_shows_keys_of_functions_as_they_are(self) -> None:
        keyed = train.with_options(cache_key_fn=lambda context, parameters: f"train-{parameters['seed']}")
        keyed(1, 5)
        assert [str(one) for one in keyed.explain(1, 6).differences] == ["cache_key_fn train-5 -> train-6"]

    def test_compares_only_what_both_keys_have(self) -> None:
        train(1)
        found = train.with_options(cache_policy=INPUTS + TASK_SOURCE + RUN_ID).explain(1)
        assert found.differences == ()
        assert found.not_compared == ("run_id", "task_source")

    def test_says_so_if_what_was_kept_is_gone(self, home: Path) -> None:
        state = train(1, return_state=True)
        open_store(home / "storage").entries.delete([state.cache_key])
        assert "and not there any more" in train.explain(1).line

    def test_looks_into_the_store_if_the_history_knows_nothing(self, home: Path) -> None:
        with temporary_settings({KEPT_HISTORY_ENABLED: False}):
            train(1)
            found = train.explain(2)
        assert [str(one) for one in found.differences] == ["inputs.cfg changed"]

    def test_looks_into_a_folder_of_others(self, tmp_path: Path, home: Path) -> None:
        shared = train.with_options(result_storage=LocalFileSystem(basepath=str(tmp_path / "shared")))
        shared(1)
        close_recorders(home)
        (home / "history.sqlite").unlink()
        assert [str(one) for one in shared.explain(2).differences] == ["inputs.cfg changed"]

    def test_does_without_a_history_that_can_not_be_read(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        train(1)
        close_recorders(home)
        with sqlite3.connect(home / "history.sqlite") as connection:
            connection.execute("PRAGMA user_version=99")
        connection.close()
        assert train.explain(1).decision == "HIT"
        assert [str(one) for one in train.explain(2).differences] == ["inputs.cfg changed"]

    def test_leaves_the_warning_about_shared_results_to_the_run(self, log: Lines) -> None:
        @task(cache_policy=INPUTS)
        def other(cfg: Any, seed: int = 0) -> None: ...

        train(1)
        other.explain(1)
        assert not log.having("WARNING")
        other(1)
        assert log.having("WARNING", "kept by another task")

    def test_takes_futures_and_states(self) -> None:
        @flow
        def f() -> Any:
            before = train.submit(1)
            train(before)
            return train.explain(before).decision, train.explain([train(2, return_state=True)]).decision

        assert f() == ("HIT", "MISS")
        assert ran == [1, 2]

    def test_of_what_waits_for_a_failed_run_says_that(self) -> None:
        @task
        def fail() -> None:
            raise ValueError("no")

        found = train.explain(fail(return_state=True))
        assert "Upstream run did not reach" in found.reason

    def test_raises_for_a_call_that_does_not_fit(self) -> None:
        with pytest.raises(ParameterBindError):
            train.explain()  # type: ignore[call-arg]

    def test_of_a_flow_takes_its_parameters_as_they_are_checked(self, log: Lines) -> None:
        @flow(cache_policy=INPUTS)
        def nightly(n: int) -> int:
            return n

        nightly(1)
        log.clear()
        assert nightly.explain("1").decision == "HIT"  # type: ignore[arg-type]
        assert [str(one) for one in nightly.explain(2).differences] == ["inputs.n 1 -> 2"]
        with pytest.raises(ValidationError):
            nightly.explain("many")  # type: ignore[arg-type]
        assert len(log) == 0

    def test_can_be_awaited_and_is_plain_for_async_tasks(self) -> None:
        @task(cache_policy=INPUTS)
        async def fetch(n: int) -> int:
            return n

        async def main() -> list[str]:
            await fetch(1)
            return [(await fetch.aexplain(1)).decision, fetch.explain(2).decision, (await train.aexplain(1)).decision]

        assert asyncio.run(main()) == ["HIT", "MISS", "MISS"]

    def test_of_a_method_counts_its_object(self) -> None:
        class Shop:
            def __init__(self, rate: float) -> None:
                self.rate = rate

            @task(cache_policy=INPUTS)
            def cost(self, n: int) -> float:
                return n * self.rate

        Shop(0.5).cost(1)
        assert Shop(0.5).cost.explain(1).decision == "HIT"
        assert [one.what for one in Shop(0.6).cost.explain(1).differences] == ["inputs.self"]


class TestTheLineInTheLog:
    def test_explains_each_run(self, explained: Any) -> None:
        @flow(flow_run_name="first")
        def f(lr: float) -> None:
            train({"lr": lr})

        f(0.1)
        f(0.1)
        f.with_options(flow_run_name="third")(0.2)
        off, first, _, hit, _, miss = explained()
        assert off == "OFF: nothing asks for its result to be kept"
        assert first == "MISS: not kept yet, and nothing else of this step is known"
        assert hit.startswith("HIT: kept ") and "in run 'first'" in hit
        assert miss.startswith("MISS: inputs.cfg['lr'] 0.1 -> 0.2; nearest kept result is from ")
        assert miss.endswith("run 'first'")

    def test_is_not_there_by_default(self, log: Lines) -> None:
        train(1)
        assert not any(map(_explains, log))

    def test_appears_at_the_level_that_was_chosen(self, log: Lines) -> None:
        with temporary_settings({KEPT_LOGGING_EXPLAIN: "INFO"}):
            train(1)
        assert log.having("INFO", "MISS: not kept yet")

    def test_is_short_where_the_history_can_not_be_read(self, home: Path, explained: Any) -> None:
        home.write_text("a file where the folder should be")
        train(1)
        assert explained()[0].startswith("MISS: ")
        assert ran == [1]


class TestWhatIsRemembered:
    def test_small_arguments_of_a_miss_and_none_of_a_hit(self, home: Path) -> None:
        train({"lr": 0.1})
        train({"lr": 0.1})
        assert recorded(home, "arguments") == ['{"cfg":"{\'lr\': 0.1}","seed":"0"}', None]

    def test_arguments_as_they_were_before_the_call(self, home: Path) -> None:
        @task(cache_policy=INPUTS)
        def grow(xs: list[int]) -> None:
            xs.append(1)

        grow([0])
        assert json.loads(recorded(home, "arguments")[0]) == {"xs": "[0]"}

    def test_nothing_where_that_is_not_wanted(self, home: Path) -> None:
        with temporary_settings({KEPT_HISTORY_ARGUMENTS: False}):
            train(1)
        assert recorded(home, "arguments") == [None]

    def test_nothing_that_looks_secret(self, home: Path) -> None:
        @task(cache_policy=INPUTS)
        def login(user: str, password: str, options: dict[str, str]) -> None: ...

        login("ada", "hush", {"token": "hush"})
        assert recorded(home, "arguments") == ['{"user":"\'ada\'"}']
        assert b"hush" not in (home / "history.sqlite").read_bytes()

    def test_the_name_of_the_flow_run(self, home: Path) -> None:
        @flow(flow_run_name="mint-otter")
        def f() -> None:
            train(1)

        f()
        train(2)
        assert recorded(home, "flow_run") == ["mint-otter", "", ""]


def test_an_element_of_a_map_is_compared_with_the_last_run_and_not_with_others_of_this_one(explained: Any) -> None:
    @flow
    def f(cfgs: list[int]) -> None:
        train.map(cfgs, 5).wait()

    f.with_options(flow_run_name="first")([0, 1])
    f.with_options(flow_run_name="second")([10, 11, 12])
    second = [line for line in explained() if line.startswith("MISS")][2:]
    assert len(second) == 3
    assert all(line.endswith("run 'first'") for line in second)


class TestCodeIsLeftForOthers:
    def test_once_beside_the_first_result_and_at_no_cost_to_others(self) -> None:
        files = Files()
        pure = train.with_options(cache_policy=PURE, result_storage=files)
        pure(1)
        assert [path.startswith("code-") for path in files.written] == [False, True]
        pure(2)
        pure(2)
        assert [path.startswith("code-") for path in files.written] == [False, True, False]
        assert not any(path.startswith("code-") for path in files.read)

    def test_and_a_store_that_does_not_take_it_disturbs_nothing(self, log: Lines) -> None:
        class Picky(Files):
            def write_path(self, path: str, content: bytes) -> None:
                if path.startswith("code-"):
                    raise OSError("no room")
                super().write_path(path, content)

        pure = train.with_options(cache_policy=PURE, result_storage=Picky())
        assert [pure(1), pure(1)] == [1, 1]
        assert ran == [1]
        assert not log.having("ERROR")

    def test_and_not_in_a_store_that_nobody_else_reads(self, home: Path) -> None:
        train.with_options(cache_policy=PURE)(1)
        assert not any(entry.key.startswith("code-") for entry in open_store(home / "storage").entries.scan())


class Files:
    """A file system of the user's own, in memory, that notes what it is asked for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.read: list[str] = []
        self.written: list[str] = []

    def read_path(self, path: str) -> bytes:
        self.read.append(path)
        if path not in self.content:
            raise FileNotFoundError(path)
        return self.content[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.written.append(path)
        self.content[path] = content
