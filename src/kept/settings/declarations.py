"""Every setting of kept, declared once.

A setting stands in the section that it belongs to, and its names follow from there: `refresh_cache` in the
section `tasks` is KEPT_TASKS_REFRESH_CACHE, and `[tasks] refresh_cache = true` in kept.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kept.settings.kinds import (
    BOOLEAN,
    DELAYS,
    NAMES,
    PATH,
    POSITIVE_NUMBER,
    SECONDS,
    SECRET,
    SHARE,
    SIZE,
    TEXT,
    WHOLE_NUMBER,
    one_of,
    optional,
)
from kept.settings.setting import REGISTRY, Section, Setting, drop_declarations

__all__ = [
    "ALL_SETTINGS",
    "KEPT_BLOCKS_KEY",
    "KEPT_BLOCKS_KEY_PATH",
    "KEPT_BLOCKS_PATH",
    "KEPT_CACHE_ACCEPTED_PATH",
    "KEPT_CACHE_CHECK",
    "KEPT_CACHE_SINGLE_FLIGHT",
    "KEPT_DEBUG_MODE",
    "KEPT_DEFAULT_RESULT_STORAGE_BLOCK",
    "KEPT_FLOWS_DEFAULT_RETRIES",
    "KEPT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS",
    "KEPT_FLOW_DEFAULT_RETRIES",
    "KEPT_FLOW_DEFAULT_RETRY_DELAY_SECONDS",
    "KEPT_HISTORY_ARGUMENTS",
    "KEPT_HISTORY_ENABLED",
    "KEPT_HOME",
    "KEPT_LOCAL_STORAGE_PATH",
    "KEPT_LOCKING_LEASE_SECONDS",
    "KEPT_LOCKING_REDIS_URL",
    "KEPT_LOGGING_COLORS",
    "KEPT_LOGGING_CONFIG_PATH",
    "KEPT_LOGGING_EXPLAIN",
    "KEPT_LOGGING_EXTRA_LOGGERS",
    "KEPT_LOGGING_LEVEL",
    "KEPT_LOGGING_LOG_PRINTS",
    "KEPT_LOGGING_SETTINGS_PATH",
    "KEPT_PROFILES_PATH",
    "KEPT_RESULTS_ACCEPT_SERIALIZERS",
    "KEPT_RESULTS_DEFAULT_SERIALIZER",
    "KEPT_RESULTS_DEFAULT_STORAGE",
    "KEPT_RESULTS_DEFAULT_STORAGE_BLOCK",
    "KEPT_RESULTS_LOCAL_STORAGE_PATH",
    "KEPT_RESULTS_LOCAL_TIER_FRESH_SECONDS",
    "KEPT_RESULTS_LOCAL_TIER_PATH",
    "KEPT_RESULTS_LOCAL_TIER_SIZE",
    "KEPT_RESULTS_PERSIST_BY_DEFAULT",
    "KEPT_RESULTS_READ_ONLY",
    "KEPT_RESULTS_SIGNING_KEY",
    "KEPT_RESULTS_STORE_LAYOUT",
    "KEPT_RESULTS_WRITE_BEHIND",
    "KEPT_TASKS_DEFAULT_NO_CACHE",
    "KEPT_TASKS_DEFAULT_PERSIST_RESULT",
    "KEPT_TASKS_DEFAULT_RETRIES",
    "KEPT_TASKS_DEFAULT_RETRY_DELAY_SECONDS",
    "KEPT_TASKS_DISABLE_CACHING",
    "KEPT_TASKS_REFRESH_CACHE",
    "KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS",
    "KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS",
    "KEPT_TASK_DEFAULT_RETRIES",
    "KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS",
    "KEPT_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS",
    "KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS",
    "Settings",
]


class Settings(Section):
    """All settings as they were when it was taken: `settings.home`, `settings.tasks.refresh_cache`."""

    home = Setting(PATH, "~/.kept", "The folder in which kept keeps everything that it keeps.")
    profiles_path = Setting(PATH, "${KEPT_HOME}/profiles.toml", "The file that holds the profiles.")
    debug_mode = Setting(BOOLEAN, False, "Log more: the level is DEBUG where it isn't set.")

    results: ResultsSettings
    tasks: TasksSettings
    flows: FlowsSettings
    logging: LoggingSettings
    history: HistorySettings
    cache: CacheSettings
    locking: LockingSettings
    blocks: BlocksSettings

    sources: Mapping[Setting[Any], str]
    """Where each value that isn't a default comes from, in words."""
    values: Mapping[Setting[Any], Any]
    """The value of each setting."""

    def __init__(self, values: Mapping[Setting[Any], Any], sources: Mapping[Setting[Any], str]) -> None:
        super().__init__(values)
        self.__dict__.update(
            results=ResultsSettings(values),
            tasks=TasksSettings(values),
            flows=FlowsSettings(values),
            logging=LoggingSettings(values),
            history=HistorySettings(values),
            cache=CacheSettings(values),
            locking=LockingSettings(values),
            blocks=BlocksSettings(values),
            sources=sources,
            values=values,
        )

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{s.path}={s.shown(self.values[s])}' for s in self.sources)})"


