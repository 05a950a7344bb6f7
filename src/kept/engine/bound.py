"""Tasks and flows as methods: bound to an object or a class, which is then an input like any other."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

from kept.utilities.annotations import unmapped

_WITH_ARGUMENTS = frozenset({"submit", "delay", "explain", "aexplain", "visualize"})


class Bound:
    """What a task or flow gives that is looked up as a method.

    It has all that the task or flow has, and equals another one as bound methods do.
    """

    __slots__ = ("__func__", "__self__")

    def __init__(self, whole: Any, holder: Any) -> None:
        self.__func__ = whole
        self.__self__ = holder

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # so that `isinstance(shop.cost, Task)` is true, as in Prefect
        return type(self.__func__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    def map(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start a run for each element of the iterables among the arguments."""
        return self.__func__.map(unmapped(self.__self__), *args, **kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Start a run in the background of this process, with the arguments as a list and a dict."""
        return self.__func__.apply_async((self.__self__, *(args or ())), kwargs, **options)

    def with_options(self, **options: Any) -> Bound:
        """The same with other options."""
        return Bound(self.__func__.with_options(**options), self.__self__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in functools.WRAPPER_ASSIGNMENTS:
            raise AttributeError(name)  # what Python looks up, to copy it for one, is meant for this object
        value = getattr(self.__func__, name)
        return functools.partial(value, self.__self__) if name in _WITH_ARGUMENTS else value

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._method())

    def __kept_fingerprint__(self) -> Any:
        return self._method()

    def _method(self) -> types.MethodType:
        return types.MethodType(self.__func__.fn, self.__self__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Bound:
            return NotImplemented
        return self.__self__ is other.__self__ and bool(self.__func__ == other.__func__)

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__))

    def __reduce__(self) -> tuple[Any, ...]:
        return Bound, (self.__func__, self.__self__)

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {self.__self__!r}>"
