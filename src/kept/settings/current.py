"""The settings as they are now: a frozen snapshot of environment, files and profile, under what is set temporarily."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kept.exceptions import ConfigurationError
from kept.settings.declarations import ALL_SETTINGS, KEPT_DEBUG_MODE, KEPT_HOME, KEPT_PROFILES_PATH, Settings
from kept.settings.kinds import PATH, expand_path
from kept.settings.profiles import PROFILE_VARIABLE, Profile, ProfilesFile, read_profiles
from kept.settings.setting import PREFIX, Setting, find_setting, known_setting
from kept.settings.sources import (
    ENVIRONMENT,
    Given,
    current_directory,
    given_by_environment,
    given_by_file,
    given_by_profile,
    our_variables,
    read_key,
    read_profile_key,
    read_variable,
    settings_file,
)

_TEMPORARY = "temporary_settings"


class _Snapshot(NamedTuple):
    """What environment, file and profile say, and the environment for which that is true."""

    environment: Mapping[Any, Any]
    ours: Mapping[str, str]
    given: Mapping[Setting[Any], Given]
    settings: Settings


class _Overlay:
    """What the blocks of `temporary_settings` that are open here add up to."""

    def __init__(
        self,
        given: Mapping[Setting[Any], Given],
        defaults: Mapping[Setting[Any], object],
        restored: frozenset[Setting[Any]],
    ) -> None:
        self.given = given
        self.defaults = defaults
        self.restored = restored
        self._made: tuple[Settings | None, Settings | None] = (None, None)

    def over(self, below: _Snapshot) -> Settings:
        """The settings that result when this lies over what environment and file say."""
        basis, made = self._made
        if made is None or basis is not below.settings:
            kept = {setting: given for setting, given in below.given.items() if setting not in self.restored}
            made = _resolve({**kept, **self.given}, self.defaults)
            self._made = (below.settings, made)
        return made


_overlay: ContextVar[_Overlay | None] = ContextVar("kept_temporary_settings", default=None)
_snapshot: _Snapshot | None = None


def get_current_settings() -> Settings:
    """The settings as they are now: temporary ones, the environment, the project's file, the profile, defaults.

    The project's file is read once per process, environment and profile whenever a variable of ours has changed.

    Raises:
        ConfigurationError: a value is not allowed, a name is misspelt, or the file can't be read.
    """
    snapshot = _snapshot
    if snapshot is None or snapshot.environment != ENVIRONMENT:
        snapshot = _take_snapshot()
    overlay = _overlay.get()
    return snapshot.settings if overlay is None else overlay.over(snapshot)


@contextmanager
def temporary_settings(
    updates: Mapping[Setting[Any] | str, Any] | None = None,
    set_defaults: Mapping[Setting[Any] | str, Any] | None = None,
    restore_defaults: Iterable[Setting[Any] | str] | None = None,
) -> Iterator[Settings]:
    """Change settings for the time of a `with` block, in this thread and what inherits its context.

    Args:
        updates: settings, or their names, and their values; they win over everything else.
        set_defaults: values for settings that nothing else sets.
        restore_defaults: settings that get their defaults back, whatever sets them.

    Raises:
        ConfigurationError: a key is no setting, or its value is not allowed.

    >>> from kept.settings import KEPT_TASKS_DEFAULT_RETRIES
    >>> with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 3}) as settings:
    ...     settings.tasks.default_retries, KEPT_TASKS_DEFAULT_RETRIES.value()
    (3, 3)
    """
    outer = _overlay.get() or _Overlay({}, {}, frozenset())
    restored = frozenset(_as_setting(key) for key in restore_defaults or ())
    given = {setting: given for setting, given in outer.given.items() if setting not in restored}
    given.update({setting: Given(value, _TEMPORARY) for setting, value in _checked(updates)})
    defaults = {setting: value for setting, value in outer.defaults.items() if setting not in restored}
    defaults.update(_checked(set_defaults))
    before, inner = _overlay.get(), _Overlay(given, defaults, outer.restored | restored)
    _overlay.set(inner)
    try:
        yield get_current_settings()
    finally:
        # No token: the end of an async fixture may run in a copy of the context, where it would not count.
        if _overlay.get() is inner:
            _overlay.set(before)


def adopt(values: Mapping[Setting[Any], Any]) -> None:
    """Let the settings that another process has be those of this context from here on, whatever is set in this one."""
    given = {setting: Given(value, _TEMPORARY) for setting, value in values.items()}
    _overlay.set(_Overlay(given, {}, frozenset()))


def _checked(values: Mapping[Setting[Any] | str, Any] | None) -> Iterator[tuple[Setting[Any], object]]:
    if values is not None and not isinstance(values, Mapping):
        raise ConfigurationError(f"temporary_settings takes a dict of settings and values, not {values!r}.")
    for key, value in (values or {}).items():
        setting = _as_setting(key)
        yield setting, setting.read(value, _TEMPORARY)


def _as_setting(key: Setting[Any] | str) -> Setting[Any]:
    if isinstance(key, Setting):
        return key
    if isinstance(key, str):
        return find_setting(key)
    raise ConfigurationError(
        f"temporary_settings takes settings as keys, such as KEPT_TASKS_REFRESH_CACHE, not {key!r}."
    )


def problems() -> list[str]:
    """Everything that is wrong with the file and the environment, a sentence each; empty if all is right."""
    found = [sentence for check in _checks() if (sentence := _failure(check))]
    # What only shows when everything is put together, and would repeat what has been found.
    last = None if found else _failure(get_current_settings)
    return [last] if last else found


def _checks() -> Iterator[Callable[[], object]]:
    """One check for each key of file and profile, and for each variable that is named like ours."""
    if _failure(settings_file):
        yield settings_file
        return
    file = settings_file()
    if file:
        for dotted, value in file.values.items():
            yield partial(read_key, file, dotted, value)
    ours = our_variables(ENVIRONMENT)
    for name, text in sorted(ours.items()):
        if name.startswith(PREFIX) and name != PROFILE_VARIABLE and (text.strip() or known_setting(name) is None):
            yield partial(read_variable, name, text)
    if _failure(partial(_given_above_profiles, ours)):
        return  # named already, and where the profiles are depends on it
    if _failure(active_profile):
        yield active_profile
        return
    profile = active_profile()
    for name, value in profile.values.items():
        yield partial(read_profile_key, profile, name, value)


def profiles_file() -> ProfilesFile:
    """The profiles of this user, found by environment and project file. Raises `ConfigurationError`."""
    return _profiles_below(_given_above_profiles(our_variables(ENVIRONMENT)))


def active_profile() -> Profile:
    """The profile that is active: what KEPT_PROFILE names, then what profiles.toml names, then `default`.

    Raises:
        ConfigurationError: there is none of that name, or the file can't be read.
    """
    return _active(profiles_file(), our_variables(ENVIRONMENT))


def _given_above_profiles(ours: Mapping[str, str]) -> dict[Setting[Any], Given]:
    return {**given_by_file(settings_file()), **given_by_environment(ours)}


def _profiles_below(given: Mapping[Setting[Any], Given]) -> ProfilesFile:
    return read_profiles(_values(given, {}, (KEPT_HOME, KEPT_PROFILES_PATH))[KEPT_PROFILES_PATH])


def _active(file: ProfilesFile, ours: Mapping[str, str]) -> Profile:
    return file.find_active(ours.get(PROFILE_VARIABLE, ""))


def _failure(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ConfigurationError as error:
        return str(error)
    return None


def _take_snapshot() -> _Snapshot:
    global _snapshot
    environment = ENVIRONMENT.copy()
    ours = our_variables(environment)
    if _snapshot is not None and _snapshot.ours == ours:
        # Somebody else's variable changed: the settings stay the same object, and nothing is resolved anew.
        taken = _snapshot._replace(environment=environment)
    else:
        given = _all_given(ours)
        taken = _Snapshot(environment, ours, given, _resolve(given, {}))
    _snapshot = taken
    return taken


def _all_given(ours: Mapping[str, str]) -> dict[Setting[Any], Given]:
    above = _given_above_profiles(ours)
    file = _profiles_below(above)
    profile = given_by_profile(_active(file, ours))
    if KEPT_HOME in profile:  # the profiles themselves stay where they were found
        profile[KEPT_PROFILES_PATH] = Given(file.path, profile[KEPT_HOME].source)
    return {**profile, **above}


def _resolve(given: Mapping[Setting[Any], Given], defaults: Mapping[Setting[Any], object]) -> Settings:
    settings = dict.fromkeys((*ALL_SETTINGS, *given))  # the places of the logging configuration are given only
    values = _values(given, defaults, settings)
    return Settings(values, {setting: given[setting].source for setting in settings if setting in given})


def _values(
    given: Mapping[Setting[Any], Given], defaults: Mapping[Setting[Any], object], wanted: Iterable[Setting[Any]]
) -> dict[Setting[Any], Any]:
    values: dict[Setting[Any], Any] = {}
    for setting in wanted:
        one = given.get(setting) or _default(setting, defaults, values)
        values[setting] = _expanded(setting, one, values) if setting.kind is PATH else one.value
    return values


def _default(
    setting: Setting[Any], defaults: Mapping[Setting[Any], object], values: Mapping[Setting[Any], object]
) -> Given:
    if setting in defaults:
        return Given(defaults[setting], _TEMPORARY)
    if setting.in_debug_mode is not None and values[KEPT_DEBUG_MODE]:
        return Given(setting.in_debug_mode, "debug_mode")
    return Given(setting.default, "the default")


def _expanded(setting: Setting[Any], given: Given, values: Mapping[Setting[Any], Any]) -> Path:
    try:
        folder = given.folder or current_directory()
        return expand_path(Path(str(given.value)), folder=folder, home=values.get(KEPT_HOME))
    except ValueError:
        raise setting.refusal(given.value, given.source) from None


Setting.values_now = staticmethod(lambda: get_current_settings().values)
