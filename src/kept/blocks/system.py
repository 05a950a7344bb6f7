"""The block that comes with kept: a secret."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pydantic

from kept.blocks.core import Block

__all__ = ["Secret"]

T = TypeVar("T")


class Secret(Block, Generic[T]):
    """A value that is encrypted where it is saved, and not shown: a text, or anything that JSON has.

    `Secret[int](value=...)` takes a value of that type only.

    >>> secret = Secret(value="sk-1234")
    >>> secret, secret.get()
    (Secret(value=Secret('**********')), 'sk-1234')
    """

    value: pydantic.Secret[T]
    """The value."""

    @pydantic.field_validator("value", mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """What is in a SecretStr that was given."""
        return value.get_secret_value() if hasattr(value, "get_secret_value") else value

    def get(self) -> T:
        """The value itself."""
        return self.value.get_secret_value()
