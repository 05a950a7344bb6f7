"""The base class of blocks: a pydantic model that can be saved under a name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from kept.blocks import types
from kept.blocks.saving import Savable
from kept.blocks.values import Writer
from kept.exceptions import ConfigurationError, SerializationError
from kept.utilities.effects import in_thread
from kept.utilities.nearest import nearest

__all__ = ["Block"]

B = TypeVar("B", bound="Block")


class Block(Savable, BaseModel):
    """Typed configuration that is saved under a name.

    Fields of the types `SecretStr`, `SecretBytes` and `Secret` of pydantic, and `SecretDict` of `kept.blocks.fields`,
    are encrypted where it is saved, and not shown. A field may be a block: if that one is saved, as it is, under a
    name of its own, a reference to it is saved, else all of it.

    Attributes that a type may set: `_block_type_name`, `_block_type_slug`, `_description`, `_logo_url`,
    `_code_example`; a method `block_initialization()` is called when an instance was made.

    >>> from kept.testing.utilities import kept_test_harness
    >>> class Cube(Block):
    ...     edge_length_inches: float
    >>> with kept_test_harness():
    ...     _ = Cube(edge_length_inches=2.25).save("rubiks-cube")
    ...     Cube.load("rubiks-cube"), Block.load("cube/rubiks-cube")
    (Cube(edge_length_inches=2.25), Cube(edge_length_inches=2.25))
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, arbitrary_types_allowed=True)

    _is_block_base: ClassVar[bool] = True
    _block_document_name: str | None = None
    _block_document_id: UUID | None = None

    if not TYPE_CHECKING:  # type checkers know the fields from pydantic

        def __init__(self, **fields: Any) -> None:
            BaseModel.__init__(self, **fields)  # not that of a file system which the class may inherit from, too
            for name in self.model_extra or {}:
                _warn_of_misspelling(name, type(self), self.model_fields_set)
            self.block_initialization()

    def block_initialization(self) -> None:
        """Called when an instance was made or loaded; for types to override."""

    def __eq__(self, other: object) -> bool:
        # By its fields alone: a block is the same whether or not it was saved.
        if type(self) is not type(other) or not isinstance(other, Block):
            return NotImplemented
        return self.__dict__ == other.__dict__ and self.__pydantic_extra__ == other.__pydantic_extra__

    def _block_state(self) -> dict[str, Any]:
        return {**self.__dict__, **(self.model_extra or {})}

    @classmethod
    def register_type_and_schema(cls) -> None:
        """Note this type of block, and those in its fields, for `kept block types`. Saving needs no registration.

        Raises:
            ConfigurationError: this is `Block` itself, or it can't be written.
        """
        types.register(cls)

    @classmethod
    async def aregister_type_and_schema(cls) -> None:
        """`register_type_and_schema()`, to await."""
        await in_thread(cls.register_type_and_schema)

    @staticmethod
    def is_block_class(block: Any) -> bool:
        """Whether something is a type of block."""
        return isinstance(block, type) and issubclass(block, Savable)

    @classmethod
    def _loads(cls, found: type[Savable]) -> bool:
        return cls is Block or issubclass(found, cls)  # file systems are blocks without being pydantic's

    def _block_values(self, writer: Writer) -> dict[str, Any]:
        values = {name: self.__dict__[name] for name in type(self).model_fields if name in self.__dict__}
        return {
            name: self._written(writer, name, value) for name, value in {**values, **(self.model_extra or {})}.items()
        }

    def _written(self, writer: Writer, name: str, value: Any) -> Any:
        try:
            return writer.write(value)
        except SerializationError as error:
            try:  # a serializer of the user's own
                return writer.write(self.model_dump(mode="json", include={name})[name])
            except Exception:
                raise SerializationError(
                    f"The field {name!r} of this {type(self).__name__} holds {error}: give it another type, or a "
                    "serializer and a validator of pydantic."
                ) from None

    @classmethod
    def _block_names(cls) -> tuple[set[str], set[str]]:
        return set(cls.model_fields), {name for name, field in cls.model_fields.items() if field.is_required()}

    @classmethod
    def _from_values(cls: type[B], values: dict[str, Any], validate: bool) -> B:
        if not validate:
            missing = {name: None for name, field in cls.model_fields.items() if field.is_required()}
            block = cls.model_construct(**{**missing, **values})
            block.block_initialization()
            return block
        fields = cls.model_fields
        try:
            return cls.model_validate({_key(name, fields.get(name)): value for name, value in values.items()})
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong)
            raise ConfigurationError(f"what was saved does not fit {cls.__name__}: {said}") from None


def _warn_of_misspelling(name: str, cls: type[Block], given: set[str]) -> None:
    near = nearest(name, cls.model_fields.keys() - given, cutoff=0.8)
    if near:
        warnings.warn(f"{cls.__name__} has no field {name!r}: did you mean {near!r}?", stacklevel=3)


def _key(name: str, field: FieldInfo | None) -> str:
    """The name under which a model takes a field."""
    alias = field.validation_alias if field else None
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return alias if isinstance(alias, str) else name
