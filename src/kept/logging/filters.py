"""What every record says in a logging configuration of the user's own."""

from __future__ import annotations

import logging

from kept.context import current_run
from kept.logging.formatters import RUN_ATTRIBUTES
from kept.logging.loggers import run_extra


class RunAttributes(logging.Filter):
    """Lets all records pass, and adds the run that they were logged in: `flow_run_name`, `task_run_id` and so on.

    The lines of runs themselves carry one short label: all of it would cost each of them more than its text does.
    What isn't known, as outside of runs, is `<unknown>`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record lacks."""
        said = vars(record)
        known = {} if "flow_run_name" in said else run_extra(current_run())
        for name in RUN_ATTRIBUTES:
            said.setdefault(name, known.get(name, "<unknown>"))
        return True
