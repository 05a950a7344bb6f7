"""Profiles: the commands, as their users type them, and what a profile does to a program."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kept.settings.profiles import read_profiles
from tests.test_cli import Done, kept

SHOW = "from kept.settings import get_current_settings as now; s = now(); print({})"


class Desk:
    """A folder to work in and a home of kept beside it."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "work"
        self.folder.mkdir()
        self.home = tmp_path / "home"
        self.file = self.home / "profiles.toml"

    def kept(self, line: str, **environment: str) -> Done:
        return kept(*line.split(), cwd=self.folder, **{"KEPT_HOME": str(self.home), **environment})

    def python(self, program: str, **environment: str) -> str:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KEPT_")}
        environment = {**ours, "KEPT_HOME": str(self.home), **environment}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def write(self, text: str) -> None:
        self.home.mkdir()
        self.file.write_text(text)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class TestCommands:
    def test_a_profile_named_default_is_active_before_there_is_any_file(self, desk: Desk) -> None:
        assert desk.kept("profile ls").out == "* default\n"
        assert "Profile 'default' sets nothing" in desk.kept("profile inspect").err
        assert not desk.home.exists()

    def test_a_profile_is_created_used_and_shown(self, desk: Desk) -> None:
        assert desk.kept("profile create dev").out.startswith(f"Created profile 'dev' in {desk.file}.\n")
        assert desk.kept("profile use dev").out == "Profile 'dev' is active now.\n"
        assert desk.kept("config set KEPT_LOGGING_LEVEL=debug KEPT_TASKS_DEFAULT_RETRIES=2").out.splitlines() == [
            "Set KEPT_LOGGING_LEVEL=DEBUG in profile 'dev'.",
            "Set KEPT_TASKS_DEFAULT_RETRIES=2 in profile 'dev'.",
        ]
        assert desk.kept("profile ls").out == "  default\n* dev\n"
        assert desk.kept("profile inspect").out == "KEPT_LOGGING_LEVEL=DEBUG\nKEPT_TASKS_DEFAULT_RETRIES=2\n"
        assert '"KEPT_TASKS_DEFAULT_RETRIES": "2"' in desk.kept("profile inspect dev --output json").out
        view = desk.kept("config view").out
        assert view.startswith("KEPT_PROFILE=dev\n")
        assert "KEPT_TASKS_DEFAULT_RETRIES=2  (from profile dev)" in view
        assert stat.S_IMODE(desk.home.stat().st_mode) == 0o700

    def test_a_setting_goes_to_the_default_profile_where_none_was_made(self, desk: Desk) -> None:
        desk.kept("config set KEPT_DEBUG_MODE=1")
        assert read_profiles(desk.file).profiles == {"default": {"KEPT_DEBUG_MODE": True}}
        assert desk.kept("config unset debug_mode").out == "Unset KEPT_DEBUG_MODE in profile 'default'.\n"
        assert read_profiles(desk.file).profiles == {"default": {}}

    def test_a_profile_can_start_as_a_copy(self, desk: Desk) -> None:
        desk.write("[profiles.a]\nKEPT_DEBUG_MODE = true\nKEPT_LOGGING_EXTRA_LOGGERS = ['x', 'y']\n")
        desk.kept("profile create b --from a")
        assert read_profiles(desk.file).profiles["b"] == {
            "KEPT_DEBUG_MODE": True,
            "KEPT_LOGGING_EXTRA_LOGGERS": ["x", "y"],
        }

    def test_a_renamed_profile_stays_active(self, desk: Desk) -> None:
        desk.write("active = 'a'\n[profiles.a]\nKEPT_DEBUG_MODE = true # why\n")
        assert desk.kept("profile rename a b").out == "Renamed profile 'a' to 'b'.\n"
        assert desk.kept("profile ls").out == "* b\n  default\n"
        assert "KEPT_DEBUG_MODE = true # why" in desk.file.read_text()

    def test_a_deleted_profile_is_gone(self, desk: Desk) -> None:
        desk.write("# mine\n[profiles.a]\n[profiles.b]\nKEPT_DEBUG_MODE = true # why\n")
        assert desk.kept("profile delete a").out == "Deleted profile 'a'.\n"
        assert desk.file.read_text() == "# mine\n[profiles.b]\nKEPT_DEBUG_MODE = true # why\n"

    def test_an_option_uses_a_profile_for_one_command(self, desk: Desk) -> None:
        desk.write("active = 'a'\n[profiles.a]\n[profiles.b]\nKEPT_DEBUG_MODE = true\n")
        assert "KEPT_DEBUG_MODE=true  (from profile b)" in desk.kept("-p b config view").out
        assert desk.kept("--profile b config set KEPT_DEBUG_MODE=0").out == (
            "Set KEPT_DEBUG_MODE=false in profile 'b'.\n"
        )
        assert desk.kept("profile ls").out == "* a\n  b\n  default\n"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("profile use nihgtly", "There is no profile 'nihgtly' in {file}; did you mean 'nightly'?"),
            ("profile inspect zzz", "There is no profile 'zzz' in {file}; there is 'default', 'nightly'."),
            (
                "-p zzz config view",
                "There is no profile 'zzz' in {file}; there is 'default', 'nightly'. Correct it: KEPT_PROFILE names it "
                "as the active one.",
            ),
            ("profile delete nightly", "Profile 'nightly' is the active one: `kept profile use` another one first."),
            ("profile delete default", "Profile 'default' is not in {file}: it sets nothing, and is always there."),
            (
                "profile create nightly",
                "There is a profile 'nightly' already; `kept profile inspect nightly` shows it.",
            ),
            (
                "profile rename nightly a/b",
                "A profile can't be called 'a/b': letters, digits, '_', '-' and '.' make a name.",
            ),
            ("profile create x --from y", "There is no profile 'y' in {file}; there is 'default', 'nightly'."),
            ("profile inspect -o yaml", "--output can't be 'yaml'; allowed is json."),
            ("config unset KEPT_HOME", "KEPT_HOME is not set in profile 'nightly', so there is nothing to unset."),
            ("config set PREFECT_DEBUG_MODE=1", "PREFECT_DEBUG_MODE is not a setting; did you mean KEPT_DEBUG_MODE?"),
            (
                "config set KEPT_PROFILES_PATH=x",
                "KEPT_PROFILES_PATH can't be set in a profile, which is found before it is read: use the variable, "
                "or --project.",
            ),
        ],
    )
    def test_what_cannot_be_done_is_said_in_a_sentence(self, line: str, message: str, desk: Desk) -> None:
        text = "active = 'nightly'\n[profiles.nightly]\n"
        desk.write(text)
        done = desk.kept(line)
        assert (done.code, done.out, done.err) == (1, "", f"Error: {message.format(file=desk.file)}\n")
        assert desk.file.read_text() == text
        assert os.listdir(desk.home) == ["profiles.toml"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[profiles\n", "is not valid TOML"),
            ("active = 3\n", "active is 3; it has to be the name of a profile, in quotes."),
            ("[dev]\nKEPT_DEBUG_MODE = true\n", "dev doesn't belong there as it stands."),
            ("[profiles]\ndev = 3\n", "profiles doesn't belong there as it stands."),
        ],
    )
    def test_a_damaged_file_is_named_and_left_alone(self, text: str, message: str, desk: Desk) -> None:
        desk.write(text)
        for line in ("profile ls", "profile create x", "config set KEPT_DEBUG_MODE=1", "config view"):
            done = desk.kept(line)
            assert (done.code, done.err.count("\n")) == (1, 1)
            assert str(desk.file) in done.err and message in done.err
        assert desk.file.read_text() == text

    def test_an_active_profile_that_is_gone_is_said_with_the_cure(self, desk: Desk) -> None:
        desk.write("active = 'gone'\n")
        done = desk.kept("config view")
        assert "There is no profile 'gone'" in done.err
        assert "Choose another one with `kept profile use`: the file names it as the active one." in done.err
        assert desk.kept("profile use default").code == 0
        assert desk.kept("config view").code == 0

    def test_what_wins_over_the_profile_is_said(self, desk: Desk) -> None:
        (desk.folder / "kept.toml").write_text("debug_mode = true\n")
        done = desk.kept("config set KEPT_DEBUG_MODE=0", KEPT_DEBUG_MODE="1")
        assert "The variable KEPT_DEBUG_MODE is set to '1' and wins over the profile." in done.err
        assert f"{desk.folder / 'kept.toml'}, debug_mode sets it too and wins over the profile." in done.err
        desk.kept("profile create b")
        done = desk.kept("profile use b", KEPT_PROFILE="default")
        assert "The variable KEPT_PROFILE is set to 'default' and wins over this." in done.err

    def test_everything_wrong_with_a_profile_is_listed(self, desk: Desk) -> None:
        desk.write("[profiles.default]\nKEPT_DEBUG_MOD = 1\nKEPT_TASKS_DEFAULT_RETRIES = -1\ntasks.x = 1\n")
        lines = desk.kept("config validate").err.splitlines()
        assert len(lines) == 3
        assert "[profiles.default] KEPT_DEBUG_MOD is not a setting; did you mean KEPT_DEBUG_MODE?" in lines[0]
        assert "KEPT_TASKS_DEFAULT_RETRIES can't be -1, as" in lines[1]
        assert "[profiles.default] tasks is not a setting" in lines[2]


