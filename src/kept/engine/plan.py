"""What applies to a run, and what is to be done about it, as pure functions; every decision carries its reason."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from kept.cache_policies import DEFAULT, NO_CACHE, CachePolicy
from kept.context import FlowRunContext
from kept.engine.accepted import accepted_codes
from kept.engine.spec import (
    FlowSpec,
    Options,
    RetryCondition,
    RunName,
    Spec,
    TaskSpec,
    cached_on_purpose,
    policy_of,
)
from kept.history import Recorder, open_recorder
from kept.results import ResultStore
from kept.settings import Settings
from kept.store.entry import Entry, Miss


class Hit(NamedTuple):
    """The result is kept: take it."""

    entry: Entry
    reason: str
    stale: bool = False
    """Whether its time is over, and it is used once more while it is renewed in the background."""


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
    """What applies to all runs of one task or flow under the same settings and flow."""

    settings: Settings
    inherited: tuple[ResultStore | None, bool | None, bool | None]
    """What the flow around says of the store, of keeping results, of logging prints."""
    persist: bool
    """Whether results are kept."""
    policy: CachePolicy | None
    """What makes the key; None if nothing is looked up."""
    bypass: Bypass
    """The decision if nothing is looked up, with the reason."""
    storage_key: str | None
    """The template that is the key, instead of a policy."""
    check: float
    """The share of hits that are computed again and compared, from 0 to 1."""
    refresh: str
    """Why a kept result is not used; empty if it is."""
    serves_stale: bool
    """Whether a kept result whose time is over is used while it is renewed in the background."""
    expiration: float | None
    """Seconds after which a kept result is no longer used."""
    store: ResultStore | None
    in_memory: bool
    """Whether a run's state holds the value itself."""
    log_prints: bool
    recorder: Recorder | None
    """Who takes the records of runs."""
    run_name: RunName | None
    """What names a run, if it has no name by chance."""
    retries: int
    retry_delays: tuple[float, ...]
    retry_jitter: float | None = None
    retry_condition: RetryCondition | None = None
    on_rollback: tuple[Any, ...] = ()
    on_commit: tuple[Any, ...] = ()
    persist_of_tasks: bool | None = None
    """Whether the results of a flow's tasks are kept; None if nobody has said so."""
    store_of_tasks: ResultStore | None = None
    """The store that a flow gives to its tasks; None for the default one of each."""
    accepted: Mapping[str, str]
    """What digests of changed code stand for whose results the author has accepted."""
    explained: int
    """The level of the line in the log that explains the decision."""
    watched: ResultStore | None = None
    """The store that a saved block names: once that is saved again, there are other rules."""


def task_rules(spec: TaskSpec, settings: Settings, flow: FlowRunContext | None) -> Rules:
    """The rules for the runs of a task, remembered with its spec until settings or flow change."""
    return _remembered(spec, settings, flow) or _task_rules(spec, settings, _inherited(flow))


def flow_rules(spec: FlowSpec, settings: Settings, parent: FlowRunContext | None) -> Rules:
    """The rules for the runs of a flow, remembered with its spec until settings or the flow around change."""
    return _remembered(spec, settings, parent) or _flow_rules(spec, settings, _inherited(parent))


def _remembered(spec: Spec, settings: Settings, flow: FlowRunContext | None) -> Rules | None:
    rules: Rules | None = spec.memo.get("rules")
    if rules is None or rules.settings is not settings:
        return None
    if rules.watched is not None and rules.watched.outdated:
        return None
    store, persist, log_prints = rules.inherited
    if flow is None:
        return rules if store is None and persist is None and log_prints is None else None
    same = store is flow.result_store and persist is flow.persist_result and log_prints is flow.log_prints
    return rules if same else None


def _inherited(flow: FlowRunContext | None) -> tuple[ResultStore | None, bool | None, bool | None]:
    return (None, None, None) if flow is None else (flow.result_store, flow.persist_result, flow.log_prints)


def _task_rules(spec: TaskSpec, settings: Settings, inherited: tuple[Any, Any, Any]) -> Rules:
    options = spec.options
    persist = persists(spec, settings, inherited[1])
    policy, off = caching(spec, settings, persist)
    return _rules(
        spec,
        settings,
        inherited,
        settings.tasks,
        persist=persist,
        policy=policy,
        bypass=Bypass(off),
        storage_key=options.result_storage_key if persist else None,
        store=_store(options, policy, inherited[0]) if persist else None,
        run_name=options.task_run_name,
        retry_jitter=options.retry_jitter_factor,
        retry_condition=options.retry_condition_fn,
        on_rollback=options.on_rollback,
        on_commit=options.on_commit,
    )


