"""`@flow`: a function that puts tasks together."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from kept.context import FlowRun
from kept.engine.decorated import Decorated, Hook, adds_hook
from kept.engine.drawing import DrawnRun, FlowPicture, draw, drawing, is_drawn
from kept.engine.flows import FlowRunSteps
from kept.engine.spec import FlowOptions, FlowSpec, checked, flow_spec
from kept.engine.validation import validated
from kept.task_runners import ThreadPoolTaskRunner
from kept.task_runners.background import background
from kept.utilities.hashing import file_hash

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from kept.engine.decorated import Method
    from kept.engine.spec import FlowAttributes, FlowKeywords
else:
    FlowAttributes = object

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Flow(Decorated[P, R], FlowAttributes):
    """A function that runs tasks and other flows. Made by `@flow`.

    Arguments, each also an attribute:
        fn: the function.
        name: what it is called in logs; the function's name, with hyphens, by default.
        version: the author's word for this version of the flow; a hash of the file that it is in by default.
        flow_run_name: a template over the parameters, or a function, that names each run; two words by default.
        retries: how often a failed run is tried again. Steps that were kept in the first try are not run again.
        retry_delay_seconds: seconds before each retry.
        task_runner: where submitted tasks run; threads by default.
        description: what it does; the function's docstring by default.
        timeout_seconds: seconds after which a run is stopped and fails.
        validate_parameters: check and convert the arguments by their annotations (the default).
        persist_result: keep the results of the flow and, unless they say otherwise, of its tasks.
        cache_policy, cache_expiration, refresh_cache, refresh: keep the result of the flow under a key and use it
            instead of running, see `Task`; ours, and never by default. The key also holds the name of the flow.
        result_storage, result_serializer: where and how, for the flow and its tasks; see `Task`.
        cache_result_in_memory: hold the value in the state of the run; if False it is read again when asked for.
        log_prints: turn `print` into log records, in the flow and in its tasks.
        on_completion, on_failure, on_cancellation, on_crashed, on_running: functions of flow, flow run and state.

    Raises:
        ParameterTypeError: an option that does not exist or is of the wrong type.
        ReservedArgumentError: a parameter of the function is named like an option of each call.
    """

    spec: FlowSpec
    _label = "@flow"
    _options = FlowOptions
    _background = staticmethod(background)

    def __init__(self, fn: Callable[P, R], **options: Unpack[FlowKeywords]) -> None:
        super().__init__(fn, options)

    def _new_spec(self, fn: Callable[..., Any], options: FlowOptions) -> FlowSpec:
        return flow_spec(fn, options)

    @property
    def version(self) -> str | None:
        """The author's word for this version, or a hash of the file that the function is in; None without a file."""
        with contextlib.suppress(TypeError, OSError):
            return self.spec.options.version or file_hash(inspect.getsourcefile(self.fn) or "")
        return None

    @property
    def task_runner(self) -> Any:
        """Where submitted tasks run; each run takes a fresh runner like this one."""
        return self.spec.options.task_runner or ThreadPoolTaskRunner()

    def new_run(self, parameters: dict[str, Any], run: FlowRun | None = None) -> FlowRunSteps | DrawnRun:
        """A new run over these arguments, begun by whoever drives its `steps`; `run` is its record if there is one."""
        if drawing and is_drawn():
            return DrawnRun(self, parameters)
        return FlowRunSteps(self.spec, self, parameters, lambda: self.task_runner.duplicate(), run)

    def visualize(self, *args: P.args, **kwargs: P.kwargs) -> FlowPicture:
        """A picture of the tasks and subflows that it calls, none of which runs; its own body does.

        In the place of results stands what `@task(viz_return_value=...)` says, or something that can be passed on.

        Arguments:
            args, kwargs: as for a call.

        Returns:
            A picture that a notebook shows and that `save("flow.svg")` writes.

        Raises:
            VisualizationError: the body can't do without the result of a task.
        """
        parameters = self.spec.binder.bind(args, kwargs)
        return draw(self, validated(self.spec, parameters) if self.spec.options.validate_parameters else parameters)

    def with_options(self, **options: Unpack[FlowKeywords]) -> Flow[P, R]:
        """The same flow with other options; those not named stay as they are."""
        return self._with(options)

    @adds_hook
    def on_cancellation(self, fn: Hook) -> Hook:
        """Call `fn(flow, flow_run, state)` when a run is cancelled; usable as a decorator."""
        return fn

    @adds_hook
    def on_crashed(self, fn: Hook) -> Hook:
        """Call `fn(flow, flow_run, state)` when a run is ended from outside; usable as a decorator."""
        return fn

    if TYPE_CHECKING:

        @overload
        def __get__(self: Method[type[T], Q, S], instance: T | None, owner: type[T]) -> Flow[Q, S]: ...

        @overload
        def __get__(self, instance: None, owner: Any = None) -> Flow[P, R]: ...

        @overload
        def __get__(self: Method[T, Q, S], instance: T, owner: Any = None) -> Flow[Q, S]: ...

        @overload
        def __get__(self, instance: object, owner: Any = None) -> Flow[P, R]: ...

        def __get__(self, instance: object, owner: Any = None) -> Any:
            """As a method: without its first argument, which is the object or the class."""


@overload
def flow(fn: Callable[P, R], /, **options: Unpack[FlowKeywords]) -> Flow[P, R]: ...


@overload
def flow(fn: None = None, /, **options: Unpack[FlowKeywords]) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(fn: Any = None, /, **options: Any) -> Any:
    """Make a function a flow, with the options of `Flow`.

    >>> @flow
    ... def my_flow() -> str:
    ...     return "done"
    >>> my_flow.name
    'my-flow'
    """
    if fn is None:
        checked(FlowOptions, options, label="@flow")
        return lambda fn=None: Flow(fn, **options)  # None for @flow()(), which is told as well
    return Flow(fn, **options)
