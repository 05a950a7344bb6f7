"""`@task`: a step whose result can be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from kept.context import TaskRun
from kept.engine.decorated import Decorated, Hook, adds_hook
from kept.engine.drawing import DrawnRun, drawing, is_drawn
from kept.engine.spec import TaskOptions, TaskSpec, checked, task_spec
from kept.engine.tasks import TaskRunSteps
from kept.exceptions import ParameterTypeError
from kept.fingerprint.source import source_digest
from kept.task_runners.background import background
from kept.utilities.hashing import hash_objects

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from kept.engine.decorated import Method
    from kept.engine.spec import TaskAttributes, TaskKeywords
else:
    TaskAttributes = object

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Task(Decorated[P, R], TaskAttributes):
    """A function that runs as a step: logged, retried, and its result kept if asked for. Made by `@task`.

    Arguments, each also an attribute:
        fn: the function.
        name: what it is called in logs; the function's name by default.
        description: what it does; the function's docstring by default.
        tags: words to find its runs by.
        version: the author's word for this version of the task.
        cache_policy: what goes into the key under which the result is kept, see `kept.cache_policies`.
        cache_key_fn: a function of the run's context and the arguments by name, which returns the key.
        cache_expiration: how long a kept result may be used, as a `timedelta`; for ever by default.
        task_run_name: a template over the arguments, or a function, that names each run.
        retries: how often a failed run is tried again. A generator then yields its values again, from the first on.
        retry_delay_seconds: seconds before each retry: a number, a list (its last one repeats), or a function of
            the number of retries that returns a list.
        retry_jitter_factor: how much longer a delay may randomly be; 0.5 for up to half as long again.
        retry_condition_fn: a function of task, task run and state that says whether to try again.
        persist_result: keep the result, or don't, whatever else is said.
        result_storage: where it is kept: a path or a filesystem.
        result_serializer: how it becomes bytes: "pickle", "json", "compressed/pickle", "compressed/json", or a
            `Serializer`.
        result_storage_key: a template for the key, over `parameters`, `flow_run` and `task_run`.
        cache_result_in_memory: hold the value in the state of the run; if False it is read again when asked for.
        timeout_seconds: seconds after which a run is stopped and fails.
        log_prints: turn `print` into log records.
        refresh_cache: run again and overwrite what is kept (True), or never do so (False), whatever the settings.
        refresh: "background" uses what is kept once more when its `cache_expiration` is over, and renews it meanwhile.
        on_completion, on_failure, on_running: functions of task, task run and state, called when a run gets there.
        on_rollback, on_commit: functions of the transaction, called when it ends so.

        viz_return_value: what stands for its result in `flow.visualize()`.
        asset_deps: the assets, or their keys, that it is made from; see `kept.assets`.

    Raises:
        ParameterTypeError: an option that does not exist or is of the wrong type.
        ReservedArgumentError: a parameter of the function is named like an option of each call.
    """

    spec: TaskSpec
    _label = "@task"
    _options = TaskOptions
    _background = staticmethod(background)

    def __init__(self, fn: Callable[P, R], **options: Unpack[TaskKeywords]) -> None:
        super().__init__(fn, options)

    def _new_spec(self, fn: Callable[..., Any], options: TaskOptions) -> TaskSpec:
        return task_spec(fn, options)

    @property
    def task_key(self) -> str:
        """`module.qualname` of the function."""
        return self.spec.key

    def new_run(self, parameters: dict[str, Any], run: TaskRun | None = None) -> TaskRunSteps | DrawnRun:
        """A new run over these arguments, begun by whoever drives its `steps`; `run` is its record if there is one."""
        if drawing and is_drawn():
            return DrawnRun(self, parameters)
        return TaskRunSteps(self.spec, self, parameters, run)

    def with_options(self, **options: Unpack[TaskKeywords]) -> Task[P, R]:
        """The same task with other options; those not named stay as they are."""
        return self._with(options)

    @adds_hook
    def on_commit(self, fn: Hook) -> Hook:
        """Call `fn(transaction)` when the result is committed; usable as a decorator."""
        return fn

    @adds_hook
    def on_rollback(self, fn: Hook) -> Hook:
        """Call `fn(transaction)` when the transaction around is rolled back; usable as a decorator."""
        return fn

    if TYPE_CHECKING:

        @overload
        def __get__(self: Method[type[T], Q, S], instance: T | None, owner: type[T]) -> Task[Q, S]: ...

        @overload
        def __get__(self, instance: None, owner: Any = None) -> Task[P, R]: ...

        @overload
        def __get__(self: Method[T, Q, S], instance: T, owner: Any = None) -> Task[Q, S]: ...

        @overload
        def __get__(self, instance: object, owner: Any = None) -> Task[P, R]: ...

        def __get__(self, instance: object, owner: Any = None) -> Any:
            """As a method: without its first argument, which is the object or the class."""


@overload
def task(fn: Callable[P, R], /, **options: Unpack[TaskKeywords]) -> Task[P, R]: ...


@overload
def task(fn: None = None, /, **options: Unpack[TaskKeywords]) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(fn: Any = None, /, **options: Any) -> Any:
    """Make a function a task, with the options of `Task`.

    >>> from kept.cache_policies import INPUTS
    >>> @task(cache_policy=INPUTS)
    ... def add_one(x: int) -> int:
    ...     return x + 1
    >>> add_one.name
    'add_one'
    """
    if fn is None:
        checked(TaskOptions, options)  # a wrong option is told at its own line, before the function is there
        return lambda fn=None: Task(fn, **options)  # None for @task()(), which is told as well
    return Task(fn, **options)


def task_input_hash(context: Any, arguments: dict[str, Any]) -> str | None:
    """A `cache_key_fn`: the key is the digest of the task, its source and its arguments.

    Raises:
        HashError: an argument has no stable content.
    """
    task = context.task
    return hash_objects(task.task_key, source_digest(task.fn), arguments, raise_on_failure=True)


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """A value for `retry_delay_seconds`: each delay is twice the one before.

    Arguments:
        backoff_factor: the first delay in seconds.

    Raises:
        ParameterTypeError: it is no number, or less than 0.

    >>> exponential_backoff(10)(3)
    [10, 20, 40]
    """

    if isinstance(backoff_factor, bool) or not isinstance(backoff_factor, (int, float)) or backoff_factor < 0:
        raise ParameterTypeError(f"exponential_backoff() takes a number of seconds, 0 or more, not {backoff_factor!r}.")

    def delays(retries: int) -> list[float]:
        return [backoff_factor * 2**retry for retry in range(retries)]

    return delays
