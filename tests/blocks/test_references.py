"""Results are kept where a saved block says, named as type/name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.blocks.system import Secret
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError, ParameterTypeError
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def kept_by(calls: list[int], **options: Any) -> Any:
    @task(cache_policy=INPUTS, result_storage_key="it", **options)
    def step(x: int) -> int:
        calls.append(x)
        return x

    return step


def test_a_task_keeps_its_result_where_the_block_says(tmp_path: Path) -> None:
    LocalFileSystem(basepath=str(tmp_path / "there")).save("mine")
    calls: list[int] = []
    step = kept_by(calls, result_storage="local-file-system/mine")
    assert (step(1), step(1), calls) == (1, 1, [1])
    assert files_in(tmp_path / "there") == ["it"]


def test_a_block_may_be_saved_after_the_task_was_defined(tmp_path: Path) -> None:
    step = kept_by([], result_storage="local-file-system/later")
    with pytest.raises(ConfigurationError, match="There is no block local-file-system/later"):
        step(1)
    LocalFileSystem(basepath=str(tmp_path / "there")).save("later")
    step(1)
    assert files_in(tmp_path / "there") == ["it"]


def test_a_flow_gives_it_to_its_tasks(tmp_path: Path) -> None:
    LocalFileSystem(basepath=str(tmp_path / "there")).save("mine")

    @flow(result_storage="local-file-system/mine")
    def whole() -> int:
        return kept_by([])(1)  # type: ignore[no-any-return]

    whole()
    assert "it" in files_in(tmp_path / "there")


def test_entries_are_kept_elsewhere_than_payloads(tmp_path: Path) -> None:
    LocalFileSystem(basepath=str(tmp_path / "values")).save("values")
    LocalFileSystem(basepath=str(tmp_path / "keys")).save("keys")
    policy = INPUTS.configure(key_storage="local-file-system/keys")

    @task(cache_policy=policy, result_storage="local-file-system/values")
    def step(x: int) -> int:
        return x

    step(1)
    assert len(files_in(tmp_path / "values")) == len(files_in(tmp_path / "keys")) == 1


@pytest.mark.parametrize("setting", ["KEPT_RESULTS_DEFAULT_STORAGE_BLOCK", "KEPT_RESULTS_DEFAULT_STORAGE"])
def test_the_default_is_a_block(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalFileSystem(basepath=str(tmp_path / "there")).save("mine")
    monkeypatch.setenv(setting, "local-file-system/mine")
    kept_by([])(1)
    assert files_in(tmp_path / "there") == ["it"]
    monkeypatch.setenv(setting, "local-file-system/mnie")
    with pytest.raises(ConfigurationError, match=f"{setting} is wrong: .*did you mean local-file-system/mine?"):
        ResultStore()


def test_the_default_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE", str(tmp_path / "there"))
    assert ResultStore().location == str(tmp_path / "there")


def test_a_block_that_is_saved_again_is_noticed_by_tasks_that_ran(tmp_path: Path) -> None:
    LocalFileSystem(basepath=str(tmp_path / "old")).save("mine")
    step, unnamed = kept_by([], result_storage="local-file-system/mine"), kept_by([])

    @flow(result_storage="local-file-system/mine")
    def whole() -> None:
        unnamed(1)

    step(1)
    whole()
    LocalFileSystem(basepath=str(tmp_path / "new")).save("mine", overwrite=True)
    step(1)
    assert files_in(tmp_path / "new") == ["it"]
    (tmp_path / "new" / "it").unlink()
    whole()
    assert "it" in files_in(tmp_path / "new")


def test_one_that_is_deleted_is_used_by_tasks_that_know_it(tmp_path: Path) -> None:
    LocalFileSystem(basepath=str(tmp_path / "there")).save("mine")
    calls: list[int] = []
    step = kept_by(calls, result_storage="local-file-system/mine")
    step(1)
    LocalFileSystem.delete("mine")
    assert (step(1), calls) == (1, [1])


def test_a_block_that_keeps_no_results_is_told_apart() -> None:
    Secret(value="hunter2").save("password")
    with pytest.raises(ConfigurationError, match="The block secret/password is a Secret, which keeps no results"):
        kept_by([], result_storage="secret/password")(1)
    with pytest.raises(ParameterTypeError, match="of type Secret; it takes a path, a URL") as told:
        task(result_storage=Secret(value="hunter2"))  # type: ignore[call-overload]
    assert "hunter2" not in str(told.value)
