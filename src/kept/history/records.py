"""The record of one run, and who takes it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from kept.fingerprint import CodeIdentity


class RunRecord(NamedTuple):
    """One run that has ended."""

    id: str
    """The id of the run."""
    kind: str
    """ "flow" or "task"."""
    name: str
    """The name of the run."""
    of: str
    """The task, as `module.qualname`, or the flow by its name."""
    flow_run_id: str | None
    """The flow run around it."""
    state_type: str
    state_name: str
    started: float
    """Seconds since the epoch."""
    ended: float
    """Seconds since the epoch."""
    decision: str
    """ "HIT", "MISS" or "OFF"; empty for a flow."""
    reason: str
    """Why it was decided so, as a phrase."""
    key: str | None
    """The cache key."""
    parts: dict[str, str] | None
    """The named parts of the key; of a hit, the entry has them."""
    saved: float
    """The seconds that a hit saved."""
    not_kept: str
    """Why the result was not kept though it should have been; empty as a rule."""
    message: str
    """What the final state said."""
    assets: list[dict[str, Any]] | None = None
    """What a materializing task made: `key`, `by`, `properties`, `metadata` and `upstream` of each asset."""
    arguments: dict[str, str] | None = None
    """The small arguments of a miss, as literals of Python."""
    flow_run: str = ""
    """The name of the flow run around it."""


class Recorder(Protocol):
    """Takes records of runs. Called on the hot path: it must return at once and never raise."""

    def record(self, run: RunRecord) -> None:
        """Take one record; it may be written later."""

    def record_code(self, identity: CodeIdentity) -> None:
        """Take what a code digest stands for, to be written once."""

    def history(self) -> Any:
        """What was recorded, as a `History`; None if nothing of it can be read again."""

    def flush(self) -> None:
        """Return when everything taken so far is written."""
