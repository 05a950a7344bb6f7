"""What code written once for plain and for async callers asks of whoever drives it, and the loops that drive it.

Such code is a generator of *effects*; a driver is a loop and a table of what to do for each kind of effect.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar

from kept.utilities.aside import call_aside

T = TypeVar("T")
Does = Mapping[type, Callable[[Any], Any]]
Kinds = type | tuple[type, ...]


class Call(NamedTuple):
    """Call the user's function, and await what it returns if it is async."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout: float | None
    """Seconds after which it is stopped with `RunTimeout`."""


class Lock(NamedTuple):
    """Take a lock, however long that lasts. It is given back by a plain call."""

    manager: Any
    key: str
    holder: str


class Io(NamedTuple):
    """Call a function of ours that reads or writes."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    slow: bool
    """Whether an event loop should not wait for it. The embedded store answers in microseconds, a thread in fifty."""
    counts: bool = False
    """Whether it has to be known if it was done: who is cancelled meanwhile waits for it, and gets the cancellation
    as its answer."""


def drive(
    steps: Generator[Any, Any, T],
    does: Does,
    first: Any = None,
    answer: Any = None,
    thrown: BaseException | None = None,
    until: Kinds = (),
) -> T:
    """Run the steps to their end, and return what they return; or to the first effect of some kinds, and return that.

    Arguments:
        does: what does an effect of each other kind.
        first: what the steps asked for already.
        answer, thrown: how that ended for which they have asked last.
        until: the kinds that are no business of this driver.
    """
    try:
        if thrown is not None:
            first = steps.throw(thrown)
        effect = steps.send(answer) if first is None else first
        while not isinstance(effect, until):
            try:
                answer = does[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return effect  # type: ignore[return-value]  # who names kinds knows them


async def drive_async(
    steps: Generator[Any, Any, T], does: Does, first: Any = None, answer: Any = None, until: Kinds = ()
) -> T:
    """`drive`, in async code: what is done is awaited."""
    try:
        effect = steps.send(answer) if first is None else first
        while not isinstance(effect, until):
            try:
                answer = await does[effect.__class__](effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    return effect  # type: ignore[return-value]  # who names kinds knows them


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns, called in a thread for reading and writing so that the event loop goes on."""
    import asyncio  # noqa: PLC0415 - 30 ms that only async callers need

    return await asyncio.wrap_future(call_aside(function, *args))


def _do(effect: Call | Io) -> Any:
    return effect.fn(*effect.args)


def _lock(effect: Lock) -> None:
    effect.manager.acquire_lock(effect.key, effect.holder)


async def _call_async(effect: Call) -> Any:
    answer = effect.fn(*effect.args)
    return await answer if hasattr(answer, "__await__") else answer


async def _io_async(effect: Io) -> Any:
    if not effect.slow:
        return effect.fn(*effect.args)
    return await (_to_its_end if effect.counts else in_thread)(effect.fn, *effect.args)


async def _to_its_end(function: Callable[..., Any], *args: Any) -> BaseException | None:
    import asyncio  # noqa: PLC0415 - as above

    work, cancelled = asyncio.ensure_future(in_thread(function, *args)), None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    work.result()
    return cancelled


async def _lock_async(effect: Lock) -> None:
    # Not by a thread: those who wait could fill all that the loop has, and who holds the lock may need one.
    if hasattr(effect.manager, "aacquire_lock"):
        await effect.manager.aacquire_lock(effect.key, effect.holder)
    else:
        await _lock_in_thread(effect)


async def _lock_in_thread(effect: Lock) -> None:
    import asyncio  # noqa: PLC0415 - as above

    def give_back(taken: asyncio.Future[None]) -> None:
        if taken.exception() is None:
            effect.manager.release_lock(effect.key, effect.holder)

    # One of the loop's: who holds the lock may need one of those for reading and writing to come to an end.
    taking = asyncio.ensure_future(asyncio.to_thread(_lock, effect))
    try:
        await asyncio.shield(taking)
    except asyncio.CancelledError:  # the thread goes on, and nobody would know that it has got the lock
        taking.add_done_callback(give_back)
        raise


PLAIN: Does = {Call: _do, Io: _do, Lock: _lock}
"""What plain code does for these effects; for a call of ours, without keywords or a timeout."""
ASYNC: Does = {Call: _call_async, Io: _io_async, Lock: _lock_async}
"""What async code does for them."""
