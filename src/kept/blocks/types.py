"""Types of blocks, noted beside the blocks so that the command line knows them: `<type>/.type.json`."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from kept.blocks import documents
from kept.blocks.saving import Savable, classes, is_base
from kept.exceptions import ConfigurationError
from kept.utilities.files import write_whole

_FILE = ".type.json"


def register(cls: type[Savable]) -> None:
    """Note a type of block, and the types of blocks in its fields. Raises `ConfigurationError`."""
    if is_base(cls):
        raise ConfigurationError(f"{cls.__name__} is what types of blocks inherit from, and no type: register those.")
    for each in {cls, *_within(cls)}:
        _note(each)


def _note(cls: type[Savable]) -> None:
    slug, noted = cls.get_block_type_slug(), description(cls)
    if noted != find(slug):
        path = documents.folder() / slug / _FILE
        try:
            write_whole(path, json.dumps(noted, indent=2).encode())
        except OSError as error:
            raise ConfigurationError(f"The block type {slug} can't be noted at {path}: {error.strerror}.") from None


def description(cls: type[Savable]) -> dict[str, Any]:
    """What is noted of a type of block."""
    known, needed = cls._block_names()
    hints = _hints(cls)
    return {
        "kept_block_type": documents.FORMAT,
        "name": cls.get_block_type_name(),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "description": cls.get_description(),
        "logo_url": cls._own("_logo_url"),
        "code_example": cls.get_code_example(),
        "fields": {name: _shown(hints.get(name)) + (", required" if name in needed else "") for name in sorted(known)},
    }


def find(slug: str) -> dict[str, Any] | None:
    """What is noted of the type of this slug; None if nothing is that can be read."""
    try:
        noted: dict[str, Any] = json.loads((documents.folder() / slug / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) and "fields" in noted else None


def known() -> Iterator[str]:
    """The slugs of all types that were registered or of which blocks are saved, in order."""
    for path in sorted(documents.folder().glob("*")):
        if documents.is_reference(f"{path.name}/x") and any(path.glob("*.json")):
            yield path.name


def forget(slug: str) -> None:
    """Take note of a type no longer. Raises `ConfigurationError` if it is not noted, or blocks of it are saved."""
    saved = [f"{type_}/{name}" for type_, name in documents.all_saved() if type_ == slug]
    if saved:
        raise ConfigurationError(f"There are blocks of the type {slug}: delete {', '.join(saved[:5])} first.")
    if find(slug) is None:
        raise ConfigurationError(f"There is no block type {slug}; `kept block types` lists those there are.")
    (documents.folder() / slug / _FILE).unlink(missing_ok=True)


def defined_in(module: ModuleType) -> list[type[Savable]]:
    """The types of blocks that a module, or a package with its modules, defines."""
    name = module.__name__
    return [cls for cls in classes() if cls.__module__ == name or cls.__module__.startswith(f"{name}.")]


def _within(cls: type[Savable]) -> Iterator[type[Savable]]:
    """The types of blocks in the fields of one, and in theirs."""
    for hint in _hints(cls).values():
        for found in _classes_in(hint):
            if found is not cls and not is_base(found):
                yield found
                yield from _within(found)


def _classes_in(hint: Any) -> Iterator[type[Savable]]:
    if isinstance(hint, type) and issubclass(hint, Savable):
        yield hint
    for part in typing.get_args(hint):
        yield from _classes_in(part)


def _hints(cls: type[Savable]) -> dict[str, Any]:
    fields = getattr(cls, "model_fields", None)
    if fields is not None:
        return {name: field.annotation for name, field in fields.items()}
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):  # a name that is there for type checkers only
        return {}


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
