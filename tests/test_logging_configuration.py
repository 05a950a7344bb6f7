"""A logging configuration of the user's own: logging.yml, the settings that change it, colours on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kept.exceptions import ConfigurationError
from kept.logging.colors import parsed
from kept.logging.configuration import OURS, custom_config
from kept.settings import get_current_settings, temporary_settings
from tests.test_cli import kept

PROGRAM = """
    import logging, sys
    from kept import flow, get_run_logger, task
    from kept.settings import temporary_settings

    @task(task_run_name="t{x}")
    def step(x):
        get_run_logger().info("from the task")
        logging.getLogger("lib").warning("from the library")
        return x

    @flow(name="etl", flow_run_name="f")
    def pipeline():
        get_run_logger().info("from the flow")
        return step.submit(1).result()
"""

FILE = """
    formatters:
      short:
        (): kept.logging.formatters.KeptFormatter
        format: "%(name)s: %(message)s (%(flow_run_name)s)"
        flow_run_fmt: "F %(flow_run_name)s of %(flow_name)s: %(message)s"
        task_run_fmt: "T %(task_run_name)s of %(task_name)s in %(flow_run_name)s: %(message)s"
      json:
        class: kept.logging.formatters.JsonFormatter
    handlers:
      console:
        class: kept.logging.handlers.KeptConsoleHandler
        formatter: short
      file:
        class: logging.FileHandler
        filename: ${KEPT_HOME}/runs.jsonl
        mode: w
        formatter: json
        level: WARNING
    loggers:
      kept: {level: "${KEPT_LOGGING_LEVEL}", handlers: [console, file]}
"""


class Home:
    """A KEPT_HOME, with a logging.yml if one is written, and programs that run with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.file = folder / "logging.yml"

    def write(self, text: str) -> None:
        self.file.write_text(textwrap.dedent(text))

    def environment(self, **more: str) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KEPT_")}
        return {**ours, "KEPT_HOME": str(self.folder), "TERM": "xterm", **more}

    def run(self, program: str = "pipeline()", **more: str) -> list[str]:
        """The lines on stderr of a program that has `pipeline`, without their times."""
        code = textwrap.dedent(PROGRAM) + textwrap.dedent(program)
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=self.environment(**more), capture_output=True, text=True, cwd=self.folder)
        return [re.sub(r"^[\d:.]{12} \| ", "", line) for line in done.stderr.splitlines()]

    def show(self, **more: str) -> str:
        """What a terminal is sent by the program."""
        code = textwrap.dedent(PROGRAM) + "pipeline()"
        master, slave = pty.openpty()
        running = subprocess.Popen([sys.executable, "-c", code], env=self.environment(**more), stderr=slave)
        os.close(slave)
        sent = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # how Linux says that nobody writes to the terminal any more
                piece = b""
            if not piece:
                break
            sent += piece
        running.wait()
        os.close(master)
        return sent.decode()


@pytest.fixture
def at(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class TestColours:
    def test_a_terminal_shows_levels_runs_and_states_in_colour(self, at: Home) -> None:
        sent = at.show()
        assert "| \033[36mINFO\033[0m    | Flow run '\033[35mf\033[0m' - Beginning flow run" in sent
        assert "Task run '\033[35mt1\033[0m' - Finished in state \033[32mCompleted\033[0m()" in sent

    @pytest.mark.parametrize("no", [{"NO_COLOR": "1"}, {"KEPT_LOGGING_COLORS": "false"}, {"TERM": "dumb"}])
    def test_there_are_none_where_they_are_not_wanted(self, no: dict[str, str], at: Home) -> None:
        sent = at.show(**no)
        assert "\033[" not in sent
        assert "| INFO    | Task run 't1' - Finished in state Completed()" in sent

    def test_there_are_none_in_a_pipe(self, at: Home) -> None:
        assert not any("\033[" in line for line in at.run())

    def test_a_file_can_choose_them(self, at: Home) -> None:
        at.write(FILE + "      kept.flow_runs: {level: ERROR}\n")
        at.file.write_text(at.file.read_text().replace("formatter: short\n", "styles: {log.task_run_name: bold red}\n"))
        assert "Task run '\033[1;31mt1\033[0m' - Finished in state \033[32mCompleted" in at.show()

    def test_a_style_that_is_none_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="log.flow_name is no style of a log line; there is"):
            parsed({"log.flow_name": "red"})
        with pytest.raises(ConfigurationError, match="log.failed_state can't be 'redd'"):
            parsed({"log.failed_state": "redd"})