class ResultsSettings(Section):
    """Where and how results are kept."""

    section = "results"
    local_storage_path = Setting(
        PATH, "${KEPT_HOME}/storage", "The folder of the embedded store.", alias="KEPT_LOCAL_STORAGE_PATH"
    )
    persist_by_default = Setting(BOOLEAN, False, "Keep the results of all flows and tasks that don't say otherwise.")
    default_serializer = Setting(
        TEXT, "pickle", "The serializer of results that name none: pickle, json, compressed/pickle, ..."
    )
    default_storage_block = Setting(
        optional(TEXT),
        None,
        "The saved block, as type/name, that keeps results instead of the embedded store.",
        alias="KEPT_DEFAULT_RESULT_STORAGE_BLOCK",
    )
    default_storage = Setting(
        optional(TEXT),
        None,
        "What keeps results instead of the embedded store: a path, a URL such as s3://bucket/folder, or a saved block "
        "as type/name.",
    )
    local_tier_size = Setting(
        SIZE, 10 * 10**9, "How much a copy on this disk of results that are kept far away may take; 0 for no copy."
    )
    local_tier_path = Setting(PATH, "${KEPT_HOME}/tier", "The folder of that copy.")
    local_tier_fresh_seconds = Setting(
        SECONDS, 300.0, "For how long a copied entry is used before the store that it is from is asked again."
    )
    write_behind = Setting(
        BOOLEAN, False, "Send results to a store that is far away while the flow goes on; it ends when all are there."
    )
    signing_key = Setting(
        optional(SECRET),
        None,
        "Sign what is kept in stores that others can write to, and use nothing there that is not signed with this "
        "text, or with the saved secret of this name: secret/name.",
    )
    read_only = Setting(BOOLEAN, False, "Write nothing to stores that others can read.")
    accept_serializers: Setting[list[str]] = Setting(
        NAMES, [], "The only serializers whose results are used from stores that others can write to; all if none."
    )
    store_layout = Setting(
        one_of("auto", "embedded", "directory", "memory"),
        "auto",
        "How the store lies on disk: embedded (SQLite), directory (for network disks), or what a test shows; "
        "memory keeps results until the process ends.",
    )


class TasksSettings(Section):
    """How tasks run that don't say otherwise."""

    section = "tasks"
    refresh_cache = Setting(BOOLEAN, False, "Run every task again and overwrite what is kept.")
    default_no_cache = Setting(BOOLEAN, False, "Use the policy NO_CACHE for tasks that name none.")
    disable_caching = Setting(BOOLEAN, False, "Use no cache at all, whatever a task's policy is.")
    default_persist_result = Setting(
        optional(BOOLEAN),
        None,
        "Keep, or don't, the results of tasks that don't say; none leaves it to the flow.",
    )
    default_retries = Setting(
        WHOLE_NUMBER, 0, "How often a failed task is tried again.", alias="KEPT_TASK_DEFAULT_RETRIES"
    )
    default_retry_delay_seconds = Setting(
        DELAYS,
        0,
        "How long to wait before a task is tried again; a list gives each retry its own.",
        alias="KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS",
    )

    runner: TasksRunnerSettings

    def __init__(self, values: Mapping[Setting[Any], object]) -> None:
        super().__init__(values)
        self.__dict__["runner"] = TasksRunnerSettings(values)


