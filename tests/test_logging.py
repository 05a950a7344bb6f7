"""Logging: the documented lines, loggers of runs, prints, levels, and the console."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from kept import flow, get_run_logger, task
from kept.context import FlowRunContext, TaskRunContext, get_run_context
from kept.exceptions import MissingContextError
from kept.logging import disable_run_logger, get_logger
from kept.logging.handlers import ConsoleHandler, RunFormatter
from kept.settings import (
    KEPT_LOGGING_COLORS,
    KEPT_LOGGING_EXTRA_LOGGERS,
    KEPT_LOGGING_LEVEL,
    KEPT_LOGGING_LOG_PRINTS,
    temporary_settings,
)
from tests.conftest import Lines

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\| (.+?) - (.*)")


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """The records that kept logs during the test."""
    found: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler, logger = Keep(), logging.getLogger("kept")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@task
def add_one(x: int) -> int:
    return x + 1


# -- the lines of runs


def test_lines_have_the_documented_format(log: Lines) -> None:
    @flow
    def my_flow() -> int:
        return add_one(1)

    my_flow()
    parsed = [LINE.fullmatch(line) for line in log]
    assert all(parsed)
    flow_name = re.escape(parsed[0][2].split("'")[1])  # type: ignore[index]
    expected = [
        rf"INFO    \| Flow run '{flow_name}' - Beginning flow run '{flow_name}' for flow 'my-flow'",
        r"INFO    \| Task run 'add_one-[0-9a-f]{3}' - Finished in state Completed\(\)",
        rf"INFO    \| Flow run '{flow_name}' - Finished in state Completed\(\)",
    ]
    assert len(log) == len(expected)
    for line, pattern in zip(log, expected, strict=True):
        assert re.search(pattern, line)


def test_a_hit_says_that_it_is_cached(log: Lines) -> None:
    kept = add_one.with_options(cache_key_fn=lambda context, parameters: "k")
    kept(1)
    kept(1)
    assert len(log.having("INFO", "Finished in state Cached(type=COMPLETED)")) == 1


def test_a_failure_is_logged_with_its_traceback(log: Lines) -> None:
    @task
    def fail() -> None:
        raise ValueError("no luck")

    fail(return_state=True)
    failure, end = log
    assert "ERROR   | Task run 'fail-" in failure
    assert "Task run failed with exception: ValueError('no luck')" in failure
    assert "Traceback (most recent call last)" in failure
    assert failure.endswith("ValueError: no luck")
    assert end.endswith("Finished in state Failed('Task run encountered an exception ValueError: no luck')")


def test_a_traceback_leads_from_the_flow_to_the_line_that_failed_and_through_nothing_of_ours(log: Lines) -> None:
    @task
    def fail() -> None:
        raise ValueError("no luck")

    @flow
    def outer() -> None:
        fail()

    outer(return_state=True)
    of_task, of_flow = log.having("Traceback")
    assert re.findall(r"File .*, in (\w+)", of_task) == ["fail"]
    assert re.findall(r"File .*, in (\w+)", of_flow) == ["outer", "fail"]


def test_an_error_of_ours_is_shown_with_where_it_was_raised(log: Lines) -> None:
    @flow
    def outer() -> None:
        add_one.map(1)

    state = outer(return_state=True)
    (failure,) = log.having("Traceback")
    assert re.findall(r"File .*, in (\w+)", failure)[0] == "outer"
    assert "MappingMissingIterable" in failure
    assert len(traceback.extract_tb(state.data.__traceback__)) > 2, "the error itself has all of its frames"


def test_a_percent_sign_in_a_message_is_harmless(log: Lines) -> None:
    @task(task_run_name="100%s")
    def fail() -> None:
        raise ValueError("50% of %d")

    fail(return_state=True)
    assert "50% of %d" in log
    assert "'100%s'" in log


# -- loggers of runs


def test_the_logger_of_a_run_names_it(log: Lines) -> None:
    @task(task_run_name="t")
    def step() -> None:
        get_run_logger().warning("from %s", "the task")

    @flow(flow_run_name="f")
    def f() -> None:
        get_run_logger().info("from the flow")
        step()

    f()
    assert "INFO    | Flow run 'f' - from the flow" in log
    assert "WARNING | Task run 't' - from the task" in log


def test_its_records_carry_the_run(records: list[logging.LogRecord]) -> None:
    @task(name="step", task_run_name="t")
    def step() -> Any:
        get_run_logger(extra_word="both").info("here", extra={"mine": 1})
        context = TaskRunContext.get()
        assert context is not None
        return context.task_run.id

    @flow(name="etl", flow_run_name="f")
    def f() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        return step(), context.flow_run.id

    task_run_id, flow_run_id = f()
    (record,) = [record for record in records if record.getMessage() == "here"]
    found = {name: value for name, value in vars(record).items() if "run_" in name or name in ("mine", "extra_word")}
    assert found == {
        "run_label": "Task run 't'",
        "task_run_name": "t",
        "task_run_id": task_run_id,
        "flow_run_name": "f",
        "flow_run_id": flow_run_id,
        "mine": 1,
        "extra_word": "both",
    }
    assert (vars(record)["task_name"], vars(record)["flow_name"]) == ("step", "etl")
    assert record.name == "kept.task_runs"
    assert record.funcName == "step"


def test_a_task_outside_a_flow_has_a_logger_too(log: Lines) -> None:
    @task(task_run_name="alone")
    def step() -> None:
        get_run_logger().info("on my own")

    step()
    assert "Task run 'alone' - on my own" in log


def test_outside_a_run_there_is_no_run_logger() -> None:
    with pytest.raises(MissingContextError, match="no active flow or task run"):
        get_run_logger()


def test_a_context_can_be_given(log: Lines) -> None:
    contexts: list[Any] = []

    @flow(flow_run_name="over")
    def f() -> None:
        contexts.append(get_run_context())

    f()
    get_run_logger(contexts[0]).info("afterwards")
    assert "Flow run 'over' - afterwards" in log


def test_an_exception_can_be_logged_with_its_traceback(log: Lines) -> None:
    @task
    def step() -> None:
        try:
            1 / 0
        except ZeroDivisionError:
            get_run_logger().exception("caught")

    step()
    (line,) = log.having("caught")
    assert "ERROR" in line
    assert "ZeroDivisionError" in line


def test_submitted_tasks_log_from_their_threads(log: Lines) -> None:
    @task(task_run_name="number {n}")
    def step(n: int) -> None:
        get_run_logger().info("on a thread: %s", threading.current_thread() is not threading.main_thread())

    @flow
    def f() -> None:
        step.map([1, 2])

    f()
    assert "Task run 'number 1' - on a thread: True" in log
    assert "Task run 'number 2' - on a thread: True" in log


def test_other_loggers_are_named_below_ours(log: Lines) -> None:
    assert get_logger().name == get_logger("kept").name == "kept"
    assert get_logger("mine").name == get_logger("kept.mine").name == "kept.mine"
    get_logger("mine").info("hello")
    assert "INFO    | kept.mine - hello" in log


def test_the_loggers_of_runs_can_be_silenced(log: Lines) -> None:
    with disable_run_logger():
        add_one(1)
        assert len(log) == 0
    add_one(1)
    assert len(log) == 1


# -- levels and other loggers


def test_the_level_is_a_setting(log: Lines) -> None:
    @task
    def step() -> None:
        get_run_logger().debug("details")
        get_run_logger().warning("careful")

    step()
    assert log.having("details") == []
    with temporary_settings({KEPT_LOGGING_LEVEL: "DEBUG"}):
        step()
    assert len(log.having("details")) == 1
    log.clear()
    with temporary_settings({KEPT_LOGGING_LEVEL: "WARNING"}):
        step()
    assert [line.split(" - ")[1] for line in log] == ["careful"]
    log.clear()
    step()
    assert "Finished" in log


def test_extra_loggers_write_to_the_console_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("somebodys.library")
    try:
        with temporary_settings({KEPT_LOGGING_EXTRA_LOGGERS: ["somebodys.library"]}):
            add_one(1)
            logger.info("from the library")
        assert re.search(r"\| INFO    \| somebodys.library - from the library\n", capsys.readouterr().err)
    finally:
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)


# -- prints


def test_prints_are_logged_where_that_is_wanted(log: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    @task(log_prints=True, task_run_name="t")
    def step() -> None:
        print("hello", 1, None)
        print("a", "b", sep="-")
        print()
        print("100%", "%s")

    step()
    lines = [line.split(" - ", 1)[1] for line in log.having("INFO", "Task run 't'")]
    assert lines[:4] == ["hello 1 None", "a-b", "", "100% %s"]
    assert capsys.readouterr().out == ""


def test_prints_are_prints_elsewhere(log: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def step() -> None:
        print("hello")

    @task(log_prints=True)
    def noisy() -> None:
        step.with_options(log_prints=False)()

    step()
    noisy()
    print("outside")
    assert capsys.readouterr().out == "hello\nhello\noutside\n"
    assert log.having("hello") == []


def test_tasks_and_subflows_inherit_it_from_their_flow(log: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def step() -> None:
        print("task")

    @flow
    def inner() -> None:
        print("inner")
        step()

    @flow(log_prints=True)
    def outer() -> None:
        print("outer")
        inner()
        step.submit()
        inner.with_options(log_prints=False)()

    outer()
    assert (len(log.having("- task")), len(log.having("- inner")), len(log.having("- outer"))) == (2, 1, 1)
    assert capsys.readouterr().out == "inner\ntask\n"


def test_the_default_is_a_setting(log: Lines) -> None:
    @task
    def step() -> None:
        print("hello")

    with temporary_settings({KEPT_LOGGING_LOG_PRINTS: True}):
        step()
    assert len(log.having("- hello")) == 1


def test_a_print_to_a_file_goes_there(log: Lines) -> None:
    file = io.StringIO()

    @task(log_prints=True)
    def step() -> None:
        print("to the file", file=file)
        print("to stdout", file=sys.stdout)
        print("to stderr", file=sys.stderr)

    step()
    assert file.getvalue() == "to the file\n"
    assert log.having("to the file") == []
    assert (len(log.having("to stdout")), len(log.having("to stderr"))) == (1, 1)


def test_a_print_that_is_redirected_goes_there(log: Lines) -> None:
    @task(log_prints=True)
    def step() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            print("redirected")
        print("logged")
        return out.getvalue()

    assert step() == "redirected\n"
    assert log.having("redirected") == []
    assert len(log.having("- logged")) == 1


def test_print_itself_comes_back_whatever_happens() -> None:
    before = print

    @task(log_prints=True)
    def fail() -> None:
        assert print is not before
        raise KeyboardInterrupt

    @flow(log_prints=True)
    def f() -> None:
        add_one.with_options(log_prints=True).map(list(range(20)))

    with pytest.raises(KeyboardInterrupt):
        fail()
    f()
    assert print is before


def test_a_thread_of_the_users_own_prints_as_it_did(log: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    @task(log_prints=True)
    def step() -> None:
        thread = threading.Thread(target=print, args=("from my thread",))
        thread.start()
        thread.join()

    step()
    assert capsys.readouterr().out == "from my thread\n"


# -- the console


def test_a_script_shows_its_lines_on_stderr() -> None:
    done = run("@flow\ndef f():\n    print('out')\nf()")
    assert done.stdout == "out\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(LINE.fullmatch(line) for line in lines)


def test_a_script_with_a_root_handler_shows_each_line_once() -> None:
    done = run("import logging; logging.basicConfig(level=logging.INFO)\n@flow\ndef f(): ...\nf()")
    assert len(done.stderr.splitlines()) == 2
    done = run(
        "import logging, os; logging.basicConfig(filename=os.devnull, level=logging.INFO)\n@flow\ndef f(): ...\nf()"
    )
    assert len(done.stderr.splitlines()) == 2


def test_a_line_is_the_same_whoever_else_listens() -> None:
    done = run(
        """
        import logging

        heard = []
        runs, ours = logging.getLogger("kept.task_runs"), logging.getLogger("kept")

        class Hear(logging.Handler):
            def emit(self, record):
                heard.append(record)

        @task(task_run_name="named")
        def work(): ...

        hear = Hear()
        work()
        ours.addHandler(hear), work(), ours.removeHandler(hear)
        runs.addHandler(hear), work(), runs.removeHandler(hear)
        logging.root.addHandler(hear), work(), logging.root.removeHandler(hear)
        heard_by_filter = lambda record: heard.append(record) or True
        runs.addFilter(heard_by_filter), work(), runs.removeFilter(heard_by_filter)
        ours.handlers[0].addFilter(heard_by_filter), work(), ours.handlers[0].removeFilter(heard_by_filter)
        logging.setLogRecordFactory(lambda *args: heard.append(args) or logging.LogRecord(*args)), work()
        logging.setLogRecordFactory(logging.LogRecord)
        ours.handlers[0].setLevel("ERROR"), work(), ours.handlers[0].setLevel(0)
        ours.handlers[0].setFormatter(logging.Formatter("%(run_label)s, by a format of the user's")), work()
        runs.propagate = False
        work()
        print(len(heard))
        """
    )
    *lines, last = done.stderr.splitlines()
    assert {line.partition(" | ")[2] for line in lines} == {
        "INFO    | Task run 'named' - Finished in state Completed()"
    }
    assert (len(lines), done.stdout) == (7, "6\n")
    assert last == "Task run 'named', by a format of the user's"


def test_a_stderr_that_can_not_be_written_fails_no_run() -> None:
    done = run(
        """
        class Full:
            def write(self, text): raise OSError("no space left")
            def flush(self): ...
        real, sys.stderr = sys.stderr, Full()
        @task
        def work(): return 1
        print(work())
        sys.stderr = real
        """
    )
    assert done.stdout == "1\n"


def test_a_closed_stderr_is_harmless() -> None:
    done = run("sys.stderr = None\n@flow\ndef f(): return 1\nprint(f())")
    assert done.stdout == "1\n"


def test_importing_sets_up_no_logging() -> None:
    done = run("import logging\nprint(logging.getLogger('kept').handlers, logging.root.handlers)")
    assert done.stdout == "[] []\n"


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    code = "import sys\nfrom kept import flow, task\n" + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, colors: bool) -> ConsoleHandler:
    monkeypatch.setattr(sys, "stderr", stream)
    handler = ConsoleHandler()
    handler.colors = colors
    return handler


def record(level: int = logging.WARNING, message: str = "hi") -> logging.LogRecord:
    return logging.LogRecord("kept.x", level, __file__, 1, message, None, None)


def _colour(code: int, text: str) -> str:
    return f"\033[{code}m{text}\033[0m"


def test_a_terminal_has_colours_and_nothing_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, colors, coloured in (
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), True, False),
    ):
        handler = console(stream, monkeypatch, colors)
        handler.emit(record())
        expected = f"| {_colour(33, 'WARNING')} |" if coloured else "| WARNING |"
        assert expected in stream.getvalue()
        assert stream.getvalue().endswith("\n")


def test_colours_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with temporary_settings({KEPT_LOGGING_COLORS: False}):
        get_logger("x").error("plain")
    assert "\033[" not in terminal.getvalue()
    with temporary_settings({KEPT_LOGGING_COLORS: True}):
        get_logger("x").error("red")
    assert "\033[31m" in terminal.getvalue()


def test_seconds_and_milliseconds_are_those_of_the_record() -> None:
    formatter = RunFormatter()
    one = record()
    for created, text in ((1_700_000_000.25, ".250"), (1_700_000_000.999, ".999"), (1_700_000_001.0, ".000")):
        one.created = created
        line = formatter.format(one)
        expected = logging.Formatter("%(asctime)s", "%H:%M:%S").format(one)
        assert line.startswith(expected + text + " | WARNING | kept.x - hi")


def test_a_stack_is_shown_if_asked_for() -> None:
    one = record()
    one.stack_info = "Stack (most recent call last):\n  here"
    assert RunFormatter().format(one).endswith("hi\nStack (most recent call last):\n  here")
