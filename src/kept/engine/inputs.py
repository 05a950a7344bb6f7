"""From what a run was passed to the values that it works on: which futures to wait for, and what comes of them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from kept.context import current_run
from kept.exceptions import ConfigurationError, HashError, MissingResult
from kept.fingerprint import fingerprint
from kept.futures import KeptFuture
from kept.states import Loadable, State
from kept.store import Miss
from kept.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote
from kept.utilities.handles import Handle, find_handles, is_built_in, replace_handles

FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})
"""The types of arguments that nobody can change after they were passed."""


def unfinished(handles: Iterable[Any]) -> list[KeptFuture[Any]]:
    """The futures among these, also inside annotations other than `quote`, that have not ended."""
    return [future for future in _futures_among(handles) if not future.done()]


def check_reach(handles: Iterable[Any]) -> None:
    """See that each future among these, also inside annotations other than `quote`, can be waited for here.

    Raises:
        ConfigurationError: one belongs to a flow run that is not around this code, or to a run that this code is part
            of, which would wait for itself.
    """
    around = list(_runs_around())
    for future in _futures_among(handles):
        run = future.run
        if run is None:
            continue
        if any(run is one for one in around):
            raise ConfigurationError(
                f"{_label(run)} would wait for itself: its own future was passed to what it calls. "
                "Pass the value that it needs instead."
            )
        if run.flow_run_id is not None and all(run.flow_run_id != one.id for one in around):
            raise ConfigurationError(
                f"The future of {_label(run)} belongs to another flow run, {run.flow_run_id}. Futures are for the "
                "flow in which they were submitted and for the flows that it calls: return its result, and pass that."
            )


def copied(parameters: dict[str, Any], ignored: Collection[str]) -> dict[str, Any] | None:
    """The arguments as copies, but for those of the ignored names; None if one can't be copied."""
    unread = {id(handle): handle for handle in find_handles(parameters)}  # they stand for what nobody can change
    try:
        copies = copy.deepcopy({name: value for name, value in parameters.items() if name not in ignored}, unread)
    except Exception:  # of a connection or a lock there is no second one
        return None
    return {**parameters, **copies}


def _runs_around() -> Iterator[Any]:
    context = current_run()
    while context is not None:
        yield getattr(context, "task_run", None) or getattr(context, "flow_run", None)
        context = context.parent


def _label(run: Any) -> str:
    return f"{type(run).__name__.replace('Run', '').lower()} run {run.name!r}"


def _futures_among(handles: Iterable[Any]) -> Iterator[KeptFuture[Any]]:
    for handle in handles:
        if isinstance(handle, KeptFuture):
            yield handle
        elif isinstance(handle, BaseAnnotation) and not isinstance(handle, quote):
            yield from _futures_among(find_handles(handle.value))


class Unread(Handle):
    """Stands for a kept value that nobody has looked at yet: its fingerprint is enough to make a key."""

    __slots__ = ("data", "fingerprint")

    def __init__(self, data: Loadable, fingerprint: str) -> None:
        self.data = data
        self.fingerprint = fingerprint

    def __reduce__(self) -> Any:
        return self.data.reference()  # it is the value that is wanted there


class FarAway(Exception):
    """A value has to be fetched from a store that is far away before inputs can be resolved."""

    def __init__(self, data: Loadable) -> None:
        super().__init__()
        self.data = data


