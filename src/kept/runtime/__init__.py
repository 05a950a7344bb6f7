"""Facts about the run that this code is part of, as attributes of `flow_run` and `task_run`.

Outside a run each of them is None or empty.
"""

from __future__ import annotations

from kept.runtime import flow_run, task_run

__all__ = ["flow_run", "task_run"]
