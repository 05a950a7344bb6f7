"""Types of fields, under the name that Prefect's documentation gives their module."""

from __future__ import annotations

from kept.blocks.fields import SecretDict

__all__ = ["SecretDict"]
