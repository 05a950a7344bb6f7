"""Formatters for a logging configuration of the user's own."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any, Literal

RUN_ATTRIBUTES = ("flow_run_name", "flow_run_id", "flow_name", "task_run_name", "task_run_id", "task_name")
"""What records say of the run they belong to."""

_UNKNOWN = dict.fromkeys(RUN_ATTRIBUTES, "<unknown>")
_PLAIN = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "run_label"))


class KeptFormatter(logging.Formatter):
    """A formatter with formats of their own for the lines of flow runs and of task runs.

    Arguments:
        format: for all other lines.
        datefmt: the form of `%(asctime)s`.
        style: `%`, `{` or `$`, as for `logging.Formatter`.
        validate: whether a wrong format is an error at once.
        defaults: what attributes are that a record lacks.
        flow_run_fmt: for lines of flow runs; `flow_run_name`, `flow_run_id` and `flow_name` are known there.
        task_run_fmt: for lines of task runs; `task_run_name`, `task_run_id` and `task_name` are known there as well.
    """

    def __init__(
        self,
        format: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
        flow_run_fmt: str | None = None,
        task_run_fmt: str | None = None,
    ) -> None:
        known = {**_UNKNOWN, **(defaults or {})}
        super().__init__(format, datefmt, style, validate, defaults=known)
        self._of_runs = {
            name: logging.Formatter(text, datefmt, style, validate, defaults=known)
            for name, text in (("kept.flow_runs", flow_run_fmt), ("kept.task_runs", task_run_fmt))
            if text
        }

    def usesTime(self) -> bool:
        """Whether any of the formats needs the time."""
        return super().usesTime() or any(one.usesTime() for one in self._of_runs.values())

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, by the format of its kind of run."""
        one = self._of_runs.get(record.name)
        return super().formatMessage(record) if one is None else one.formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Each record as one JSON object: message, severity, time, the run, and what the caller added.

    Arguments:
        fmt: "default" for one line a record, "pretty" for indented text.
        datefmt: the form of the time; ISO 8601 by default.
        style: there because a configuration passes it; without effect.
    """

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, style: str = "%") -> None:
        super().__init__(datefmt=datefmt)
        if fmt not in (None, "default", "pretty"):
            raise ValueError(f"the format of a JsonFormatter can't be {fmt!r}; it is 'default' or 'pretty'")
        self._indent = 2 if fmt == "pretty" else None

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        told = {
            "message": record.getMessage(),
            "severity": record.levelname,
            "name": record.name,
            "created": record.created,
            "time": self.formatTime(record, self.datefmt),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
            "thread": record.threadName,
            "process": record.process,
        }
        if record.exc_info and record.exc_info[0]:
            kind, error, trace = record.exc_info
            text = "".join(traceback.format_exception(kind, error, trace))
            told["exc_info"] = {"type": kind.__name__, "message": str(error), "traceback": text}
        return json.dumps(told, default=str, ensure_ascii=False, indent=self._indent)
