"""The console handler and its format: `16:28:51.257 | INFO    | Task run 'add_one-d85' - Finished in ...`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Mapping
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
        run = getattr(record, "run_label", None) or record.name
        line = self.line(record.created, record.levelname, run, record.getMessage())
        if record.exc_info or record.stack_info:
            line = self._with_traceback(line, record)
        return line

    def line(self, created: float, level: str, run: str, message: str) -> str:
        """One line, for a moment in seconds since the epoch."""
        second, text = self._second
        if second != int(created):
            second, text = int(created), time.strftime("%H:%M:%S", time.localtime(created))
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03d} | {level:<7} | {run} - {message}"

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
        self.lines = RunFormatter()
        self.setFormatter(self.lines)
        self.colors = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            stream = sys.stderr
            if stream is not None and not _root_writes_to(stream):
                self._write(stream, record.levelname, self.format(record))
        except Exception:
            self.handleError(record)

    def hears_alone(self, logger: logging.Logger) -> bool:
        """Whether nobody but this handler, as it was made, would see a record of this logger below `kept`."""
        return (
            _kept.handlers == [self]
            and not (logging.root.handlers or logger.handlers or logger.filters or self.filters or self.level)
            and logger.propagate
            and self.formatter is self.lines
            and logging.getLogRecordFactory() is logging.LogRecord
        )

    def write(self, level: int, run: str, message: str) -> None:
        """Write what the record of a line would come to. Making it costs more than all the rest of the line."""
        stream = sys.stderr
        if stream is not None:
            name = logging.getLevelName(level)
            line = self.lines.line(time.time(), name, run, message)
            with self.lock or contextlib.nullcontext():
                self._write(stream, name, line)

    def _write(self, stream: TextIO, level: str, line: str) -> None:
        if self.colors and level in _COLORS and stream.isatty():
            line = f"{_COLORS[level]}{line}{_END}"
        stream.write(line + "\n")
        stream.flush()


def _root_writes_to(stream: TextIO) -> bool:
    return any(getattr(handler, "stream", None) in (stream, sys.stdout) for handler in logging.root.handlers)


_kept = logging.getLogger("kept")
console = ConsoleHandler()
_configured: Settings | None = None
_lock = threading.Lock()
_sent_away = False


def send_away(handler: logging.Handler, levels: Mapping[str, int]) -> None:
    """Let `handler` alone have what is logged in this process: it sends it to one whose handlers write it.

    Arguments:
        levels: the levels of loggers there, by name.
    """
    global _sent_away
    _sent_away = True
    logging.root.handlers[:] = [handler]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def configure(settings: Settings) -> None:
    """Give the `kept` logger its handler and level, and the extra loggers the same, once for each settings."""
    global _configured
    if settings is _configured:
        return
    with _lock:
        console.colors = settings.logging.colors
        for name in ("kept", *settings.logging.extra_loggers):
            logger = logging.getLogger(name)
            logger.setLevel(settings.logging.level)
            if not _sent_away and console not in logger.handlers:
                logger.addHandler(console)
        _configured = settings
