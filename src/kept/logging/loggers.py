"""Loggers for runs, and what writes their lines."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kept.context import FlowRunContext, RunContext, TaskRunContext, current_run, flow_context_of
from kept.exceptions import MissingContextError
from kept.logging.handlers import configure, console
from kept.settings import get_current_settings

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:  # the class can't be subscripted before Python 3.11
    _Adapter = logging.LoggerAdapter

flow_runs = logging.getLogger("kept.flow_runs")
task_runs = logging.getLogger("kept.task_runs")


class RunLoggerAdapter(_Adapter):
    """A logger that marks its records with the run they belong to."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Add the run to the record, keeping what the caller adds."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger `kept`, or `kept.NAME`."""
    configure(get_current_settings())
    if name is None or name == "kept":
        return logging.getLogger("kept")
    return logging.getLogger(name if name.startswith("kept.") else f"kept.{name}")


def get_run_logger(context: Any = None, **extra: Any) -> RunLoggerAdapter:
    """A logger whose lines name the run that this code is part of.

    Arguments:
        context: the run context to log for; the innermost one by default.
        extra: further attributes of each record.

    Raises:
        MissingContextError: no flow or task is running here.
    """
    found = context or current_run()
    if isinstance(found, (TaskRunContext, FlowRunContext)):
        logger = task_runs if isinstance(found, TaskRunContext) else flow_runs
        return RunLoggerAdapter(logger, {**run_extra(found), **extra})
    if task_runs.disabled:
        return RunLoggerAdapter(task_runs, extra)
    raise MissingContextError(
        "There is no active flow or task run context. get_run_logger() works inside a function decorated with @flow "
        "or @task; elsewhere use kept.logging.get_logger()."
    )


@contextlib.contextmanager
def disable_run_logger() -> Iterator[None]:
    """Silence the loggers of runs inside, so that a task's function can be called in a test without a run.

    >>> with disable_run_logger():
    ...     get_run_logger().info("nobody hears")
    """
    before = [(logger, logger.disabled) for logger in (flow_runs, task_runs)]
    for logger, _ in before:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in before:
            logger.disabled = disabled


def log_run(logger: logging.Logger, level: int, message: str, label: str, exc_info: Any = None) -> None:
    """Write one line for a run. `Logger.log` would look for the caller's line at twice the cost."""
    if logger.isEnabledFor(level):
        if exc_info is None and console.hears_alone(logger):
            try:
                console.write(level, label, message)
                return
            except Exception:  # told below, as that of any handler
                pass
        record = logger.makeRecord(logger.name, level, __file__, 0, message, (), exc_info)
        record.run_label = label
        logger.handle(record)


def run_extra(context: RunContext | None) -> dict[str, Any]:
    """What marks a record as one of this run; nothing outside of runs."""
    if isinstance(context, TaskRunContext):
        return _task_extra(context)
    return flow_extra(context) if isinstance(context, FlowRunContext) else {}


def flow_extra(context: FlowRunContext) -> dict[str, Any]:
    """What marks a record as one of this flow run."""
    run = context.flow_run
    return {
        "run_label": f"Flow run '{run.name}'",
        "flow_run_name": run.name,
        "flow_run_id": run.id,
        "flow_name": context.flow.name,
    }


def _task_extra(context: TaskRunContext) -> dict[str, Any]:
    run = context.task_run
    flow = flow_context_of(context)
    return {
        **(flow_extra(flow) if flow else {"flow_run_name": "<unknown>", "flow_run_id": "<unknown>"}),
        "run_label": f"Task run '{run.name}'",
        "task_run_name": run.name,
        "task_run_id": run.id,
        "task_name": context.task.name,
    }
