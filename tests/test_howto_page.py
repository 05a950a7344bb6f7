"""Each Python snippet of the how-to page, verbatim but for the package's name, does what the page says.

`howto/page.txt` is the text of https://docs.prefect.io/v3/how-to-guides/workflows/cache-workflow-steps.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import kept.cache_policies
from kept.cache_policies import DEFAULT
from tests.servers.swift import Swift

HERE = Path(__file__).parent / "howto"
PAGE = (HERE / "page.txt").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SNIPPETS = [block for block in BLOCKS if "from prefect import" in block]
(S3_SNIPPET,) = [snippet for snippet in SNIPPETS if "prefect_aws" in snippet]
OURS = [snippet for snippet in SNIPPETS if snippet != S3_SNIPPET]
FINISHED = re.compile(r"^\S+ \| \w+ +\| Task run '(\w+)-[0-9a-f]{3}' - Finished in state (.+)$", re.MULTILINE)


class Ran(NamedTuple):
    """What a snippet did."""

    out: str
    log: str
    slept: list[tuple[str, float]]

    @property
    def states(self) -> list[str]:
        """The final state of each task run, in order."""
        return [state for _, state in FINISHED.findall(self.log)]


def snippet(text: str) -> str:
    """The one snippet with this text in it, renamed."""
    (found,) = [code for code in OURS if text in code]
    return found.replace("PREFECT_", "KEPT_").replace("prefect", "kept")


def run(tmp_path: Path, code: str, afterwards: str = "", **environment: str) -> Ran:
    """Run code in a process of its own, with warnings as errors; the home is that of the test."""
    script, report = tmp_path / "script.py", tmp_path / "report.json"
    if not script.exists() or script.read_text() != code:
        script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "runner.py"), str(script), str(report), afterwards],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Ran(done.stdout, done.stderr, json.loads(report.read_text()))


def test_the_page_has_ten_blocks_of_which_one_needs_a_server() -> None:
    assert len(BLOCKS) == 10
    assert len(SNIPPETS) == 8
    assert "s3_bucket = S3Bucket(" in S3_SNIPPET
    other = [block for block in BLOCKS if block not in SNIPPETS]
    assert [block.split("\n")[0][:30] for block in other] == [
        "16:28:51.230 | INFO    | Flow ",
        "DEFAULT = INPUTS + TASK_SOURCE",
    ]


@pytest.mark.parametrize("code", OURS, ids=lambda code: re.findall(r"def (\w+)", code)[0])
def test_each_snippet_runs_and_writes_no_warning_and_no_error(tmp_path: Path, code: str) -> None:
    done = run(tmp_path, code.replace("prefect", "kept"))
    assert not re.search(r"WARNING|ERROR|CRITICAL|Traceback", done.log)


def test_the_first_flow_logs_the_very_lines_that_the_page_shows(tmp_path: Path) -> None:
    (shown,) = [block for block in BLOCKS if "Beginning flow run" in block]
    log = run(tmp_path, snippet("def add_one")).log
    names = re.findall(r"Beginning flow run '([a-z]+-[a-z]+)'", log)
    assert len(names) == 1
    pattern = re.escape(shown.replace("outgoing-cicada", names[0]))
    pattern = re.sub(r"\d\d:\d\d:\d\d\\\.\d{3}", r"\\d\\d:\\d\\d:\\d\\d\\.\\d{3}", pattern)
    pattern = re.sub(r"add_one\\-[0-9a-f]{3}", r"add_one-[0-9a-f]{3}", pattern)
    assert re.fullmatch(pattern, log), log


def test_results_are_kept_in_the_storage_folder_of_the_home(tmp_path: Path, home: Path) -> None:
    run(tmp_path, snippet("def add_one"))
    assert (home / "storage" / "entries.sqlite").is_file()


def test_by_default_results_are_reused_within_one_flow_run_only(tmp_path: Path) -> None:
    first, second = (run(tmp_path, snippet("def add_one")).states for _ in range(2))
    assert first == second == ["Completed()", "Cached(type=COMPLETED)", "Completed()"]


def test_the_default_policy_is_the_sum_that_the_page_gives() -> None:
    (line,) = [block for block in BLOCKS if block.startswith("DEFAULT =")]
    names = dict(vars(kept.cache_policies))
    del names["DEFAULT"]
    exec(line, names)
    assert names["DEFAULT"] == DEFAULT


@pytest.mark.parametrize("text", ["cache_policy=INPUTS)", "INPUTS - 'debug'", "cache_expiration="])
def test_the_calls_sleep_where_the_comments_of_the_page_say_so(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, snippet(text))
    calls = [(line, seconds) for line, seconds in done.slept if "#" in line]
    assert len(calls) == 3
    for line, seconds in calls:
        assert seconds == (0 if "# does not sleep" in line else 10), line
    assert done.out.count("sleeping") == sum(1 for _, seconds in calls if seconds)


@pytest.mark.parametrize("text", ["cache_policy=INPUTS)", "INPUTS - 'debug'"])
def test_a_second_run_of_the_script_sleeps_nowhere(tmp_path: Path, text: str) -> None:
    run(tmp_path, snippet(text))
    again = run(tmp_path, snippet(text))
    assert again.states == ["Cached(type=COMPLETED)"] * 3
    assert not again.out
    assert not any(seconds for _, seconds in again.slept)


def test_a_task_with_refresh_cache_runs_each_time(tmp_path: Path) -> None:
    done = run(tmp_path, snippet("refresh_cache=True"), "print(never_caching_task(), never_caching_task())")
    first, second = done.out.split()
    assert first != second
    assert done.states == ["Completed()", "Completed()"]


def test_refresh_cache_false_reads_what_is_kept_and_never_updates_it_whatever_the_setting(tmp_path: Path) -> None:
    code = snippet("refresh_cache=False")
    call = "print(caching_task())"
    missing = run(tmp_path, code, call, KEPT_TASKS_REFRESH_CACHE="true")
    assert missing.states == ["Completed()"]
    for setting in ("true", "false"):
        there = run(tmp_path, code, call, KEPT_TASKS_REFRESH_CACHE=setting)
        assert there.states == ["Cached(type=COMPLETED)"]
        assert there.out == missing.out


def test_the_setting_refreshes_all_tasks_that_do_not_object(tmp_path: Path) -> None:
    code = snippet("def my_task")
    call = "my_task(1)"
    assert run(tmp_path, code, call).states == ["Completed()"]
    assert run(tmp_path, code, call).states == ["Cached(type=COMPLETED)"]
    assert run(tmp_path, code, call, KEPT_TASKS_REFRESH_CACHE="true").states == ["Completed()"]


def test_with_inputs_and_task_source_either_change_runs_the_task(tmp_path: Path) -> None:
    code = snippet("def my_task")
    assert run(tmp_path, code, "my_task(1); my_task(1); my_task(2)").states == [
        "Completed()",
        "Cached(type=COMPLETED)",
        "Completed()",
    ]
    edited = code.replace("x + 1", "x + 2")
    assert run(tmp_path, edited, "print(my_task(1))").out == "3\n"
    assert run(tmp_path, code, "my_task(1)").states == ["Cached(type=COMPLETED)"]


def test_tasks_keep_their_results_apart_by_their_source(tmp_path: Path) -> None:
    twin = """
