"""Runs and stores that others can write to: what is not trusted is neither used nor unpickled."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from kept import task
from kept.blocks.storage import ResultStorage
from kept.blocks.system import Secret
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError, MissingResult
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore
from kept.store import Entry, ObjectBlobs, ObjectEntries, open_store
from kept.store.trust import SigningKey
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
    with pytest.raises(ValueError, match="accepted serializers is wrong: no serializer is named 'jsn'"):
        ResultStore(files)


# --- the block


@pytest.fixture
def team(tmp_path: Path) -> ResultStorage:
    """A place on terms of its own, saved as result-storage/team."""
    block = ResultStorage(storage=tmp_path / "shared", signing_key="a text", accept_serializers=["json"])
    block.save("team")
    return block


@pytest.mark.parametrize("named", ["block", "reference", "setting"])
def test_a_result_storage_is_a_place_with_terms_of_its_own(
    team: ResultStorage, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if named == "setting":
        monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE_BLOCK", "result-storage/team")
    place: Any = {"block": team, "reference": "result-storage/team", "setting": None}[named]
    step = task(double, cache_policy=INPUTS, result_storage=place, result_serializer="json")
    assert called(step, 2).name == "Completed"
    assert called(step, 2).name == "Cached"
    (entry,) = open_store(tmp_path / "shared").entries.scan()
    assert entry.signature and entry.signature.split(":")[1] == SigningKey("a text").id
    assert ResultStore(place).refusal.startswith("its serializer is pickle")


def test_a_result_storage_keeps_its_keys_to_itself_and_comes_back_as_it_was(team: ResultStorage, home: Path) -> None:
    assert "a text" not in repr(team)
    saved = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"a text" not in saved
    assert ResultStorage.load("team") == team


def test_a_signing_key_may_be_a_saved_secret_and_keys_are_changed_one_after_the_other(tmp_path: Path) -> None:
    Secret(value="a text").save("signing")
    old = ResultStorage(storage=tmp_path / "shared", signing_key="secret/signing")
    ResultStore(old).write(1, "k")
    new = ResultStorage(storage=tmp_path / "shared", signing_key="another text", accepted_keys=["a text"])
    assert ResultStore(new).read("k").result == 1
    ResultStore(new).write(2, "k")
    with pytest.raises(MissingResult, match="not trusted: it is signed with a key that is not accepted"):
        ResultStore(old).read("k")


def test_a_secret_that_was_never_saved_is_told_without_the_text_of_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="The signing key is 'secret/never': .*never"):
        ResultStore(ResultStorage(storage=tmp_path, signing_key="secret/never"))


@pytest.mark.parametrize(
    "keys", [{"signing_key": ""}, {"signing_key": " "}, {"signing_key": "k", "accepted_keys": [""]}]
)
def test_a_key_that_is_empty_signs_nothing(tmp_path: Path, keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="signing key is empty"):
        ResultStore(ResultStorage(storage=tmp_path, **keys))


def test_what_a_result_storage_leaves_open_the_settings_say(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_READ_ONLY", "true")
    ResultStore(ResultStorage(storage=files)).write(1, "k")
    assert not ResultStore(files).exists("k")
    ResultStore(ResultStorage(storage=files, read_only=False)).write(1, "k")
    assert ResultStore(files).exists("k")


def test_a_result_storage_in_another_one_is_refused(team: ResultStorage) -> None:
    with pytest.raises(ConfigurationError, match="name the place itself"):
        ResultStore(ResultStorage(storage="result-storage/team"))


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
