"""Runs that come to their end in pieces: generators, which go on as far as the next value when one is asked for.

A run that comes to a value asks for a `Yield` of it and stops there; `iterated` and `aiterated`, which the caller
holds, pass the value out and what the caller does next back in. Every piece of the run is in a context of its own, so
that the caller, between two values, is not inside of the run.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import sys
import time
import types
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator
from typing import Any, ClassVar, TypeVar

from kept.engine.drivers import drive, drive_async
from kept.engine.effects import CLOSE, NEXT, Await, Call, Demand, Steps, Yield
from kept.engine.outcome import is_outcome
from kept.engine.plan import Hit
from kept.engine.spec import Spec
from kept.files import pinned
from kept.serializers import PickleSerializer
from kept.states import Cancelled, State, StateType
from kept.store.completing import completed

T = TypeVar("T")
UNFINISHED = frozenset({types.GeneratorType, types.AsyncGeneratorType, types.CoroutineType})
_BYTES = PickleSerializer()
_UNCHANGING = frozenset({type(None), bool, int, float, complex, str, bytes})


class Returned:
    """The function returned this."""

    __slots__ = ("value",)

    decides: ClassVar[bool] = True
    """Whether a state or a future in place of a value decides the state of the run."""
    paused: ClassVar[float] = 0.0
    """For how many seconds of the run its caller was at work."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Collected(Returned):
    """The generator is exhausted, and has yielded these values."""

    __slots__ = ("paused",)

    decides = False

    def __init__(self, values: list[Any], paused: float) -> None:
        self.value = values
        self.paused = paused  # type: ignore[misc]


class Yielded(list[Any]):
    """The values of a generator that also returned one."""

    returned: Any = None


class Stream:
    """A generator of the user's, and what its caller wants of it.

    Arguments:
        made: the generator, which has not begun.
        timeout: how many seconds of work it may take in all; what its caller does meanwhile does not count.
        collects: remember the values, because they are to be kept.
    """

    def __init__(self, made: Any, timeout: float | None, collects: bool) -> None:
        self._made = made
        self._timeout = timeout
        self._values: list[Any] | None = [] if collects else None
        self._demand = NEXT
        self._worked = 0.0
        self.steered = False
        """Whether its caller sent something in, or threw: what it yields is no matter of its arguments alone."""

    @property
    def interrupted(self) -> bool:
        """Whether the caller has just thrown an error in or closed it: what comes of that is not tried again."""
        return self._demand.verb != "send"

    def steps(self) -> Steps[Returned | State[Any]]:
        """The values, one by one; at the end what there is to keep, or the state if the caller closed it."""
        began, count = time.perf_counter(), 0
        while True:
            got = yield from self._next()
            if isinstance(got, Yield):
                count += 1
                if self._values is not None:
                    self._values.append(_as_now(got.value))
                self._demand = yield got
                self.steered = self.steered or self._demand != NEXT
            elif self._demand is CLOSE:
                return Cancelled(name="Closed", message=f"Its caller took {count} values and closed it")
            else:
                return self._result(got, time.perf_counter() - began - self._worked)

    def _next(self) -> Steps[Any]:
        left = None if self._timeout is None else max(self._timeout - self._worked, 1e-6)
        resume = _resumed_async if isinstance(self._made, types.AsyncGeneratorType) else _resumed
        began = time.perf_counter()
        got = yield Call(resume, (self._made, self._demand), {}, left)
        self._worked += time.perf_counter() - began
        return got

    def _result(self, returned: Any, paused: float) -> Returned:
        if self._values is None or is_outcome(returned):
            return Returned(returned)
        values = self._values
        if returned is not None:
            values = Yielded(values)
            values.returned = returned
        return Collected(values, paused)


def unseen(steps: Steps[T]) -> Steps[T]:
    """The steps of a generator whose values nobody takes."""
    step: Callable[[Any], Any] = steps.send
    argument: Any = None
    while True:
        try:
            effect = step(argument)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(effect, Yield):
            step, argument = steps.send, NEXT
            continue
        try:
            step, argument = steps.send, (yield effect)
        except BaseException as error:
            step, argument = steps.throw, error


def _as_now(value: Any) -> Any:
    """The value as it is now, whatever its generator and its caller do to it later."""
    if value.__class__ in _UNCHANGING:
        return value
    for copied in (copy.deepcopy, _through_bytes):
        with contextlib.suppress(Exception):
            return pinned(copied, value)
    return value  # what can't be copied can't be kept either, which the store says better


