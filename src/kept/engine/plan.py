"""What applies to a run, and what is to be done about it, as pure functions; every decision carries its reason."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from kept.cache_policies import DEFAULT, NO_CACHE, CachePolicy
from kept.context import FlowRunContext
from kept.engine.spec import FlowSpec, TaskSpec, cached_on_purpose, policy_of
from kept.history import Recorder, open_recorder
from kept.results import ResultStore
from kept.settings import Settings
from kept.store.entry import Entry, Miss


class Hit(NamedTuple):
    """The result is kept: take it."""

    entry: Entry
    reason: str


class Run(NamedTuple):
    """The result has to be computed, and kept."""

    reason: str


class Bypass(NamedTuple):
    """The cache has no part in this run."""

    reason: str


Decision = Hit | Run | Bypass


class Identity(NamedTuple):
    """What a call is kept under."""

    key: str
    parts: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What applies to all runs of one task under the same settings and flow."""

    settings: Settings
    flow_store: ResultStore | None
    flow_persists: bool | None
    flow_log_prints: bool | None
    persist: bool
    """Whether results are kept."""
    policy: CachePolicy | None
    """What makes the key; None if nothing is looked up."""
    off: str
    """Why nothing is looked up; empty if it is."""
    storage_key: str | None
    """The template that is the key, instead of a policy."""
    refresh: str
    """Why a kept result is not used; empty if it is."""
    expiration: float | None
    """Seconds after which a kept result is no longer used."""
    store: ResultStore | None
    in_memory: bool
    """Whether a run's state holds the value itself."""
    log_prints: bool
    recorder: Recorder | None
    """Who takes the records of runs."""
    retries: int
    retry_delays: tuple[float, ...]


def task_rules(spec: TaskSpec, settings: Settings, flow: FlowRunContext | None) -> Rules:
    """The rules for the runs of a task, remembered with its spec until settings or flow change."""
    store = flow.result_store if flow is not None else None
    persists = flow.persist_result if flow is not None else None
    log_prints = flow.log_prints if flow is not None else None
    rules: Rules | None = spec.memo.get("rules")
    if (
        rules is not None
        and rules.settings is settings
        and rules.flow_store is store
        and rules.flow_persists is persists
        and rules.flow_log_prints is log_prints
    ):
        return rules
    spec.memo["rules"] = rules = _make_rules(spec, settings, store, persists, log_prints)
    return rules


def _make_rules(
    spec: TaskSpec,
    settings: Settings,
    flow_store: ResultStore | None,
    flow_persists: bool | None,
    flow_log_prints: bool | None,
) -> Rules:
    options = spec.options
    persist = persists(spec, settings, flow_persists)
    policy, off = caching(spec, settings, persist)
    expiration = options.cache_expiration
    retries = settings.tasks.default_retries if options.retries is None else options.retries
    return Rules(
        settings=settings,
        flow_store=flow_store,
        flow_persists=flow_persists,
        flow_log_prints=flow_log_prints,
        persist=persist,
        policy=policy,
        off=off,
        storage_key=options.result_storage_key if persist else None,
        refresh=refreshing(options.refresh_cache, settings.tasks.refresh_cache),
        expiration=expiration.total_seconds() if isinstance(expiration, timedelta) else None,
        store=_store(spec, policy, flow_store) if persist else None,
        in_memory=options.cache_result_in_memory or not persist,
        log_prints=_log_prints(options.log_prints, flow_log_prints, settings),
        recorder=recorder(settings),
        retries=retries,
        retry_delays=retry_delays(options.retry_delay_seconds, settings.tasks.default_retry_delay_seconds, retries),
    )


def persists(spec: TaskSpec, settings: Settings, flow_persists: bool | None) -> bool:
    """Whether the results of a task are kept: its own word, what its options imply, settings, flow, settings."""
    if spec.options.persist_result is not None:
        return spec.options.persist_result
    if cached_on_purpose(spec.options):
        return True
    for said in (settings.tasks.default_persist_result, flow_persists):
        if said is not None:
            return bool(said)
    return bool(settings.results.persist_by_default)