@task(cache_policy=INPUTS + TASK_SOURCE)
def my_twin(x: int):
    return x + 1
"""
    done = run(tmp_path, snippet("def my_task") + twin, "my_task(1); my_twin(1)")
    assert done.states == ["Completed()", "Completed()"]


@pytest.fixture
def s3_snippet(s3: Swift) -> str:
    """The snippet, renamed, with the keys and a bucket of this server."""
    code = S3_SNIPPET.replace("prefect", "kept")
    for placeholder, value in (
        ("my-access-key-id", s3.access_key),
        ("my-secret-access-key", s3.secret_key),
        ("my-bucket", s3.bucket()),
    ):
        assert f'"{placeholder}"' in code
        code = code.replace(f'"{placeholder}"', f'"{value}"')
    return code


def test_the_s3_snippet_keeps_results_where_all_machines_find_them(s3: Swift, s3_snippet: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (bucket,) = re.findall(r'bucket_name="(.*)"', s3_snippet)
    for machine, state in ((here, "Completed()"), (there, "Cached(type=COMPLETED)")):
        machine.mkdir()
        around = {"AWS_ENDPOINT_URL": s3.endpoint, "KEPT_HOME": str(machine / "home")}
        done = run(machine, s3_snippet, "print(my_cached_task(1))", **around)
        assert done.out == "43\n"
        assert done.states == [state]
        assert not re.search(r"WARNING|ERROR|CRITICAL|Traceback", done.log)
    assert len(s3.keys(bucket, "entries/")) == 1
    (saved,) = (here / "home" / "blocks").rglob("my-cache-bucket*")
    assert s3.secret_key not in saved.read_text()


def test_the_saved_bucket_is_storage_by_its_reference(s3: Swift, s3_snippet: str, tmp_path: Path) -> None:
    again = """
from kept import task
from kept.cache_policies import INPUTS

@task(cache_policy=INPUTS, result_storage="s3-bucket/my-cache-bucket")
def my_cached_task(x: int):
    return x + 42
"""
    around = {"AWS_ENDPOINT_URL": s3.endpoint}
    run(tmp_path, s3_snippet, "my_cached_task(1)", **around)
    assert run(tmp_path, again, "my_cached_task(1)", **around).states == ["Cached(type=COMPLETED)"]
