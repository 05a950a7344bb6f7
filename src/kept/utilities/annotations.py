"""Wrappers that say how an argument of a task is to be treated."""

from __future__ import annotations

import types
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from kept.utilities.handles import Handle

T = TypeVar("T")


class Ignored:
    """What `Ignore` marks an annotation with."""

    def __repr__(self) -> str:
        return "ignored"


_IGNORED = Ignored()
Ignore = Annotated[T, _IGNORED]
"""Leave an argument out of the key: `def load(day: str, log: Ignore[Logger]): ...`."""


def is_ignored(hint: Any) -> bool:
    """Whether an annotation is marked by `Ignore`, also as one of several: `Ignore[Logger] | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(map(is_ignored, get_args(hint)))
    return _IGNORED in getattr(hint, "__metadata__", ())


class BaseAnnotation(Handle, Generic[T]):
    """A value with a note on how to treat it. Two are equal when their kinds and values are."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """The value without the note."""
        return self.value

    def rewrap(self, value: T) -> BaseAnnotation[T]:
        """The same note on another value."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(BaseAnnotation[T]):
    """In `.map`, give this value whole to each run instead of iterating over it."""

    __slots__ = ()


class allow_failure(BaseAnnotation[T]):
    """Run even if this upstream future failed; the task then gets its exception as the value."""

    __slots__ = ()


class quote(BaseAnnotation[T]):
    """Don't look inside for futures to resolve; the task gets the value as it is."""

    __slots__ = ()

    def unquote(self) -> T:
        """The value without the quotes."""
        return self.value


class opaque(BaseAnnotation[T]):
    """Resolve this future itself, but don't look for futures inside other values."""

    __slots__ = ()


class freeze(BaseAnnotation[T]):
    """A parameter fixed beforehand, for a call that is completed later."""

    __slots__ = ()

    def unfreeze(self) -> T:
        """The value itself."""
        return self.value
