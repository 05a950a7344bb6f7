"""What `Task` and `Flow` have in common: a function with options, which is still a function to those who look at it."""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from kept.context import FlowRunContext
from kept.engine.bound import Bound
from kept.engine.drivers import drive, drive_async
from kept.engine.explain import Explanation
from kept.engine.generators import aiterated, begun, iterated
from kept.engine.pickling import reduced
from kept.engine.spec import Options, Spec, check_callable, checked, contradictions
from kept.exceptions import ConfigurationError, MissingContextError, ParameterTypeError
from kept.futures import KeptFuture, KeptFutureList
from kept.settings import get_current_settings
from kept.states import State
from kept.utilities.annotations import BaseAnnotation

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
Self = TypeVar("Self", bound="Decorated[..., Any]")
Hook = TypeVar("Hook", bound=Callable[..., Any])
WaitFor = Iterable[Any] | KeptFuture[Any] | State[Any] | None
Named = Mapping[str, Any] | None
Async = Coroutine[Any, Any, T]

if TYPE_CHECKING:
    Q = ParamSpec("Q")
    First = TypeVar("First", contravariant=True)

    class Method(Protocol[First, Q, R]):
        """Over a function that takes its object or class first: from what `__get__` gives, that is gone.

        A protocol because mypy does not compare the first arguments of `Task[Concatenate[First, Q], R]`.
        """

        @property
        def fn(self) -> Callable[Concatenate[First, Q], R]:
            """The function underneath."""


# What Prefect's documentation names, and this version does not have.
_NOT_BUILT = frozenset({"deploy", "serve"})
# Where the attribute of a task or flow that does not say is what holds for its runs.
_FROM_SETTINGS = frozenset({"retries", "retry_delay_seconds"})


def adds_hook(method: Hook) -> Hook:
    """The method adds the function that it is given, and which it returns, to the hooks of its own name."""

    @functools.wraps(method)
    def add(self: Decorated[..., Any], fn: Any = None) -> Any:
        self._add_hook(method.__name__, fn)
        return method(self, fn)

    return cast(Hook, add)


