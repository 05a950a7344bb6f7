"""The record of each run: what was decided and why; and that recording never disturbs a run."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE
from kept.fingerprint import CodeIdentity, code_identity
from kept.history import RunRecord, SqliteRecorder, open_recorder
from kept.settings import KEPT_HISTORY_ENABLED, KEPT_TASKS_REFRESH_CACHE, temporary_settings
from kept.states import Completed
from tests.conftest import Lines


@pytest.fixture
def recorded(home: Path) -> Any:
    """Gives the records written so far, oldest first."""

    def read() -> list[RunRecord]:
        path = home / "history.sqlite"
        open_recorder(path).flush()
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT * FROM runs ORDER BY started, ended").fetchall()
        connection.close()
        return [RunRecord(*row) for row in rows]

    return read


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


def a_record(**fields: Any) -> RunRecord:
    record = RunRecord(
        id=os.urandom(8).hex(),
        kind="task",
        name="add-d85",
        of="etl.add",
        flow_run_id=None,
        state_type="COMPLETED",
        state_name="Completed",
        started=1.0,
        ended=2.0,
        decision="MISS",
        reason="absent",
        key="k",
        parts={"inputs.x": "b3:1"},
        saved=0.0,
        not_kept="",
        message="",
    )
    return record._replace(**fields)


# -- what is recorded


def test_each_run_is_recorded_with_its_state_and_its_flow(recorded: Any) -> None:
    @flow(flow_run_name="mine")
    def etl() -> None:
        add.with_options(task_run_name="step")(1)
        add(None, return_state=True)

    etl()
    records = {record.name: record for record in recorded()}
    flow_record, step = records["mine"], records["step"]
    assert (flow_record.kind, flow_record.of, flow_record.state_name, flow_record.flow_run_id) == (
        "flow",
        "etl",
        "Completed",
        None,
    )
    assert (step.kind, step.of, step.flow_run_id) == ("task", f"{__name__}.add", flow_record.id)
    assert flow_record.started <= step.started <= step.ended <= flow_record.ended
    (failed,) = [record for record in records.values() if record.state_type == "FAILED"]
    assert "TypeError" in failed.message


def test_a_run_without_a_cache_says_why(recorded: Any) -> None:
    add(1)
    add.with_options(persist_result=False)(1)
    add.with_options(cache_policy=NO_CACHE, persist_result=True)(1)
    add.with_options(cache_key_fn=lambda context, parameters: None)(1)
    found = [(record.decision, record.reason, record.parts) for record in recorded()]
    assert found == [
        ("OFF", "nothing asks for its result to be kept", None),
        ("OFF", "persist_result=False", None),
        ("OFF", "cache_policy=NO_CACHE", None),
        ("OFF", "the cache policy gives no key for this call", None),
    ]
    # The third was kept all the same, for its state to lead to.
    assert [record.key == record.id for record in recorded()] == [False, False, True, False]


def test_a_miss_has_its_reason_and_the_parts_of_its_key(recorded: Any) -> None:
    kept = add.with_options(cache_policy=INPUTS + TASK_SOURCE)
    state = kept(1, return_state=True)
    (record,) = recorded()
    assert (record.decision, record.state_name) == ("MISS", "Completed")
    assert record.reason
    assert record.key == state.cache_key
    assert sorted(json.loads(str(record.parts))) == ["inputs.x", "inputs.y", "task_source"]


def test_a_hit_says_what_it_saved_and_leaves_the_parts_to_the_entry(recorded: Any) -> None:
    kept = add.with_options(cache_policy=INPUTS)
    kept(1)
    kept(1)
    miss, hit = recorded()
    assert (hit.decision, hit.state_name, hit.reason, hit.key, hit.parts) == ("HIT", "Cached", "kept", miss.key, None)
    assert hit.saved > 0
    assert miss.saved == 0


@pytest.mark.parametrize(
    ("options", "settings", "reason"),
    [
        ({"refresh_cache": True}, {}, "refresh_cache=True"),
        ({}, {KEPT_TASKS_REFRESH_CACHE: True}, "KEPT_TASKS_REFRESH_CACHE is set"),
        ({"cache_expiration": timedelta(0)}, {}, "longer than cache_expiration allows"),
    ],
)
def test_a_miss_in_spite_of_an_entry_says_why(
    options: dict[str, Any], settings: dict[Any, Any], reason: str, recorded: Any
) -> None:
    kept = add.with_options(cache_policy=INPUTS)
    kept(1)
    with temporary_settings(settings):
        kept.with_options(**options)(1)
    assert (recorded()[1].decision, reason in recorded()[1].reason) == ("MISS", True)


def test_a_key_that_can_not_be_computed_is_a_reason(recorded: Any) -> None:
    @task(cache_policy=INPUTS)
    def step(lock: Any) -> None: ...

    step(threading.Lock())
    (record,) = recorded()
    assert record.decision == "OFF"
    assert "argument 'lock'" in record.reason


def test_what_was_not_kept_is_said(recorded: Any) -> None:
    @task(cache_policy=INPUTS)
    def step(x: int) -> Any:
        return threading.Lock()

    step(1)
    (record,) = recorded()
    assert record.state_name == "Completed"
    assert record.not_kept


def test_crashed_and_not_ready_runs_are_recorded(recorded: Any) -> None:
    @task
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    add(1, wait_for=[add(None, return_state=True)], return_state=True)
    assert [record.state_name for record in recorded()] == ["Crashed", "Failed", "NotReady"]


def test_the_name_of_the_state_is_the_users(recorded: Any) -> None:
    @task
    def step() -> Any:
        return Completed(name="Skipped", message="nothing new")

    step()
    (record,) = recorded()
    assert (record.state_type, record.state_name, record.message) == ("COMPLETED", "Skipped", "nothing new")


def test_text_that_is_not_valid_unicode_is_recorded_all_the_same(recorded: Any) -> None:
    @task
    def step() -> None:
        raise FileNotFoundError("no file caf\udce9")

    step(return_state=True)
    add(1)
    first, second = recorded()
    assert "no file caf" in first.message
    assert second.state_name == "Completed"


def test_a_flow_with_results_records_their_key(recorded: Any) -> None:
    @flow(persist_result=True)
    def f() -> int:
        return 1

    state = f(return_state=True)
    assert recorded()[0].key == state.cache_key


def test_nothing_is_recorded_where_that_is_not_wanted(home: Path) -> None:
    with temporary_settings({KEPT_HISTORY_ENABLED: False}):
        add(1)
    open_recorder(home / "history.sqlite").flush()
    assert not (home / "history.sqlite").exists()


# -- the recorder


def test_records_are_written_by_a_thread_soon_after(tmp_path: Path) -> None:
    recorder = SqliteRecorder(tmp_path / "h.sqlite")
    recorder.record(a_record())
    thread = recorder._thread
    assert thread is not None
    thread.join(60)
    assert count(tmp_path / "h.sqlite") == 1
    assert recorder._thread is None
    recorder.record(a_record())
    recorder.flush()
    assert count(tmp_path / "h.sqlite") == 2


def test_what_a_code_digest_stands_for_is_written_once_and_can_be_read_again(tmp_path: Path) -> None:
    recorder = SqliteRecorder(tmp_path / "h.sqlite")
    identity = code_identity(a_record)
    for _ in range(2):
        recorder.record_code(identity)
    assert recorder.history().code(identity.digest) == identity.parts
    assert recorder.history().code("b3:unknown") == ()
    other = SqliteRecorder(tmp_path / "h.sqlite")
    other.record_code(identity)
    assert other.history().code(identity.digest) == identity.parts


def test_code_that_can_not_be_shown_disturbs_nothing(tmp_path: Path) -> None:
    def fail() -> Any:
        raise ValueError("no repr")

    recorder = SqliteRecorder(tmp_path / "h.sqlite")
    recorder.record_code(CodeIdentity("b3:1", {}, fail))
    recorder.record(a_record())
    recorder.flush()
    assert count(tmp_path / "h.sqlite") == 1


def test_many_threads_record_and_flush_at_once(tmp_path: Path) -> None:
    recorder = SqliteRecorder(tmp_path / "h.sqlite")

    def work() -> None:
        for _ in range(200):
            recorder.record(a_record())
        recorder.flush()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(tmp_path / "h.sqlite") == 1600


def test_the_file_is_for_its_user_only(tmp_path: Path) -> None:
    recorder = SqliteRecorder(tmp_path / "new" / "h.sqlite")
    recorder.record(a_record())
    recorder.flush()
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new" / "h.sqlite").stat().st_mode & 0o077 == 0


def test_what_is_queued_is_written_when_the_process_ends(home: Path) -> None:
    script("@flow\ndef f(): step.map(list(range(50)))\nf()")
    assert count(home / "history.sqlite") == 51


def test_a_process_that_ends_by_an_error_has_written_too(home: Path) -> None:
    script("step(1)\nraise SystemExit(3)", code=3)
    assert count(home / "history.sqlite") == 1


def test_many_processes_write_to_one_file(home: Path) -> None:
    code = PRELUDE + "for n in range(100): step(n)"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert count(home / "history.sqlite") == 400


def test_a_forked_child_records_its_own_runs_and_none_of_its_parent(home: Path) -> None:
    script(
        """
        for n in range(20): step(n)
        child = os.fork()
        if child == 0:
            step("child")
            open_recorder(Path(os.environ["KEPT_HOME"]) / "history.sqlite").flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert count(home / "history.sqlite") == 21