class TestSettings:
    def test_a_variable_sets_the_level_of_one_logger(self, at: Home) -> None:
        lines = at.run(KEPT_LOGGING_LOGGERS_KEPT_FLOW_RUNS_LEVEL="ERROR")
        assert [line for line in lines if line.startswith("INFO")] == [
            "INFO    | Task run 't1' - from the task",
            "INFO    | Task run 't1' - Finished in state Completed()",
        ]

    def test_a_profile_sets_it_as_documented(self, at: Home) -> None:
        home = str(at.folder)
        assignment = "KEPT_LOGGING_LOGGERS_KEPT_TASK_RUNS_LEVEL=ERROR"
        done = kept("config", "set", assignment, cwd=at.folder, KEPT_HOME=home)
        assert done.out == f"Set {assignment} in profile 'default'.\n"
        assert f"{assignment}  (from profile default)" in kept("config", "view", cwd=at.folder, KEPT_HOME=home).out
        assert [line for line in at.run() if "Task run" in line] == []

    def test_a_format_can_be_set(self, at: Home) -> None:
        lines = at.run(KEPT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT="%(task_run_name)s/%(flow_run_name)s %(message)s")
        assert "t1/f from the task" in lines
        assert "INFO    | Flow run 'f' - from the flow" in lines

    def test_the_root_logger_is_ours_when_asked_for(self, at: Home) -> None:
        assert "from the library" in at.run()
        lines = at.run("logging.getLogger('other').info('hello'); pipeline()", KEPT_LOGGING_ROOT_LEVEL="WARNING")
        assert "WARNING | lib - from the library" in lines
        assert len([line for line in lines if "from the task" in line]) == 1

    def test_extra_loggers_log_as_kept_does(self, at: Home) -> None:
        assert "WARNING | lib - from the library" in at.run(KEPT_LOGGING_EXTRA_LOGGERS="lib")
        at.write(FILE)
        assert "lib: from the library (f)" in at.run(KEPT_LOGGING_EXTRA_LOGGERS="lib")

    def test_a_place_that_is_not_there_is_refused_before_anything_runs(self, at: Home) -> None:
        lines = at.run(KEPT_LOGGING_LOGGERS_KEPT_FLOW_RUN_LEVEL="ERROR")
        assert lines[-1] == (
            "kept.exceptions.ConfigurationError: KEPT_LOGGING_LOGGERS_KEPT_FLOW_RUN_LEVEL names no place in the "
            "logging configuration; did you mean KEPT_LOGGING_LOGGERS_KEPT_FLOW_RUNS_LEVEL?"
        )
        assert not any("Beginning" in line for line in lines)

    def test_what_is_in_force_without_a_file_is_the_same_written_as_one(self, at: Home) -> None:
        import yaml

        lines = at.run()
        at.file.write_text(yaml.safe_dump(OURS))
        assert at.run() == lines


