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

Tables = Container | Table


def write(file: SettingsFile | None, folder: Path, values: Mapping[Setting[Any], object]) -> Path:
    """Set `values` in `file`, or in a new kept.toml in `folder` where there is none; give the file's path."""
    target = file or SettingsFile(folder / KEPT_FILE, (), {})

    def change(document: Tables) -> None:
        for setting, value in values.items():
            *tables, key = (*target.table, *setting.path.split("."))
            _table(document, tables, target)[key] = str(value) if _is_text(value) else value

    _rewrite(target, change)
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

    def change(document: Tables) -> None:
        for setting in dict.fromkeys(settings):
            *tables, key = (*file.table, *setting.path.split("."))
            del _table(document, tables, file)[key]

    _rewrite(file, change)
    return file.path


def _is_text(value: object) -> bool:
    # TOML has no word for nothing: the text "none" stands for it, as in the environment.
    return value is None or isinstance(value, Path)


def _table(document: Tables, names: Sequence[str], file: SettingsFile) -> Any:
    table: Any = document
    for depth, name in enumerate(names, 1):
        if name not in table:
            table[name] = tomlkit.table(is_super_table=depth < len(names))
        table = table[name]
        if not hasattr(table, "items"):
            raise ConfigurationError(f"{file.path}: {'.'.join(names[:depth])} is a value there, not a table.")
    return table


def _rewrite(file: SettingsFile, change: Callable[[Tables], None]) -> None:
    """Change the file in one step: whoever reads it meets the old content or the new, never a part."""
    # The file that a link points to is replaced, not the link.
    path = file.path.resolve()
    try:
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
