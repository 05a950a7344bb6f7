"""`@flow`: a function that puts tasks together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from kept.engine.drivers import drive, drive_async
from kept.engine.flows import FlowRunSteps
from kept.engine.spec import FlowOptions, FlowSpec, check_callable, check_name, checked, flow_spec
from kept.task_runners import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from kept.engine.spec import FlowKeywords

P = ParamSpec("P")
R = TypeVar("R")


class Flow(Generic[P, R]):
    """A function that runs tasks and other flows. Made by `@flow`.

    Arguments, each also an attribute:
        fn: the function.
        name: what it is called in logs; the function's name, with hyphens, by default.
        version: the author's word for this version of the flow.
        flow_run_name: a template over the parameters, or a function, that names each run; two words by default.
        retries: how often a failed run is tried again. Steps that were kept in the first try are not run again.
        retry_delay_seconds: seconds before each retry.
        task_runner: where submitted tasks run; threads by default.
        description: what it does; the function's docstring by default.
        timeout_seconds: seconds after which a run is stopped and fails.
        validate_parameters: check and convert the arguments by their annotations (the default).
        persist_result: keep the results of the flow and, unless they say otherwise, of its tasks.
        result_storage, result_serializer: where and how, for the flow and its tasks; see `Task`.
        cache_result_in_memory: hold the value in the state of the run; if False it is read again when asked for.
        log_prints: turn `print` into log records, in the flow and in its tasks.
        on_completion, on_failure, on_cancellation, on_crashed, on_running: functions of flow, flow run and state.

    Raises:
        ParameterTypeError: an option that does not exist or is of the wrong type.
        ReservedArgumentError: a parameter of the function is named like an option of each call.
    """

    def __init__(self, fn: Callable[P, R], **options: Unpack[FlowKeywords]) -> None:
        check_callable(fn, "@flow")
        check_name(options.get("name"), "@flow")
        self._set(fn, checked(FlowOptions, options, label="@flow"))

    def _set(self, fn: Callable[..., Any], options: FlowOptions) -> None:
        self.spec: FlowSpec = flow_spec(fn, options)
        functools.update_wrapper(self, fn)

    @property
    def fn(self) -> Callable[P, R]:
        """The function underneath."""
        return self.spec.fn

    @property
    def name(self) -> str:
        """What the flow is called in logs."""
        return self.spec.name

    @property
    def isasync(self) -> bool:
        """Whether the function is async."""
        return self.spec.is_async

    @property
    def description(self) -> str | None:
        """What the flow does."""
        return self.spec.options.description or self.__doc__

    @property
    def task_runner(self) -> Any:
        """Where submitted tasks run; each run takes a fresh runner like this one."""
        return self.spec.options.task_runner or ThreadPoolTaskRunner()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in FlowOptions.__dataclass_fields__:
            return getattr(self.spec.options, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
            """Run the flow here and now."""

    else:

        def __call__(self, /, *args, return_state=False, wait_for=None, **kwargs):
            """Run the flow here and now, and return what its function returns.

            Arguments:
                return_state: return the final `State` instead, and raise nothing for a failed run.
                wait_for: futures to wait for whose values are not passed on.
            """
            parameters = self.spec.binder.bind(args, kwargs)
            if self.spec.is_async:
                return self._called_async(parameters, return_state, wait_for)
            state = drive(self._steps(parameters).steps(wait_for))
            return state if return_state else state.result()

    async def _called_async(self, parameters: dict[str, Any], return_state: bool, wait_for: Any) -> Any:
        state = await drive_async(self._steps(parameters).steps(wait_for))
        return state if return_state else state.result()

    def _steps(self, parameters: dict[str, Any]) -> FlowRunSteps:
        return FlowRunSteps(self.spec, self, parameters, lambda: self.task_runner.duplicate())

    def with_options(self, **options: Unpack[FlowKeywords]) -> Flow[P, R]:
        """The same flow with other options; those not named stay as they are."""
        check_name(options.get("name"), "with_options")
        twin: Flow[P, R] = object.__new__(type(self))
        twin._set(self.spec.fn, checked(FlowOptions, options, self.spec.options, "with_options"))
        return twin

    def on_completion(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Call `fn(flow, flow_run, state)` when a run completes; usable as a decorator."""
        return self._add_hook("on_completion", fn)

    def on_failure(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Call `fn(flow, flow_run, state)` when a run fails; usable as a decorator."""
        return self._add_hook("on_failure", fn)

    def on_cancellation(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Call `fn(flow, flow_run, state)` when a run is cancelled; usable as a decorator."""
        return self._add_hook("on_cancellation", fn)

    def on_crashed(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Call `fn(flow, flow_run, state)` when a run is ended from outside; usable as a decorator."""
        return self._add_hook("on_crashed", fn)

    def on_running(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Call `fn(flow, flow_run, state)` when a run starts; usable as a decorator."""
        return self._add_hook("on_running", fn)

    def _add_hook(self, moment: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        options = self.spec.options
        hooks = [*getattr(options, moment), fn]
        self.spec = dataclasses.replace(
            self.spec, options=checked(FlowOptions, {moment: hooks}, options, "@flow"), memo={}
        )
        return fn

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...


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
        return functools.partial(flow, **options)
    return Flow(fn, **options)
