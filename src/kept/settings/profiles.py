"""Profiles: named sets of settings that live in one file, `profiles.toml`; one of them is active.

active = "nightly"

[profiles.nightly]
KEPT_LOGGING_LEVEL = "WARNING"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from kept.exceptions import ConfigurationError
from kept.settings.files import content_of, parse_toml
from kept.utilities.nearest import nearest

DEFAULT_PROFILE = "default"
PROFILE_VARIABLE = "KEPT_PROFILE"


class Profile(NamedTuple):
    """One profile, as its file has it; its values are not yet checked."""

    name: str
    path: Path
    """The file."""
    values: Mapping[str, object]
    """What it sets, by the names of variables: `{"KEPT_LOGGING_LEVEL": "WARNING"}`."""


class ProfilesFile(NamedTuple):
    """What a profiles.toml says; that of one which is not there is empty."""

    path: Path
    active: str | None
    """The profile that is active where the variable KEPT_PROFILE names no other."""
    profiles: Mapping[str, Mapping[str, object]]

    def find(self, name: str) -> Profile:
        """The profile of that name; `default` is always there. Raises `ConfigurationError` for others that are not."""
        if name not in self.profiles and name != DEFAULT_PROFILE:
            raise ConfigurationError(f"There is no profile {name!r} in {self.path}{nearest_of(name, self.profiles)}")
        return Profile(name, self.path, self.profiles.get(name, {}))

    def active_name(self, variable: str) -> str:
        """The name of the profile that is active, `variable` being what KEPT_PROFILE holds."""
        return variable.strip() or self.active or DEFAULT_PROFILE

    def find_active(self, variable: str) -> Profile:
        """The profile that is active. Raises `ConfigurationError`, which says who names it, if it is not there."""
        try:
            return self.find(self.active_name(variable))
        except ConfigurationError as error:
            who = PROFILE_VARIABLE if variable.strip() else "the file"
            cure = "Correct it" if variable.strip() else "Choose another one with `kept profile use`"
            raise ConfigurationError(f"{error} {cure}: {who} names it as the active one.") from None


def read_profiles(path: Path) -> ProfilesFile:
    """The profiles in the file at `path`; none if it is not there.

    Raises:
        ConfigurationError: it can't be read, isn't TOML, or holds something else than profiles.
    """
    content = content_of(path)
    if content is None:
        return ProfilesFile(path, None, {})
    document = parse_toml(path, content)
    active, profiles = document.pop("active", None), document.pop("profiles", {})
    if not isinstance(active, str | None):
        raise ConfigurationError(f"{path}: active is {active!r}; it has to be the name of a profile, in quotes.")
    tables = profiles.values() if isinstance(profiles, dict) else [None]
    if document or not all(isinstance(table, dict) for table in tables):
        wrong = next(iter(document), "profiles")
        raise ConfigurationError(
            f"{path}: {wrong} doesn't belong there as it stands. The file has active = 'NAME', and a table "
            "[profiles.NAME] of KEPT_... settings for each profile."
        )
    return ProfilesFile(path, active, profiles if isinstance(profiles, dict) else {})


def nearest_of(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says that there is no profile `name`: the nearest right name, or all there are."""
    names = sorted({*known, DEFAULT_PROFILE})
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else f"; there is {', '.join(map(repr, names))}."
