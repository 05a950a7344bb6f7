"""From a call to arguments by name, and back."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import CellType, SimpleNamespace
from typing import Any

from kept.exceptions import ParameterBindError, ReservedArgumentError
from kept.utilities.annotations import BaseAnnotation, Ignore, is_ignored
from kept.utilities.nearest import nearest

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
_VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD

# Python 3.13 no longer asks what stands under @classmethod to bind itself.
_CLASS_HINT = (
    "Under @classmethod it gets its class only when it is called; to submit, map or delay it, put @classmethod below."
)

RESERVED = ("return_state", "wait_for")


class Binder:
    """Binds calls of one function. The signature is read once; a plain call then costs under a microsecond.

    Arguments:
        function: whose signature counts.
        label: what to call it in errors, such as "task 'add'".
    """

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        self.label = label
        self._function = function
        try:
            self.signature = inspect.signature(function)
        except ValueError:  # some builtins have none: anything may be passed
            self.signature = inspect.Signature(
                [inspect.Parameter("args", _VAR_POSITIONAL), inspect.Parameter("kwargs", _VAR_KEYWORD)]
            )
        parameters = self.signature.parameters
        self.names = tuple(parameters)
        self._required = len([p for p in parameters.values() if p.default is p.empty and p.kind is not _VAR_POSITIONAL])
        self.defaults = {p.name: p.default for p in parameters.values() if p.default is not p.empty}
        self._plain = all(p.kind in _NAMED for p in parameters.values())
        self.stars = frozenset(p.name for p in parameters.values() if p.kind in (_VAR_POSITIONAL, _VAR_KEYWORD))
        # Of a method whose class is passed by a decorator above ours each call has to be looked at.
        self._of_class = self.names[:1] == ("cls",) and sys.version_info >= (3, 13) and _is_method(function)
        self._positional = len([p for p in parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD])
        self._check_names()

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations, each read alone: a name that is imported for type checkers only costs no other its check.

        Those of `*args` and `**kwargs` say nothing of the tuple and the dict.
        """
        names = _names_known_to(self._function)
        hints: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.annotation is not parameter.empty and name not in self.stars:
                alone = SimpleNamespace(__annotations__={name: parameter.annotation})
                with contextlib.suppress(Exception):  # some annotations are mere texts
                    hints.update(typing.get_type_hints(alone, names, include_extras=True))
        return hints

    @functools.cached_property
    def ignored(self) -> frozenset[str]:
        """The names of the parameters that are annotated with `Ignore`."""
        return frozenset(filter(self._is_ignored, self.names))

    def _is_ignored(self, name: str) -> bool:
        hint = self.signature.parameters[name].annotation
        if name in self.hints:
            return is_ignored(self.hints[name])
        if not isinstance(hint, str) or "[" not in hint:
            return is_ignored(hint)
        # The thing inside is imported for type checkers only, or the annotation is that of `*args`.
        return _named_in(hint.partition("[")[0], _names_known_to(self._function)) is Ignore

    def _check_names(self) -> None:
        for name in RESERVED:
            if name in self.names:
                raise ReservedArgumentError(
                    f"{self.label[0].upper()}{self.label[1:]} has a parameter named {name!r}, which is an option of "
                    "each call. Rename the parameter."
                )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, in the order of the signature, defaults filled in.

        `*args` and `**kwargs` of the function stand under their own names, as a tuple and a dict.

        Raises:
            ParameterBindError: the call does not fit the signature.
        """
        names = self.names
        if self._plain and len(args) <= self._positional and not self._of_class:
            if not kwargs and len(args) == len(names):
                return dict(zip(names, args))  # noqa: B905 - lengths are equal; strict would cost a third more
            bound = dict(zip(names, args))  # noqa: B905
            if bound.keys().isdisjoint(kwargs) and kwargs.keys() <= self.signature.parameters.keys():
                bound.update(kwargs)
                for name, default in self.defaults.items():
                    if name not in bound:
                        bound[name] = default
                if len(bound) == len(names):
                    return {name: bound[name] for name in names}
        return self._bind_by_signature(args, kwargs)

    def _bind_by_signature(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            hint = f" {_CLASS_HINT}" if self._of_class else self._nearest(kwargs)
            raise ParameterBindError(
                f"Error binding parameters for {self.label}: {error}. Its signature is {self.signature}; it was "
                f"called with {len(args)} positional arguments and the keywords {sorted(kwargs)}.{hint}"
            ) from None
        bound.apply_defaults()
        if self._of_class and not isinstance(bound.arguments["cls"], (type, BaseAnnotation)):
            raise ParameterBindError(
                f"{self.label[0].upper()}{self.label[1:]} got {bound.arguments['cls']!r} as its class. {_CLASS_HINT}"
            )
        return dict(bound.arguments)

    def _nearest(self, kwargs: Mapping[str, Any]) -> str:
        unknown = next((name for name in kwargs if name not in self.names), "")
        near = nearest(unknown, self.names)
        return f" Did you mean {near!r}?" if near else ""

    def call(self, parameters: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments that pass these parameters."""
        if self._plain:
            return (), dict(parameters)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is _VAR_POSITIONAL:
                args.extend(parameters[name])
            elif parameter.kind is _VAR_KEYWORD:
                kwargs.update(parameters[name])
            elif parameter.kind is _POSITIONAL_ONLY or self._star_follows(name):
                args.append(parameters[name])
            else:
                kwargs[name] = parameters[name]
        return tuple(args), kwargs

    def _star_follows(self, name: str) -> bool:
        kinds = [p.kind for p in self.signature.parameters.values()]
        return _VAR_POSITIONAL in kinds and self.names.index(name) < kinds.index(_VAR_POSITIONAL)


def _names_known_to(function: Any) -> dict[str, Any]:
    """What the names in the annotations of a callable may mean: those of its module, and of functions around it."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004
    cells = getattr(function, "__closure__", None) or ()
    free = zip(function.__code__.co_freevars if cells else (), cells, strict=True)
    around = {name: cell.cell_contents for name, cell in free if cell != CellType()}
    return {**getattr(function, "__globals__", {}), **around}


def _named_in(dotted: str, names: Mapping[str, Any]) -> Any:
    first, *rest = dotted.strip().split(".")
    try:
        return functools.reduce(getattr, rest, names.get(first))
    except AttributeError:
        return None


def _is_method(function: Any) -> bool:
    """Whether a function was defined in a class, by its name."""
    return "." in getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
