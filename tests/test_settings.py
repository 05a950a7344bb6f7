"""Settings: where they come from, which source wins, and what a wrong one gets.

What depends on the settings file runs in a process of its own, because a process reads the file once.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import kept.settings
from kept.exceptions import ConfigurationError
from kept.settings import (
    ALL_SETTINGS,
    KEPT_DEBUG_MODE,
    KEPT_DEFAULT_RESULT_STORAGE_BLOCK,
    KEPT_HOME,
    KEPT_LOCAL_STORAGE_PATH,
    KEPT_LOGGING_EXTRA_LOGGERS,
    KEPT_LOGGING_LEVEL,
    KEPT_RESULTS_LOCAL_STORAGE_PATH,
    KEPT_RESULTS_STORE_LAYOUT,
    KEPT_TASK_DEFAULT_RETRIES,
    KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS,
    KEPT_TASKS_DEFAULT_PERSIST_RESULT,
    KEPT_TASKS_DEFAULT_RETRIES,
    KEPT_TASKS_REFRESH_CACHE,
    KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS,
    Setting,
    get_current_settings,
    problems,
    temporary_settings,
)


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KEPT_")]:
        monkeypatch.delenv(name)


def run_in(folder: Path, program: str, **environment: str) -> str:
    """What a program prints that runs in `folder` with these environment variables added."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused_in(folder: Path, **environment: str) -> str:
    """What the first use of a setting is refused with, in `folder`."""
    return run_in(
        folder,
        """
        from kept.exceptions import ConfigurationError
        from kept.settings import get_current_settings
        try:
            print("no error:", get_current_settings())
        except ConfigurationError as error:
            print(error)
        """,
        **environment,
    )


SHOW = "from kept.settings import get_current_settings; s = get_current_settings(); print({})"


class TestASetting:
    def test_follows_in_its_names_from_the_place_where_it_is_declared(self) -> None:
        assert KEPT_TASKS_REFRESH_CACHE.name == "KEPT_TASKS_REFRESH_CACHE"
        assert KEPT_TASKS_REFRESH_CACHE.path == "tasks.refresh_cache"
        assert KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS.path == "tasks.runner.thread_pool_max_workers"
        assert KEPT_HOME.path == "home"

    @pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.path)
    def test_is_importable_by_all_its_names_and_says_what_it_is(self, setting: Setting[Any]) -> None:
        for name in (setting.name, *setting.aliases):
            assert getattr(kept.settings, name) is setting
            assert name in kept.settings.__all__
        assert setting.help.endswith(".")
        assert setting.type

    @pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.path)
    def test_has_a_default_that_is_allowed(self, setting: Setting[Any]) -> None:
        assert setting.read(setting.default, "the default") is not None or setting.default is None

    @pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.path)
    def test_is_an_attribute_of_the_snapshot_at_its_path(self, setting: Setting[Any]) -> None:
        value: Any = get_current_settings()
        for name in setting.path.split("."):
            value = getattr(value, name)
        assert value == setting.value()

    def test_is_one_object_under_two_names(self) -> None:
        assert KEPT_LOCAL_STORAGE_PATH is KEPT_RESULTS_LOCAL_STORAGE_PATH
        assert KEPT_TASK_DEFAULT_RETRIES is KEPT_TASKS_DEFAULT_RETRIES

    def test_is_the_same_object_after_pickling(self) -> None:
        assert pickle.loads(pickle.dumps(KEPT_HOME)) is KEPT_HOME

    def test_names_that_the_module_exports_are_all_there_is(self) -> None:
        names = {name for setting in ALL_SETTINGS for name in (setting.name, *setting.aliases)}
        assert {name for name in kept.settings.__all__ if name.startswith("KEPT_")} == names


class TestTheSnapshot:
    def test_cannot_be_changed(self) -> None:
        settings = get_current_settings()
        with pytest.raises(AttributeError, match="temporary_settings"):
            settings.tasks.refresh_cache = True  # type: ignore[misc]
        with pytest.raises(AttributeError, match="snapshot"):
            del settings.home

    def test_stays_the_same_object_while_nothing_of_ours_changes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = get_current_settings()
        monkeypatch.setenv("SOMETHING_ELSE", "1")
        assert get_current_settings() is before

    def test_survives_pickling(self) -> None:
        with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 7}) as settings:
            copy = pickle.loads(pickle.dumps(settings))
        assert copy.tasks.default_retries == 7
        assert copy.home == settings.home

    def test_shows_what_is_set(self) -> None:
        with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 7}) as settings:
            assert repr(settings) == "Settings(tasks.default_retries=7)"


