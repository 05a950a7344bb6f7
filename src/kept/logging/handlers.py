"""The console handler and its format: `16:28:51.257 | INFO    | Task run 'add_one-d85' - Finished in ...`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from kept.exceptions import ConfigurationError
from kept.logging.colors import STYLES, painted, parsed, wanted
from kept.logging.configuration import apply, custom_config
from kept.settings import Settings, get_current_settings

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:  # the class can't be subscripted before Python 3.11
    _StreamHandler = logging.StreamHandler


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
                self._write(stream, self.format(record))
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
            line = self.lines.line(time.time(), logging.getLevelName(level), run, message)
            with self.lock or contextlib.nullcontext():
                self._write(stream, line)

    def _write(self, stream: TextIO, line: str) -> None:
        if self.colors and _is_terminal(stream):
            line = painted(line)
        stream.write(line + "\n")
        stream.flush()


class KeptConsoleHandler(_StreamHandler):
    """Writes to a stream, in colours where that is a terminal: for a logging configuration of the user's own.

    Arguments:
        stream: where to; `sys.stderr` by default.
        styles: colours by what they are for, such as `{"log.failed_state": "bold red"}`; the others stay.
        level: the lowest level that it writes.
    """

    def __init__(
        self, stream: TextIO | None = None, styles: Mapping[str, str] | None = None, level: int | str = logging.NOTSET
    ) -> None:
        super().__init__(stream)
        self.setLevel(level)
        self.setFormatter(RunFormatter())
        self.colors = wanted(get_current_settings())
        self.styles = parsed(styles) if styles else STYLES

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless another handler of the root logger writes it to the same terminal."""
        if self in logging.root.handlers or not _root_writes_to(self.stream):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, in colours if they are wanted and the stream is a terminal."""
        line = super().format(record)
        return painted(line, self.styles) if self.colors and _is_terminal(self.stream) else line


_asked: tuple[TextIO | None, bool] = (None, False)


def _is_terminal(stream: TextIO) -> bool:
    """Whether lines are shown by a terminal. The answer is remembered: asking anew is a system call each time."""
    global _asked
    known, answer = _asked
    if stream is not known:
        answer = stream.isatty() if hasattr(stream, "isatty") else False
        _asked = (stream, answer)
    return answer


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
    """Set up logging, once for each settings: by the user's own configuration, else as we do it.

    Raises:
        ConfigurationError: the user's configuration can't be, and nothing has run yet; later on that is logged, and
            what was in force stays.
    """
    global _configured
    if settings is _configured:
        return
    with _lock:
        try:
            # In a worker process nothing is written: its records go to the process that has started it.
            config = None if _sent_away else custom_config(settings)
            apply(config, settings)
        except ConfigurationError as error:
            if _configured is None:
                raise
            logging.getLogger("kept.logging").error("Logging stays as it is: %s", error)
        else:
            console.colors = wanted(settings)
            for name in ("kept", *settings.logging.extra_loggers):
                _connect(logging.getLogger(name), settings, ours=config is None)
        _configured = settings


def _connect(logger: logging.Logger, settings: Settings, ours: bool) -> None:
    """Give a logger our handler and level, or take our handler away where the user's configuration holds."""
    if not ours:
        logger.removeHandler(console)
        return
    logger.setLevel(settings.logging.level)
    if not _sent_away and console not in logger.handlers:
        logger.addHandler(console)
