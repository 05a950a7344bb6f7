"""What `Task` and `Flow` have in common: a function with options, which is still a function to those who look at it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast

from kept.engine.drivers import drive, drive_async
from kept.engine.spec import Options, Spec, check_callable, check_name, checked

P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self", bound="Decorated[..., Any]")
Hook = Callable[..., Any]

# What Prefect's documentation names, and this version does not have.
_NOT_BUILT = frozenset({"apply_async", "delay", "deploy", "serve", "visualize"})


class Decorated(Generic[P, R]):
    """A function and its spec. Each option is an attribute."""

    spec: Any
    _label: ClassVar[str]
    _options: ClassVar[type[Options]]

    def __init__(self, fn: Callable[P, R], options: Mapping[str, Any]) -> None:
        check_callable(fn, self._label)
        check_name(options.get("name"), self._label)
        self._set(fn, checked(self._options, options, label=self._label))

    def _new_spec(self, fn: Callable[..., Any], options: Any) -> Spec:
        raise NotImplementedError

    def new_run(self, parameters: dict[str, Any]) -> Any:
        """A new run over these arguments, begun by whoever drives its `steps`."""
        raise NotImplementedError

    def _set(self, fn: Callable[..., Any], options: Options) -> None:
        self.spec = self._new_spec(fn, options)
        functools.update_wrapper(cast(Any, self), fn)

    def _with(self: Self, options: Mapping[str, Any]) -> Self:
        check_name(options.get("name"), "with_options")
        twin: Self = object.__new__(type(self))
        twin._set(self.spec.fn, checked(self._options, options, self.spec.options, "with_options"))
        return twin

    def _add_hook(self, moment: str, fn: Hook) -> Hook:
        hooks = [*getattr(self.spec.options, moment), fn]
        self.spec = self._new_spec(
            self.spec.fn, checked(self._options, {moment: hooks}, self.spec.options, self._label)
        )
        return fn

    def __kept_fingerprint__(self) -> Any:
        """As an argument it is the function that it stands for."""
        return self.spec.fn

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
            """Run it here and now."""

    else:

        def __call__(self, /, *args, return_state=False, wait_for=None, **kwargs):
            """Run it here and now, and return what its function returns.

            Arguments:
                return_state: return the final `State` instead, and raise nothing for a failed run.
                wait_for: futures to wait for whose values are not passed on.
            """
            parameters = self.spec.binder.bind(args, kwargs)
            if self.spec.is_async:
                return self._called_async(parameters, return_state, wait_for)
            state = drive(self.new_run(parameters).steps(wait_for))
            return state if return_state else state.result()

    async def _called_async(self, parameters: dict[str, Any], return_state: bool, wait_for: Any) -> Any:
        state = await drive_async(self.new_run(parameters).steps(wait_for))
        return state if return_state else state.result()

    @property
    def fn(self) -> Callable[P, R]:
        """The function underneath."""
        function: Callable[P, R] = self.spec.fn
        return function

    @property
    def name(self) -> str:
        """What it is called in logs."""
        return str(self.spec.name)

    @property
    def isasync(self) -> bool:
        """Whether the function is async."""
        return bool(self.spec.is_async)

    @property
    def description(self) -> str | None:
        """What it does; the function's docstring by default."""
        return self.spec.options.description or self.__doc__

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._options.__dataclass_fields__:
            return getattr(self.spec.options, name)
        if name in _NOT_BUILT:
            raise AttributeError(
                f"{type(self).__name__}.{name} is not built yet; docs/compatibility.md says what else is not."
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def on_completion(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run completes; usable as a decorator."""
        return self._add_hook("on_completion", fn)

    def on_failure(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run fails; usable as a decorator."""
        return self._add_hook("on_failure", fn)

    def on_running(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run starts; usable as a decorator."""
        return self._add_hook("on_running", fn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
