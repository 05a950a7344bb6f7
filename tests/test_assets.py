"""Assets: what materializing tasks make, noted in the history."""

from __future__ import annotations

import asyncio
import json
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.assets import Asset, AssetProperties, MaterializingTask, add_asset_metadata, materialize
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError, MissingContextError, ParameterTypeError
from kept.history import open_recorder
from kept.settings import KEPT_LOGGING_LEVEL, temporary_settings
from kept.task_runners import ProcessPoolTaskRunner
from kept.transactions import transaction
from tests.conftest import Lines

RAW, CLEAN, REPORT = "file://data/raw.csv", "s3://lake/clean.csv", "s3://lake/report.html"


@pytest.fixture
def made(home: Path) -> Callable[[], list[Any]]:
    """Gives what was recorded of assets so far, oldest first."""

    def read() -> list[Any]:
        path = home / "history.sqlite"
        open_recorder(path).flush()
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT assets FROM runs WHERE assets IS NOT NULL ORDER BY started").fetchall()
        connection.close()
        return [one for (text,) in rows for one in json.loads(text)]

    return read


@materialize(RAW)
def extract() -> list[int]:
    return [1, 2]


@materialize(CLEAN, by="dbt", retries=0)
def transform(raw: Any, other: Any = None) -> Any:
    return raw


def test_a_materializing_task_is_a_task() -> None:
    assert isinstance(transform, MaterializingTask)
    assert (transform.name, transform.materialized_by, transform.assets) == ("transform", "dbt", (Asset(key=CLEAN),))
    assert transform([1]) == [1]
    assert transform.with_options(name="other").assets == transform.assets
    assert transform.with_options(assets=[RAW]).assets == (Asset(RAW),)
    assert pickle.loads(pickle.dumps(transform)) is transform


def test_what_was_made_from_what_is_recorded(made: Any) -> None:
    @materialize(
        Asset(REPORT, AssetProperties(name="Report", owners=["me"])),
        "s3://lake/b",
        asset_deps=["pg://db/t", Asset(CLEAN)],
    )
    def report() -> None: ...

    report()
    first, second = made()
    assert first == {
        "key": REPORT,
        "by": None,
        "properties": {"name": "Report", "description": None, "owners": ["me"], "url": None},
        "metadata": {},
        "upstream": ["pg://db/t", CLEAN],
    }
    assert (second["key"], second["properties"]) == ("s3://lake/b", None)


@pytest.mark.parametrize(
    "pass_on",
    [
        lambda: transform(extract()),
        lambda: transform(extract(return_state=True)),
        lambda: transform.submit(extract.submit()).wait(),
        lambda: transform([extract.submit()]),
        lambda: transform(1, other={"raw": extract.submit()}),
    ],
)
def test_what_an_asset_is_made_from_is_seen_from_the_arguments(pass_on: Any, made: Any) -> None:
    @flow
    def etl() -> None:
        pass_on()

    etl()
    assert {one["key"]: one["upstream"] for one in made()} == {RAW: [], CLEAN: [RAW]}


def test_what_only_looks_like_a_result_is_no_upstream(made: Any) -> None:
    @flow
    def etl() -> None:
        extract()
        transform([1, 2])

    etl()
    assert {one["key"]: one["upstream"] for one in made()} == {RAW: [], CLEAN: []}


def test_metadata_is_added_up_while_the_task_runs(made: Any) -> None:
    asset = Asset(key=CLEAN)

    @materialize(asset)
    async def step() -> None:
        asset.add_metadata({"rows": 1, "more": "x"})
        await asyncio.sleep(0)
        add_asset_metadata(CLEAN, {"rows": 2})

    asyncio.run(step())
    assert made()[0]["metadata"] == {"rows": 2, "more": "x"}


@materialize(CLEAN)
def count(rows: int) -> int:
    with transaction():
        add_asset_metadata(CLEAN, {"rows": rows})
    return rows


def test_metadata_comes_back_from_a_worker_process(made: Any) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def f() -> Any:
        return count.submit(3).result()

    assert f() == 3
    assert made()[0]["metadata"] == {"rows": 3}


def test_a_hit_makes_nothing_and_a_failure_is_recorded_as_one(made: Any, log: Lines) -> None:
    @materialize(RAW, cache_policy=INPUTS)
    def step(x: int) -> int:
        return 1 // x

    with temporary_settings({KEPT_LOGGING_LEVEL: "DEBUG"}):
        step(1)
        assert step(1, return_state=True).name == "Cached"
        step(0, return_state=True)
    assert len(made()) == 2
    assert len(log.having("DEBUG", f"Materialized {RAW}")) == 1
    assert len(log.having("DEBUG", f"Failed to materialize {RAW}")) == 1


@pytest.mark.parametrize("key", ["data.csv", "s3:/x", "s3://with space", "", "://x", None])
def test_a_key_that_is_no_uri_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="a key is a URI without spaces"):
        Asset(key=key)


def test_wrong_use_is_told() -> None:
    wrong: Any = materialize
    with pytest.raises(ParameterTypeError, match="needs the key of an asset"):
        wrong()
    with pytest.raises(ParameterTypeError, match="given as its key or as an Asset, not as <function"):
        wrong(lambda: 1)
    with pytest.raises(ParameterTypeError, match="takes a list of assets or their keys"):
        task(asset_deps=wrong)
    with pytest.raises(ConfigurationError, match="a key is a URI"):
        materialize(RAW, asset_deps=["nothing"])
    with pytest.raises(ParameterTypeError, match="has no option 'nam'"):
        wrong(RAW, nam="x")
    with pytest.raises(MissingContextError, match="none is running"):
        add_asset_metadata(RAW, {})

    @materialize(RAW)
    def other() -> None:
        add_asset_metadata(CLEAN, {})

    with pytest.raises(ConfigurationError, match="does not make the asset 's3://lake/clean.csv'; it makes file://data"):
        other()


def test_tasks_take_the_options_too() -> None:
    step = task(asset_deps=[RAW], viz_return_value=[1])(lambda: 2)
    assert (step.asset_deps, step.viz_return_value) == ((RAW,), [1])
