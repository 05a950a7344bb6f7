"""What goes into a cache key.

A policy computes named *parts*; the key is the digest of the parts. A key function, and a policy of the user's
own, gives the key itself, which is then used verbatim, unless it is one policy among several in a sum.

    DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
    PURE = INPUTS + CODE
    INPUTS + FILES("conf/*.yaml") + ENV("MODEL") + PACKAGES("torch")

`Ignore[...]` as the annotation of an argument and `ignore_type(...)` leave things out.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from blake3 import blake3

from kept.context import flow_context_of
from kept.exceptions import ConfigurationError, ParameterTypeError
from kept.fingerprint import classes_among, code_identity, fingerprint
from kept.fingerprint import ignore_type as ignore_type
from kept.fingerprint.source import source_digest
from kept.surroundings import check_packages, file_parts, package_parts, variable_parts
from kept.transactions import IsolationLevel
from kept.utilities.annotations import Ignore as Ignore

Parts = dict[str, str]
KeyFunction = Callable[[Any, dict[str, Any]], "str | None"]
P = TypeVar("P", bound="CachePolicy")

_CONFIGURATION = ("key_storage", "isolation_level", "lock_manager")


class Call(NamedTuple):
    """What a key is made for."""

    task_ctx: Any
    """The `TaskRunContext` of the call; the `FlowRunContext` where a flow is looked up."""
    inputs: dict[str, Any]
    """The arguments by name, resolved, defaults filled in."""
    flow_parameters: dict[str, Any] | None
    """The parameters of the flow run around it; None outside a flow."""
    known: Mapping[int, str] | None = None
    """Fingerprints that are known already, by the id of the argument."""
    ignored: frozenset[str] = frozenset()
    """The names of the arguments that are annotated with `Ignore`."""


@dataclasses.dataclass(kw_only=True)
class CachePolicy:
    """The base of all policies. Subclass it and implement `compute_key` for one of your own.

    Arguments:
        key_storage: where entries are kept, if elsewhere than payloads: a path or a filesystem.
        isolation_level: how transactions under this policy are kept apart.
        lock_manager: who hands out the locks that `SERIALIZABLE` needs.
    """

    key_storage: Any = None
    isolation_level: IsolationLevel | None = None
    lock_manager: Any = None

    @property
    def reads_values(self) -> bool:
        """Whether the key is made by code that looks at the arguments themselves, not only at their fingerprints."""
        return True

    @property
    def reads_objects(self) -> bool:
        """Whether the key is made of what the classes of objects among the arguments do."""
        return False

    @classmethod
    def from_cache_key_fn(cls, cache_key_fn: KeyFunction) -> CacheKeyFnPolicy:
        """A policy that asks `cache_key_fn(context, parameters)` for the key."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    def configure(
        self: P,
        key_storage: Any = None,
        lock_manager: Any = None,
        isolation_level: IsolationLevel | Literal["READ_COMMITTED", "SERIALIZABLE"] | None = None,
    ) -> P:
        """A copy of this policy with other storage for entries, locks or isolation; None leaves it as it is."""
        if isinstance(isolation_level, str) and isolation_level in IsolationLevel.__members__:
            isolation_level = IsolationLevel[isolation_level]
        given = {"key_storage": key_storage, "lock_manager": lock_manager, "isolation_level": isolation_level}
        twin = copy.copy(self)
        for name, value in given.items():
            if value is not None:
                setattr(twin, name, value)
        return twin

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """The cache key for one call, or None for "not cached".

        Arguments:
            task_ctx: the `TaskRunContext` of the call (`task`, `task_run`, `parameters`).
            inputs: the arguments by name, resolved, defaults filled in.
            flow_parameters: the parameters of the flow run around it, None outside a flow.
        """
        raise NotImplementedError(f"{type(self).__name__} has to implement compute_key().")

    def compute_parts(self, call: Call) -> Parts | None:
        """The named parts of the key, or None for "not cached"."""
        key = self.compute_key(call.task_ctx, call.inputs, call.flow_parameters)
        return None if key is None else {type(self).__name__: _as_key(key, f"{type(self).__name__}.compute_key()")}

    def key_of(self, parts: Parts) -> str:
        """The key that these parts make."""
        return next(iter(parts.values()))

    def __sub__(self: P, other: str) -> P:
        """The same policy, blind to the argument of this name; unchanged if it does not look at arguments."""
        _check_argument_name(other)
        return self

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Both policies at once: the key changes when either changes."""
        if not isinstance(other, CachePolicy):
            raise ParameterTypeError(
                f"A cache policy can be added to another one only, not to {other!r}. "
                "Wrap a key function with CachePolicy.from_cache_key_fn(...)."
            )
        if isinstance(other, _None):
            return self
        return CompoundCachePolicy(policies=[*_members(self), *_members(other)], **_merged(self, other))


@dataclasses.dataclass(kw_only=True)
class CacheKeyFnPolicy(CachePolicy):
    """The key is what a function returns, verbatim.

    Arguments:
        cache_key_fn: called with the `TaskRunContext` and the resolved arguments by name; returns the key, or
            None for "not cached".
    """

    cache_key_fn: KeyFunction | None = None

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """What the function returns."""
        if self.cache_key_fn is None:
            return None
        key = self.cache_key_fn(task_ctx, inputs)
        return None if key is None else _as_key(key, f"cache_key_fn {_named(self.cache_key_fn)}")

    def compute_parts(self, call: Call) -> Parts | None:
        """The key under the name of the option."""
        key = self.compute_key(call.task_ctx, call.inputs, call.flow_parameters)
        return None if key is None else {"cache_key_fn": key}


@dataclasses.dataclass(kw_only=True)
class _PartsPolicy(CachePolicy):
    """A policy made of named parts, whose key is their digest."""

    @property
    def reads_values(self) -> bool:
        """No: fingerprints are enough."""
        return False

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any] | None, **kwargs: Any
    ) -> str | None:
        """The digest of the parts."""
        parts = self.compute_parts(Call(task_ctx, inputs, flow_parameters))
        return None if parts is None else self.key_of(parts)

    def key_of(self, parts: Parts) -> str:
        """64 hex digits: BLAKE3 of the parts, sorted by name, each length-prefixed."""
        text = "".join([f"{len(name)}:{name}={len(part)}:{part};" for name, part in sorted(parts.items())])
        return blake3(b"kept-key-1\0" + text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclasses.dataclass(kw_only=True)
class CompoundCachePolicy(_PartsPolicy):
    """Several policies at once. If all of them say "not cached", so does the sum."""

    policies: list[CachePolicy] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        for name in _CONFIGURATION:
            if getattr(self, name) is None:
                setattr(self, name, _common(name, self.policies))

    @property
    def reads_values(self) -> bool:
        """Whether any member does."""
        return any(policy.reads_values for policy in self.policies)

    @property
    def reads_objects(self) -> bool:
        """Whether any member does."""
        return any(policy.reads_objects for policy in self.policies)

    def compute_parts(self, call: Call) -> Parts | None:
        """The parts of all members together."""
        together: Parts = {}
        for policy in self.policies:
            parts = policy.compute_parts(call)
            if parts:
                _add_parts(together, parts)
        return together or None

    def __sub__(self, other: str) -> CompoundCachePolicy:
        """The same sum, its members blind to the argument of this name."""
        _check_argument_name(other)
        return dataclasses.replace(self, policies=[policy - other for policy in self.policies])


@dataclasses.dataclass(kw_only=True)
class _None(_PartsPolicy):
    """Never cached."""

    def compute_parts(self, call: Call) -> Parts | None:
        """None, whatever the call."""
        return None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """The other policy."""
        return other if isinstance(other, CachePolicy) else super().__add__(other)


@dataclasses.dataclass(kw_only=True)
class Inputs(_PartsPolicy):
    """The values of the arguments, each under its name; a task without arguments is not cached by this alone.

    Arguments:
        exclude: names of arguments to leave out.
    """

    exclude: list[str] = dataclasses.field(default_factory=list)

    def compute_parts(self, call: Call) -> Parts | None:
        """`inputs.NAME` for each argument. Raises `HashError` for one without stable content."""
        if not call.inputs:
            return None
        exclude, ignored, known = self.exclude, call.ignored, call.known
        parts = {
            "inputs." + name: fingerprint(value, where=f"argument '{name}'", known=known)
            for name, value in call.inputs.items()
            if name not in exclude and name not in ignored
        }
        # Without arguments left, "none of them counts" is still an identity: the same for each call.
        return parts or {"inputs": "none"}

    def __sub__(self, other: str) -> Inputs:
        """The same, without the argument of this name."""
        _check_argument_name(other)
        return dataclasses.replace(self, exclude=[*self.exclude, other])


@dataclasses.dataclass(kw_only=True)
class TaskSource(_PartsPolicy):
    """The source text of the function of the task or flow, to the letter."""

    def compute_parts(self, call: Call) -> Parts | None:
        """`task_source`, or None where no task is given."""
        if call.task_ctx is None:
            return None
        owner = getattr(call.task_ctx, "task", None) or call.task_ctx.flow
        return {"task_source": source_digest(owner.fn)}


@dataclasses.dataclass(kw_only=True)
class Code(_PartsPolicy):
    """All code that the function of the task or flow reaches, by what it does: see `kept.fingerprint.code`.

    A step runs again when its function, or a function, class, constant or closure of the user's that it reaches has
    changed, or the version of a distribution that any of them uses; comments, docstrings, annotations and places in
    files don't count. `@task(version="3")` says in the author's word what the code is, and is looked at instead.

    Arguments:
        python: whether the minor version of Python counts, too.
    """

    python: bool = False

    @property
    def reads_objects(self) -> bool:
        """Yes."""
        return True

    def strict(self) -> Code:
        """The same, with Python's minor version: for code whose results depend on its standard library."""
        return dataclasses.replace(self, python=True)

    def compute_parts(self, call: Call) -> Parts | None:
        """`code`, `dist.NAME`, `python` if strict; `version` of a task that has one. None where no task is given."""
        if call.task_ctx is None:
            return None
        owner = getattr(call.task_ctx, "task", None) or call.task_ctx.flow
        said = owner.spec.options.version  # a flow has a version also if nobody said one
        if said is not None:
            parts = {"version": said}
        else:
            parts = code_identity(owner.fn).key_parts.copy()
        for kind in classes_among([value for name, value in call.inputs.items() if name not in call.ignored]):
            digest, *installed = code_identity(kind).key_parts.items()
            _add_parts(parts, {f"code.{kind.__qualname__}": digest[1], **dict(installed)})
        if self.python:
            parts["python"] = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return parts


