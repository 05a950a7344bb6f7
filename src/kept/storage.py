"""From what a user names as a place for results to the store that keeps them there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from kept.blocks import documents
from kept.blocks.documents import is_reference
from kept.blocks.saving import Savable
from kept.exceptions import ConfigurationError
from kept.filesystems import LocalFileSystem, RemoteFileSystem
from kept.serializers import Serializer
from kept.settings import Settings
from kept.store import ObjectBlobs, ObjectEntries, Store, open_store
from kept.store.addresses import SCHEMES, Address
from kept.store.bucket import Bucket, bucket_at
from kept.store.digests import digest_of
from kept.utilities.forks import not_while_forking

PLACES = (
    "a path, a URL such as s3://bucket/folder, a saved block as type/name, a filesystem such as "
    "LocalFileSystem(basepath=...), or an object with read_path and write_path"
)
"""What results can be kept in, in words."""


def resolve_storage(storage: Any, settings: Settings) -> Store:
    """The store behind a `result_storage`, a `key_storage` or the default. Raises `ConfigurationError`.

    A store that others can write to is used on the terms of the settings: signed, read-only, some serializers only. In
    front of what is far away stands a local tier, with what was found there on these terms.
    """
    store = _store_of(storage, settings)
    return store if store.private or store.ready else _ready(store, Wishes.of(settings), settings)


def bare_store(storage: Any, settings: Settings) -> tuple[Store, Wishes]:
    """The store with nothing around it, and how it is to be used: for upkeep. Raises `ConfigurationError`."""
    said = settings.results
    if storage is None:
        storage = said.default_storage_block or said.default_storage
    if isinstance(storage, str) and is_reference(storage):
        storage = _saved(storage)
    if _has_terms(storage):
        store, own = _store_of(storage.storage, settings), storage.wishes()
    else:
        store, own = _store_of(storage, settings), {}
    return store, (Wishes() if store.private else Wishes.of(settings))._replace(**own)


class Wishes(NamedTuple):
    """How a store is to be used, as settings or a block `ResultStorage` say it."""

    signing_keys: tuple[str, ...] = ()
    """Keys as text, or as `secret/name`; the first signs."""
    read_only: bool = False
    accept_serializers: tuple[str, ...] = ()
    local_tier_size: int = 0
    local_tier_fresh_seconds: float = 0.0
    write_behind: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Wishes:
        """What the settings say."""
        said = settings.results
        keys = (said.signing_key,) if said.signing_key else ()
        accepts = tuple(said.accept_serializers)
        tier = (said.local_tier_size, said.local_tier_fresh_seconds, said.write_behind)
        return cls(keys, said.read_only, accepts, *tier)


def _ready(store: Store, wishes: Wishes, settings: Settings) -> Store:
    """The store with all around it that is wished for: the same one for two threads that ask first at one moment."""
    with _making:
        return _made(store, wishes, settings)


_making = not_while_forking(threading.Lock())


def _made(store: Store, wishes: Wishes, settings: Settings) -> Store:
    store = guarded_store(store, wishes)._replace(ready=True)
    if not store.address:
        return store
    # Milliseconds, which programs without such a store never need.
    from kept.store.tiered import Tier, tiered  # noqa: PLC0415

    path, fresh = Path(settings.results.local_tier_path), wishes.local_tier_fresh_seconds
    return tiered(store, Tier(path, wishes.local_tier_size, fresh, wishes.write_behind))


def guarded_store(store: Store, wishes: Wishes) -> Store:
    """The store with its entries signed, serializers refused, and nothing written, as it is wished."""
    if not (wishes.signing_keys or wishes.read_only or wishes.accept_serializers):
        return store
    from kept.store.trust import SigningKey, Terms, guarded  # noqa: PLC0415  # 4 ms, which few stores need

    keys = tuple(SigningKey(_key_text(text)) for text in wishes.signing_keys)
    accepts = tuple(_named_serializer(name) for name in wishes.accept_serializers)
    guard = guarded(store, Terms(keys, wishes.read_only, accepts))
    # What was believed on other terms is not in the tier on these.
    terms = " ".join((*(key.id for key in keys), *accepts))
    return guard._replace(address=f"{store.address} {terms}") if store.address else guard


def _key_text(text: str) -> str:
    """The signing key itself, where a saved secret may be named."""
    if not text.strip():
        raise ConfigurationError("A signing key is empty, and anybody could sign with that: give a long random text.")
    if not (text.startswith("secret/") and is_reference(text)):
        return text
    try:
        value = Savable.load(text).get()  # type: ignore[attr-defined]
    except ConfigurationError as error:
        raise ConfigurationError(f"The signing key is {text!r}: {error}") from None
    if not (isinstance(value, str) and value):
        raise ConfigurationError(f"The signing key is {text!r}, and that secret holds no text: save one there.")
    return value


def _named_serializer(name: str) -> str:
    """The name that entries have of the serializer that the user calls `name`."""
    try:
        return Serializer.from_name(name).name
    except ConfigurationError as error:
        raise ConfigurationError(f"The list of accepted serializers is wrong: {error}") from error


def _of_block(block: Any, settings: Settings) -> Store:
    """The store of a `ResultStorage`, which says by itself how it is used; what it leaves open, the settings say."""
    store, wishes = bare_store(block, settings)
    if store.ready:
        raise ConfigurationError(f"A ResultStorage is kept in another one, {block.storage!r}: name the place itself.")
    return _ready(store, wishes, settings)


def _has_terms(storage: Any) -> bool:
    return isinstance(storage, Savable) and hasattr(storage, "wishes")


def _store_of(storage: Any, settings: Settings) -> Store:
    if storage is None:
        return _default_store(settings)
    if isinstance(storage, Store):
        return storage
    if isinstance(storage, os.PathLike):
        return open_store(Path(storage).expanduser(), settings.results.store_layout)
    if isinstance(storage, str):
        return _of_text(storage, settings)
    if isinstance(storage, Bucket):
        return store_in(storage)
    if _has_terms(storage):
        return _of_block(storage, settings)
    if _is_filesystem(storage):
        in_bucket = getattr(storage, "in_bucket", None)
        return store_in(in_bucket()) if callable(in_bucket) else _of_filesystem(storage)
    raise ConfigurationError(f"result_storage is {storage!r}, of type {type(storage).__name__}. It has to be {PLACES}.")


_stores: dict[Bucket, Store] = {}


def store_in(bucket: Bucket) -> Store:
    """The store in a bucket: the same object for the same bucket, within one process."""
    store = _stores.get(bucket)
    if store is None:
        entries = ObjectEntries(bucket, prefix="entries/", verbatim=False)
        blobs, url = ObjectBlobs(bucket, prefix="blobs/"), bucket.address.url
        address = f"{url} at {bucket.address.connection().place.server}"
        made = Store(entries, blobs, url, slow=True, shared=True, address=address, bare=entries)
        store = _stores.setdefault(bucket, made)
    return store


def _of_text(text: str, settings: Settings) -> Store:
    scheme, separator, rest = text.partition("://")
    if is_reference(text):
        return _store_of(_saved(text), settings)
    if not separator:
        return open_store(_path_of(text), settings.results.store_layout)
    if scheme.lower() in SCHEMES:
        return store_in(bucket_at(Address.of(text)))
    if scheme.lower() == "file":
        return open_store(Path(unquote(rest.removeprefix("localhost"))), settings.results.store_layout)
    return _of_filesystem(RemoteFileSystem(basepath=text))


def _of_filesystem(files: Any) -> Store:
    if isinstance(files, RemoteFileSystem):
        files.implementation()  # what is not installed is told now, and not as a store that gives trouble
        if not files.basepath.startswith("memory:"):
            return _remote(files)
    shared = isinstance(files, LocalFileSystem)
    # Of a user's own file system not its repr, which may show keys and passwords.
    location = repr(files) if isinstance(files, (LocalFileSystem, RemoteFileSystem)) else type(files).__name__
    entries = ObjectEntries(files)
    return Store(entries, ObjectBlobs(files), location, slow=True, shared=shared, bare=entries)


_remotes: dict[str, Store] = {}


def _remote(files: RemoteFileSystem) -> Store:
    """The store behind a file system that is far away; the same object for equal ones."""
    options = repr(sorted(files.settings.items())).encode()
    address = f"{files.basepath} {digest_of([options], len(options))}"
    entries = ObjectEntries(files)
    store = Store(entries, ObjectBlobs(files), repr(files), slow=True, address=address, bare=entries)
    return _remotes.setdefault(address, store)


def _default_store(settings: Settings) -> Store:
    said = settings.results
    for name, place in (
        ("KEPT_RESULTS_DEFAULT_STORAGE_BLOCK", said.default_storage_block),
        ("KEPT_RESULTS_DEFAULT_STORAGE", said.default_storage),
    ):
        if place is not None:
            try:
                return _store_of(place, settings)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name} is wrong: {error}") from None
    return open_store(Path(said.local_storage_path), said.store_layout)


def _saved(reference: str) -> Any:
    """The block of this reference, which keeps results."""
    try:
        block = Savable.load(reference)
    except ConfigurationError as error:
        slug = reference.partition("/")[0]
        folder = "" if documents.type_is_known(slug) else f" For a folder of this name write './{reference}'."
        raise ConfigurationError(f"result_storage is {reference!r}: {error}{folder}") from None
    if not (_is_filesystem(block) or _has_terms(block)):
        raise ConfigurationError(
            f"The block {reference} is a {type(block).__name__}, which keeps no results: result_storage takes {PLACES}."
        )
    return block


def check_place(text: str, option: str) -> None:
    """Raise `ConfigurationError` for a text that can name no place: neither path, nor URL, nor reference."""
    if not (is_reference(text) or "://" in text):
        _path_of(text, option)


def _path_of(text: str, option: str = "result_storage") -> Path:
    if text.startswith(("/", "~", ".")):
        return Path(text).expanduser()
    raise ConfigurationError(
        f"{option} is {text!r}, which is neither a path, nor a URL, nor a saved block as type/name, such as "
        f"'s3-bucket/results'. For a folder of this name write './{text}' or Path('{text}')."
    )


def _is_filesystem(storage: Any) -> bool:
    verbs: list[Callable[..., Any] | None] = [getattr(storage, verb, None) for verb in ("read_path", "write_path")]
    return not isinstance(storage, type) and all(callable(verb) for verb in verbs)