class TestTheFile:
    def test_configures_everything_and_knows_the_run_of_each_line(self, at: Home) -> None:
        at.write(FILE)
        assert at.run() == [
            "F f of etl: Beginning flow run 'f' for flow 'etl'",
            "F f of etl: from the flow",
            "T t1 of step in f: from the task",
            "from the library",
            "T t1 of step in f: Finished in state Completed()",
            "F f of etl: Finished in state Completed()",
        ]

    def test_knows_the_runs_of_worker_processes_too(self, at: Home) -> None:
        at.write(FILE)
        (at.folder / "theirs.py").write_text(textwrap.dedent(PROGRAM))
        program = """
            import theirs
            from kept.task_runners import ProcessPoolTaskRunner

            @flow(name="etl", flow_run_name="f", task_runner=ProcessPoolTaskRunner(max_workers=1))
            def elsewhere():
                return theirs.step.submit(1).result()

            elsewhere()
        """
        assert at.run(program, KEPT_LOGGING_EXTRA_LOGGERS="lib") == [
            "F f of etl: Beginning flow run 'f' for flow 'etl'",
            "T t1 of step in f: from the task",
            "lib: from the library (f)",
            "T t1 of step in f: Finished in state Completed()",
            "F f of etl: Finished in state Completed()",
        ]

    def test_can_be_elsewhere_and_its_values_changed(self, at: Home) -> None:
        at.write(FILE)
        other = at.folder / "mine.yml"
        at.file.rename(other)
        lines = at.run(
            KEPT_LOGGING_SETTINGS_PATH=str(other),
            KEPT_LOGGING_HANDLERS_FILE_LEVEL="INFO",
            KEPT_LOGGING_LOGGERS_KEPT_HANDLERS="file",
        )
        assert lines == ["from the library"]
        records = [json.loads(line) for line in (at.folder / "runs.jsonl").read_text().splitlines()]
        assert [record["message"] for record in records if record["name"] == "kept.task_runs"] == [
            "from the task",
            "Finished in state Completed()",
        ]
        assert {record["flow_run_id"] for record in records} == {records[0]["flow_run_id"]}
        assert (records[2]["task_run_name"], records[2]["severity"]) == ("t1", "INFO")

    def test_a_level_changed_later_on_opens_no_file_anew(self, at: Home) -> None:
        at.write(FILE)
        program = """
            pipeline()
            with temporary_settings({"KEPT_LOGGING_LOGGERS_KEPT_LEVEL": "DEBUG"}):
                logging.getLogger("kept.x").warning("one")
                pipeline()
            with temporary_settings({"KEPT_LOGGING_LEVEL": "ERROR"}):
                pipeline()
            logging.getLogger("kept.x").error("two")
        """
        lines = at.run(program)
        assert len([line for line in lines if "from the task" in line]) == 2
        told = [json.loads(line)["message"] for line in (at.folder / "runs.jsonl").read_text().splitlines()]
        assert told == ["one", "two"]

    def test_goes_as_it_came(self, at: Home) -> None:
        at.write(FILE)
        program = f"""
            pipeline()
            with temporary_settings({{"KEPT_LOGGING_SETTINGS_PATH": "{at.folder}/none.yml"}}):
                pipeline()
            pipeline()
        """
        lines = at.run(program)
        assert [line for line in lines if "from the task" in line] == [
            "T t1 of step in f: from the task",
            "INFO    | Task run 't1' - from the task",
            "T t1 of step in f: from the task",
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("loggers: [\n", "{file} is not valid YAML: "),
            ("- a\n", "{file} is no logging configuration: it has to be a mapping"),
            ("handlers: {console: 3}\n", "{file}: handlers has to be a mapping of names to mappings."),
            (
                "handlers: {console: {class: kept.logging.handlers.Consol}}\n",
                "{file} can't configure logging: Unable to configure handler 'console': ",
            ),
            ("loggers: {kept: {level: LOUD}}\n", "{file} can't configure logging: Unable to configure logger 'kept': "),
            (
                "loggers: {kept: {level: '${KEPT_LOGING_LEVEL}'}}\n",
                "{file}, loggers, kept, level: KEPT_LOGING_LEVEL is not a setting; did you mean KEPT_LOGGING_LEVEL?",
            ),
        ],
    )
    def test_a_wrong_one_is_named_before_anything_runs(self, text: str, message: str, at: Home) -> None:
        at.write(text)
        lines = at.run()
        assert lines[-1].startswith("kept.exceptions.ConfigurationError: " + message.format(file=at.file))
        assert not any("Beginning" in line for line in lines)

    def test_a_wrong_one_in_the_middle_of_a_run_leaves_logging_as_it_is(self, at: Home) -> None:
        (at.folder / "wrong.yml").write_text("loggers: [")
        program = f"""
            @flow
            def outer():
                with temporary_settings({{"KEPT_LOGGING_SETTINGS_PATH": "{at.folder}/wrong.yml"}}):
                    return step(2)
            assert outer() == 2
        """
        lines = at.run(program)
        assert any(line.startswith("ERROR   | kept.logging - Logging stays as it is: ") for line in lines)
        assert "INFO    | Task run 't2' - from the task" in lines

    def test_validate_names_what_is_wrong_with_it(self, at: Home) -> None:
        at.write("loggers: [")
        done = kept("config", "validate", cwd=at.folder, KEPT_HOME=str(at.folder))
        assert (done.code, done.err.startswith(f"{at.file} is not valid YAML")) == (1, True)

    def test_nothing_is_read_where_nothing_is_asked_for(self) -> None:
        assert custom_config(get_current_settings()) is None
        with temporary_settings({"KEPT_LOGGING_ROOT_LEVEL": "INFO"}) as settings:
            config = custom_config(settings)
            assert config is not None
            assert config["root"]["level"] == "INFO"
