"""Plain classes whose annotated attributes are their constructor's options.

Users of Prefect write serializers and file systems as pydantic models: annotated class attributes with
defaults, given by keyword. `Fields` keeps that way of writing for kept's own base classes without importing
pydantic, which would cost every program that imports kept some 100 ms.
"""

from __future__ import annotations

import typing
from typing import Any

from kept.exceptions import ConfigurationError


class Fields:
    """A class that takes its annotated attributes as keyword options and compares by them.

    A subclass that defines its own `__init__` is free to; equality then compares all that its instances hold.

    >>> class Point(Fields):
    ...     x: int
    ...     y: int = 0
    >>> Point(x=1) == Point(x=1, y=0), Point(x=1)
    (True, Point(x=1))
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if type(value).__name__ == "FieldInfo":  # pydantic's Field(...), recognised without importing it
                _replace_field(cls, name, value)

    def __init__(self, **options: Any) -> None:
        if hasattr(type(self), "model_fields"):  # a pydantic model, too, which checks more
            super().__init__(**options)
            return
        known = self.fields()
        for name in options:
            if name not in known:
                raise ConfigurationError(
                    f"{type(self).__name__} has no option {name!r}; its options: {', '.join(known) or 'none'}"
                )
        for name in known:
            if name not in options and not hasattr(type(self), name):
                raise ConfigurationError(f"{type(self).__name__} needs the option {name!r}: {name}=...")
        self.__dict__.update({name: self._hidden(name, value) for name, value in options.items()})

    @classmethod
    def _hidden(cls, name: str, value: Any) -> Any:
        """A text or bytes for a field of pydantic's SecretStr or the like: in its wrapper, which does not show it."""
        wrapper = "SecretBytes" if isinstance(value, bytes) else "SecretStr"
        if not isinstance(value, (str, bytes)) or wrapper not in str(_annotation(cls, name)):
            return value
        import pydantic  # noqa: PLC0415 - who names its types has it loaded already

        return getattr(pydantic, wrapper)(value)

    @classmethod
    def fields(cls) -> list[str]:
        """The names of the options, base classes first."""
        names: dict[str, None] = {}
        for base in reversed(cls.__mro__):
            for name, annotation in vars(base).get("__annotations__", {}).items():
                if not name.startswith("_") and not _is_class_variable(annotation):
                    names[name] = None
        return list(names)

    def changed_fields(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        cls = type(self)
        values = {name: getattr(self, name) for name in self.fields()}
        return {k: v for k, v in values.items() if not hasattr(cls, k) or getattr(cls, k) != v}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._state() == other._state()

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(self.changed_fields().items(), key=lambda item: item[0]))))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.changed_fields().items())
        return f"{type(self).__name__}({options})"

    def _state(self) -> dict[str, Any]:
        whole = {**{name: getattr(self, name, None) for name in self.fields()}, **self.__dict__}
        # Under which name a block was saved is not what it is.
        return {name: value for name, value in whole.items() if not name.startswith("_block_document_")}


def _annotation(cls: type, name: str) -> Any:
    return next((each[name] for base in cls.__mro__ if name in (each := vars(base).get("__annotations__", {}))), None)


def _replace_field(cls: type, name: str, field: Any) -> None:
    if field.is_required():
        delattr(cls, name)
    else:
        setattr(cls, name, field.get_default(call_default_factory=True))


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return typing.get_origin(annotation) is typing.ClassVar or annotation is typing.ClassVar