class TasksRunnerSettings(Section):
    """How submitted tasks are spread over workers."""

    section = "tasks.runner"
    thread_pool_max_workers = Setting(
        optional(POSITIVE_NUMBER),
        None,
        "How many threads a ThreadPoolTaskRunner starts at most; none leaves it to the runner.",
        alias="KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS",
    )
    process_pool_max_workers = Setting(
        optional(POSITIVE_NUMBER),
        None,
        "How many processes a ProcessPoolTaskRunner starts at most; none means one for each processor.",
        alias="KEPT_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS",
    )


class FlowsSettings(Section):
    """How flows run that don't say otherwise."""

    section = "flows"
    default_retries = Setting(
        WHOLE_NUMBER, 0, "How often a failed flow is tried again.", alias="KEPT_FLOW_DEFAULT_RETRIES"
    )
    default_retry_delay_seconds = Setting(
        DELAYS,
        0,
        "How long to wait before a flow is tried again; a list gives each retry its own.",
        alias="KEPT_FLOW_DEFAULT_RETRY_DELAY_SECONDS",
    )


class LoggingSettings(Section):
    """What is logged, and how it looks."""

    section = "logging"
    level = Setting(
        one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", fold=str.upper),
        "INFO",
        "The level of kept's loggers.",
        in_debug_mode="DEBUG",
    )
    log_prints = Setting(BOOLEAN, False, "Log what flows and tasks print.")
    colors = Setting(BOOLEAN, True, "Colour log lines on a terminal.")
    config_path = Setting(
        PATH,
        "${KEPT_HOME}/logging.yml",
        "The file, if there, that configures logging as a whole.",
        alias="KEPT_LOGGING_SETTINGS_PATH",
    )
    explain = Setting(
        one_of("DEBUG", "INFO", "WARNING", fold=str.upper),
        "DEBUG",
        "The level of the line that says of each run why it was a hit, a miss or neither.",
    )
    extra_loggers: Setting[list[str]] = Setting(NAMES, [], "Other loggers whose records runs log as their own.")


class CacheSettings(Section):
    """When kept results are used and how they are checked, and how runs of one process share work."""

    section = "cache"
    single_flight = Setting(
        BOOLEAN, False, "Let runs of a task with the same key in one process wait for the first instead of computing."
    )
    check = Setting(
        SHARE,
        0.0,
        "Compute this share of hits again and say where what is kept is not what comes out, and which tasks change "
        "their arguments.",
    )
    accepted_path = Setting(
        PATH,
        "${KEPT_HOME}/accepted.jsonl",
        "The file of `kept accept`: changes of code that change no result.",
    )


class LockingSettings(Section):
    """How machines take turns at a key."""

    section = "locking"
    redis_url = Setting(
        optional(SECRET), None, "The Redis server, redis://host:port/0, for locks on keys in stores that are far away."
    )
    lease_seconds = Setting(
        SECONDS, 10.0, "After how many seconds without a sign of life the lock of another process or machine is free."
    )


class BlocksSettings(Section):
    """Where blocks are saved."""

    section = "blocks"
    path = Setting(PATH, "${KEPT_HOME}/blocks", "The folder of the saved blocks.")
    key_path = Setting(
        PATH, "${KEPT_HOME}/keys/blocks.key", "The file with the key that their secrets are encrypted by."
    )
    key = Setting(optional(SECRET), None, "The key itself, instead of the file.")


class HistorySettings(Section):
    """What is remembered of runs."""

    section = "history"
    enabled = Setting(BOOLEAN, True, "Record each run in the history below KEPT_HOME.")
    arguments = Setting(
        BOOLEAN,
        True,
        "Record small plain arguments of runs that compute, to say later how they differ; never those whose names look "
        "secret.",
    )


