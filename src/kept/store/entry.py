"""The record of one kept result, and its absence.

Both are named tuples rather than frozen dataclasses: a hit builds one from a database row, and a tuple costs
a fifth of what a frozen dataclass costs there.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One kept result: how it was keyed, who computed it, and its payload or the address of it."""

    key: str
    """The cache key, verbatim."""
    created: float
    """When the result was kept, in seconds since the epoch."""
    expires: float | None
    """When it stops being valid, in seconds since the epoch; None for never."""
    serializer: str
    """How the payload is to be read, as `Serializer.from_name` takes it."""
    fingerprint: str | None
    """The digest of the value, as `fingerprint()` gives it; None where the value has none."""
    size: int
    """The length of the payload in bytes."""
    payload: bytes | None
    """The payload itself when it is small, else None."""
    blob: str | None
    """The digest of the blob that holds the payload, else None."""
    parts: str
    """The named parts of the key, a JSON object of name -> digest."""
    task: str
    """The task that computed it, as `module.qualname`."""
    run: str
    """The name of the task run that computed it."""
    flow_run: str
    """The name of the flow run that it ran in; empty outside a flow."""
    seconds: float
    """How long computing it took, in seconds."""
    files: str = ""
    """The digests of blobs with the content of files that the value holds, with spaces between."""
    signature: str | None = None
    """By whom it is vouched for, as `store/trust.py` writes it; None in a store where that is not asked for."""

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests of all blobs that it needs."""
        return (*self.files.split(), *((self.blob,) if self.blob is not None else ()))


class Miss(NamedTuple):
    """There is no usable entry, and why."""

    reason: str
    """One phrase for the log line: "not kept yet", "damaged: ...", "expired ..."."""
