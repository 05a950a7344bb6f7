"""From what a user names as a place for results to the store that keeps them there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kept.exceptions import ConfigurationError
from kept.filesystems import LocalFileSystem, RemoteFileSystem
from kept.serializers import Serializer
from kept.settings import Settings
from kept.store import ObjectBlobs, ObjectEntries, Store, open_store
from kept.store.addresses import SCHEMES, Address
from kept.store.bucket import Bucket, bucket_at


def resolve_storage(storage: Any, settings: Settings) -> Store:
    """The store behind a `result_storage`, a `key_storage` or the default. Raises `ConfigurationError`.

    A store that others can write to is used on the terms of the settings: signed, read-only, some serializers only.
    """
    store = _store_of(storage, settings)
    return store if store.private else _on_terms(store, settings)


def _on_terms(store: Store, settings: Settings) -> Store:
    said = settings.results
    if not (said.signing_key or said.read_only or said.accept_serializers):
        return store
    from kept.store.trust import SigningKey, Terms, guarded  # noqa: PLC0415  # 4 ms, which few stores need

    keys = (SigningKey(said.signing_key),) if said.signing_key else ()
    accepts = tuple(_named_serializer(name) for name in said.accept_serializers)
    return guarded(store, Terms(keys, said.read_only, accepts))


def _named_serializer(name: str) -> str:
    """The name that entries have of the serializer that the user calls `name`."""
    try:
        return Serializer.from_name(name).name
    except ConfigurationError as error:
        raise ConfigurationError(f"KEPT_RESULTS_ACCEPT_SERIALIZERS is wrong: {error}") from error


def _store_of(storage: Any, settings: Settings) -> Store:
    if storage is None:
        storage = settings.results.default_storage_block or settings.results.default_storage
    if storage is None:
        return open_store(Path(settings.results.local_storage_path), settings.results.store_layout)
    if isinstance(storage, Store):
        return storage
    if isinstance(storage, os.PathLike):
        return open_store(Path(storage).expanduser(), settings.results.store_layout)
    if isinstance(storage, str):
        return _of_text(storage, settings)
    if isinstance(storage, Bucket):
        return store_in(storage)
    if _is_filesystem(storage):
        in_bucket = getattr(storage, "in_bucket", None)
        return store_in(in_bucket()) if callable(in_bucket) else _of_filesystem(storage)
    raise ConfigurationError(
        f"result_storage is {storage!r}, of type {type(storage).__name__}. It has to be a path, a URL such as "
        "s3://bucket/folder, a filesystem such as LocalFileSystem(basepath=...), or an object with read_path and "
        "write_path."
    )


_stores: dict[Bucket, Store] = {}


def store_in(bucket: Bucket) -> Store:
    """The store in a bucket: the same object for the same bucket, within one process."""
    store = _stores.get(bucket)
    if store is None:
        entries = ObjectEntries(bucket, prefix="entries/", verbatim=False)
        made = Store(entries, ObjectBlobs(bucket, prefix="blobs/"), bucket.address.url, slow=True, shared=True)
        store = _stores.setdefault(bucket, made)
    return store


def _of_text(text: str, settings: Settings) -> Store:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return open_store(_path_of(text), settings.results.store_layout)
    if scheme.lower() in SCHEMES:
        return store_in(bucket_at(Address.of(text)))
    if scheme.lower() == "file":
        return open_store(Path(unquote(rest.removeprefix("localhost"))), settings.results.store_layout)
    return _of_filesystem(RemoteFileSystem(basepath=text))


def _of_filesystem(files: Any) -> Store:
    shared = isinstance(files, LocalFileSystem)
    return Store(ObjectEntries(files), ObjectBlobs(files), repr(files), slow=True, shared=shared)


def _path_of(text: str) -> Path:
    if text.startswith(("/", "~", ".")):
        return Path(text).expanduser()
    raise ConfigurationError(
        f"result_storage is {text!r}, which reads as a reference to a saved block; those come with a later version "
        f"of kept. For a folder of this name write './{text}' or Path('{text}')."
    )


def _is_filesystem(storage: Any) -> bool:
    verbs: list[Callable[..., Any] | None] = [getattr(storage, verb, None) for verb in ("read_path", "write_path")]
    return not isinstance(storage, type) and all(callable(verb) for verb in verbs)