KEPT_HOME = Settings.home
KEPT_PROFILES_PATH = Settings.profiles_path
KEPT_DEBUG_MODE = Settings.debug_mode
KEPT_RESULTS_LOCAL_STORAGE_PATH = KEPT_LOCAL_STORAGE_PATH = ResultsSettings.local_storage_path
KEPT_RESULTS_PERSIST_BY_DEFAULT = ResultsSettings.persist_by_default
KEPT_RESULTS_DEFAULT_SERIALIZER = ResultsSettings.default_serializer
KEPT_RESULTS_DEFAULT_STORAGE_BLOCK = KEPT_DEFAULT_RESULT_STORAGE_BLOCK = ResultsSettings.default_storage_block
KEPT_RESULTS_DEFAULT_STORAGE = ResultsSettings.default_storage
KEPT_RESULTS_LOCAL_TIER_SIZE = ResultsSettings.local_tier_size
KEPT_RESULTS_LOCAL_TIER_PATH = ResultsSettings.local_tier_path
KEPT_RESULTS_LOCAL_TIER_FRESH_SECONDS = ResultsSettings.local_tier_fresh_seconds
KEPT_RESULTS_WRITE_BEHIND = ResultsSettings.write_behind
KEPT_RESULTS_SIGNING_KEY = ResultsSettings.signing_key
KEPT_RESULTS_READ_ONLY = ResultsSettings.read_only
KEPT_RESULTS_ACCEPT_SERIALIZERS = ResultsSettings.accept_serializers
KEPT_RESULTS_STORE_LAYOUT = ResultsSettings.store_layout
KEPT_TASKS_REFRESH_CACHE = TasksSettings.refresh_cache
KEPT_TASKS_DEFAULT_NO_CACHE = TasksSettings.default_no_cache
KEPT_TASKS_DISABLE_CACHING = TasksSettings.disable_caching
KEPT_TASKS_DEFAULT_PERSIST_RESULT = TasksSettings.default_persist_result
KEPT_TASKS_DEFAULT_RETRIES = KEPT_TASK_DEFAULT_RETRIES = TasksSettings.default_retries
KEPT_TASKS_DEFAULT_RETRY_DELAY_SECONDS = TasksSettings.default_retry_delay_seconds
KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS = TasksSettings.default_retry_delay_seconds
KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS = TasksRunnerSettings.thread_pool_max_workers
KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS = TasksRunnerSettings.thread_pool_max_workers
KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS = TasksRunnerSettings.process_pool_max_workers
KEPT_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS = TasksRunnerSettings.process_pool_max_workers
KEPT_FLOWS_DEFAULT_RETRIES = KEPT_FLOW_DEFAULT_RETRIES = FlowsSettings.default_retries
KEPT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS = FlowsSettings.default_retry_delay_seconds
KEPT_FLOW_DEFAULT_RETRY_DELAY_SECONDS = FlowsSettings.default_retry_delay_seconds
KEPT_LOGGING_LEVEL = LoggingSettings.level
KEPT_LOGGING_LOG_PRINTS = LoggingSettings.log_prints
KEPT_LOGGING_COLORS = LoggingSettings.colors
KEPT_LOGGING_CONFIG_PATH = KEPT_LOGGING_SETTINGS_PATH = LoggingSettings.config_path
KEPT_LOGGING_EXTRA_LOGGERS = LoggingSettings.extra_loggers
KEPT_LOGGING_EXPLAIN = LoggingSettings.explain
KEPT_HISTORY_ENABLED = HistorySettings.enabled
KEPT_HISTORY_ARGUMENTS = HistorySettings.arguments
KEPT_CACHE_SINGLE_FLIGHT = CacheSettings.single_flight
KEPT_CACHE_CHECK = CacheSettings.check
KEPT_CACHE_ACCEPTED_PATH = CacheSettings.accepted_path
KEPT_LOCKING_REDIS_URL = LockingSettings.redis_url
KEPT_LOCKING_LEASE_SECONDS = LockingSettings.lease_seconds
KEPT_BLOCKS_PATH = BlocksSettings.path
KEPT_BLOCKS_KEY_PATH = BlocksSettings.key_path
KEPT_BLOCKS_KEY = BlocksSettings.key

# In the order of declaration, which is the order of values in files and listings; `home` is the first.
ALL_SETTINGS: tuple[Setting[Any], ...] = tuple(dict.fromkeys(REGISTRY.values()))


drop_declarations()