def _through_bytes(value: Any) -> Any:
    return _BYTES.loads(_BYTES.dumps(value))


def _resumed(made: Any, demand: Demand) -> Any:
    """The next value as a `Yield`, or what the generator returns."""
    try:
        if demand is CLOSE:
            return made.close()
        return Yield(getattr(made, demand.verb)(demand.argument))
    except StopIteration as end:
        return end.value


async def _resumed_async(made: Any, demand: Demand) -> Any:
    try:
        if demand is CLOSE:
            return await made.aclose()
        return Yield(await getattr(made, f"a{demand.verb}")(demand.argument))
    except StopAsyncIteration:
        return None


def finished(made: Any, timeout: float | None, spec: Spec) -> Steps[Any]:
    """What a function returned that is no value yet: all values of a generator, or what a coroutine comes to."""
    if isinstance(made, types.CoroutineType):
        return (yield Await(made, timeout)) if spec.hides_async else made
    collect: Callable[..., Any] = list if isinstance(made, types.GeneratorType) else _listed
    return completed((yield Call(collect, (made,), {}, timeout)))


async def _listed(made: AsyncIterable[T]) -> list[T]:
    return [value async for value in made]


def iterated(context: contextvars.Context, new_run: Callable[[], Any], wait_for: Any) -> Generator[Any, Any, Any]:
    """What the caller of a generator gets; the run begins with the first value asked for."""
    run = context.run(new_run)
    steps = run.steps(wait_for)
    got: Any = context.run(drive, steps, until=Yield)
    while isinstance(got, Yield):
        try:
            demand = Demand("send", (yield got.value))
        except GeneratorExit:
            if not sys.is_finalizing():  # else no thread could start any more; the run just ends with the process
                _closed(context.run(drive, steps, answer=CLOSE, until=Yield))
            raise
        except BaseException as error:
            demand = Demand("throw", error)
        got = context.run(drive, steps, answer=demand, until=Yield)
    values = got.result()
    if isinstance(run.decision, Hit):
        for value in values:  # noqa: UP028 - `yield from` would pass on what the caller sends
            yield value
    return getattr(values, "returned", None) if run.collects else values


async def aiterated(
    context: contextvars.Context, new_run: Callable[[], Any], wait_for: Any
) -> AsyncGenerator[Any, Any]:
    """`iterated`, for async generators."""
    import asyncio  # noqa: PLC0415 - here it is loaded already

    run = context.run(new_run)
    steps = run.steps(wait_for)
    got = await _within(context, drive_async(steps, until=Yield))
    while isinstance(got, Yield):
        try:
            demand = Demand("send", (yield got.value))
        except (GeneratorExit, asyncio.CancelledError):  # a loop that ends closes what is left by cancelling
            _closed(await _within(context, drive_async(steps, answer=CLOSE, until=Yield)))
            raise
        except BaseException as error:
            demand = Demand("throw", error)
        got = await _within(context, drive_async(steps, answer=demand, until=Yield))
    values = got.result()
    if isinstance(run.decision, Hit):
        for value in values:
            yield value


def begun(context: contextvars.Context, new_run: Callable[[], Any], wait_for: Any, return_state: bool) -> Any:
    """What the caller gets of a function of which only calling it tells whether it is async."""
    steps = context.run(new_run).steps(wait_for)
    got: Any = context.run(drive, steps, until=Await)
    if isinstance(got, Await):
        return _ended_later(context, steps, got, return_state)
    return got if return_state else got.result()


async def _ended_later(context: contextvars.Context, steps: Steps[Any], first: Await, return_state: bool) -> Any:
    state = await _within(context, drive_async(steps, first))
    return state if return_state else state.result()


def _closed(got: Any) -> None:
    """What a generator raises while it is closed reaches who closes it."""
    if isinstance(got, State) and got.type is StateType.FAILED:
        got.result()


@types.coroutine
def _within(context: contextvars.Context, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await in another context: each step of the work is taken in there."""
    step: Callable[[Any], Any] = work.send
    argument: Any = None
    while True:
        try:
            awaited = context.run(step, argument)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            step, argument = work.send, (yield awaited)
        except BaseException as error:
            step, argument = work.throw, error
