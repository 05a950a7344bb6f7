"""Where blocks are saved: one JSON file each, `<type>/<name>.json` in the folder KEPT_BLOCKS_PATH."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kept.exceptions import ConfigurationError, InvalidNameError
from kept.settings import get_current_settings
from kept.utilities.files import write_whole
from kept.utilities.nearest import nearest

if TYPE_CHECKING:
    from uuid import UUID

FORMAT = 1
"""The version of the format of documents, which is their field `kept_block`."""

_NAME = re.compile(r"[a-z0-9-]+")
_TEXTS = {"type", "class", "id"}
_Document = dict[str, Any]


def folder() -> Path:
    """The folder of all documents."""
    return get_current_settings().blocks.path


def path_of(slug: str, name: str) -> Path:
    """The file of a document."""
    return folder() / slug / f"{name}.json"


def check_name(name: Any) -> str:
    """The name itself, or `InvalidNameError` for one that a block can't have."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    example = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") if isinstance(name, str) else ""
    raise InvalidNameError(
        f"A block can't be called {name!r}: names are made of lowercase letters, digits and dashes"
        f"{f', such as {example!r}' if example else ''}."
    )


def is_reference(text: str) -> bool:
    """Whether a text has the form `type/name`."""
    slug, slash, name = text.partition("/")
    return bool(slash and _NAME.fullmatch(slug) and _NAME.fullmatch(name))


def split(reference: str) -> tuple[str, str]:
    """The type and the name of a reference `type/name`. Raises `ConfigurationError` for another text."""
    if not is_reference(reference):
        raise ConfigurationError(
            f"{reference!r} is no reference to a saved block: write type/name, such as 'secret/api-key'."
        )
    slug, _, name = reference.partition("/")
    return slug, name


def all_saved() -> Iterator[tuple[str, str]]:
    """The type and the name of every block that is saved, in order."""
    for path in sorted(folder().glob("*/*.json")):
        if _NAME.fullmatch(path.parent.name) and _NAME.fullmatch(path.stem):
            yield path.parent.name, path.stem


Seen = dict[Path, "tuple[int, int] | None"]
"""Files of documents, and what tells whether they have changed."""

_watching: ContextVar[Seen | None] = ContextVar("kept_documents_read", default=None)


@contextmanager
def watching() -> Iterator[Seen]:
    """Notes which documents are read in the `with` block."""
    seen: Seen = {}
    token = _watching.set(seen)
    try:
        yield seen
    finally:
        _watching.reset(token)


def changed(seen: Seen) -> bool:
    """Whether any of these documents was saved again; one that is gone has not changed."""
    return any((now := _stamp(path)) is not None and now != then for path, then in seen.items())


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ino)


def read(slug: str, name: str) -> _Document:
    """A document.

    Raises:
        ConfigurationError: it was never saved, is damaged, can't be read, or is of a newer version of kept.
    """
    path = path_of(slug, name)
    if (seen := _watching.get()) is not None:
        seen[path] = _stamp(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _never_saved(slug, name) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The block {slug}/{name} can't be read from {path}: {error}.") from None
    try:
        document = json.loads(text)
        version = document["kept_block"]
        complete = isinstance(document["fields"], dict) and {k for k in document if type(document[k]) is str} >= _TEXTS
        as_id(document["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        complete = version = False
    if isinstance(version, int) and version > FORMAT:
        raise ConfigurationError(
            f"The block {slug}/{name} in {path} was saved by a newer version of kept, in format {version}: upgrade "
            f"kept here, which reads format {FORMAT}."
        )
    if not complete:
        raise ConfigurationError(f"The block {slug}/{name} is damaged in {path}: save it again with overwrite=True.")
    return document  # type: ignore[no-any-return]


def type_is_known(slug: str) -> bool:
    """Whether any block of this type is saved."""
    return (folder() / slug).is_dir()


def new_id() -> UUID:
    """An id that no block has."""
    import uuid  # noqa: PLC0415 - see LAZY_IMPORTS

    return uuid.uuid4()


def as_id(text: str) -> UUID:
    """The id of a block. Raises ValueError for what is none."""
    import uuid  # noqa: PLC0415 - see LAZY_IMPORTS

    return uuid.UUID(text)


def id_of(slug: str, name: str) -> UUID | None:
    """The id of a document; None if there is none that can be read."""
    try:
        return as_id(read(slug, name)["id"])
    except ConfigurationError:
        return None


def with_id(id: str) -> tuple[str, str]:
    """The type and the name of the block with this id. Raises `ConfigurationError` if there is none."""
    for slug, name in all_saved():
        if str(id_of(slug, name)) == id.lower():
            return slug, name
    raise ConfigurationError(f"There is no block with the id {id!r} saved in {folder()}.")


def _never_saved(slug: str, name: str) -> ConfigurationError:
    saved = [f"{type_}/{each}" for type_, each in all_saved()]
    near = nearest(f"{slug}/{name}", saved)
    if near:
        hint = f"did you mean {near}?"
    else:
        hint = f"saved are: {', '.join(saved[:10])}{', ...' if saved[10:] else ''}." if saved else "none is."
    return ConfigurationError(f"There is no block {slug}/{name} saved in {folder()}; {hint}")


def find(slug: str, name: str) -> str:
    """The slug under which a block is saved: `slug`, or one that differs from it in dashes only.

    Prefect takes the dashes of a slug from a type's name alone: its `MyBlock` is `myblock`, here `my-block`.
    """
    if not path_of(slug, name).exists():
        bare = slug.replace("-", "")
        for other, each in all_saved():
            if each == name and other.replace("-", "") == bare:
                return other
    return slug


def write(slug: str, name: str, document: _Document, overwrite: bool) -> None:
    """Save a document at once: who reads sees all of it, or what was there before.

    Raises:
        ConfigurationError: there is one and `overwrite` is false, or it can't be written.
    """
    path = path_of(slug, name)
    content = json.dumps(document, indent=2, ensure_ascii=False).encode()
    try:
        if not write_whole(path, content, replace=overwrite):
            raise ConfigurationError(
                f"There is a block {slug}/{name} already: save({name!r}, overwrite=True) replaces it."
            )
    except OSError as error:
        raise ConfigurationError(f"The block {slug}/{name} can't be saved at {path}: {error.strerror}.") from None


def remove(slug: str, name: str) -> None:
    """Remove a document. Raises `ConfigurationError` if there is none or it can't be."""
    try:
        path_of(slug, name).unlink()
    except FileNotFoundError:
        raise _never_saved(slug, name) from None
    except OSError as error:
        raise ConfigurationError(f"The block {slug}/{name} can't be deleted: {error}.") from None
