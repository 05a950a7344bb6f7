"""Which run this code is part of: the records of flow and task runs, and the context that carries them.

One context variable holds the innermost run; each context knows the one around it. Threads and tasks that copy
the context see the same run.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING, Any

from kept.exceptions import MissingContextError, ParameterTypeError
from kept.run_notes import RunNotes
from kept.utilities.forks import in_forked_child

if TYPE_CHECKING:
    from kept.states import State

_current: ContextVar[RunContext | None] = ContextVar("kept_run", default=None)
_tags: ContextVar[frozenset[str]] = ContextVar("kept_tags", default=frozenset())


# Seeded by the system, of its own, so that no `random.seed()` of the user's makes ids come again. `os.urandom` for each
# would hand the interpreter to whichever thread waits for it.
_random = Random()
in_forked_child(_random.seed)


def new_id() -> str:
    """A random identifier in the form of a version 4 UUID. `uuid.uuid4` would cost three times as much."""
    digits = f"{_random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class Run:
    """What is known of one run while it goes on.

    Attributes:
        id: a UUID, as text.
        name: shown in logs, such as 'outgoing-cicada' or 'add_one-d85'.
        tags: the tags in force when it began.
        parameters: the arguments by name, defaults filled in.
        state: the newest state; None before the first.
        run_count: how often the function has been started.
        flow_run_id: the id of the flow run around it; None outside a flow.
        started: when it began, in seconds since the epoch.
    """

    __slots__ = ("flow_run_id", "id", "name", "parameters", "run_count", "started", "state", "tags")

    def __init__(
        self,
        id: str,
        name: str,
        tags: frozenset[str] = frozenset(),
        parameters: Mapping[str, Any] | None = None,
        flow_run_id: str | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.tags = tags
        self.parameters = parameters
        self.flow_run_id = flow_run_id
        self.state: State[Any] | None = None
        self.run_count = 0
        self.started = time.time()

    @property
    def start_time(self) -> datetime:
        """When the run began, in UTC."""
        return datetime.fromtimestamp(self.started, timezone.utc)

    @property
    def expected_start_time(self) -> datetime:
        """When the run was to begin, in UTC: when it did."""
        return self.start_time

    @property
    def state_name(self) -> str | None:
        """The name of the newest state."""
        return self.state.name if self.state else None

    @property
    def state_type(self) -> Any:
        """The type of the newest state."""
        return self.state.type if self.state else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, name={self.name!r}, state={self.state})"


class TaskRun(Run):
    """One run of a task."""

    __slots__ = ()


class FlowRun(Run):
    """One run of a flow; `flow_run_id` is that of the run which called it as a subflow."""

    __slots__ = ()


class RunContext:
    """What surrounds the code of a run. `get()` of a subclass gives the innermost one of its kind, or None."""

    __slots__ = ("locked", "log_prints", "parent", "stdout")

    def __init__(self, parent: RunContext | None = None, log_prints: bool = False) -> None:
        self.parent = parent
        self.log_prints = log_prints
        # The key on which this run holds the lock.
        self.locked: str | None = None
        # What print() wrote to when the run began: a print that goes elsewhere later was redirected on purpose.
        self.stdout = sys.stdout

    def __enter__(self) -> Any:
        if self.parent is None:
            self.parent = _current.get()
        _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.set(self.parent)


class FlowRunContext(RunContext):
    """The context of a flow run: `flow`, `flow_run`, `parameters`, its task runner and what its tasks inherit."""

    __slots__ = (
        "flow",
        "flow_run",
        "materialized",
        "notes",
        "parameters",
        "persist_result",
        "result_store",
        "task_runner",
    )

    def __init__(
        self,
        flow: Any = None,
        flow_run: Any = None,
        parameters: dict[str, Any] | None = None,
        task_runner: Any = None,
        persist_result: bool | None = None,
        result_store: Any = None,
        log_prints: bool = False,
        parent: RunContext | None = None,
    ) -> None:
        super().__init__(parent, log_prints)
        self.flow = flow
        self.flow_run = flow_run
        # The runs that made assets: their ids, what they returned, the keys of the assets.
        self.materialized: list[tuple[str, Any, list[str]]] = []
        around = flow_context_of(parent)
        self.notes: RunNotes = RunNotes() if around is None else around.notes
        self.parameters = parameters or {}
        self.task_runner = task_runner
        self.persist_result = persist_result
        self.result_store = result_store

    @property
    def start_time(self) -> datetime:
        """When the flow run began, in UTC."""
        return self.flow_run.start_time  # type: ignore[no-any-return]

    @classmethod
    def get(cls) -> FlowRunContext | None:
        """The flow run around this code, also seen from inside its tasks."""
        return flow_context_of(_current.get())


class TaskRunContext(RunContext):
    """The context of a task run: `task`, `task_run`, `parameters`, and the flow context around it."""

    __slots__ = ("flow_context", "parameters", "persist_result", "result_store", "task", "task_run")

    def __init__(
        self,
        task: Any = None,
        task_run: Any = None,
        parameters: dict[str, Any] | None = None,
        persist_result: bool = False,
        result_store: Any = None,
        flow_context: FlowRunContext | None = None,
        log_prints: bool = False,
        parent: RunContext | None = None,
    ) -> None:
        self.parent = parent
        self.log_prints = log_prints
        self.stdout = sys.stdout
        self.task = task
        self.task_run = task_run
        self.parameters: dict[str, Any] = {} if parameters is None else parameters
        self.persist_result = persist_result
        self.result_store = result_store
        self.flow_context = flow_context
        self.locked: str | None = None

    @property
    def start_time(self) -> datetime:
        """When the task run began, in UTC."""
        return self.task_run.start_time  # type: ignore[no-any-return]

    @property
    def task_run_id(self) -> str:
        """The id of the task run."""
        return str(self.task_run.id)

    @property
    def flow_run_id(self) -> str | None:
        """The id of the flow run around it; None outside a flow."""
        return self.task_run.flow_run_id  # type: ignore[no-any-return]

    @classmethod
    def get(cls) -> TaskRunContext | None:
        """The task run that this code is part of."""
        current = _current.get()
        return current if isinstance(current, TaskRunContext) else None


class TagsContext:
    """The tags in force."""

    __slots__ = ("current_tags",)

    def __init__(self, current_tags: frozenset[str] = frozenset()) -> None:
        self.current_tags = current_tags

    @classmethod
    def get(cls) -> TagsContext:
        """The tags in force here; empty where none were set."""
        return cls(_tags.get())


def current_run() -> RunContext | None:
    """The innermost run context, or None."""
    return _current.get()


def enter_run(context: RunContext | None) -> None:
    """Make `context` the innermost one, until `leave_run` is called with it; None for work that is in none."""
    _current.set(context)


def leave_run(context: RunContext) -> None:
    """Go back to the context around `context`, if that is the innermost one here.

    No token of the variable is kept for this: a run that is begun by one thread and ended by an event loop in another
    ends in a copy of the context in which it began, where the token would not count.
    """
    if _current.get() is context:
        _current.set(context.parent)


def flow_context_of(context: RunContext | None) -> FlowRunContext | None:
    """The flow run around a context, itself included."""
    if isinstance(context, TaskRunContext):
        return context.flow_context
    return context if isinstance(context, FlowRunContext) else None


def current_tags() -> frozenset[str]:
    """The tags in force here."""
    return _tags.get()


def enter_tags(together: frozenset[str]) -> None:
    """Make these the tags in force in this context from here on."""
    _tags.set(together)


def get_run_context() -> FlowRunContext | TaskRunContext:
    """The context of the innermost run.

    Raises:
        MissingContextError: no flow or task is running here.
    """
    current = _current.get()
    if isinstance(current, (FlowRunContext, TaskRunContext)):
        return current
    raise MissingContextError(
        "No run context available. You are not in a flow or task run: call this inside a function decorated with "
        "@flow or @task."
    )


@contextlib.contextmanager
def tags(*new_tags: str) -> Iterator[set[str]]:
    """Add tags to all flow and task runs that begin inside; yields those in force.

    >>> with tags("nightly"):
    ...     sorted(TagsContext.get().current_tags)
    ['nightly']
    """
    if not all(isinstance(tag, str) for tag in new_tags):
        given = ", ".join(map(repr, new_tags))
        raise ParameterTypeError(
            f"tags({given}) was called: tags are strings, one by one, as in tags('nightly', 'eu')."
        )
    together = _tags.get() | frozenset(new_tags)
    token = _tags.set(together)
    try:
        yield set(together)
    finally:
        _tags.reset(token)