# The overloads below: calls as the function takes them come first, since an editor shows the first; then those with
# options of ours, whose other arguments can't be checked because typing allows no keyword between P.args and P.kwargs;
# and for `submit` and `map` those with futures and iterables in place of values. The run of an async function has the
# value that its coroutine gives. `NoReturn` stands for functions without annotations: it is what `Any` matches first.
class Decorated(Generic[P, R]):
    """A function and its spec. Each option is an attribute."""

    spec: Any
    _label: ClassVar[str]
    _options: ClassVar[type[Options]]

    def __init__(self, fn: Callable[P, R], options: Mapping[str, Any]) -> None:
        # Below a decorator of ours, @staticmethod and @classmethod say what a look-up in a class binds.
        self._method: type = type(fn) if isinstance(fn, (staticmethod, classmethod)) else types.MethodType
        fn = fn if self._method is types.MethodType else cast(Any, fn).__func__
        check_callable(fn, self._label)
        self._set(fn, checked(self._options, options, label=self._label))

    def _new_spec(self, fn: Callable[..., Any], options: Any) -> Spec:
        raise NotImplementedError

    def new_run(self, parameters: dict[str, Any]) -> Any:
        """A new run over these arguments, begun by whoever drives its `steps`."""
        raise NotImplementedError

    def _set(self, fn: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(cast(Any, self), fn)  # first: what is wrapped may have a `spec`, too
        self.spec = self._new_spec(fn, options)
        for sentence in contradictions(self.spec):
            kind = self._label[1:]
            logging.getLogger(f"kept.{kind}s").warning("%s %r %s", kind.capitalize(), self.spec.name, sentence)

    def _with(self: Self, options: Mapping[str, Any]) -> Self:
        twin: Self = object.__new__(type(self))
        twin._method = self._method
        twin._set(self.spec.fn, checked(self._options, options, self.spec.options, "with_options"))
        return twin

    def _add_hook(self, moment: str, fn: Any) -> None:
        if not callable(fn):
            raise ParameterTypeError(
                f"{type(self).__name__} {self.name!r} got {fn!r} as a hook; it takes a function. As a decorator it "
                f"stands without parentheses: @{self.name}.{moment}"
            )
        hooks = [*getattr(self.spec.options, moment), fn]
        self.spec = self._new_spec(
            self.spec.fn, checked(self._options, {moment: hooks}, self.spec.options, self._label)
        )

    def __kept_fingerprint__(self) -> Any:
        """As an argument it is the function that it stands for."""
        return self.spec.fn

    def __copy__(self: Self) -> Self:
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(vars(self))
        return twin

    def __deepcopy__(self: Self, memo: Any) -> Self:
        return self.__copy__()  # the spec is never changed, only replaced

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else vars(state))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if self._method is staticmethod:
            return self
        holder = owner if self._method is classmethod else instance
        return self if holder is None else Bound(self, holder)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __call__(
        self: Decorated[..., NoReturn], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> State[Any]: ...

    @overload
    def __call__(
        self: Decorated[..., Async[T]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Async[State[T]]: ...

    @overload
    def __call__(
        self: Decorated[..., Generator[T, Any, Any]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> State[list[T]]: ...

    @overload
    def __call__(
        self: Decorated[..., AsyncGenerator[T, Any]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Async[State[list[T]]]: ...

    @overload
    def __call__(
        self, /, *args: Any, return_state: Literal[True], wait_for: WaitFor = None, **kwargs: Any
    ) -> State[R]: ...

    @overload
    def __call__(self, /, *args: Any, wait_for: WaitFor, **kwargs: Any) -> R: ...

    def __call__(  # type: ignore[misc]  # a function may not take the names of our two options
        self, /, *args: Any, return_state: bool = False, wait_for: WaitFor = None, **kwargs: Any
    ) -> Any:
        """Run it here and now, and return what its function returns.

        Arguments:
            return_state: return the final `State` instead, and raise nothing for a failed run.
            wait_for: futures to wait for whose values are not passed on.
        """
        parameters = self.spec.binder.bind(args, kwargs)
        if wait_for is not None:
            wait_for = self._listed(wait_for)
        if self.spec.is_generator or self.spec.hides_async:
            return self._called_in_pieces(parameters, return_state, wait_for)
        if self.spec.is_async:
            coroutine = self._called_async(parameters, return_state, wait_for)
            coroutine.__qualname__ = self.spec.name  # type: ignore[attr-defined]  # "... was never awaited", says Python
            return coroutine
        run = self.new_run(parameters)
        run.lazy = return_state
        state = drive(run.steps(wait_for))
        return state if return_state else state.result()

    async def _called_async(self, parameters: dict[str, Any], return_state: bool, wait_for: Any) -> Any:
        run = self.new_run(parameters)
        if self.spec.is_generator:
            run.collects = True
        else:
            run.lazy = return_state
        state = await drive_async(run.steps(wait_for))
        return state if return_state else state.result()

    def _called_in_pieces(self, parameters: dict[str, Any], return_state: bool, wait_for: Any) -> Any:
        context, new_run = contextvars.copy_context(), functools.partial(self.new_run, parameters)
        if self.spec.hides_async:
            return begun(context, new_run, wait_for, return_state)
        if not return_state:
            return (aiterated if self.spec.is_async else iterated)(context, new_run, wait_for)
        if self.spec.is_async:
            return self._called_async(parameters, return_state, wait_for)
        run = self.new_run(parameters)
        run.collects = True
        return drive(run.steps(wait_for))

    @overload
    def submit(  # type: ignore[overload-overlap]  # as above
        self: Decorated[P, Async[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> KeptFuture[T]: ...

    @overload
    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> KeptFuture[R]: ...

    @overload
    def submit(
        self: Decorated[..., Async[T]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> State[T]: ...

    @overload
    def submit(
        self, /, *args: Any, return_state: Literal[True], wait_for: WaitFor = None, **kwargs: Any
    ) -> State[R]: ...

    @overload
    def submit(
        self: Decorated[..., Async[T]], /, *args: Any, wait_for: WaitFor = None, **kwargs: Any
    ) -> KeptFuture[T]: ...

    @overload
    def submit(self, /, *args: Any, wait_for: WaitFor = None, **kwargs: Any) -> KeptFuture[R]: ...

    def submit(  # type: ignore[misc]  # as above
        self, /, *args: Any, return_state: bool = False, wait_for: WaitFor = None, **kwargs: Any
    ) -> Any:
        """Start it on the runner of the flow around, and return a future.

        Arguments:
            return_state: wait for the run and return its final `State`.
            wait_for: futures to wait for whose values are not passed on.

        Raises:
            MissingContextError: there is no flow around.
        """
        future = self.runner().submit(self, self.spec.binder.bind(args, kwargs), self._listed(wait_for))
        if not return_state:
            return future
        future.wait()
        return future.state

    @overload
    def map(
        self: Decorated[..., Async[T]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> list[State[T]]: ...

    @overload
    def map(
        self, /, *args: Any, return_state: Literal[True], wait_for: WaitFor = None, **kwargs: Any
    ) -> list[State[R]]: ...

    @overload
    def map(
        self: Decorated[..., Async[T]], /, *args: Any, wait_for: WaitFor = None, **kwargs: Any
    ) -> KeptFutureList[T]: ...

    @overload
    def map(self, /, *args: Any, wait_for: WaitFor = None, **kwargs: Any) -> KeptFutureList[R]: ...

    def map(
        self, /, *args: Any, return_state: bool = False, wait_for: WaitFor = None, deferred: bool = False, **kwargs: Any
    ) -> Any:
        """Start a run for each element of the iterables among the arguments, and return their futures.

        Strings and bytes are values; wrap other iterables in `unmapped` to give them whole to each run.

        Arguments:
            return_state: wait for the runs and return their final states.
            wait_for: futures to wait for whose values are not passed on.
            deferred: start the runs in the background of this process, as `delay` does, and not in the flow around.

        Raises:
            MappingMissingIterable: there is nothing to map over.
            MappingLengthMismatch: the iterables differ in length.
            MissingContextError: there is no flow around.
        """
        futures = self.runner(deferred).map(self, self.spec.binder.bind(args, kwargs), self._listed(wait_for))
        if not return_state:
            return futures
        futures.wait()
        return [future.state for future in futures]

    def _listed(self, wait_for: WaitFor) -> list[Any] | None:
        if isinstance(wait_for, (KeptFuture, State, BaseAnnotation, dict)):
            return [wait_for]
        try:
            return None if wait_for is None else list(wait_for)
        except TypeError:
            raise ParameterTypeError(
                f"{type(self).__name__} {self.name!r} got wait_for={wait_for!r}; it takes a list of futures."
            ) from None

    @overload
    def delay(self: Decorated[P, Async[T]], /, *args: P.args, **kwargs: P.kwargs) -> KeptFuture[T]: ...

    @overload
    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> KeptFuture[R]: ...

    def delay(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start it in the background of this process, with or without a flow around, and return a future at once.

        The process does not end before the run has, unless it is interrupted or killed.
        """
        return self.apply_async(args, kwargs)

    @overload
    def apply_async(
        self: Decorated[..., Async[T]],
        args: Iterable[Any] | None = None,
        kwargs: Named = None,
        wait_for: WaitFor = None,
        dependencies: Named = None,
    ) -> KeptFuture[T]: ...

    @overload
    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Named = None,
        wait_for: WaitFor = None,
        dependencies: Named = None,
    ) -> KeptFuture[R]: ...

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Named = None,
        wait_for: WaitFor = None,
        dependencies: Named = None,
    ) -> Any:
        """`delay`, with the arguments as a list and a dict.

        Arguments:
            args, kwargs: the arguments; futures among them are awaited and resolved.
            wait_for: futures to wait for whose values are not passed on.
            dependencies: nothing, since kept does not record which runs fed which.

        Raises:
            ConfigurationError: there are dependencies.
        """
        if dependencies:
            raise ConfigurationError(
                f"{type(self).__name__} {self.name!r} got dependencies={dependencies!r}, which kept does not record. "
                "Pass the futures in args or kwargs if it needs their values, in wait_for if it only has to wait."
            )
        parameters = self.spec.binder.bind(tuple(args or ()), kwargs or {})
        return self.runner(deferred=True).submit(self, parameters, self._listed(wait_for))

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What a call with these arguments would be now, a hit, a miss or neither, and why. Nothing runs.

        Futures among the arguments are awaited. What is not a hit is compared with the nearest kept result of the same
        step, which the history knows or, if it knows none, the store.
        """
        return drive(self.new_run(self.spec.binder.bind(args, kwargs)).explaining())  # type: ignore[no-any-return]

    async def aexplain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """`explain()`, to await."""
        run = self.new_run(self.spec.binder.bind(args, kwargs))
        return await drive_async(run.explaining())

    @staticmethod
    def _background() -> Any:
        """The runner for delayed runs; engine code knows none."""
        raise NotImplementedError

    def runner(self, deferred: bool = False) -> Any:
        """The runner that its runs are submitted to here."""
        if self.spec.is_generator:
            raise ConfigurationError(
                f"{type(self).__name__} {self.name!r} is a generator, which can't be submitted: it goes on whenever "
                "its caller takes a value. Call it, as in `for value in it(...)`, or return a list."
            )
        if deferred:
            return self._background()
        flow = FlowRunContext.get()
        if flow is None or flow.task_runner is None:
            raise MissingContextError(
                f"{type(self).__name__} {self.name!r} can't be submitted here: a task runner belongs to a flow run, "
                "and there is none. Do it inside a function decorated with @flow, or in the background: .delay(...)."
            )
        return flow.task_runner

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
        return bool(self.spec.is_async or self.spec.hides_async)

    @property
    def isgenerator(self) -> bool:
        """Whether the function is a generator, sync or async."""
        return bool(self.spec.is_generator)

    @property
    def description(self) -> str | None:
        """What it does; the function's docstring by default."""
        told: str | None = self.spec.options.description
        return told or (inspect.cleandoc(self.__doc__) if self.__doc__ else None)

    if not TYPE_CHECKING:  # an editor knows the attributes from their declarations, and tells what is none

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and name in self._options.__dataclass_fields__:
                value = getattr(self.spec.options, name)
                if value is None and name in _FROM_SETTINGS:
                    defaults = getattr(get_current_settings(), f"{self._label[1:]}s")
                    return getattr(defaults, f"default_{name}")
                return value
            if name in _NOT_BUILT:
                raise AttributeError(
                    f"{type(self).__name__}.{name} is not built yet; docs/compatibility.md says what else is not."
                )
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    @adds_hook
    def on_completion(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run completes; usable as a decorator."""
        return fn

    @adds_hook
    def on_failure(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run fails; usable as a decorator."""
        return fn

    @adds_hook
    def on_running(self, fn: Hook) -> Hook:
        """Call `fn(task or flow, run, state)` when a run starts; usable as a decorator."""
        return fn

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