class TestPrograms:
    def test_take_what_the_active_profile_sets(self, desk: Desk) -> None:
        desk.write("active = 'a'\n[profiles.a]\nKEPT_TASK_DEFAULT_RETRIES = 3\n[profiles.b]\nKEPT_DEBUG_MODE = 1\n")
        show = SHOW.format("s.tasks.default_retries, s.debug_mode")
        assert desk.python(show) == "3 False"
        assert desk.python(show, KEPT_PROFILE="b") == "0 True"
        assert "There is no profile 'c'" in desk.python(show, KEPT_PROFILE="c")

    def test_environment_and_project_win_over_the_profile(self, desk: Desk) -> None:
        desk.write("[profiles.default]\nKEPT_TASKS_DEFAULT_RETRIES = 1\nKEPT_LOGGING_LEVEL = 'ERROR'\n")
        show = SHOW.format("s.tasks.default_retries, s.logging.level")
        (desk.folder / "kept.toml").write_text("[tasks]\ndefault_retries = 2\n")
        assert desk.python(show) == "2 ERROR"
        assert desk.python(show, KEPT_TASKS_DEFAULT_RETRIES="3", KEPT_LOGGING_LEVEL="DEBUG") == "3 DEBUG"

    def test_a_profile_can_have_a_home_of_its_own(self, desk: Desk) -> None:
        desk.write("active = 'a'\n[profiles.a]\nKEPT_HOME = 'below'\n")
        show = "from kept.settings import get_current_settings as now; print(now().home, now().profiles_path)"
        ours = {"KEPT_HOME": "", "KEPT_PROFILES_PATH": str(desk.file)}
        assert desk.python(show, **ours) == f"{desk.home / 'below'} {desk.file}"

    def test_notice_another_profile_when_the_variable_changes(self, desk: Desk) -> None:
        desk.write("[profiles.a]\nKEPT_TASKS_DEFAULT_RETRIES = 3\n")
        program = (
            "import os; from kept.settings import KEPT_TASKS_DEFAULT_RETRIES as r; before = r.value(); "
            "os.environ['KEPT_PROFILE'] = 'a'; print(before, r.value())"
        )
        assert desk.python(program) == "0 3"

    def test_a_profile_cannot_say_where_profiles_are(self, desk: Desk) -> None:
        desk.write("[profiles.default]\nKEPT_PROFILES_PATH = 'x'\n")
        assert "a profile is found before it is read" in desk.python(SHOW.format("1"))

    def test_parse_no_toml_where_there_is_no_file(self, desk: Desk) -> None:
        program = "import sys, kept.settings as s; s.get_current_settings(); print(*sys.modules)"
        assert {"tomllib", "tomli", "tomlkit", "difflib"} & set(desk.python(program).split()) == set()
