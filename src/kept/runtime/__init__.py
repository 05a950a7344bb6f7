"""Facts about the run that this code is part of, as attributes of `flow_run`, `task_run` and `deployment`.

Outside a run each of them is None or empty. For tests an environment variable can stand in for any of them:
`KEPT__RUNTIME__FLOW_RUN__NAME=mine`, as a value of the type that the fact has.
"""

from __future__ import annotations

from kept.runtime import deployment, flow_run, task_run

__all__ = ["deployment", "flow_run", "task_run"]
