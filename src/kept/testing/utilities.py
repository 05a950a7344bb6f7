"""A place of its own for everything that kept keeps, for the time of a test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kept.context import new_id
from kept.history import close_recorders
from kept.results import ResultStore
from kept.settings import find_setting, get_current_settings, temporary_settings
from kept.store import close_stores
from kept.store.opening import memory_of_its_own

# The developer's own profiles have no say in a test.
_UNSET = ("KEPT_PROFILE", "KEPT_PROFILES_PATH")


@contextmanager
def kept_test_harness(server_startup_timeout: float | None = 30) -> Iterator[None]:
    """Let all that runs inside keep results, history and blocks in a temporary folder, which is removed at the end.

    The harness holds for the whole process, all its threads and the processes that it starts; it can be nested, and
    stand in a fixture of any scope. The project's kept.toml goes on to count, the user's profiles do not.

    Arguments:
        server_startup_timeout: taken as documented, without effect: there is no server to wait for.

    >>> with kept_test_harness():
    ...     ResultStore().exists("my-key")
    False
    """
    with tempfile.TemporaryDirectory(prefix="kept-test-", ignore_cleanup_errors=True) as folder, _home_in(Path(folder)):
        yield


@contextmanager
def memory_store() -> Iterator[ResultStore]:
    """Let all that runs inside keep its results in memory, and yield the store; no history is written.

    Also what names a folder as its storage is kept in memory. A process that is started inside has a memory of its
    own, and starts with an empty store. Otherwise as `kept_test_harness`, and quicker.
    """
    folder = Path(tempfile.gettempdir()) / f"kept-memory-{new_id()}"
    with memory_of_its_own(), _home_in(folder, KEPT_RESULTS_STORE_LAYOUT="memory", KEPT_HISTORY_ENABLED="false"):
        yield ResultStore()


@contextmanager
def _home_in(folder: Path, **more: str) -> Iterator[None]:
    wanted = {
        "KEPT_HOME": str(folder),
        "KEPT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "storage"),
        "KEPT_RESULTS_LOCAL_TIER_PATH": str(folder / "tier"),
        "KEPT_RESULTS_DEFAULT_STORAGE_BLOCK": "none",
        "KEPT_RESULTS_DEFAULT_STORAGE": "none",
        "KEPT_BLOCKS_PATH": str(folder / "blocks"),
        "KEPT_BLOCKS_KEY_PATH": str(folder / "keys" / "blocks.key"),
        **more,
    }
    aliases = {alias for name in wanted for alias in find_setting(name).aliases}
    before = {name: os.environ.get(name) for name in (*wanted, *aliases, *_UNSET)}
    try:
        _set_variables({**dict.fromkeys(before), **wanted})
        # Variables reach every thread and process; only what is set temporarily around here would win over them.
        sources = get_current_settings().sources
        given = {find_setting(name): value for name, value in wanted.items()}
        with temporary_settings({one: value for one, value in given.items() if "temporary" in sources[one]}):
            yield
    finally:
        _set_variables(before)
        close_stores(folder)
        close_recorders(folder)


def _set_variables(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
