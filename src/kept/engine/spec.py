"""What the options of `@task` and `@flow` say, checked once and frozen.

Each option is declared here and nowhere else: as an editor takes it, as it is kept, with its default, and how it is
checked.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar

from kept.blocks.saving import Savable
from kept.cache_policies import NO_CACHE, CacheKeyFnPolicy, CachePolicy, Inputs, excluded_names
from kept.engine.binding import Binder
from kept.exceptions import ConfigurationError, InvalidNameError, ParameterTypeError
from kept.fingerprint.modules import name_of
from kept.results import resolve_serializer
from kept.serializers import Serializer
from kept.storage import PLACES, check_place
from kept.transactions import IsolationLevel
from kept.utilities.nearest import nearest

if TYPE_CHECKING:
    from kept.states import State
    from kept.store import Store

    class Files(Protocol):
        """A file system, also of the user's own; its methods may be async."""

        def read_path(self, path: str, /) -> Any:
            """The content of a file."""

        def write_path(self, path: str, content: bytes, /) -> Any:
            """Make this the content of a file."""

    class Runner(Protocol):
        """A task runner."""

        def submit(self, task: Any, parameters: Any, wait_for: Any = None, /) -> Any:
            """Start a run."""


RunHook = Callable[[Any, Any, "State[Any]"], Any]
TransactionHook = Callable[[Any], Any]
RetryCondition = Callable[[Any, Any, "State[Any]"], "bool | Awaitable[bool]"]
RetryDelay = float | Sequence[float] | Callable[[int], Sequence[float]]
RunName = str | Callable[..., str]
KeyFunction = Callable[[Any, dict[str, Any]], str | None]
AnyOptions = TypeVar("AnyOptions", bound="Options")


class Keywords(TypedDict, total=False):
    """The options that `@task` and `@flow` both take, as an editor shows them."""

    name: str | None
    description: str | None
    version: str | None
    retries: int | None
    retry_delay_seconds: RetryDelay | None
    cache_policy: CachePolicy | None
    cache_expiration: timedelta | None
    refresh_cache: bool | None
    refresh: Literal["background"] | None
    persist_result: bool | None
    result_storage: str | os.PathLike[str] | Files | Store | Savable | None
    result_serializer: Serializer | str | None
    cache_result_in_memory: bool
    timeout_seconds: float | None
    log_prints: bool | None
    on_completion: Sequence[RunHook] | None
    on_failure: Sequence[RunHook] | None
    on_running: Sequence[RunHook] | None


class TaskKeywords(Keywords, total=False):
    """The options of `@task`, as an editor shows them; what they mean is said at `Task`."""

    tags: Iterable[str] | None
    cache_key_fn: KeyFunction | None
    task_run_name: RunName | None
    retry_jitter_factor: float | None
    retry_condition_fn: RetryCondition | None
    result_storage_key: str | None
    on_rollback: Sequence[TransactionHook] | None
    on_commit: Sequence[TransactionHook] | None
    viz_return_value: Any
    asset_deps: Sequence[Any] | None


class FlowKeywords(Keywords, total=False):
    """The options of `@flow`, as an editor shows them; what they mean is said at `Flow`."""

    flow_run_name: RunName | None
    task_runner: Runner | type[Runner] | None
    validate_parameters: bool
    on_cancellation: Sequence[RunHook] | None
    on_crashed: Sequence[RunHook] | None


