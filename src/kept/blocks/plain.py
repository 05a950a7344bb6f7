"""Blocks without pydantic, whose import costs every program 60 ms: file systems."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from kept.blocks.saving import Savable
from kept.blocks.values import Writer
from kept.exceptions import ConfigurationError, SerializationError
from kept.utilities.fields import Fields

P = TypeVar("P", bound="PlainBlock")


class PlainBlock(Fields, Savable):
    """Typed configuration that is saved under a name: annotated attributes, of which those that may hold secrets are
    encrypted."""

    _is_block_base: ClassVar[bool] = True
    _secret_fields: ClassVar[frozenset[str]] = frozenset()
    """The fields that are encrypted as a whole."""

    def _block_state(self) -> dict[str, Any]:
        return self._state()

    def _block_values(self, writer: Writer) -> dict[str, Any]:
        names = self.fields()
        if unknown := sorted(name for name in self.__dict__ if not name.startswith("_") and name not in names):
            raise SerializationError(
                f"This {type(self).__name__} can't be saved: it holds {unknown[0]!r}, which is no field of it. Declare "
                f"it in the class, with its type ({unknown[0]}: str), or call it _{unknown[0]} if it needs no saving."
            )
        return {name: self._written(writer, name, getattr(self, name, None)) for name in names}

    def _written(self, writer: Writer, name: str, value: Any) -> Any:
        try:
            return writer.seal(value) if name in self._secret_fields and value else writer.write(value)
        except SerializationError as error:
            raise SerializationError(f"The field {name!r} of this {type(self).__name__} holds {error}.") from None

    @classmethod
    def _block_names(cls) -> tuple[set[str], set[str]]:
        names = set(cls.fields())
        return names, {name for name in names if not hasattr(cls, name)}

    @classmethod
    def _from_values(cls: type[P], values: dict[str, Any], validate: bool) -> P:
        known, needed = cls._block_names()
        fields = {name: value for name, value in values.items() if name in known}
        if not validate:
            block = cls.__new__(cls)
            block.__dict__.update({**dict.fromkeys(needed), **fields})
            return block
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigurationError(f"{cls.__name__} does not take its fields by name: {error}") from None