@dataclasses.dataclass(kw_only=True)
class RunId(_PartsPolicy):
    """The id of the flow run around the task; of the task run itself outside a flow."""

    def compute_parts(self, call: Call) -> Parts | None:
        """`run_id`, or None where no run is given."""
        if call.task_ctx is None:
            return None
        run = getattr(call.task_ctx, "task_run", None) or call.task_ctx.flow_run
        return {"run_id": str(run.flow_run_id or run.id)}


@dataclasses.dataclass(kw_only=True)
class FlowParameters(_PartsPolicy):
    """The parameters of the flow run around the task; nothing outside a flow or in one without parameters."""

    def compute_parts(self, call: Call) -> Parts | None:
        """`flow_parameters.NAME` for each of them. Raises `HashError` for one without stable content."""
        if not call.flow_parameters:
            return None
        around = flow_context_of(getattr(call.task_ctx, "parent", None))
        spec = getattr(around and around.flow, "spec", None)
        ignored = spec.binder.ignored if spec is not None else ()
        parts = {
            "flow_parameters." + name: fingerprint(value, where=f"flow parameter '{name}'", known=call.known)
            for name, value in call.flow_parameters.items()
            if name not in ignored
        }
        return parts or {"flow_parameters": "none"}


@dataclasses.dataclass(kw_only=True)
class Files(_PartsPolicy):
    """The content of files, each under its path. Made by `FILES`.

    Arguments:
        patterns: globs; `**` goes through folders, relative ones begin at the working directory, as for `open`.
        missing_ok: whether it is right that a pattern matches nothing.
    """

    patterns: tuple[str, ...] = ()
    missing_ok: bool = False

    def compute_parts(self, call: Call) -> Parts | None:
        """`files.PATH` for each file. Raises `ConfigurationError` or `HashError` for what is not there."""
        return file_parts(self.patterns, self.missing_ok)


