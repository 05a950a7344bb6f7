"""The block `ResultStorage`: a place for results, and on which terms it is used."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import SecretStr, field_validator

from kept.blocks.core import Block

__all__ = ["ResultStorage"]


class ResultStorage(Block):
    """A place for results with terms of its own, usable wherever a `result_storage` is.

    What is None is as the settings say.

    >>> team = ResultStorage(storage="s3://results/team", signing_key="a long text that nobody guesses")
    >>> team
    ResultStorage(storage='s3://results/team', signing_key=SecretStr('**********'))
    """

    _block_type_name: ClassVar[str] = "Result Storage"
    _block_type_slug: ClassVar[str] = "result-storage"

    storage: Any
    """The place: a path, a URL, a saved block as type/name, a file system, or another block that keeps results."""
    signing_key: SecretStr | None = None
    """What entries are signed with, as KEPT_RESULTS_SIGNING_KEY: the key itself, or `secret/name`."""
    accepted_keys: list[SecretStr] = []
    """Older keys, or those of others, whose entries are believed as well."""
    read_only: bool | None = None
    """Whether nothing is written, as KEPT_RESULTS_READ_ONLY."""
    accept_serializers: list[str] | None = None
    """The only serializers whose results are read and written, as KEPT_RESULTS_ACCEPT_SERIALIZERS."""
    local_tier_size: int | None = None
    """How many bytes the copy on this machine may take, as KEPT_RESULTS_LOCAL_TIER_SIZE; 0: there is none."""
    local_tier_fresh_seconds: float | None = None
    """For how long a copied entry is used before it is asked for again, as KEPT_RESULTS_LOCAL_TIER_FRESH_SECONDS."""
    write_behind: bool | None = None
    """Whether results are sent while the flow goes on, as KEPT_RESULTS_WRITE_BEHIND."""

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, value: Any) -> Any:
        """A path as text, which can be saved."""
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def __repr_args__(self) -> Any:
        """What was given."""
        return [(name, value) for name, value in super().__repr_args__() if name in self.model_fields_set]

    def wishes(self) -> dict[str, Any]:
        """What is said here besides the place, by the names of the settings; keys as text, `accepted_keys` last."""
        keys = [key.get_secret_value() for key in (self.signing_key, *self.accepted_keys) if key is not None]
        said = {
            "signing_keys": tuple(keys) or None,
            "read_only": self.read_only,
            "accept_serializers": None if self.accept_serializers is None else tuple(self.accept_serializers),
            "local_tier_size": self.local_tier_size,
            "local_tier_fresh_seconds": self.local_tier_fresh_seconds,
            "write_behind": self.write_behind,
        }
        return {name: value for name, value in said.items() if value is not None}
