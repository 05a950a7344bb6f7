"""FILES, ENV and PACKAGES: what a key takes from around a run, and what is said of what is not there."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import ENV, FILES, INPUTS, PACKAGES, CachePolicy, Call, CompoundCachePolicy
from kept.exceptions import ConfigurationError, HashError, ParameterTypeError
from kept.results import ResultStore


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def parts(policy: CachePolicy) -> dict[str, str]:
    found = policy.compute_parts(Call(None, {}, None))
    assert found is not None
    return found


def key(policy: CachePolicy) -> str | None:
    return policy.compute_key(None, {}, None)


# --- files


def test_each_file_that_matches_is_a_part_under_its_path() -> None:
    for path in ("conf/a.yaml", "conf/deep/b.yaml", "conf/c.txt", "sql/q.sql"):
        written(path, path)
    assert sorted(parts(FILES("conf/*.yaml"))) == ["files.conf/a.yaml"]
    assert sorted(parts(FILES("conf/**/*.yaml", "sql/q.sql"))) == [
        "files.conf/a.yaml", "files.conf/deep/b.yaml", "files.sql/q.sql",
    ]  # fmt: skip
    assert sorted(parts(FILES(Path("conf") / "**"))) == [
        "files.conf/a.yaml",
        "files.conf/c.txt",
        "files.conf/deep/b.yaml",
    ]


def test_a_key_changes_with_the_content_of_a_file_and_with_one_more_or_less_but_not_with_a_touch() -> None:
    policy = FILES("conf/*.yaml")
    written("conf/a.yaml", "1")
    first = key(policy)
    os.utime("conf/a.yaml", (1, 1))
    assert key(policy) == first
    written("conf/a.yaml", "2")
    second = key(policy)
    written("conf/b.yaml", "1")
    third = key(policy)
    assert len({first, second, third}) == 3
    os.unlink("conf/b.yaml")
    written("conf/a.yaml", "1")
    assert key(policy) == first


def test_relative_patterns_begin_where_the_working_directory_is(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    written("conf/a.yaml", "1")
    written("elsewhere/conf/a.yaml", "2")
    here = parts(FILES("conf/*.yaml"))
    monkeypatch.chdir(work / "elsewhere")
    there = parts(FILES("conf/*.yaml"))
    assert here.keys() == there.keys() and here != there
    assert list(parts(FILES(f"{work}/conf/*.yaml"))) == [f"files.{work}/conf/a.yaml"]


def test_the_home_of_the_user_is_known(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    monkeypatch.setenv("HOME", str(work))
    written("settings.toml", "x")
    assert list(parts(FILES("~/settings.toml"))) == [f"files.{work}/settings.toml"]


def test_a_pattern_that_matches_nothing_is_told_with_where_it_begins_and_the_cures(work: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        key(FILES("conf/*.yaml"))
    assert str(caught.value) == (
        "The cache policy FILES('conf/*.yaml') matches no file; relative patterns begin at the working directory, "
        f"{work}. Correct it, or say FILES('conf/*.yaml', missing_ok=True) if there may be none."
    )


def test_a_pattern_may_match_nothing_if_that_is_said() -> None:
    policy = FILES("conf/*.yaml", missing_ok=True)
    assert parts(policy) == {"files.conf/*.yaml": "absent"}
    before = key(policy)
    written("conf/a.yaml", "1")
    assert key(policy) != before


def test_a_folder_is_told_how_to_write_its_content() -> None:
    written("conf/a.yaml", "1")
    with pytest.raises(ConfigurationError, match=r"names a folder. .* FILES\('conf/\*\*'\) for all of them"):
        key(FILES("conf"))


def test_a_file_that_is_there_and_can_not_be_read_is_told(work: Path) -> None:
    os.symlink("gone", "a.yaml")
    with pytest.raises(HashError, match=f"the link {work}/a.yaml leads to gone, .* names it by FILES"):
        key(FILES("*.yaml"))


# --- variables


def test_a_variable_is_a_part_by_a_digest_of_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "secret-small")
    small = parts(ENV("MODEL"))
    assert list(small) == ["env.MODEL"] and "secret" not in small["env.MODEL"]
    monkeypatch.setenv("MODEL", "large")
    assert parts(ENV("MODEL")) != small
    monkeypatch.setenv("MODEL", "secret-small")
    assert parts(ENV("MODEL", "HOME"))["env.MODEL"] == small["env.MODEL"]


def test_a_variable_that_is_not_set_is_told_with_the_nearest_one_and_the_cures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_TEST_MODEL", "small")
    with pytest.raises(ConfigurationError) as caught:
        key(ENV("KEPT_TEST_MODLE"))
    assert str(caught.value) == (
        "The cache policy ENV('KEPT_TEST_MODLE') names a variable of the environment that is not set. Did you mean "
        "'KEPT_TEST_MODEL'? Else set it before the run, or say ENV('KEPT_TEST_MODLE', missing_ok=True) if being unset "
        "is a state like others."
    )


def test_being_unset_can_be_a_value_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = ENV("KEPT_TEST_MODE", missing_ok=True)
    assert parts(policy) == {"env.KEPT_TEST_MODE": "absent"}
    keys = {key(policy)}
    for value in ("", "absent"):
        monkeypatch.setenv("KEPT_TEST_MODE", value)
        keys.add(key(policy))
    assert len(keys) == 3


# --- packages


def test_a_distribution_is_a_part_by_its_version_under_the_name_that_is_its_own() -> None:
    version = metadata.version("pydantic-core")
    assert parts(PACKAGES("pydantic_core")) == parts(PACKAGES("Pydantic.Core")) == {"dist.pydantic-core": version}


@pytest.mark.parametrize(("name", "hint"), [("pydantc", "'pydantic'"), ("yaml", "'PyYAML'")])
def test_a_distribution_that_is_not_installed_is_told_where_it_is_named(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PACKAGES("numpy", name)
    assert str(caught.value) == (
        f"The cache policy PACKAGES({name!r}) names a distribution that is not installed here. Did you mean {hint}? "
        f"Else install it, or say PACKAGES({name!r}, missing_ok=True)."
    )


def test_a_distribution_may_be_missing_if_that_is_said() -> None:
    assert parts(PACKAGES("not-there-at-all", missing_ok=True)) == {"dist.not-there-at-all": "absent"}


# --- all of them


@pytest.mark.parametrize("policy", [FILES, ENV, PACKAGES])
def test_what_can_be_no_name_is_refused_where_it_stands(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{policy.__name__}\\(\\) got nothing; it takes"):
        policy()
    for wrong in ("", 3, None, ["a"]):
        with pytest.raises(ParameterTypeError, match=f"{policy.__name__}\\(\\) got .*; it takes"):
            policy(wrong)


def test_terms_add_up_with_other_policies_and_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "small")
    written("a.yaml", "1")
    policy = INPUTS + FILES("a.yaml") + ENV("MODEL") + PACKAGES("numpy") + FILES("*.yaml")
    assert isinstance(policy, CompoundCachePolicy)
    found = (policy - "debug").compute_parts(Call(None, {"x": 1, "debug": True}, None))
    assert found is not None
    assert sorted(found) == ["dist.numpy", "env.MODEL", "files.a.yaml", "inputs.x"]
    assert FILES("b", "a") == FILES("a", "b") and FILES("a") != FILES("a", missing_ok=True)
    assert policy.configure(key_storage="./here").key_storage == "./here"


def test_a_task_runs_again_when_what_is_around_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    @task(cache_policy=INPUTS + FILES("conf/*.yaml") + ENV("MODEL"))
    def train(n: int) -> int:
        return n

    written("conf/a.yaml", "1")
    monkeypatch.setenv("MODEL", "small")
    names = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: written("conf/a.yaml", "2"),
        lambda: monkeypatch.setenv("MODEL", "large"),
        lambda: written("conf/a.yaml", "1"),
        lambda: monkeypatch.setenv("MODEL", "small"),
    ):
        change()
        names.append(train(1, return_state=True).name)
    assert names == ["Completed", "Cached", "Completed", "Completed", "Completed", "Cached"]


def test_the_parts_are_remembered_with_the_result() -> None:
    written("a.yaml", "1")

    @task(cache_policy=INPUTS + FILES("*.yaml"))
    def train(n: int) -> int:
        return n

    entry = ResultStore().lookup(train(1, return_state=True).cache_key or "")
    assert sorted(json.loads(entry.parts)) == ["files.a.yaml", "inputs.n"]  # type: ignore[union-attr]


def test_what_is_missing_turns_the_cache_off_for_the_run_and_is_told(log: Any) -> None:
    @task(cache_policy=INPUTS + ENV("KEPT_TEST_UNSET"))
    def train(n: int) -> int:
        return n

    assert [train(1), train(1)] == [1, 1]
    assert "The cache key can't be computed, so this run is not cached: The cache policy ENV('KEPT_TEST_UNSET')" in log


def test_a_file_of_the_policy_that_changes_during_the_run_keeps_nothing(log: Any) -> None:
    written("conf.yaml", "1")

    @task(cache_policy=INPUTS + FILES("conf.yaml"))
    def train(n: int) -> str:
        text = Path("conf.yaml").read_text()
        written("conf.yaml", "2")
        return text

    assert train(1) == "1"
    assert "conf.yaml changed while it ran" in log
    written("conf.yaml", "1")
    assert train(1, return_state=True).name == "Completed"


def test_flows_take_terms_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "small")

    @flow(cache_policy=INPUTS + ENV("MODEL"))
    def train(n: int) -> int:
        return n

    assert [train(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]
    monkeypatch.setenv("MODEL", "large")
    assert train(1, return_state=True).name == "Completed"