@dataclasses.dataclass(kw_only=True)
class Env(_PartsPolicy):
    """The values of variables of the environment, each under its name. Made by `ENV`.

    Arguments:
        names: the variables.
        missing_ok: whether it is right that one is not set, which is then a value like others.
    """

    names: tuple[str, ...] = ()
    missing_ok: bool = False

    def compute_parts(self, call: Call) -> Parts | None:
        """`env.NAME` for each variable. Raises `ConfigurationError` for one that is not set."""
        return variable_parts(self.names, self.missing_ok)


@dataclasses.dataclass(kw_only=True)
class Packages(_PartsPolicy):
    """The versions of installed distributions, each under its name. Made by `PACKAGES`.

    Arguments:
        names: the distributions, by the names that pip knows.
    """

    names: tuple[str, ...] = ()

    def compute_parts(self, call: Call) -> Parts | None:
        """`dist.NAME` for each distribution."""
        return package_parts(self.names)


def FILES(*patterns: str | os.PathLike[str], missing_ok: bool = False) -> Files:
    """A policy: the content of the files that match, such as `FILES("conf/*.yaml", "sql/**/*.sql")`.

    Raises `ConfigurationError` or `ParameterTypeError` for what can be no pattern; what matches nothing, unless
    `missing_ok`, is told when a key is made.
    """
    return Files(patterns=_names("FILES", map(_as_text, patterns), "globs"), missing_ok=missing_ok)


