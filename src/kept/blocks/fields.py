"""Types of fields of blocks."""

from __future__ import annotations

from typing import Any

import pydantic

__all__ = ["SecretDict"]


class SecretDict(pydantic.Secret[dict[str, Any]]):
    """A dict whose values are not shown, at any level; `get_secret_value()` gives it.

    >>> SecretDict({"token": "t0p", "options": {"user": "me"}})
    SecretDict({'token': '**********', 'options': {'user': '**********'}})
    """

    def _display(self) -> dict[str, Any]:  # type: ignore[override]  # shown by its repr, as a text is
        return _hidden(self.get_secret_value())  # type: ignore[no-any-return]


def _hidden(value: Any) -> Any:
    return {name: _hidden(each) for name, each in value.items()} if isinstance(value, dict) else "**********"
