"""Which locks fit a store, when the user has named none."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from kept.exceptions import LockError, StoreError
from kept.filesystems import LocalFileSystem, RemoteFileSystem
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.locking.objects import ObjectLockManager
from kept.locking.protocol import LockManager
from kept.settings import Settings
from kept.store.bucket import Bucket
from kept.store.digests import hex_of
from kept.store.opening import Store

logger = logging.getLogger("kept.locking")

_VERBS = ("create_path", "replace_path", "tagged_path", "list_paths", "delete_path")
_said: set[str] = set()
_examined: dict[int, tuple[Any, bool]] = {}


def locks_for(store: Store, settings: Settings) -> LockManager:
    """Who hands out the locks on the keys of a store.

    Of this process for one in memory, files beside one in a folder. For what is far away the Redis server of the
    settings, else leases in the store itself if its server is fit for them, else files of this machine, which is said.
    A file system of the user's own that can't hold leases has locks of this process. Raises `LockError`.
    """
    if store.location.startswith("memory:"):
        return MemoryLockManager()
    if Path(store.location).is_absolute():
        return FileSystemLockManager(Path(store.location) / "locks")
    files = store.bare.filesystem if store.bare is not None else None
    if isinstance(files, LocalFileSystem) or store.read_only:
        return _of_this_machine(store, settings)
    if settings.locking.redis_url:
        return _of_redis(settings.locking.redis_url)
    check_answers(store)
    if _holds_leases(files, store.location, settings):
        return ObjectLockManager(files)
    if isinstance(files, (Bucket, RemoteFileSystem)):
        _say_once(store.location)
        return _of_this_machine(store, settings)
    return MemoryLockManager()


def check_answers(store: Store) -> None:
    """Raise `LockError` if the store is known not to answer: each of a thousand runs would wait for that anew."""
    problem = getattr(store.entries, "problem", None)
    if problem is not None and (error := problem()):
        raise LockError(str(error))


def _of_this_machine(store: Store, settings: Settings) -> LockManager:
    return FileSystemLockManager(Path(settings.home) / "locks" / hex_of(store.location)[:16])


@lru_cache(maxsize=8)
def _of_redis(url: str) -> LockManager:
    try:
        from kept_redis import RedisLockManager  # noqa: PLC0415  # optional
    except ImportError as error:
        raise LockError(f"KEPT_LOCKING_REDIS_URL is set. {error}") from None
    return RedisLockManager.from_url(url)


def _holds_leases(files: Any, location: str, settings: Settings) -> bool:
    if not all(callable(getattr(files, verb, None)) for verb in _VERBS):
        return False
    from kept.store.selftest import examine, known_guarantees  # noqa: PLC0415  # few stores need it

    try:
        if isinstance(files, Bucket):
            return known_guarantees(files, Path(settings.home) / "guarantees.json").leases
        if id(files) not in _examined:
            _examined[id(files)] = (files, examine(files).leases)
        return _examined[id(files)][1]
    except StoreError as error:
        raise LockError(f"whether {location} can hold locks can't be found out: {error}") from error


def _say_once(location: str) -> None:
    if location not in _said:
        _said.add(location)
        logger.warning(
            "SERIALIZABLE holds on this machine only for results in %s: its server does not keep what conditional "
            "writes promise, so locks can't live there. If several machines use it, set KEPT_LOCKING_REDIS_URL to the "
            "address of a Redis server, redis://host:port/0, on all of them. (Said once.)",
            location,
        )
