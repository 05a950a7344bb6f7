"""How the values of a block's fields are written down as JSON, and back.

What JSON has is itself. An object with one key that begins with `$` is a mark: `$secret` an encrypted value, `$bytes`
base64, `$block` a block with its class and fields, `$ref` the reference to a saved one, `$dict` a dict of the user's
that looks like a mark.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from kept.blocks.keys import Key, current_key
from kept.exceptions import ConfigurationError, SerializationError

_PLAIN = frozenset((str, int, float, bool, type(None)))
_MARKS = ("$secret", "$bytes", "$block", "$ref", "$dict")


class Writer:
    """Writes values down; knows the key once there was a secret.

    Arguments:
        block: gives what is written of a value that is a block, and None of any other.
    """

    def __init__(self, block: Callable[[Writer, Any], dict[str, Any] | None]) -> None:
        self._block = block
        self._key: Key | None = None

    @property
    def key_id(self) -> str | None:
        """Which key has encrypted what was written; None if nothing was."""
        return self._key.id if self._key else None

    def write(self, value: Any) -> Any:
        """A value as JSON has it. Raises `SerializationError` for what can't be written."""
        if type(value) in _PLAIN:
            return value
        if hasattr(value, "get_secret_value"):
            return self.seal(value.get_secret_value(), wrapper=_wrapper_of(value))
        if (block := self._block(self, value)) is not None:
            return block
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, dict):
            return self._write_dict(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.write(each) for each in value]
        if hasattr(type(value), "model_fields"):
            return self._write_dict({name: getattr(value, name) for name in type(value).model_fields})
        return _jsonable(value)

    def seal(self, value: Any, wrapper: str | None = None) -> dict[str, str]:
        """A value, encrypted, and the name of the class of pydantic that it comes back in, which does not show it."""
        self._key = self._key or current_key(make=True)
        return {"$secret": self._key.seal(json.dumps([wrapper, Writer(self._block).write(value)]).encode())}

    def _write_dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        written = {k if isinstance(k, str) else str(_jsonable(k)): self.write(v) for k, v in value.items()}
        return {"$dict": written} if len(written) == 1 and next(iter(written)) in _MARKS else written


def _jsonable(value: Any) -> Any:
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415 - only such values need it

    try:
        return to_jsonable_python(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        raise SerializationError(f"a {type(value).__name__}, which can't be written as JSON") from None


class Reader:
    """Reads what a `Writer` wrote.

    Arguments:
        key_id: which key has encrypted the secrets.
        block: makes a block of what was written of it, or of a reference.
    """

    def __init__(self, key_id: str | None, block: Callable[[Reader, str, Any], Any]) -> None:
        self._key_id = key_id
        self._block = block
        self._key: Key | None = None

    def read(self, value: Any) -> Any:
        """The value that was written. Raises `ConfigurationError` if a secret can't be decrypted."""
        if isinstance(value, list):
            return [self.read(each) for each in value]
        if not isinstance(value, dict):
            return value
        mark = next(iter(value)) if len(value) == 1 else ""
        if mark not in _MARKS:
            return {name: self.read(each) for name, each in value.items()}
        content = value[mark]
        if mark == "$secret":
            return self._open(content)
        if mark == "$bytes":
            return base64.b64decode(content)
        if mark == "$dict":
            return {name: self.read(each) for name, each in content.items()}
        return self._block(self, mark, content)

    def _open(self, sealed: str) -> Any:
        self._key = self._key or current_key()
        if self._key_id != self._key.id:
            raise ConfigurationError(
                f"its secrets were encrypted by another key than that of {self._key.place}: bring the key that it was "
                "saved with, or save it again with overwrite=True"
            )
        plain = self._key.open(sealed)
        if plain is None:
            raise ConfigurationError("its secrets are damaged: save it again with overwrite=True")
        wrapper, value = json.loads(plain)
        return self.read(value) if wrapper is None else _wrap(wrapper, self.read(value))


def _wrapper_of(value: Any) -> str:
    return next((cls.__name__ for cls in type(value).__mro__ if cls.__name__ in ("SecretStr", "SecretBytes")), "Secret")


def _wrap(wrapper: str, value: Any) -> Any:
    import pydantic  # noqa: PLC0415 - see LAZY_LIBRARIES

    return pydantic.Secret[Any](value) if wrapper == "Secret" else getattr(pydantic, wrapper)(value)
