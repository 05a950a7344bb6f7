"""Every public name is one to type checkers as well, where users import it from."""

# ruff: noqa: F401, F811

from kept import Flow, State, Task, allow_failure, flow, get_run_logger, runtime, tags, task, unmapped
from kept.assets import Asset, AssetProperties, materialize
from kept.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    CompoundCachePolicy,
    FlowParameters,
    Inputs,
    RunId,
    TaskSource,
)
from kept.context import FlowRunContext, TagsContext, TaskRunContext, get_run_context, tags
from kept.exceptions import (
    CancelledRun,
    ConfigurationError,
    CrashedRun,
    FailedRun,
    HashError,
    InvalidNameError,
    KeptException,
    MissingContextError,
    MissingResult,
    ParameterTypeError,
    PausedRun,
    ReservedArgumentError,
    SerializationError,
    UnfinishedRun,
    ValidationError,
)
from kept.filesystems import LocalFileSystem, NullFileSystem, ReadableFileSystem, RemoteFileSystem, WritableFileSystem
from kept.flows import Flow, flow
from kept.futures import (
    KeptConcurrentFuture,
    KeptFuture,
    KeptFutureList,
    as_completed,
    resolve_futures_to_results,
    resolve_futures_to_states,
    wait,
)
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.locking.protocol import LockManager
from kept.logging import disable_run_logger, get_logger, get_run_logger
from kept.logging.loggers import disable_run_logger, get_logger, get_run_logger
from kept.results import ResultRecord, ResultStore, get_result_store, should_persist_result
from kept.runtime import flow_run, task_run
from kept.serializers import (
    CompressedJSONSerializer,
    CompressedPickleSerializer,
    CompressedSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
)
from kept.settings import Settings, get_current_settings, temporary_settings
from kept.states import (
    AwaitingRetry,
    Cached,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateType,
    raise_state_exception,
)
from kept.task_runners import ConcurrentTaskRunner, ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from kept.tasks import Task, exponential_backoff, task, task_input_hash
from kept.testing.utilities import kept_test_harness
from kept.transactions import (
    AsyncTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    atransaction,
    get_transaction,
    transaction,
)
from kept.utilities.annotations import allow_failure, freeze, opaque, quote, unmapped
from kept.utilities.hashing import file_hash, hash_objects, stable_hash