class TestTheEnvironment:
    def test_is_noticed_when_it_changes_and_when_it_changes_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert KEPT_TASKS_REFRESH_CACHE.value() is False
        monkeypatch.setenv("KEPT_TASKS_REFRESH_CACHE", "true")
        assert KEPT_TASKS_REFRESH_CACHE.value() is True
        monkeypatch.delenv("KEPT_TASKS_REFRESH_CACHE")
        assert KEPT_TASKS_REFRESH_CACHE.value() is False

    @pytest.mark.parametrize("text", ["true", "1", "yes", "on", "TRUE", " Yes "])
    def test_says_true_in_these_words(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_DEBUG_MODE", text)
        assert KEPT_DEBUG_MODE.value() is True

    @pytest.mark.parametrize("text", ["false", "0", "no", "off", "False"])
    def test_says_false_in_these_words(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_HISTORY_ENABLED", text)
        assert get_current_settings().history.enabled is False

    def test_sets_nothing_with_an_empty_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_TASKS_REFRESH_CACHE", " ")
        assert get_current_settings().sources == {}

    def test_may_use_the_other_names_of_a_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_TASK_DEFAULT_RETRIES", "4")
        assert KEPT_TASKS_DEFAULT_RETRIES.value() == 4
        assert get_current_settings().sources == {KEPT_TASKS_DEFAULT_RETRIES: "the variable KEPT_TASK_DEFAULT_RETRIES"}

    def test_is_refused_when_two_names_of_a_setting_disagree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_TASK_DEFAULT_RETRIES", "4")
        monkeypatch.setenv("KEPT_TASKS_DEFAULT_RETRIES", "5")
        with pytest.raises(ConfigurationError, match=r"set twice, to 4 by .* and to 5 by .*: unset one"):
            get_current_settings()
        monkeypatch.setenv("KEPT_TASKS_DEFAULT_RETRIES", "4")
        assert KEPT_TASKS_DEFAULT_RETRIES.value() == 4

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "1.5", 1.5),
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "1,10,60", [1, 10, 60]),
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "[1, 2.5]", [1, 2.5]),
            ("KEPT_LOGGING_LEVEL", "debug", "DEBUG"),
            ("KEPT_LOGGING_EXTRA_LOGGERS", "httpx, boto3", ["httpx", "boto3"]),
            ("KEPT_LOGGING_EXTRA_LOGGERS", '["httpx"]', ["httpx"]),
            ("KEPT_TASKS_DEFAULT_PERSIST_RESULT", "none", None),
            ("KEPT_TASKS_DEFAULT_PERSIST_RESULT", "no", False),
            ("KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS", "8", 8),
            ("KEPT_RESULTS_STORE_LAYOUT", "Directory", "directory"),
            ("KEPT_DEFAULT_RESULT_STORAGE_BLOCK", "s3-bucket/mine", "s3-bucket/mine"),
        ],
    )
    def test_is_read_as_the_setting_needs_it(
        self, name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, text)
        assert getattr(kept.settings, name).value() == value

    @pytest.mark.parametrize(
        ("name", "text", "allowed"),
        [
            ("KEPT_TASKS_REFRESH_CACHE", "maybe", "true or false"),
            ("KEPT_TASKS_REFRESH_CACHE", "2", "true or false"),
            ("KEPT_TASKS_DEFAULT_RETRIES", "-1", "a whole number, 0 or more"),
            ("KEPT_TASKS_DEFAULT_RETRIES", "1.5", "a whole number, 0 or more"),
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "nan", "seconds, 0 or more"),
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "inf", "seconds, 0 or more"),
            ("KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS", "[]", "seconds, 0 or more"),
            ("KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS", "0", "a whole number, 1 or more, or none"),
            ("KEPT_LOGGING_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
            ("KEPT_RESULTS_STORE_LAYOUT", "sqlite", "one of auto, embedded, directory"),
            ("KEPT_HOME", "~nobody-of-that-name/x", "a path"),
            ("KEPT_HOME", "${KEPT_HOME}/x", "a path"),
            ("KEPT_LOCAL_STORAGE_PATH", "${SCRATCH}/kept", "a path"),
        ],
    )
    def test_is_refused_with_the_value_the_variable_and_what_is_allowed(
        self, name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigurationError) as caught:
            get_current_settings()
        message = str(caught.value)
        assert f"can't be {text!r}, as the variable {name} has it; allowed is {allowed}" in message

    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("KEPT_TASK_REFRESH_CACHE", "KEPT_TASKS_REFRESH_CACHE"),
            ("KEPT_REFRESH_CACHE", "KEPT_TASKS_REFRESH_CACHE"),
            ("KEPT_LOG_LEVEL", "KEPT_LOGGING_LEVEL"),
            ("KEPT_STORAGE_PATH", "KEPT_LOCAL_STORAGE_PATH"),
        ],
    )
    def test_is_refused_when_a_name_is_misspelt(self, wrong: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(wrong, "true")
        with pytest.raises(ConfigurationError, match=f"{wrong} is not a setting; did you mean {right}\\?"):
            get_current_settings()

    def test_of_another_program_is_mentioned_once_and_stops_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("KEPT_WAREHOUSE_PASSWORD", "secret")
        assert KEPT_HOME.value()
        monkeypatch.setenv("KEPT_DEBUG_MODE", "1")
        assert KEPT_HOME.value()
        assert len(caplog.records) == 1
        assert "KEPT_WAREHOUSE_PASSWORD is not a setting and is ignored" in caplog.text
        assert "secret" not in caplog.text


class TestPaths:
    def test_may_begin_with_the_users_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert KEPT_HOME.value() == tmp_path / ".kept"
        assert KEPT_LOCAL_STORAGE_PATH.value() == tmp_path / ".kept" / "storage"

    def test_follow_the_home_of_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("KEPT_HOME", str(tmp_path))
        assert KEPT_LOCAL_STORAGE_PATH.value() == tmp_path / "storage"
        monkeypatch.setenv("KEPT_LOCAL_STORAGE_PATH", "${KEPT_HOME}/elsewhere")
        assert KEPT_LOCAL_STORAGE_PATH.value() == tmp_path / "elsewhere"

    def test_are_absolute_whatever_is_set(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        with temporary_settings({KEPT_HOME: Path("here")}) as settings:
            assert settings.home == tmp_path / "here"

    def test_in_a_file_are_relative_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text('[results]\nlocal_storage_path = "cache"\n')
        (tmp_path / "deep" / "down").mkdir(parents=True)
        shown = run_in(tmp_path / "deep" / "down", SHOW.format("s.results.local_storage_path"))
        assert shown == str(tmp_path / "cache")


class TestTemporarySettings:
    def test_hold_inside_the_block_only(self) -> None:
        with temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}) as settings:
            assert settings.tasks.refresh_cache is True
            assert get_current_settings() is settings
        assert KEPT_TASKS_REFRESH_CACHE.value() is False

    def test_win_over_the_environment_and_leave_the_rest_of_it_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_TASKS_DEFAULT_RETRIES", "1")
        with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 2}):
            assert KEPT_TASKS_DEFAULT_RETRIES.value() == 2
            monkeypatch.setenv("KEPT_DEBUG_MODE", "1")
            assert KEPT_DEBUG_MODE.value() is True
            assert KEPT_TASKS_DEFAULT_RETRIES.value() == 2

    def test_nest(self) -> None:
        with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 2, KEPT_DEBUG_MODE: True}):
            with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 3}):
                assert KEPT_TASKS_DEFAULT_RETRIES.value() == 3
                assert KEPT_DEBUG_MODE.value() is True
            assert KEPT_TASKS_DEFAULT_RETRIES.value() == 2

    def test_end_when_the_block_fails(self) -> None:
        with pytest.raises(ZeroDivisionError), temporary_settings({KEPT_TASKS_REFRESH_CACHE: True}):
            raise ZeroDivisionError
        assert KEPT_TASKS_REFRESH_CACHE.value() is False

    def test_take_names_as_keys_and_text_as_values(self) -> None:
        with temporary_settings({"tasks.default_retries": "3", "KEPT_LOGGING_LEVEL": "error"}):
            assert KEPT_TASKS_DEFAULT_RETRIES.value() == 3
            assert KEPT_LOGGING_LEVEL.value() == "ERROR"

    def test_change_defaults_as_prefects_documentation_has_it(self) -> None:
        with temporary_settings(updates={KEPT_LOGGING_LEVEL: "ERROR"}):
            with temporary_settings(set_defaults={KEPT_LOGGING_LEVEL: "DEBUG"}):
                assert KEPT_LOGGING_LEVEL.value() == "ERROR"
            with temporary_settings(restore_defaults={KEPT_LOGGING_LEVEL}):
                assert KEPT_LOGGING_LEVEL.value() == "INFO"
                with temporary_settings(set_defaults={KEPT_LOGGING_LEVEL: "DEBUG"}):
                    assert KEPT_LOGGING_LEVEL.value() == "DEBUG"
        assert KEPT_LOGGING_LEVEL.value() == "INFO"

    def test_restore_a_default_that_the_environment_hides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_TASKS_DEFAULT_RETRIES", "1")
        with temporary_settings(restore_defaults=[KEPT_TASKS_DEFAULT_RETRIES]):
            assert KEPT_TASKS_DEFAULT_RETRIES.value() == 0

    def test_reach_a_thread_that_takes_the_context_along_and_no_other(self) -> None:
        seen: dict[str, int] = {}

        def look(name: str) -> None:
            seen[name] = KEPT_TASKS_DEFAULT_RETRIES.value()

        with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 9}):
            threads = [
                threading.Thread(target=copy_context().run, args=(look, "inside")),
                threading.Thread(target=look, args=("outside",)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert seen == {"inside": 9, "outside": 0 if sys.version_info < (3, 14) else 9}

    @pytest.mark.parametrize(
        ("updates", "message"),
        [
            ({"KEPT_TASK_REFRESH_CACHE": True}, "did you mean KEPT_TASKS_REFRESH_CACHE"),
            ({"tasks.refresh_cach": True}, "did you mean tasks.refresh_cache"),
            ({42: True}, "takes settings as keys, such as KEPT_TASKS_REFRESH_CACHE, not 42"),
            ({KEPT_TASKS_REFRESH_CACHE: "perhaps"}, "can't be 'perhaps', as temporary_settings has it"),
            ({KEPT_TASKS_REFRESH_CACHE: None}, "can't be None"),
            ({KEPT_TASKS_DEFAULT_RETRIES: True}, "can't be True, .* allowed is a whole number"),
            ({KEPT_TASKS_DEFAULT_RETRIES: 1.0}, "can't be 1.0"),
            ({KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS: [1, -1]}, "can't be \\[1, -1\\]"),
            ({KEPT_LOGGING_EXTRA_LOGGERS: ["a", 1]}, "names with commas"),
            ({KEPT_HOME: 3}, "can't be 3, .* a path"),
            ([KEPT_HOME], "takes a dict"),
        ],
    )
    def test_are_refused_with_a_sentence(self, updates: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            with temporary_settings(updates):
                pass
        assert get_current_settings().sources == {}


class TestDebugMode:
    def test_lowers_the_level_that_nobody_sets(self) -> None:
        with temporary_settings({KEPT_DEBUG_MODE: True}):
            assert KEPT_LOGGING_LEVEL.value() == "DEBUG"
        with temporary_settings({KEPT_DEBUG_MODE: True, KEPT_LOGGING_LEVEL: "ERROR"}):
            assert KEPT_LOGGING_LEVEL.value() == "ERROR"


class TestTheFile:
    def test_is_the_nearest_kept_toml_upward(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("[tasks]\ndefault_retries = 1\n[tasks.runner]\nthread_pool_max_workers = 2")
        folder = tmp_path / "a" / "b"
        folder.mkdir(parents=True)
        assert run_in(folder, SHOW.format("s.tasks.default_retries, s.tasks.runner.thread_pool_max_workers")) == "1 2"
        (tmp_path / "a" / "kept.toml").write_text("tasks.default_retries = 3")
        assert (
            run_in(folder, SHOW.format("s.tasks.default_retries, s.tasks.runner.thread_pool_max_workers")) == "3 None"
        )

    @pytest.mark.parametrize(
        "text",
        [
            "[tool.kept]\ntasks.default_retries = 5",
            "[ tool . kept.tasks ]\ndefault_retries = 5",
            "[tool]\nkept.tasks.default_retries = 5",
            "tool.kept.tasks.default_retries = 5",
            "tool = {kept = {tasks = {default_retries = 5}}}",
        ],
    )
    def test_may_be_a_table_of_pyproject_toml_however_it_is_written(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text(text)
        assert run_in(tmp_path, SHOW.format("s.tasks.default_retries")) == "5"

    def test_is_kept_toml_where_both_are_there(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool.kept.tasks]\ndefault_retries = 5")
        (tmp_path / "kept.toml").write_text("[tasks]\ndefault_retries = 6")
        assert run_in(tmp_path, SHOW.format("s.tasks.default_retries")) == "6"

    def test_is_looked_for_above_a_pyproject_toml_that_has_nothing_to_say(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("[tasks]\ndefault_retries = 6")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'uses-kept'\n")
        assert run_in(tmp_path / "a", SHOW.format("s.tasks.default_retries")) == "6"

    def test_gives_way_to_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("debug_mode = true\n[tasks]\ndefault_retries = 6")
        shown = run_in(tmp_path, SHOW.format("s.tasks.default_retries, s.debug_mode"), KEPT_TASKS_DEFAULT_RETRIES="7")
        assert shown == "7 True"

    def test_takes_lists_and_none(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text(
            '[tasks]\ndefault_retry_delay_seconds = [1, 2.5]\ndefault_persist_result = "none"\n'
            '[logging]\nextra_loggers = ["httpx"]\n'
        )
        shown = run_in(
            tmp_path,
            SHOW.format("s.tasks.default_retry_delay_seconds, s.tasks.default_persist_result, s.logging.extra_loggers"),
        )
        assert shown == "[1, 2.5] None ['httpx']"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[tasks\n", "{file} is not valid TOML: .*line 1.* Correct it there, or delete the file"),
            ("\n\nx = \n", "{file} is not valid TOML: .*line 3"),
            (
                "[task]\nrefresh_cache = true",
                r"{file}, \[task\] refresh_cache is not a setting; did you mean tasks.refresh_cache\?",
            ),
            ("KEPT_TASKS_REFRESH_CACHE = true", "is not a setting; did you mean tasks.refresh_cache"),
            ("tasks = 3", "{file}, tasks is not a setting"),
            (
                "[tasks]\nrefresh_cache = 'maybe'",
                r"can't be 'maybe', as {file}, \[tasks\] refresh_cache has it; allowed is",
            ),
            (
                "[tasks]\ndefault_retries = 1.5",
                r"KEPT_TASKS_DEFAULT_RETRIES can't be 1.5, as {file}, \[tasks\]",
            ),
            ("home = 1979-05-27", "KEPT_HOME can't be .*1979"),
            ("home = ''", "KEPT_HOME can't be ''"),
        ],
    )
    def test_is_refused_with_the_file_the_place_and_the_cure(self, text: str, message: str, tmp_path: Path) -> None:
        file = tmp_path / "kept.toml"
        file.write_text(text)
        assert re.search(message.replace("{file}", re.escape(str(file))), refused_in(tmp_path))

    def test_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_bytes(b"\xff\xfe\x00")
        assert f"{tmp_path / 'kept.toml'} is not valid TOML" in refused_in(tmp_path)

    @pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
    def test_that_may_not_be_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").touch(mode=0)
        assert "can't be read: Permission denied" in refused_in(tmp_path)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    def test_of_another_user_in_a_folder_for_everybody_is_passed_by(self, tmp_path: Path) -> None:
        file = tmp_path / "kept.toml"
        file.write_text("[tasks]\ndefault_retries = 6")
        os.chown(file, 12345, 12345)
        assert run_in(tmp_path, SHOW.format("s.tasks.default_retries")) == "6"
        tmp_path.chmod(0o1777)
        assert run_in(tmp_path, SHOW.format("s.tasks.default_retries")) == "0"

    def test_is_not_missed_in_a_folder_that_no_longer_exists(self, tmp_path: Path) -> None:
        shown = run_in(
            tmp_path,
            """
            import os
            os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
            from kept.settings import get_current_settings
            print(get_current_settings().tasks.default_retries)
            """,
        )
        assert shown == "0"


def test_problems_names_all_that_is_wrong_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems() == []
    monkeypatch.setenv("KEPT_DEBUG_MODE", "maybe")
    monkeypatch.setenv("KEPT_TASKS_DEFAULT_RETRIES", "few")
    monkeypatch.setenv("KEPT_ROOT", "1")
    found = problems()
    assert [sentence.split()[0] for sentence in found] == [
        "KEPT_DEBUG_MODE",
        "KEPT_ROOT",
        "KEPT_TASKS_DEFAULT_RETRIES",
    ]


def test_the_default_of_every_setting_is_what_the_documentation_says() -> None:
    assert KEPT_TASKS_DEFAULT_PERSIST_RESULT.default is None
    assert KEPT_DEFAULT_RESULT_STORAGE_BLOCK.default is None
    assert KEPT_RESULTS_STORE_LAYOUT.default == "auto"
    assert {setting.path: setting.default for setting in ALL_SETTINGS if setting.type == "boolean"} == {
        "debug_mode": False,
        "results.persist_by_default": False,
        "tasks.refresh_cache": False,
        "tasks.default_no_cache": False,
        "tasks.disable_caching": False,
        "logging.log_prints": False,
        "logging.colors": True,
        "history.enabled": True,
        "history.arguments": True,
        "cache.single_flight": False,
        "results.read_only": False,
        "results.write_behind": False,
    }