@dataclasses.dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Attributes:
    """The options that are attributes of tasks and flows as they stand."""

    # Nobody makes one of these or of the next three, so they go without the methods that cost 3 ms to write.

    version: str | None = None
    retries: int | None = None
    retry_delay_seconds: RetryDelay | None = None
    cache_policy: CachePolicy | None = None
    cache_expiration: timedelta | None = None
    refresh_cache: bool | None = None
    refresh: Literal["background"] | None = None
    persist_result: bool | None = None
    result_storage: Any = None
    result_serializer: Serializer | str | None = None
    cache_result_in_memory: bool = True
    timeout_seconds: float | None = None
    log_prints: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class TaskAttributes(Attributes):
    """Those of tasks."""

    tags: frozenset[str] = frozenset()
    cache_key_fn: KeyFunction | None = None
    task_run_name: RunName | None = None
    retry_jitter_factor: float | None = None
    retry_condition_fn: RetryCondition | None = None
    result_storage_key: str | None = None
    viz_return_value: Any = None
    asset_deps: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class FlowAttributes(Attributes):
    """Those of flows."""

    flow_run_name: RunName | None = None
    validate_parameters: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Options(Attributes):
    """What tasks and flows have in common. The hooks and the name are attributes of another form, if they are any."""

    name: str | None = None
    description: str | None = None
    on_completion: tuple[RunHook, ...] = ()
    on_failure: tuple[RunHook, ...] = ()
    on_running: tuple[RunHook, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions(TaskAttributes, Options):
    """The options of `@task`."""

    on_rollback: tuple[TransactionHook, ...] = ()
    on_commit: tuple[TransactionHook, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowOptions(FlowAttributes, Options):
    """The options of `@flow`."""

    task_runner: Any = None
    on_cancellation: tuple[RunHook, ...] = ()
    on_crashed: tuple[RunHook, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
    """A function and all that its decorator says about it."""

    fn: Callable[..., Any]
    name: str
    """The name of the task or flow."""
    key: str
    """`module.qualname` of the function."""
    binder: Binder
    is_async: bool
    is_generator: bool
    hides_async: bool
    """Whether it wraps an async function, so that only calling it tells whether it is async itself."""
    options: Any
    memo: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What the engine has worked out for this spec, kept beside it because a hit can't afford a second look-up."""

    def __getstate__(self) -> dict[str, Any]:
        # What was worked out holds open stores and counts in this process only.
        return {**self.__dict__, "memo": {}}


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSpec(Spec):
    """The spec of a task."""

    options: TaskOptions


@dataclasses.dataclass(frozen=True, eq=False)
class FlowSpec(Spec):
    """The spec of a flow."""

    options: FlowOptions


def task_spec(fn: Callable[..., Any], options: TaskOptions) -> TaskSpec:
    """The spec of a task over `fn`."""
    name = options.name or _name_of(fn)
    return TaskSpec(fn, name, _key_of(fn), Binder(fn, f"task {name!r}"), *_kind_of(fn), options)


def flow_spec(fn: Callable[..., Any], options: FlowOptions) -> FlowSpec:
    """The spec of a flow over `fn`."""
    name = options.name or _name_of(fn).replace("_", "-")
    return FlowSpec(fn, name, _key_of(fn), Binder(fn, f"flow {name!r}"), *_kind_of(fn), options)


def checked(
    kind: type[AnyOptions], given: Mapping[str, Any], base: AnyOptions | None = None, label: str = "@task"
) -> AnyOptions:
    """The options in `given` over those of `base`.

    Raises:
        ParameterTypeError: an option that does not exist, or has the wrong type.
        ConfigurationError: a value that can't be right.
    """
    known = {field.name for field in dataclasses.fields(kind)}
    for name in given:
        if name not in known:
            raise ParameterTypeError(_unknown_option(name, known, label))
    values = {name: _checked_option(name, value, label) for name, value in given.items()}
    options = dataclasses.replace(base, **values) if base is not None else kind(**values)
    _check_together(options, label)
    return options


def _unknown_option(name: str, known: set[str], label: str) -> str:
    near = nearest(name, known)
    hint = f"Did you mean {near!r}?" if near else f"It takes: {', '.join(sorted(known))}."
    for other, kind in (("@task", TaskOptions), ("@flow", FlowOptions)):
        if name in kind.__dataclass_fields__:
            hint = f"It is an option of {other}."
    return f"{label} has no option {name!r}. {hint}"


def _checked_option(name: str, value: Any, label: str) -> Any:
    if name in _COLLECTED:
        return _COLLECTED[name](name, value, label)
    if value is None and name not in ("cache_result_in_memory", "validate_parameters"):
        return None
    check = _CHECKS.get(name)
    if check is not None:
        allowed, fits = check
        if not fits(value):
            raise ParameterTypeError(
                f"{label} got {name}={value!r}, of type {type(value).__name__}; it takes {allowed}."
            )
    if name == "name":
        _check_name(value, label)
    if name == "result_storage" and isinstance(value, str):
        check_place(value, f"result_storage of {label}")
    if name == "result_serializer":
        resolve_serializer(value)
    if name == "task_runner" and isinstance(value, type):
        return value()
    return value


def _hooks(name: str, value: Any, label: str) -> tuple[Any, ...]:
    hooks = tuple(value) if isinstance(value, (list, tuple)) else None if value is not None else ()
    if hooks is None or not all(map(callable, hooks)):
        raise ParameterTypeError(f"{label} got {name}={value!r}; it takes a list of functions, such as [notify].")
    return hooks


def _tags(name: str, value: Any, label: str) -> frozenset[str]:
    if value is None:
        return frozenset()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ParameterTypeError(f"{label} got tags={value!r}; it takes a list of strings, such as ['nightly'].")
    tags = list(value)
    if not all(map(_is_text, tags)):
        raise ParameterTypeError(f"{label} got tags={value!r}; each tag has to be a string.")
    return frozenset(tags)


def _asset_deps(name: str, value: Any, label: str) -> tuple[Any, ...]:
    assets = tuple(value) if isinstance(value, (list, tuple)) else None if value is not None else ()
    if assets is None or not all(isinstance(asset, str) or hasattr(asset, "key") for asset in assets):
        raise ParameterTypeError(
            f"{label} got asset_deps={value!r}; it takes a list of assets or their keys, such as ['s3://bucket/x.csv']."
        )
    return assets


def _check_together(options: Options, label: str) -> None:
    if options.cache_expiration is not None and options.cache_expiration < timedelta(0):
        raise ConfigurationError(
            f"{label} got a negative cache_expiration, {options.cache_expiration}; it takes how long a result may be "
            "used, such as timedelta(hours=1)."
        )
    if options.cache_policy is not None:
        _check_policy(options.cache_policy, label)
    delays = options.retry_delay_seconds
    if isinstance(delays, (list, tuple)) and len(delays) > 50:
        raise ConfigurationError(f"{label} got {len(delays)} values of retry_delay_seconds; it takes at most 50.")


def _check_policy(policy: CachePolicy, label: str) -> None:
    for name, (allowed, fits) in _POLICY_CHECKS.items():
        value = getattr(policy, name)
        if value is not None and not fits(value):
            raise ParameterTypeError(
                f"{label} got a cache policy with {name}={value!r}, of type {type(value).__name__}; it takes {allowed}."
            )
    if isinstance(policy.key_storage, str):
        check_place(policy.key_storage, f"key_storage of the cache policy of {label}")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_template(value: Any) -> bool:
    return _is_text(value) and value != ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_delay(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_number(delay) and delay >= 0 for delay in value)
    return callable(value) or (_is_number(value) and value >= 0)


def _is_storage(value: Any) -> bool:
    if isinstance(value, type):
        return False
    verbs = all(callable(getattr(value, verb, None)) for verb in ("read_path", "write_path"))
    return verbs or hasattr(value, "entries") or hasattr(value, "wishes") or isinstance(value, (str, os.PathLike, Path))


def _is_lock_manager(value: Any) -> bool:
    return all(callable(getattr(value, verb, None)) for verb in ("acquire_lock", "release_lock"))


_POLICY_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "key_storage": (PLACES, _is_storage),
    "isolation_level": (
        "IsolationLevel.READ_COMMITTED or IsolationLevel.SERIALIZABLE of kept.transactions",
        lambda v: isinstance(v, IsolationLevel),
    ),
    "lock_manager": ("a lock manager, such as FileSystemLockManager(...) of kept.locking.filesystem", _is_lock_manager),
}
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a string", _is_text),
    "description": ("a string", _is_text),
    "version": ("a string", _is_text),
    "retries": ("a whole number, 0 or more", _is_count),
    "retry_delay_seconds": (
        "a number of seconds, a list of them, or a function of the number of retries",
        _is_delay,
    ),
    "retry_jitter_factor": ("a number, 0 or more", lambda v: _is_number(v) and v >= 0),
    "retry_condition_fn": ("a function of task, task run and state", callable),
    "timeout_seconds": ("a number of seconds, more than 0", _is_positive),
    "persist_result": ("True, False or None", _is_bool),
    "refresh_cache": ("True, False or None", _is_bool),
    "refresh": ("'background' or None", lambda v: v == "background"),
    "log_prints": ("True, False or None", _is_bool),
    "cache_result_in_memory": ("True or False", _is_bool),
    "validate_parameters": ("True or False", _is_bool),
    "cache_policy": (
        "a cache policy, such as INPUTS or INPUTS + TASK_SOURCE of kept.cache_policies",
        lambda v: isinstance(v, CachePolicy),
    ),
    "cache_key_fn": ("a function of the run's context and its parameters", callable),
    "cache_expiration": ("a datetime.timedelta", lambda v: isinstance(v, timedelta)),
    "result_storage_key": ("a string, such as 'report-{parameters[day]}.pickle'", _is_template),
    "result_storage": (PLACES, _is_storage),
    "result_serializer": ("a Serializer or the name of one", lambda v: isinstance(v, (str, Serializer))),
    **dict.fromkeys(
        ("task_run_name", "flow_run_name"),
        (
            "a template, such as 'report-{day}', or a function that returns the name",
            lambda v: _is_template(v) or callable(v),
        ),
    ),
    "task_runner": ("a task runner, such as ThreadPoolTaskRunner()", lambda v: hasattr(v, "submit")),
}
_COLLECTED: dict[str, Callable[[str, Any, str], Any]] = {
    **dict.fromkeys(
        (
            "on_completion",
            "on_failure",
            "on_running",
            "on_rollback",
            "on_commit",
            "on_cancellation",
            "on_crashed",
        ),
        _hooks,
    ),
    "tags": _tags,
    "asset_deps": _asset_deps,
}


def check_callable(fn: Any, label: str) -> None:
    """Raise a sentence for what can't be decorated."""
    if isinstance(fn, type):
        raise ParameterTypeError(f"{label} can't decorate the class {fn.__name__!r}; decorate one of its methods.")
    if not callable(fn):
        raise ParameterTypeError(
            f"{label} was applied to {fn!r}, which is not a function. Options are passed by name: {label}(name=...)."
        )


def _check_name(name: str, label: str) -> None:
    """Raise `InvalidNameError` for a name that can't be shown or filed."""
    if not name or any(c in name for c in "/%&<>"):
        raise InvalidNameError(f"{label} got the name {name!r}; a name is a string without any of / % & < >.")


def cached_on_purpose(options: Options) -> bool:
    """Whether the options ask for the result to be kept, without saying persist_result."""
    policy = options.cache_policy
    keyed = isinstance(options, TaskOptions) and (options.cache_key_fn is not None or options.result_storage_key)
    return (
        (policy is not None and not isinstance(policy, type(NO_CACHE)))
        or bool(keyed)
        or options.result_storage is not None
        or options.result_serializer is not None
    )


def policy_of(options: Options) -> CachePolicy | None:
    """The policy that the options name; a key function is one."""
    if isinstance(options, TaskOptions) and options.cache_key_fn is not None:
        return CacheKeyFnPolicy(cache_key_fn=options.cache_key_fn)
    return options.cache_policy


def contradictions(spec: Spec) -> Iterator[str]:
    """What is said that can't be meant, as sentences about the task or flow."""
    options, names = spec.options, spec.binder.names
    policy: CachePolicy | None = options.cache_policy
    if options.persist_result is False and cached_on_purpose(options):
        yield "has persist_result=False, so its other options about caching have no effect."
    if options.refresh and options.cache_expiration is None:
        yield "has refresh='background' and no cache_expiration, so nothing kept is ever too old."
    if options.refresh and options.refresh_cache:
        yield "has refresh_cache=True, so it runs each time, and refresh='background' has no effect."
    if options.refresh and spec.is_generator:
        yield "is a generator, which can't be renewed in the background; what is too old is computed when it is called."
    for name in sorted(excluded_names(policy) - set(names)):
        near = nearest(name, names)
        if near:  # a policy may be shared by those that have the argument and those that don't
            yield f"has no argument {name!r} to leave out of its key; did you mean {near!r}?"
    if policy is not None and isinstance(options, TaskOptions) and options.cache_key_fn is not None:
        yield "has both cache_key_fn and cache_policy; cache_key_fn is used."
    if isinstance(policy, Inputs) and not names:
        yield "has no arguments, so INPUTS alone makes no key and nothing of it is used again; add TASK_SOURCE."


def _name_of(fn: Callable[..., Any]) -> str:
    fn = _underneath(fn)
    return getattr(fn, "__name__", None) or type(fn).__name__


def _key_of(fn: Callable[..., Any]) -> str:
    fn = _underneath(fn)
    qualname = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None) or "<unknown>"
    code = getattr(fn, "__code__", None)
    if module in ("__main__", "__mp_main__") and code is not None and code.co_filename.endswith(".py"):
        main = sys.modules.get("__main__")
        own = code.co_filename == getattr(main, "__file__", None)
        module = name_of("__main__") if own else Path(code.co_filename).stem  # two scripts are two modules
    return f"{module}.{qualname}"


def _underneath(fn: Any) -> Any:
    """What a partial calls; anything else is itself."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def _kind_of(fn: Callable[..., Any]) -> tuple[bool, bool, bool]:
    """Whether it is async, whether it is a generator, and whether it wraps something async without being it."""
    fn = _underneath(fn)
    # A callable object is what its class says that calling it does.
    forms = (fn, getattr(type(fn), "__call__", None))  # noqa: B004
    yields = any(map(inspect.isgeneratorfunction, forms))
    yields_async = any(map(inspect.isasyncgenfunction, forms))
    is_async = yields_async or any(map(inspect.iscoroutinefunction, forms))
    hides_async = not (is_async or yields) and inspect.iscoroutinefunction(inspect.unwrap(fn))
    return is_async, yields or yields_async, hides_async
