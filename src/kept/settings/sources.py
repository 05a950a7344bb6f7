"""What the settings file and the environment set, read and checked value by value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kept.exceptions import ConfigurationError
from kept.settings.files import SettingsFile, find_settings_file
from kept.settings.profiles import PROFILE_VARIABLE, Profile
from kept.settings.setting import PREFIX, Setting, did_you_mean, find_setting, known_setting, nearest_name


class Given(NamedTuple):
    """A value that something sets."""

    value: object
    source: str
    folder: Path | None = None
    """What a relative path is relative to; None for the current directory."""


# The dict below os.environ: comparing it with a copy takes 10 ns a variable, as both hold the same objects.
# Where Python has none, os.environ itself answers the same questions, slowly.
ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)

_file: tuple[SettingsFile | None] | None = None
_warned: set[str] = set()


def settings_file() -> SettingsFile | None:
    """The settings file of this process: found from the current directory at first use, and read once."""
    global _file
    if _file is None:
        _file = (find_settings_file(current_directory()),)
    return _file[0]


def our_variables(environment: Mapping[Any, Any]) -> dict[str, str]:
    """The variables that matter to settings: our own, and HOME for the `~` in paths."""
    decoded = ((os.fsdecode(name), value) for name, value in environment.items())
    return {n: os.fsdecode(value) for n, value in decoded if n.startswith(PREFIX) or n == "HOME"}


def given_by_file(file: SettingsFile | None) -> dict[Setting[Any], Given]:
    """What the file sets; an unknown key or a value that is not allowed is a ConfigurationError."""
    return dict(read_key(file, dotted, value) for dotted, value in file.values.items()) if file else {}


def read_key(file: SettingsFile, dotted: str, value: object) -> tuple[Setting[Any], Given]:
    """The setting that one key of the file sets, and its value, checked."""
    setting = known_setting(dotted)
    source = file.where(dotted)
    if setting is None or setting.path != dotted:
        raise ConfigurationError(f"{source} is not a setting{did_you_mean(dotted)}")
    return setting, Given(setting.read(value, source), source, file.path.parent)


def given_by_profile(profile: Profile) -> dict[Setting[Any], Given]:
    """What the profile sets; an unknown name or a value that is not allowed is a ConfigurationError."""
    return dict(read_profile_key(profile, name, value) for name, value in profile.values.items())


def read_profile_key(profile: Profile, name: str, value: object) -> tuple[Setting[Any], Given]:
    """The setting that one key of a profile sets, and its value, checked."""
    setting = known_setting(name)
    where = f"{profile.path}, [profiles.{profile.name}] {name}"
    if setting is None or not name.startswith(PREFIX):
        raise ConfigurationError(f"{where} is not a setting{did_you_mean(name)}")
    if setting.path == "profiles_path":
        raise ConfigurationError(f"{where} can't be set there: a profile is found before it is read. Take it out.")
    return setting, Given(setting.read(value, where), f"profile {profile.name}", profile.path.parent)


def given_by_environment(ours: Mapping[str, str]) -> dict[Setting[Any], Given]:
    """What our variables set; an empty one sets nothing, a misspelt or wrong one is a ConfigurationError."""
    given: dict[Setting[Any], Given] = {}
    for name, text in ours.items():
        setting = known_setting(name)
        if name == PROFILE_VARIABLE:
            continue
        if setting is None:
            _complain(name)
        elif text.strip():
            new = read_variable(name, text)
            old = given.setdefault(setting, new)
            if old.value != new.value:
                raise ConfigurationError(
                    f"{setting.name} is set twice, to {old.value!r} by {old.source} and to {new.value!r} by "
                    f"{new.source}, which are two names of it: unset one."
                )
    return given


def read_variable(name: str, text: str) -> Given:
    """The value that the variable `name` sets with `text`, checked."""
    source = f"the variable {name}"
    return Given(find_setting(name).read(text, source), source)


def _complain(name: str) -> None:
    """Refuse a misspelt name; mention one that is unlike any setting: it may be another program's."""
    if not name.startswith(PREFIX) or name.startswith(f"{PREFIX}_RUNTIME__"):  # the latter is read by kept.runtime
        return
    nearest = nearest_name(name, cutoff=0.8)
    if nearest:
        raise ConfigurationError(f"{name} is not a setting; did you mean {nearest}? Rename the variable or unset it.")
    if name not in _warned:
        # Imported here: it costs as much as this whole package, and a well-set environment never comes here.
        import logging  # noqa: PLC0415

        _warned.add(name)
        logging.getLogger("kept.settings").warning(
            "The variable %s is not a setting and is ignored%s", name, did_you_mean(name)
        )


def current_directory() -> Path:
    """The folder from which relative paths and the search for a file start."""
    try:
        return Path.cwd()
    except FileNotFoundError:  # deleted under our feet: then no file is there either
        return Path("/")