def test_a_child_forked_while_the_thread_writes_does_not_hang(home: Path) -> None:
    script(
        """
        for round in range(10):
            for n in range(50): step(n)
            child = os.fork()
            if child == 0:
                step("child")
                open_recorder(Path(os.environ["KEPT_HOME"]) / "history.sqlite").flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert count(home / "history.sqlite") == 510


# -- trouble


def test_a_damaged_file_is_moved_aside_said_once_and_disturbs_nothing(home: Path, log: Lines) -> None:
    home.mkdir(mode=0o700)
    (home / "history.sqlite").write_bytes(b"this is no database" * 100)
    for _ in range(3):
        assert add(1) == 2
        open_recorder(home / "history.sqlite").flush()
    (line,) = log.having("WARNING")
    assert f"{home / 'history.sqlite'} is damaged" in line
    assert count(home / "history.sqlite") >= 2


def test_a_home_that_can_not_be_made_disturbs_nothing(home: Path, log: Lines) -> None:
    home.write_text("a file where the folder should be")
    assert add(1) == 2
    open_recorder(home / "history.sqlite").flush()
    assert add(1) == 2
    assert len(log.having("WARNING", "history of runs can't be written")) == 1


def test_a_file_of_a_newer_version_is_left_alone(home: Path, log: Lines) -> None:
    home.mkdir(mode=0o700)
    path = home / "history.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    assert add(1) == 2
    open_recorder(path).flush()
    assert "newer version of kept" in log
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_after_trouble_records_take_no_memory(home: Path) -> None:
    home.write_text("a file where the folder should be")
    add(1)
    recorder = open_recorder(home / "history.sqlite")
    recorder.flush()
    for _ in range(10):
        add(1)
    assert len(recorder._queue) == 0


def test_recording_after_the_interpreter_began_to_end_is_harmless(home: Path) -> None:
    script("import atexit\natexit.register(step, 2)\nstep(1)")
    assert count(home / "history.sqlite") >= 1


PRELUDE = """
import os
from pathlib import Path
from kept import flow, task
from kept.fingerprint import CodeIdentity, code_identity
from kept.history import open_recorder
@task
def step(n): return n
"""


def script(body: str, code: int = 0) -> None:
    """Run a program in a process of its own, with warnings as errors."""
    import textwrap

    program = PRELUDE + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def count(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    connection.close()
    return int(found)


def test_a_run_while_the_interpreter_ends_does_not_hold_it_up(tmp_path: Path) -> None:
    script = """
        import sys, threading
        from kept import flow, task

        @task
        def step(x):
            return x

        @flow
        def submitting():
            return step.submit(1)

        class Late:
            step, flow, sys, print = map(staticmethod, (step, submitting, sys, print))

            def __del__(self):
                self.print(self.sys.is_finalizing(), self.step(1), self.flow(return_state=True).type.value)

        sys.modules["late"] = Late()
        step(2)
        for thread in threading.enumerate():
            if thread.name == "kept-history":
                thread.join()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == ["True", "1", "CANCELLED"]
