"""Runs and stores that others can write to: what is not trusted is neither used nor unpickled."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from kept import task
from kept.cache_policies import INPUTS
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore
from kept.store import Entry, ObjectBlobs, ObjectEntries
from kept.testing import an_entry
from tests.test_bad_input import called, missed


class Trap:
    """A payload that acts when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def files(tmp_path: Path) -> LocalFileSystem:
    return LocalFileSystem(basepath=str(tmp_path / "shared"))


@pytest.fixture
def signing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_SIGNING_KEY", "a text that nobody guesses")


def poison(files: LocalFileSystem, key: str, trap: Path, large: bool) -> None:
    payload = pickle.dumps(Trap(trap))
    entry = an_entry(key, payload=payload)
    if large:
        entry = entry._replace(payload=None, blob=ObjectBlobs(files).put([payload]))
    ObjectEntries(files).put([entry])


def test_what_is_signed_is_a_hit(signing: None, files: Any) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files)
    assert called(step, 2).name == "Completed"
    assert called(step, 2).name == "Cached"
    (entry,) = ObjectEntries(files).scan()
    assert entry.signature and entry.signature.startswith("v1:")


@pytest.mark.parametrize("large", [False, True])
def test_a_poisoned_entry_is_a_miss_and_is_never_unpickled(
    signing: None, files: Any, tmp_path: Path, log: Any, large: bool
) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files)
    key = called(step, 2).state_details.cache_key
    poison(files, str(key), tmp_path / "trapped", large)
    assert "not trusted: it is not signed" in missed(log, step, 2)
    (line,) = log.having("WARNING", "is not used: it is not signed. It claims to be computed by task 'etl.clean'")
    assert str(tmp_path / "shared") in line
    assert not (tmp_path / "trapped").exists()


def test_an_entry_that_was_moved_to_another_key_is_a_miss(signing: None, files: Any, log: Any, tmp_path: Path) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files)
    one, other = (str(called(step, x).state_details.cache_key) for x in (1, 2))
    folder = tmp_path / "shared"
    (folder / one).write_bytes((folder / other).read_bytes().replace(other.encode(), one.encode()))
    missed(log, step, 1)
    assert step(1) == 2


def test_without_a_key_what_is_signed_is_used_as_it_was(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files)
    with monkeypatch.context() as patch:
        patch.setenv("KEPT_RESULTS_SIGNING_KEY", "a text that nobody guesses")
        called(step, 2)
    assert called(step, 2).name == "Cached"


def test_the_embedded_store_is_not_signed(signing: None) -> None:
    step = task(double, cache_policy=INPUTS)
    entry = ResultStore().lookup(str(called(step, 2).state_details.cache_key))
    assert isinstance(entry, Entry) and entry.signature is None


def test_a_pickle_in_a_store_that_accepts_json_only_is_never_read(
    files: Any, tmp_path: Path, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files, result_serializer="json")
    key = str(called(step, 2).state_details.cache_key)
    monkeypatch.setenv("KEPT_RESULTS_ACCEPT_SERIALIZERS", "json,compressed/json")
    poison(files, key, tmp_path / "trapped", False)
    said = missed(log, step, 2)
    assert "not accepted: its serializer is 'pickle', and the store accepts json, compressed/json only" in said
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "name", ['json{"object_decoder":"os.mkdir"}', 'pickle{"picklelib":"pickle"}', "antigravity:Serializer", "json{"]
)
def test_the_serializer_that_a_hostile_entry_names_is_not_made(
    files: Any, log: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files, result_serializer="json")
    key = str(called(step, 2).state_details.cache_key)
    ObjectEntries(files).put([an_entry(key, payload=b'{"a":1}')._replace(serializer=name)])
    monkeypatch.setenv("KEPT_RESULTS_ACCEPT_SERIALIZERS", "json")
    assert "not accepted" in missed(log, step, 2)
    assert "antigravity" not in sys.modules


def test_what_would_not_be_accepted_is_said_before_it_is_computed(
    files: Any, log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_ACCEPT_SERIALIZERS", "json")
    before: list[int] = []

    @task(cache_policy=INPUTS, result_storage=files)
    def step(x: int) -> bytes:
        before.append(len(log.having("ERROR", "The result will not be kept")))
        return bytes(100_000)

    assert called(step, 1).name == "Completed"
    (said,) = log.having("ERROR", "kept")
    assert (
        "The result will not be kept, so the next run computes it again: its serializer is pickle, and LocalFileSystem"
        in said
    )
    assert "accepts json only. Use result_serializer='json', or another store." in said
    assert before == [1]
    assert not (tmp_path / "shared").exists()


def test_a_name_that_no_serializer_has_is_told_with_its_setting(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_ACCEPT_SERIALIZERS", "jsn")
    with pytest.raises(ValueError, match="KEPT_RESULTS_ACCEPT_SERIALIZERS is wrong: no serializer is named 'jsn'"):
        ResultStore(files)


def test_a_store_that_is_only_read_gives_hits_and_gets_nothing(
    files: Any, tmp_path: Path, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = task(double, cache_policy=INPUTS, result_storage=files)
    called(step, 2)
    monkeypatch.setenv("KEPT_RESULTS_READ_ONLY", "true")
    before = sorted((tmp_path / "shared").rglob("*"))
    assert called(step, 2).name == "Cached"
    assert called(step, 3).result() == 6

    @task(cache_policy=INPUTS, result_storage=files, cache_result_in_memory=False)
    def large() -> bytes:
        return bytes(100_000)

    assert called(large).result() == bytes(100_000)
    assert sorted((tmp_path / "shared").rglob("*")) == before
    assert log.having("ERROR") == []
