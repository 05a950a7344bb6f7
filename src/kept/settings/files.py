"""The settings file of a project: finding it and reading what it says, as text and values not yet checked."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kept.exceptions import ConfigurationError

KEPT_FILE = "kept.toml"
PROJECT_FILE = "pyproject.toml"

# Most pyproject.toml files have nothing to say to kept: parsing them would cost each process milliseconds.
_HAS_OUR_TABLE = re.compile(rb"""(?m)^\s*\[?\s*["']?tool["']?\s*(\]|=|\.\s*["']?kept)""")


class SettingsFile(NamedTuple):
    """A file that holds settings, and what it says."""

    path: Path
    """Where it is, absolute."""
    table: tuple[str, ...]
    """The table that holds the settings: none in `kept.toml`, `tool.kept` in `pyproject.toml`."""
    values: Mapping[str, object]
    """What it sets, by dotted path within the table: `{"tasks.refresh_cache": True}`."""

    def where(self, dotted: str) -> str:
        """The place of one setting, for messages: `etl/kept.toml, [tasks] refresh_cache`."""
        *tables, key = (*self.table, *dotted.split("."))
        return f"{self.path}, " + (f"[{'.'.join(tables)}] {key}" if tables else key)


def find_settings_file(start: Path) -> SettingsFile | None:
    """The settings file that holds for `start`: the nearest upward, `kept.toml` before `pyproject.toml`.

    A `pyproject.toml` without a table `[tool.kept]` is passed by, as other tools do. So is a file that
    another user has put into a folder where everybody may write: who chooses the store chooses what gets
    unpickled.

    Raises:
        ConfigurationError: a file can't be read, or isn't TOML.
    """
    for folder in (start, *start.parents):
        for found in (_read(folder / KEPT_FILE, ()), _read(folder / PROJECT_FILE, ("tool", "kept"))):
            if found is not None:
                return found
    return None


def _read(path: Path, table: tuple[str, ...]) -> SettingsFile | None:
    content = content_of(path)
    if content is None or (table and not _HAS_OUR_TABLE.search(content)):
        return None
    document: object = parse_toml(path, content)
    for name in table:
        document = document.get(name) if isinstance(document, dict) else None
    if not isinstance(document, dict):
        return None
    return SettingsFile(path, table, dict(_leaves(document)))


def content_of(path: Path) -> bytes | None:
    """What the file holds; None if it is not there, or is not to be trusted. Raises `ConfigurationError`."""
    try:
        return path.read_bytes() if path.is_file() and _trusted(path) else None
    except OSError as error:
        raise ConfigurationError(
            f"The settings file {path} can't be read: {error.strerror}. "
            "Make it readable, or run from a folder outside of its own."
        ) from error


def _trusted(path: Path) -> bool:
    if path.stat().st_uid in (os.getuid(), 0):
        return True
    return not path.parent.stat().st_mode & stat.S_IWOTH


def parse_toml(path: Path, content: bytes) -> dict[str, object]:
    """The document that `content` is, or a sentence that says which line of which file is wrong."""
    # Imported here: no settings file is there on most machines, and the parser costs several milliseconds.
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415

    try:
        document: dict[str, object] = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The settings file {path} is not valid TOML: {error}. Correct it there, or delete the file."
        ) from error
    return document


def _leaves(table: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
