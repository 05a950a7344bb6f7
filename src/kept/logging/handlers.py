"""The console handler and its format: `16:28:51.257 | INFO    | Task run 'add_one-d85' - Finished in ...`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TextIO

from kept.settings import Settings

_COLORS = {"DEBUG": "\033[2m", "WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31;1m"}
_END = "\033[0m"


class RunFormatter(logging.Formatter):
    """The documented format; keeps the text of the current second, which is most of what formatting costs."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, with its traceback if it has one."""
        created = record.created
        second, text = self._second
        if second != int(created):
            second, text = int(created), time.strftime("%H:%M:%S", time.localtime(created))
            self._second = (second, text)
        run = getattr(record, "run_label", None) or record.name
        millis = int((created - second) * 1000)
        line = f"{text}.{millis:03d} | {record.levelname:<7} | {run} - {record.getMessage()}"
        if record.exc_info or record.stack_info:
            line = self._with_traceback(line, record)
        return line

    def _with_traceback(self, line: str, record: logging.LogRecord) -> str:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        stack = self.formatStack(record.stack_info) if record.stack_info else None
        return "\n".join(part for part in (line, record.exc_text, stack) if part)


class ConsoleHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the time.

    Where the user has given the root logger a handler for the terminal, records reach that one, and writing them
    here too would show every line twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(RunFormatter())
        self.colors = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            stream = sys.stderr
            if stream is None or _root_writes_to(stream):
                return
            line = self.format(record)
            if self.colors and record.levelname in _COLORS and stream.isatty():
                line = f"{_COLORS[record.levelname]}{line}{_END}"
            stream.write(line + "\n")
            stream.flush()
        except Exception:
            self.handleError(record)


def _root_writes_to(stream: TextIO) -> bool:
    return any(getattr(handler, "stream", None) in (stream, sys.stdout) for handler in logging.root.handlers)


_console = ConsoleHandler()
_configured: Settings | None = None
_lock = threading.Lock()


def configure(settings: Settings) -> None:
    """Give the `kept` logger its handler and level, and the extra loggers the same, once for each settings."""
    global _configured
    if settings is _configured:
        return
    with _lock:
        _console.colors = settings.logging.colors
        for name in ("kept", *settings.logging.extra_loggers):
            logger = logging.getLogger(name)
            logger.setLevel(settings.logging.level)
            if _console not in logger.handlers:
                logger.addHandler(_console)
        _configured = settings
