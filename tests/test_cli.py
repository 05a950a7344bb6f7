"""The command line, as its users run it: in processes, on real files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kept.cli.edit import erase, write
from kept.exceptions import ConfigurationError
from kept.settings import ALL_SETTINGS, KEPT_HOME, KEPT_TASKS_REFRESH_CACHE, find_setting
from kept.settings.files import SettingsFile, find_settings_file
from kept.settings.kinds import text_of


class Done:
    """What a command left behind."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def kept(*arguments: str, cwd: Path, **environment: str) -> Done:
    """Run `python -m kept` with these arguments, none of our variables but those given, and a HOME of its own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KEPT_")}
    ours["HOME"] = str(cwd.with_name(f"{cwd.name}-home"))
    return Done(
        subprocess.run(
            [sys.executable, "-m", "kept", *arguments],
            cwd=cwd,
            env={**ours, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    )


class TestVersion:
    def test_says_what_a_bug_report_needs(self, tmp_path: Path) -> None:
        done = kept("version", cwd=tmp_path, KEPT_HOME=str(tmp_path / "home"))
        facts = dict(line.split(None, 1) for line in done.out.splitlines())
        assert done.code == 0
        assert facts["kept"] == "0.1.0"
        assert facts["Python"].startswith(".".join(map(str, sys.version_info[:3])))
        assert facts["store"] == f"{tmp_path / 'home' / 'storage'} (auto, not there yet)"
        assert (facts["settings"], facts["profile"]) == ("no file", "default")
        assert {"platform", "SQLite", "blake3", "numpy"} <= facts.keys()

    def test_is_an_option_too(self, tmp_path: Path) -> None:
        assert kept("--version", cwd=tmp_path).out == "0.1.0\n"

    def test_answers_when_the_settings_are_wrong_too(self, tmp_path: Path) -> None:
        done = kept("version", cwd=tmp_path, KEPT_DEBUG_MODE="maybe")
        assert done.code == 0
        assert "settings    wrong: KEPT_DEBUG_MODE can't be 'maybe'" in done.out

    def test_makes_no_folder_and_no_file(self, tmp_path: Path) -> None:
        kept("version", cwd=tmp_path, KEPT_HOME=str(tmp_path / "home"))
        assert list(tmp_path.iterdir()) == []

    def test_loads_none_of_the_heavy_libraries(self, tmp_path: Path) -> None:
        program = (
            "import sys, kept.cli.version as version; version.show(); "
            "heavy = {'numpy', 'pydantic', 'tomlkit', 'asyncio', 'rich'}; "
            "print('loaded', sorted(heavy & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "loaded []"

    def test_is_installed_as_a_command_of_its_own(self) -> None:
        command = Path(sys.executable).with_name("kept")
        done = subprocess.run([command, "version"], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout.startswith("kept ")


class TestView:
    def test_lists_what_is_set_and_by_whom(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("[tasks]\ndefault_retries = 3\n")
        done = kept("config", "view", cwd=tmp_path, KEPT_DEBUG_MODE="1")
        assert done.out.splitlines() == [
            "KEPT_PROFILE=default",
            "KEPT_DEBUG_MODE=true  (from the variable KEPT_DEBUG_MODE)",
            f"KEPT_TASKS_DEFAULT_RETRIES=3  (from {tmp_path / 'kept.toml'}, [tasks] default_retries)",
        ]

    def test_lists_all_settings_when_asked(self, tmp_path: Path) -> None:
        done = kept("config", "view", "--show-defaults", "--hide-sources", cwd=tmp_path)
        assert [line.partition("=")[0] for line in done.out.splitlines()[1:]] == [s.name for s in ALL_SETTINGS]

    def test_says_so_when_there_is_nothing_to_list(self, tmp_path: Path) -> None:
        done = kept("config", "view", cwd=tmp_path)
        assert (done.code, done.out) == (0, "KEPT_PROFILE=default\n")
        assert "All settings have their defaults" in done.err

    def test_fails_with_one_sentence_when_a_setting_is_wrong(self, tmp_path: Path) -> None:
        done = kept("config", "view", cwd=tmp_path, KEPT_TASK_REFRESH_CACHE="1")
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            "Error: KEPT_TASK_REFRESH_CACHE is not a setting; did you mean KEPT_TASKS_REFRESH_CACHE? "
            "Rename the variable or unset it.\n"
        )

    def test_prints_values_that_set_takes_back(self) -> None:
        for setting in ALL_SETTINGS:
            text = text_of(setting.default)
            assert setting.read(text, "the test") == setting.read(setting.default, "the default")


class TestSetInTheProject:
    def test_makes_a_kept_toml_where_there_is_none(self, tmp_path: Path) -> None:
        done = kept(
            "config", "set", "--project", "KEPT_TASKS_REFRESH_CACHE=yes", "tasks.default_retries=2", cwd=tmp_path
        )
        assert done.out.splitlines() == [
            f"Set KEPT_TASKS_REFRESH_CACHE=true in {tmp_path / 'kept.toml'}.",
            f"Set KEPT_TASKS_DEFAULT_RETRIES=2 in {tmp_path / 'kept.toml'}.",
        ]
        assert (tmp_path / "kept.toml").read_text() == "[tasks]\nrefresh_cache = true\ndefault_retries = 2\n"

    def test_keeps_comments_order_and_the_mode_of_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "kept.toml"
        file.write_text("# why\n[tasks]\nrefresh_cache = true  # for now\n\n[logging]\nlevel = 'INFO'\n")
        file.chmod(0o640)
        kept("config", "set", "--project", "KEPT_TASKS_REFRESH_CACHE=no", "KEPT_HOME=~/elsewhere", cwd=tmp_path)
        assert file.read_text() == (
            "# why\nhome = \"~/elsewhere\"\n\n[tasks]\nrefresh_cache = false  # for now\n\n[logging]\nlevel = 'INFO'\n"
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert list(tmp_path.iterdir()) == [file]

    def test_writes_to_the_nearest_file_above(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").touch()
        (tmp_path / "below").mkdir()
        assert kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", cwd=tmp_path / "below").code == 0
        assert (tmp_path / "kept.toml").read_text() == "debug_mode = true\n"

    def test_writes_to_pyproject_toml_where_settings_are_already_there(self, tmp_path: Path) -> None:
        file = tmp_path / "pyproject.toml"
        file.write_text("[project]\nname = 'x'  # mine\n\n[tool.kept]\ndebug_mode = true\n\n[tool.other]\ny = 1\n")
        assert kept("config", "set", "--project", "KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS=4", cwd=tmp_path).code == 0
        found = find_settings_file(tmp_path)
        assert found is not None
        assert found.values == {"debug_mode": True, "tasks.runner.thread_pool_max_workers": 4}
        assert "name = 'x'  # mine" in file.read_text()
        assert "[tool.other]\ny = 1" in file.read_text()

    def test_leaves_a_pyproject_toml_without_our_table_alone(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
        kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", cwd=tmp_path)
        assert (tmp_path / "pyproject.toml").read_text() == "[project]\nname = 'x'\n"
        assert (tmp_path / "kept.toml").exists()

    def test_follows_a_link_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "real.toml").write_text("")
        (tmp_path / "kept.toml").symlink_to("real.toml")
        kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", cwd=tmp_path)
        assert (tmp_path / "kept.toml").is_symlink()
        assert (tmp_path / "real.toml").read_text() == "debug_mode = true\n"

    def test_says_when_a_variable_wins_over_what_it_wrote(self, tmp_path: Path) -> None:
        done = kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", cwd=tmp_path, KEPT_DEBUG_MODE="0")
        assert "The variable KEPT_DEBUG_MODE is set to '0' and wins over the file" in done.err

    @pytest.mark.parametrize(
        ("assignment", "message"),
        [
            ("KEPT_TASK_REFRESH_CACHE=1", "is not a setting; did you mean KEPT_TASKS_REFRESH_CACHE?"),
            (
                "KEPT_TASKS_REFRESH_CACHE=maybe",
                "can't be 'maybe', as the command line has it; allowed is true or",
            ),
            ("KEPT_TASKS_REFRESH_CACHE", "sets nothing: write it as KEPT_NAME=VALUE"),
            ("KEPT_HOME=", "KEPT_HOME can't be ''"),
        ],
    )
    def test_checks_everything_before_it_writes_anything(self, assignment: str, message: str, tmp_path: Path) -> None:
        done = kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", assignment, cwd=tmp_path)
        assert done.code == 1
        assert done.err.startswith("Error: ")
        assert message in done.err
        assert done.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    def test_does_not_touch_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("[tasks\n")
        done = kept("config", "set", "--project", "KEPT_DEBUG_MODE=1", cwd=tmp_path)
        assert done.code == 1
        assert "kept.toml is not valid TOML" in done.err
        assert (tmp_path / "kept.toml").read_text() == "[tasks\n"

    def test_refuses_a_value_where_a_table_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("tasks = 3\n")
        done = kept("config", "set", "--project", "tasks.default_retries=1", cwd=tmp_path)
        assert (done.code, done.err) == (
            1,
            f"Error: {tmp_path / 'kept.toml'}: tasks is a value there, not a table.\n",
        )

    def test_says_when_the_file_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"kept.toml can't be written: No such file"):
            write(None, tmp_path / "missing", {KEPT_HOME: "x"})

    @pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.path)
    def test_writes_every_setting_so_that_it_is_read_back_and_erased(self, setting: object, tmp_path: Path) -> None:
        setting = find_setting(setting.path)  # type: ignore[attr-defined]
        value = setting.read(setting.default, "the default")
        write(None, tmp_path, {KEPT_TASKS_REFRESH_CACHE: True})
        write(find_settings_file(tmp_path), tmp_path, {setting: value})
        found = find_settings_file(tmp_path)
        assert found is not None
        assert setting.read(found.values[setting.path], "the file") == value
        erase(found, [setting])
        erased = find_settings_file(tmp_path)
        assert erased is not None
        assert setting.path not in erased.values


class TestUnsetInTheProject:
    def test_takes_settings_out_and_leaves_the_rest(self, tmp_path: Path) -> None:
        file = tmp_path / "kept.toml"
        file.write_text("debug_mode = true # a\n[tasks]\n# b\nrefresh_cache = true\ndefault_retries = 1\n")
        done = kept("config", "unset", "--project", "KEPT_TASKS_REFRESH_CACHE", "debug_mode", cwd=tmp_path)
        assert done.out.splitlines() == [
            f"Unset KEPT_TASKS_REFRESH_CACHE in {file}.",
            f"Unset KEPT_DEBUG_MODE in {file}.",
        ]
        assert file.read_text() == "[tasks]\n# b\ndefault_retries = 1\n"

    def test_refuses_what_is_not_set(self, tmp_path: Path) -> None:
        assert "KEPT_HOME is set in no file" in kept("config", "unset", "--project", "KEPT_HOME", cwd=tmp_path).err
        (tmp_path / "kept.toml").touch()
        done = kept("config", "unset", "--project", "KEPT_HOME", cwd=tmp_path)
        assert done.code == 1
        assert done.err == (f"Error: KEPT_HOME is not set in {tmp_path / 'kept.toml'}, so there is nothing to unset.\n")

    def test_changes_nothing_when_one_of_several_is_not_set(self, tmp_path: Path) -> None:
        file = SettingsFile(tmp_path / "kept.toml", (), {"debug_mode": True})
        file.path.write_text("debug_mode = true\n")
        with pytest.raises(ConfigurationError, match="KEPT_HOME is not set"):
            erase(file, [find_setting("debug_mode"), KEPT_HOME])
        assert file.path.read_text() == "debug_mode = true\n"


class TestValidate:
    def test_counts_what_is_right(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("debug_mode = true\n")
        done = kept("config", "validate", cwd=tmp_path, KEPT_TASKS_DEFAULT_RETRIES="1")
        assert (done.code, done.out) == (
            0,
            f"All settings are right: 2 set, {tmp_path / 'kept.toml'}, profile 'default'.\n",
        )

    def test_names_all_that_is_wrong_a_line_each(self, tmp_path: Path) -> None:
        (tmp_path / "kept.toml").write_text("debug_mod = true\n[tasks]\ndefault_retries = -1\n")
        done = kept("config", "validate", cwd=tmp_path, KEPT_ROOT="1", KEPT_HISTORY_ENABLED="perhaps")
        assert (done.code, done.out) == (1, "")
        lines = done.err.splitlines()
        assert len(lines) == 4
        assert "debug_mod is not a setting; did you mean debug_mode?" in lines[0]
        assert "KEPT_TASKS_DEFAULT_RETRIES can't be -1" in lines[1]
        assert "KEPT_HISTORY_ENABLED can't be 'perhaps'" in lines[2]
        assert "KEPT_ROOT is not a setting" in lines[3]


def test_a_wrong_command_gets_usage_and_no_traceback(tmp_path: Path) -> None:
    done = kept("confi", cwd=tmp_path)
    assert done.code == 2
    assert "No such command 'confi'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", [("cache", "ping"), ("cache", "collect"), ("block", "inspect")])
def test_help_puts_what_may_be_left_out_in_brackets_once(command: tuple[str, str], tmp_path: Path) -> None:
    usage = kept(*command, "--help", cwd=tmp_path).out.splitlines()[0]
    assert "[" in usage
    assert "[[" not in usage


def test_help_names_every_command(tmp_path: Path) -> None:
    assert all(word in kept("--help", cwd=tmp_path).out for word in ("config", "profile", "version"))
    assert all(word in kept("config", "-h", cwd=tmp_path).out for word in ("view", "set", "unset", "validate"))