class Resolver:
    """Replaces handles by values, as the `swap` of `replace_handles`, and remembers what it learns on the way.

    What is kept is not read here: an `Unread` stands for it until `read` puts a copy in its place. So a run that is
    a hit itself reads nothing that it was passed, and one that is not shares its inputs with nobody.

    Attributes:
        known: the fingerprints of values that came from the store, by id.
        failed: why the run can't start, or empty if it can.
        unread: whether an `Unread` was given.
        reads_objects: whether the key looks at the classes of objects, not only at fingerprints.
        changed: whether a value that had to be taken from memory is no longer what was kept.
    """

    def __init__(self, reads_objects: bool = False) -> None:
        self.reads_objects = reads_objects
        self.known: dict[int, str] = {}
        self.failed = ""
        self.unread = False
        self.changed = False
        self.brought: dict[int, list[Any]] = {}
        self._held: list[Any] = []
        self._nested = self._may_stand_in = self._only_check = False

    def check(self, wait_for: Any) -> None:
        """Note what failed among the handles in `wait_for`, whose values nobody wants."""
        self._only_check = True
        replace_handles(wait_for, self._value_of)
        self._only_check = False

    def resolve(self, value: Any) -> Any:
        """One argument, its handles replaced. Raises `FarAway` if one is to be brought first."""
        self._note_place(value)
        return replace_handles(value, self._value_of)

    def _note_place(self, value: Any) -> None:
        self._nested = not isinstance(value, Handle)
        # Code of the user's own, such as a method of a dataclass, must not meet a stand-in.
        self._may_stand_in = not self._nested or is_built_in(value)

    def to_bring(self, values: Iterable[Any]) -> Iterator[Loadable]:
        """What is kept far away among the handles in these arguments and has to be read for the key, or is unread."""
        for value in values:
            self._note_place(value)
            for handle in find_handles(value):
                data = getattr(handle.state if isinstance(handle, KeptFuture) else handle, "data", None)
                if not isinstance(data, Loadable) or id(data) in self.brought or not data.far:
                    continue
                if isinstance(handle, Unread) or self._has_to_be_read(data):
                    yield data

    def bring(self, copies: dict[int, Any]) -> None:
        """Take copies of what is far away, by the ids of what stands for it; a `Miss` for what is not to be had."""
        self.brought.update({which: [copy] for which, copy in copies.items()})

    def _has_to_be_read(self, data: Loadable) -> bool:
        fingerprint = data.fingerprint
        if self.reads_objects and data.holds_objects:
            return True
        # A plain value inside another argument counts by its content, so it has to be read for the key as well.
        return fingerprint is None or not self._may_stand_in or (self._nested and fingerprint.startswith("b3p:"))

    def read(self, value: Any) -> Any:
        """One argument, what was unread in it replaced by a fresh copy."""
        return replace_handles(value, self._read)

    def _value_of(self, handle: Any) -> Any:
        if isinstance(handle, BaseAnnotation):
            return self._annotated(handle)
        if isinstance(handle, Unread):
            return self._later(handle.data)
        return self._of_state(handle.state if isinstance(handle, KeptFuture) else handle, tolerant=False)

    def _annotated(self, handle: Any) -> Any:
        if isinstance(handle, quote):
            return handle.value
        if isinstance(handle, opaque):
            inner = handle.value
            return self._value_of(inner) if isinstance(inner, (KeptFuture, State)) else inner
        return replace_handles(handle.value, self._tolerant if isinstance(handle, allow_failure) else self._value_of)

    def _tolerant(self, handle: Any) -> Any:
        if isinstance(handle, BaseAnnotation):
            return self._annotated(handle)
        return self._of_state(handle.state if isinstance(handle, KeptFuture) else handle, tolerant=True)

    def _of_state(self, state: State[Any], tolerant: bool) -> Any:
        if state.is_completed():
            if self._only_check:
                return None
            return self._later(state.data) if isinstance(state.data, Loadable) else state.data
        if tolerant and state.is_final():
            return state.result(raise_on_failure=False)
        if not self.failed:
            # What waited for a failed run tells of that one: told of each other, the message would double each time.
            told = state.message if state.name == "NotReady" else None
            self.failed = told or f"Upstream run did not reach a 'COMPLETED' state; it is {state}."
        return None

    def _later(self, data: Loadable) -> Any:
        fingerprint = data.fingerprint
        if fingerprint is None or self._has_to_be_read(data):
            if data.far and id(data) not in self.brought:
                raise FarAway(data)
            return self._copied(data, fingerprint)
        self.unread = True
        return self._know(Unread(data, fingerprint), fingerprint)

    def _read(self, handle: Any) -> Any:
        return self._copied(handle.data, handle.fingerprint) if isinstance(handle, Unread) else handle

    def _copied(self, data: Loadable, expected: str | None) -> Any:
        copies = self.brought.get(id(data))
        try:
            value = copies.pop() if copies else data.load_copy()
        except MissingResult as error:
            value = Miss(str(error))
        if isinstance(value, Miss):  # dropped from the store meanwhile; the run that computed it may still have it
            value = data.load_result()
            self.changed = self.changed or expected is None or _differs(value, expected)
            return value
        if data.fingerprint != expected:
            self.changed = True
            return value
        return value if expected is None else self._know(value, expected)

    def _know(self, value: Any, fingerprint: str) -> Any:
        # Held, so that nothing else can come to have its id.
        self._held.append(value)
        self.known[id(value)] = fingerprint
        return value


def _differs(value: Any, expected: str) -> bool:
    try:
        return fingerprint(value) != expected
    except HashError:
        return True
