"""The types of runs and states, where Prefect documents to import them from: `def hook(task, run: TaskRun, state)`."""

from __future__ import annotations

from kept.context import FlowRun, TaskRun
from kept.states import State, StateDetails, StateType

__all__ = ["FlowRun", "State", "StateDetails", "StateType", "TaskRun"]