def _flow_rules(spec: FlowSpec, settings: Settings, inherited: tuple[Any, Any, Any]) -> Rules:
    options = spec.options
    of_tasks = flow_persists(spec, settings, inherited[1])
    persist = bool(of_tasks) or (options.persist_result is None and cached_on_purpose(options))
    policy, off = caching(spec, settings, persist)
    given = _store_of_tasks(options, inherited[0])
    return _rules(
        spec,
        settings,
        inherited,
        settings.flows,
        persist=persist,
        policy=policy,
        bypass=Bypass(off),
        storage_key=None,
        store=_store(options, policy, given) if persist else None,
        run_name=options.flow_run_name,
        persist_of_tasks=of_tasks,
        store_of_tasks=given,
    )


def _rules(spec: Spec, settings: Settings, inherited: tuple[Any, Any, Any], defaults: Any, **said: Any) -> Rules:
    options = spec.options
    expiration = options.cache_expiration
    retries = defaults.default_retries if options.retries is None else options.retries
    given = said.get("store_of_tasks") or said["store"]
    own = given is not None and given is not inherited[0] and given.by_reference
    spec.memo["rules"] = rules = Rules(
        settings=settings,
        inherited=inherited,
        check=0.0 if options.refresh_cache is False else settings.cache.check,
        refresh=refreshing(options.refresh_cache, settings.tasks.refresh_cache),
        serves_stale=options.refresh == "background" and not spec.is_generator,
        expiration=expiration.total_seconds() if isinstance(expiration, timedelta) else None,
        in_memory=options.cache_result_in_memory or not said["persist"],
        log_prints=_log_prints(options.log_prints, inherited[2], settings),
        recorder=recorder(settings),
        retries=retries,
        retry_delays=retry_delays(options.retry_delay_seconds, defaults.default_retry_delay_seconds, retries),
        accepted=accepted_codes(Path(settings.cache.accepted_path)),
        explained=logging.getLevelName(settings.logging.explain),
        watched=given if own else None,
        **said,
    )
    return rules


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


def caching(spec: Spec, settings: Settings, persist: bool) -> tuple[CachePolicy | None, str]:
    """The policy to look results up by, or None and why not."""
    if not persist:
        asked = spec.options.persist_result is False
        return None, "persist_result=False" if asked else "nothing asks for its result to be kept"
    if settings.tasks.disable_caching:
        return None, "KEPT_TASKS_DISABLE_CACHING is set"
    policy = policy_of(spec.options)
    if policy is None and isinstance(spec, FlowSpec):
        return None, "the flow names no cache policy"
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


def judge(found: Entry | Miss, expiration: float | None, now: float, serves_stale: bool = False) -> Hit | Run:
    """Whether what the store says can be used at the time `now`, in seconds since the epoch."""
    if isinstance(found, Miss):
        return Run(found.reason)
    entry = found
    if entry.expires is not None and entry.expires <= now:
        too_old = f"expired {ago(now - entry.expires)}"
    # An entry from the future was made under a clock that was ahead: it is taken to be as old as it is young.
    elif expiration is not None and abs(now - entry.created) >= expiration:
        too_old = f"kept {ago(abs(now - entry.created))}, longer than cache_expiration allows"
    else:
        return Hit(entry, "kept")
    return Hit(entry, too_old, stale=True) if serves_stale else Run(too_old)


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


def _store(options: Options, policy: CachePolicy | None, around: ResultStore | None) -> ResultStore:
    """Where results are kept under these options and this policy; `around` is what the flow gives."""
    key_storage = policy.key_storage if policy is not None else None
    lock_manager = policy.lock_manager if policy is not None else None
    own = (options.result_storage, options.result_serializer, key_storage, lock_manager)
    if around is not None and all(option is None for option in own):
        return around
    inherited = around.storage if around is not None else None
    return ResultStore(
        result_storage=options.result_storage if options.result_storage is not None else inherited,
        metadata_storage=key_storage,
        serializer=options.result_serializer or (around.serializer if around is not None else None),
        lock_manager=lock_manager,
    )


def _store_of_tasks(options: Options, around: ResultStore | None) -> ResultStore | None:
    own = options.result_storage is not None or options.result_serializer is not None
    return _store(options, None, around) if own else around


def _log_prints(option: bool | None, of_flow: bool | None, settings: Settings) -> bool:
    for said in (option, of_flow):
        if said is not None:
            return said
    return bool(settings.logging.log_prints)