def ENV(*names: str, missing_ok: bool = False) -> Env:
    """A policy: the values of variables of the environment, such as `ENV("MODEL")`.

    Raises `ConfigurationError` or `ParameterTypeError` for what can be no name; one that is not set, unless
    `missing_ok`, is told when a key is made, as the program may set it until then.
    """
    return Env(names=_names("ENV", names, "names of variables"), missing_ok=missing_ok)


def PACKAGES(*names: str, missing_ok: bool = False) -> Packages:
    """A policy: the versions of installed distributions, such as `PACKAGES("torch")`.

    Raises `ConfigurationError`, unless `missing_ok`, for one that is not installed.
    """
    packages = Packages(names=_names("PACKAGES", names, "names of distributions"))
    if not missing_ok:
        check_packages(packages.names)
    return packages


def _names(policy: str, given: Iterable[object], what: str) -> tuple[str, ...]:
    """The arguments of a policy, sorted. Raises if there are none, or one is no text."""
    names: set[str] = set()
    for name in given:
        if not isinstance(name, str) or not name:
            raise ParameterTypeError(f"{policy}() got {name!r}; it takes {what}, as texts that are not empty.")
        names.add(name)
    if not names:
        raise ConfigurationError(f"{policy}() got nothing; it takes {what}, at least one.")
    return tuple(sorted(names))


def _as_text(path: object) -> object:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def excluded_names(policy: CachePolicy | None) -> set[str]:
    """The names of the arguments that a policy leaves out."""
    if isinstance(policy, CompoundCachePolicy):
        return set().union(*map(excluded_names, policy.policies))
    return set(policy.exclude) if isinstance(policy, Inputs) else set()


def _members(policy: CachePolicy) -> list[CachePolicy]:
    return policy.policies if isinstance(policy, CompoundCachePolicy) else [policy]


def _merged(left: CachePolicy, right: CachePolicy) -> dict[str, Any]:
    return {name: _common(name, [left, right]) for name in _CONFIGURATION}


def _common(name: str, policies: list[CachePolicy]) -> Any:
    """What these policies say about one option. Raises `ConfigurationError` if they contradict each other."""
    said: list[Any] = []
    for policy in policies:
        value = getattr(policy, name)
        if value is not None and value not in said:
            said.append(value)
    if len(said) > 1:
        raise ConfigurationError(
            f"These cache policies can't be added: they have different values of {name}, "
            f"{said[0]!r} and {said[1]!r}. Give both the same first: A.configure({name}=x) + B.configure({name}=x)."
        )
    return said[0] if said else None


def _add_parts(together: Parts, parts: Parts) -> None:
    for name, part in parts.items():
        free, count = name, 1
        while together.get(free, part) != part:
            count += 1
            free = f"{name}#{count}"
        together[free] = part


def _check_argument_name(name: object) -> None:
    if not isinstance(name, str):
        raise ParameterTypeError(
            f"Only the name of an argument can be subtracted from a cache policy, as in INPUTS - 'debug', not {name!r}."
        )


def _as_key(key: object, giver: str) -> str:
    if not isinstance(key, str) or not key:
        raise ParameterTypeError(
            f"{giver} returned {key!r}, a value of type {type(key).__name__}. "
            "It has to return the key as a non-empty string, or None to turn caching off for this call."
        )
    return key


def _named(function: Callable[..., Any]) -> str:
    return f"'{getattr(function, '__qualname__', None) or type(function).__qualname__}'"


INPUTS = Inputs()
TASK_SOURCE = TaskSource()
RUN_ID = RunId()
FLOW_PARAMETERS = FlowParameters()
NONE = _None()
NO_CACHE = _None()
CODE = Code()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
PURE = INPUTS + CODE
