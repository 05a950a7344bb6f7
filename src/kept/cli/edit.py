"""Changing a settings file without losing what else is in it: comments, order, other tools' tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.items import Table

from kept.exceptions import ConfigurationError
from kept.settings import Setting
from kept.settings.files import KEPT_FILE, SettingsFile, parse_toml
from kept.settings.profiles import Profile, ProfilesFile

Tables = Container | Table
Address = tuple[str, ...]
"""The names of the tables around a key, and the key."""


def write(file: SettingsFile | None, folder: Path, values: Mapping[Setting[Any], object]) -> Path:
    """Set `values` in `file`, or in a new kept.toml in `folder` where there is none; give the file's path."""
    target = file or SettingsFile(folder / KEPT_FILE, (), {})
    _set(target.path, {_address(target, setting): value for setting, value in values.items()})
    return target.path


def erase(file: SettingsFile | None, settings: Sequence[Setting[Any]]) -> Path:
    """Take `settings` out of `file`; give the file's path.

    Raises:
        ConfigurationError: one of them isn't in it, or there is no file.
    """
    for setting in settings:
        if file is None or setting.path not in file.values:
            where = f"not set in {file.path}" if file else "set in no file"
            raise ConfigurationError(f"{setting.name} is {where}, so there is nothing to unset.")
    assert file is not None, "the command line asks for one setting at least"
    _delete(file.path, [_address(file, setting) for setting in settings])
    return file.path


def write_profile(file: ProfilesFile, name: str, values: Mapping[str, object]) -> None:
    """Set `values` in the profile of that name, which is made if it isn't there."""
    made: dict[Address, object] = {} if name in file.profiles else {("profiles", name): tomlkit.table()}
    _set(file.path, {**made, **{("profiles", name, key): value for key, value in values.items()}}, make_folder=True)


def erase_from_profile(profile: Profile, settings: Sequence[Setting[Any]]) -> None:
    """Take `settings` out of a profile. Raises `ConfigurationError` if one of them isn't in it."""
    keys = [key for setting in settings for key in (setting.name, *setting.aliases) if key in profile.values]
    for setting in settings:
        if not {setting.name, *setting.aliases} & set(keys):
            raise ConfigurationError(
                f"{setting.name} is not set in profile {profile.name!r}, so there is nothing to unset."
            )
    _delete(profile.path, [("profiles", profile.name, key) for key in keys])


def activate_profile(file: ProfilesFile, name: str) -> None:
    """Make the profile of that name the active one."""
    _set(file.path, {("active",): name}, make_folder=True)


def rename_profile(file: ProfilesFile, name: str, new_name: str) -> None:
    """Give a profile another name, and let it be the active one if it was."""

    def change(document: Tables) -> None:
        profiles = _table(document, ("profiles",), file.path)
        profiles[new_name] = profiles.pop(name)
        if file.active == name:
            document["active"] = new_name

    _rewrite(file.path, change)


def delete_profile(file: ProfilesFile, name: str) -> None:
    """Delete a profile."""
    _delete(file.path, [("profiles", name)])


def _address(file: SettingsFile, setting: Setting[Any]) -> Address:
    return (*file.table, *setting.path.split("."))


def _set(path: Path, values: Mapping[Address, object], *, make_folder: bool = False) -> None:
    def change(document: Tables) -> None:
        for (*tables, key), value in values.items():
            _table(document, tables, path)[key] = _as_toml(value)

    _rewrite(path, change, make_folder=make_folder)


def _delete(path: Path, addresses: Sequence[Address]) -> None:
    def change(document: Tables) -> None:
        for *tables, key in dict.fromkeys(addresses):
            del _table(document, tables, path)[key]

    _rewrite(path, change)


def _as_toml(value: object) -> object:
    # TOML has no word for nothing: the text "none" stands for it, as in the environment.
    return str(value) if value is None or isinstance(value, Path) else value


def _table(document: Tables, names: Sequence[str], path: Path) -> Any:
    table: Any = document
    for depth, name in enumerate(names, 1):
        if name not in table:
            table[name] = tomlkit.table(is_super_table=depth < len(names))
        table = table[name]
        if not hasattr(table, "items"):
            raise ConfigurationError(f"{path}: {'.'.join(names[:depth])} is a value there, not a table.")
    return table


def _rewrite(path: Path, change: Callable[[Tables], object], *, make_folder: bool = False) -> None:
    """Change the file in one step: whoever reads it meets the old content or the new, never a part."""
    # The file that a link points to is replaced, not the link.
    path = path.resolve()
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = path.read_bytes() if path.exists() else b""
        parse_toml(path, content)
        document = tomlkit.parse(content)
        change(document)
        changed = tomlkit.dumps(document).encode()
        parse_toml(path, changed)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(changed)
        if path.exists():
            draft.chmod(path.stat().st_mode & 0o7777)
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"The settings file {path} can't be written: {error.strerror}.") from error
