"""Log records from worker processes: sent there, and handled here as if they had been logged here."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

from kept.logging.filters import RunAttributes

_PLAIN = logging.Formatter()


class Forwarder(logging.Handler):
    """Gives each record, as plain fields, to a function that sends it on."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send
        self.addFilter(RunAttributes())  # which run it is can be told here only

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            self._send(fields(record))
        except Exception:
            self.handleError(record)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says, with its message, arguments and traceback as one text, as `QueueHandler` does it."""
    told = {**vars(record), "msg": _PLAIN.format(record), "args": None}
    told.update(exc_info=None, exc_text=None, stack_info=None)
    try:
        pickle.dumps(told)
    except Exception:  # the user's own attributes of a record may be anything
        return {
            name: value if isinstance(value, (str, int, float, type(None))) else repr(value)
            for name, value in told.items()
        }
    return told


def handle(told: dict[str, Any]) -> None:
    """Give a record that another process sent to the handlers of this one."""
    logging.getLogger(told["name"]).handle(logging.makeLogRecord(told))


def levels() -> dict[str, int]:
    """The loggers that have a level of their own, and that; the root logger's name is empty."""
    loggers = [(name, logger) for name, logger in logging.root.manager.loggerDict.items()]
    own = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger) and logger.level}
    return {**own, "": logging.root.level}
