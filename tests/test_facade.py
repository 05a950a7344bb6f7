"""What `kept` and its public modules export, against the table of the public API."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest

import kept

# As in the reference, for the modules of this version; what comes with a later one is not listed.
MODULES = {
    "kept": "flow task Flow Task File Dir Ignore tags unmapped allow_failure get_run_logger State runtime transaction",
    "kept.flows": "Flow flow",
    "kept.tasks": "Task task task_input_hash exponential_backoff",
    "kept.cache_policies": (
        "CachePolicy CacheKeyFnPolicy CompoundCachePolicy Inputs TaskSource RunId FlowParameters INPUTS TASK_SOURCE "
        "RUN_ID FLOW_PARAMETERS NO_CACHE NONE DEFAULT"
    ),
    "kept.states": (
        "State StateType StateDetails Late Suspended AwaitingConcurrencySlot "
        "Scheduled Pending Running Completed Failed Crashed Cancelling Cancelled Paused Retrying "
        "AwaitingRetry raise_state_exception"
    ),
    "kept.futures": (
        "KeptFuture KeptConcurrentFuture KeptFutureList wait as_completed resolve_futures_to_states "
        "resolve_futures_to_results"
    ),
    "kept.task_runners": "TaskRunner ThreadPoolTaskRunner ConcurrentTaskRunner",
    "kept.results": "ResultStore ResultRecord get_result_store should_persist_result",
    "kept.serializers": (
        "Serializer PickleSerializer JSONSerializer CompressedSerializer CompressedPickleSerializer "
        "CompressedJSONSerializer"
    ),
    "kept.filesystems": ("LocalFileSystem RemoteFileSystem NullFileSystem ReadableFileSystem WritableFileSystem"),
    "kept.blocks.core": "Block",
    "kept.blocks.system": "Secret",
    "kept.blocks.fields": "SecretDict",
    "kept.types": "SecretDict",
    "kept.transactions": (
        "transaction atransaction Transaction AsyncTransaction get_transaction IsolationLevel CommitMode "
        "TransactionState"
    ),
    "kept.locking.protocol": "LockManager",
    "kept.locking.memory": "MemoryLockManager",
    "kept.locking.filesystem": "FileSystemLockManager",
    "kept.context": "get_run_context FlowRunContext TaskRunContext TagsContext tags",
    "kept.runtime": "flow_run task_run deployment",
    "kept.client.schemas.objects": "FlowRun TaskRun State StateType",
    "kept.assets": "materialize Asset AssetProperties add_asset_metadata MaterializingTask",
    "kept.settings": (
        "temporary_settings get_current_settings Settings KEPT_HOME KEPT_LOCAL_STORAGE_PATH "
        "KEPT_RESULTS_PERSIST_BY_DEFAULT KEPT_TASKS_DEFAULT_PERSIST_RESULT KEPT_TASKS_REFRESH_CACHE "
        "KEPT_TASKS_DEFAULT_NO_CACHE KEPT_TASKS_DISABLE_CACHING KEPT_DEFAULT_RESULT_STORAGE_BLOCK "
        "KEPT_RESULTS_DEFAULT_SERIALIZER KEPT_TASK_DEFAULT_RETRIES KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS "
        "KEPT_FLOW_DEFAULT_RETRIES KEPT_LOGGING_LEVEL KEPT_LOGGING_LOG_PRINTS KEPT_DEBUG_MODE"
    ),
    "kept.logging": "get_run_logger get_logger disable_run_logger",
    "kept.logging.loggers": "get_run_logger get_logger disable_run_logger",
    "kept.utilities.annotations": "unmapped allow_failure quote opaque freeze",
    "kept.utilities.hashing": "hash_objects stable_hash file_hash",
    "kept.exceptions": (
        "KeptException MissingContextError ParameterTypeError ReservedArgumentError UnfinishedRun FailedRun "
        "CrashedRun CancelledRun PausedRun MissingResult HashError SerializationError ConfigurationError "
        "InvalidNameError ValidationError MappingLengthMismatch MappingMissingIterable ParameterBindError RollBack"
    ),
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_the_names_of_the_reference(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in MODULES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_list_of_exported_names_names_what_is_there(module: str) -> None:
    found = importlib.import_module(module)
    exported = getattr(found, "__all__", [])
    assert [name for name in exported if not hasattr(found, name)] == []
    if exported and module not in ("kept.settings",):
        assert set(MODULES[module].split()) <= set(exported)


def test_file_systems_copy_folders() -> None:
    from kept.filesystems import LocalFileSystem, NullFileSystem, RemoteFileSystem

    for kind in (LocalFileSystem, RemoteFileSystem, NullFileSystem):
        for verb in ("read_path", "write_path"):
            assert callable(getattr(kind, verb)), (kind, verb)
    for kind in (LocalFileSystem, RemoteFileSystem):
        for verb in ("get_directory", "put_directory"):
            assert callable(getattr(kind, verb)), (kind, verb)


def test_the_package_exports_exactly_these_names() -> None:
    assert set(kept.__all__) == {*MODULES["kept"].split(), "__version__"}
    assert dir(kept) == sorted(kept.__all__)


@pytest.mark.parametrize("name", MODULES["kept"].split())
def test_a_name_of_the_package_is_the_thing_itself(name: str) -> None:
    value = getattr(kept, name)
    home = kept._HOMES[name]
    found = importlib.import_module(home)
    assert value is (found if isinstance(value, types.ModuleType) else getattr(found, name))


def test_a_star_import_gives_them_all() -> None:
    scope: dict[str, object] = {}
    exec("from kept import *", scope)
    assert set(kept.__all__) <= set(scope)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kept' has no attribute 'flw'"):
        kept.flw
    with pytest.raises(ImportError):
        exec("from kept import flw")


def test_importing_does_nothing_but_define_names() -> None:
    program = (
        "import sys, threading, logging\n"
        "import kept\n"
        "heavy = {'pydantic', 'numpy', 'asyncio', 'sqlite3', 'blake3', 'rich', 'typer', 'kept.tasks'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
        "assert not logging.root.handlers and not logging.getLogger('kept').handlers\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_decorating_starts_nothing(tmp_path: object) -> None:
    program = (
        "import os, sys, threading\n"
        "from kept import flow, task\n"
        "from kept.cache_policies import INPUTS\n"
        "@task(cache_policy=INPUTS)\n"
        "def t(x): return x\n"
        "@flow\n"
        "def f(): return t(1)\n"
        "assert threading.active_count() == 1\n"
        "assert not os.path.exists(os.environ['KEPT_HOME'])\n"
        "assert 'asyncio' not in sys.modules and 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert kept.__version__ == version("kept")


def test_every_error_is_one_of_ours() -> None:
    from kept import exceptions

    errors = [value for value in vars(exceptions).values() if isinstance(value, type)]
    assert [error for error in errors if not issubclass(error, exceptions.KeptException)] == [
        exceptions.TerminationSignal  # a signal, which no `except Exception` should take for an error
    ]
    drawn = exceptions.__doc__ or ""
    assert [error.__name__ for error in errors if error.__name__ not in drawn] == []
