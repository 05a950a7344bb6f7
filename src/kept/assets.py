"""Assets: what tasks make outside of kept (a table, a file, a report), named by a URI and noted in the history.

@materialize("s3://lake/clean.csv", asset_deps=["postgres://db/raw"])
def clean(raw): ...
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kept.context import TaskRun, TaskRunContext
from kept.engine.effects import Steps
from kept.engine.spec import TaskOptions, checked
from kept.engine.tasks import TaskRunSteps
from kept.exceptions import ConfigurationError, MissingContextError, ParameterTypeError
from kept.futures import KeptFuture
from kept.history import RunRecord
from kept.states import State
from kept.store import Entry
from kept.tasks import Task
from kept.transactions import Transaction, get_transaction
from kept.utilities.annotations import BaseAnnotation, quote
from kept.utilities.handles import find_handles

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from kept.engine.spec import TaskKeywords

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\x00-\x1f]+")
_UNTRACKED = (type(None), bool, int, float, complex)
# Under which the transaction of a run has what was added: what is set there comes back from worker processes.
_ADDED = "kept.assets"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssetProperties:
    """What people should know of an asset: its name, a description, its owners, and a page about it."""

    name: str | None = None
    description: str | None = None
    owners: list[str] | None = None
    url: str | None = None


@dataclasses.dataclass(frozen=True)
class Asset:
    """Something that tasks make or need, under a URI such as `s3://lake/clean.csv` as its `key`.

    Raises:
        ConfigurationError: the key is no URI.
    """

    key: str
    properties: AssetProperties | None = dataclasses.field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not _URI.fullmatch(self.key):
            raise ConfigurationError(
                f"An asset got the key {self.key!r}; a key is a URI without spaces, such as 's3://bucket/data.csv'."
            )

    def add_metadata(self, metadata: dict[str, Any]) -> None:
        """Note facts about what the running task has made of this asset; see `add_asset_metadata`."""
        add_asset_metadata(self, metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaterializingOptions(TaskOptions):
    """The options of `@materialize`: those of `@task`, and what is made by whom."""

    assets: tuple[Asset, ...] = ()
    materialized_by: str | None = None

    def __post_init__(self) -> None:
        for name in ("assets", "asset_deps"):
            object.__setattr__(self, name, tuple(map(_as_asset, getattr(self, name))))


class MaterializingTask(Task[P, R]):
    """A task that makes assets. Made by `@materialize`."""

    _label = "@materialize"
    _options = MaterializingOptions

    def new_run(self, parameters: dict[str, Any], run: TaskRun | None = None) -> TaskRunSteps:
        return _MaterializingRun(self.spec, self, parameters, run)


class _MaterializingRun(TaskRunSteps):
    __slots__ = ("added", "given", "upstream")

    def __init__(self, spec: Any, task: Any, parameters: dict[str, Any], run: TaskRun | None = None) -> None:
        super().__init__(spec, task, parameters, run)
        self.given = parameters  # before futures are resolved: they tell where values come from
        self.added: dict[str, dict[str, Any]] = {}
        self.upstream: list[str] = []

    def _ended(self, state: State[Any]) -> Steps[None]:
        if self.run.run_count:  # a hit makes nothing
            self._note(state)
        yield from super()._ended(state)

    def _committed(self, txn: Transaction, entry: Entry | None, value: Any) -> Steps[State[Any]]:
        self.added = txn.get(_ADDED, {})
        return (yield from super()._committed(txn, entry, value))

    def _note(self, state: State[Any]) -> None:
        options, flow = self.spec.options, self.flow
        made = [asset.key for asset in options.assets]
        upstream = dict.fromkeys(asset.key for asset in options.asset_deps)
        if flow is not None:
            upstream.update(dict.fromkeys(_inferred(self.given, flow.materialized)))
            value = state.result() if state.is_completed() and self.rules.in_memory else None
            flow.materialized.append((self.run.id, value, made))
        self.upstream = [key for key in upstream if key not in made]
        after = f" from {', '.join(self.upstream)}" if self.upstream else ""
        outcome = "Materialized" if state.is_completed() else "Failed to materialize"
        self.write(logging.DEBUG, f"{outcome} {', '.join(made)}{after}")

    def _record(self, state: State[Any]) -> RunRecord:
        record = super()._record(state)
        if not self.run.run_count:
            return record
        return record._replace(
            assets=[
                {
                    "key": asset.key,
                    "by": self.spec.options.materialized_by,
                    "properties": asset.properties and dataclasses.asdict(asset.properties),
                    "metadata": self.added.get(asset.key, {}),
                    "upstream": self.upstream,
                }
                for asset in self.spec.options.assets
            ]
        )


def _inferred(parameters: dict[str, Any], materialized: list[tuple[str, Any, list[str]]]) -> Iterator[str]:
    """The assets of the runs that these arguments come from: as futures, as states, or as the very values."""
    runs = set(_run_ids(find_handles(parameters)))
    values = {id(value) for value in parameters.values() if not isinstance(value, _UNTRACKED)}
    for run, value, made in list(materialized):
        if run in runs or id(value) in values:
            yield from made


def _run_ids(handles: list[Any]) -> Iterator[str | None]:
    for handle in handles:
        if isinstance(handle, KeptFuture):
            yield handle.task_run_id
        elif isinstance(handle, State):
            yield handle.state_details.task_run_id
        elif isinstance(handle, BaseAnnotation) and not isinstance(handle, quote):
            yield from _run_ids(find_handles(handle.value))


def materialize(
    *assets: str | Asset, by: str | None = None, **task_options: Unpack[TaskKeywords]
) -> Callable[[Callable[P, R]], MaterializingTask[P, R]]:
    """Make a function a task that makes these assets, with the options of `Task`.

    Each run that is no hit is noted in the history with the assets, what they were made from (`asset_deps`, and the
    assets of the tasks in the same flow whose futures, states or results it was given) and what was added by
    `add_asset_metadata`.

    Arguments:
        assets: the assets, or their keys.
        by: the tool that makes them, such as "dbt".

    Raises:
        ParameterTypeError: no asset, or something else.
        ConfigurationError: a key that is no URI.
    """
    if not assets:
        raise ParameterTypeError("@materialize needs the key of an asset: @materialize('s3://bucket/data.csv').")
    options: Any = {"assets": assets, "materialized_by": by, **task_options}
    checked(MaterializingOptions, options, label="@materialize")  # told at its own line, before the function is there
    return lambda fn: MaterializingTask(fn, **options)


def add_asset_metadata(asset: str | Asset, metadata: dict[str, Any]) -> None:
    """Note facts, such as a number of rows, about an asset that the running task makes; more calls add more.

    They are recorded if the run completes.

    Raises:
        MissingContextError: no task is running here.
        ConfigurationError: the running task does not make this asset.
    """
    context = TaskRunContext.get()
    if context is None:
        raise MissingContextError("Metadata of an asset is added inside a task that makes it, and none is running.")
    key = _as_asset(asset).key
    made = [one.key for one in getattr(context.task.spec.options, "assets", ())]
    if key not in made:
        makes = f"it makes {', '.join(made)}" if made else "it makes none: decorate it with @materialize"
        raise ConfigurationError(f"Task {context.task.name!r} does not make the asset {key!r}; {makes}.")
    txn = get_transaction()
    while txn is not None and not txn.of_task:
        txn = txn.get_parent()
    assert txn is not None  # each task run has one
    added = txn.get(_ADDED, {})
    txn.set(_ADDED, {**added, key: {**added.get(key, {}), **metadata}})


def _as_asset(asset: Any) -> Asset:
    if isinstance(asset, Asset):
        return asset
    if not isinstance(asset, str):
        raise ParameterTypeError(f"An asset is given as its key or as an Asset, not as {asset!r}.")
    return Asset(asset)