def flow_persists(spec: FlowSpec, settings: Settings, parent_persists: bool | None) -> bool | None:
    """Whether a flow's result is kept, for its tasks to inherit; None if nobody has said so."""
    options = spec.options
    if options.persist_result is not None:
        return options.persist_result
    if options.result_storage is not None or options.result_serializer is not None:
        return True
    return parent_persists if parent_persists is not None else (settings.results.persist_by_default or None)


def caching(spec: TaskSpec, settings: Settings, persist: bool) -> tuple[CachePolicy | None, str]:
    """The policy to look results up by, or None and why not."""
    if not persist:
        asked = spec.options.persist_result is False
        return None, "persist_result=False" if asked else "nothing asks for its result to be kept"
    if settings.tasks.disable_caching:
        return None, "KEPT_TASKS_DISABLE_CACHING is set"
    policy = policy_of(spec.options)
    if policy is None:
        policy = NO_CACHE if settings.tasks.default_no_cache else DEFAULT
        if settings.tasks.default_no_cache:
            return None, "KEPT_TASKS_DEFAULT_NO_CACHE is set and the task names no policy"
    if isinstance(policy, type(NO_CACHE)):
        return None, "cache_policy=NO_CACHE"
    return policy, ""


def refreshing(option: bool | None, setting: bool) -> str:
    """Why a kept result is not used; empty if it is."""
    if option:
        return "refresh_cache=True"
    if option is None and setting:
        return "KEPT_TASKS_REFRESH_CACHE is set"
    return ""


def judge(found: Entry | Miss, expiration: float | None, now: float) -> Hit | Run:
    """Whether what the store says can be used at the time `now`, in seconds since the epoch."""
    if isinstance(found, Miss):
        return Run(found.reason)
    entry = found
    if entry.expires is not None and entry.expires <= now:
        return Run(f"expired {ago(now - entry.expires)}")
    # An entry from the future was made under a clock that was ahead: it is taken to be as old as it is young.
    if expiration is not None and abs(now - entry.created) >= expiration:
        return Run(f"kept {ago(abs(now - entry.created))}, longer than cache_expiration allows")
    return Hit(entry, "kept")


def ago(seconds: float) -> str:
    """A length of time that has passed, in words.

    >>> ago(7260)
    '2 hours ago'
    """
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds:.1f} seconds ago"


def recorder(settings: Settings) -> Recorder | None:
    """Who takes the records of runs; None if they are not wanted."""
    return open_recorder(Path(settings.home) / "history.sqlite") if settings.history.enabled else None


def retry_delays(said: Any, default: Any, retries: int) -> tuple[float, ...]:
    """The seconds to wait before each retry, from an option or the setting that stands in for it; the last repeats."""
    delays = default if said is None else said
    if callable(delays):
        delays = delays(retries)
    return tuple(delays) if isinstance(delays, (list, tuple)) else (float(delays or 0),)


def delay_before(retry: int, delays: tuple[float, ...]) -> float:
    """The seconds to wait before retry number `retry`, counted from 1."""
    return delays[min(retry, len(delays)) - 1] if delays else 0.0


def kept_by_another(entry: Entry, key: str) -> bool:
    """Whether an entry was computed by another task than the one of this key (`module.qualname`).

    A module that runs as a script is known by its last name only.
    """
    return bool(entry.task) and not f".{entry.task}".endswith(f".{key}") and not f".{key}".endswith(f".{entry.task}")


def _store(spec: TaskSpec, policy: CachePolicy | None, flow_store: ResultStore | None) -> ResultStore:
    options = spec.options
    key_storage = policy.key_storage if policy is not None else None
    lock_manager = policy.lock_manager if policy is not None else None
    own = (options.result_storage, options.result_serializer, key_storage, lock_manager)
    if flow_store is not None and all(option is None for option in own):
        return flow_store
    return ResultStore(
        result_storage=options.result_storage if options.result_storage is not None else _inherited(flow_store),
        metadata_storage=key_storage,
        serializer=options.result_serializer or (flow_store.serializer if flow_store is not None else None),
        lock_manager=lock_manager,
    )


def _inherited(flow_store: ResultStore | None) -> Any:
    return flow_store.storage if flow_store is not None else None


def _log_prints(option: bool | None, of_flow: bool | None, settings: Settings) -> bool:
    for said in (option, of_flow):
        if said is not None:
            return said
    return bool(settings.logging.log_prints)
