"""`print` as a log record, in runs with `log_prints=True`."""

from __future__ import annotations

import builtins
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from kept.context import current_run
from kept.logging.loggers import get_run_logger

_print = builtins.print
_lock = threading.Lock()
_runs = 0


@contextlib.contextmanager
def logged_prints() -> Iterator[None]:
    """Let `print` go through the log where the current run asks for it; `print` itself comes back at the end."""
    _count(+1)
    try:
        yield
    finally:
        _count(-1)


def _count(by: int) -> None:
    global _runs, _print
    with _lock:
        if _runs == 0:
            _print = builtins.print
            builtins.print = print_or_log
        _runs += by
        if _runs == 0:
            builtins.print = _print


def print_or_log(*values: Any, **options: Any) -> None:
    """Log the line if the run wants its prints logged and they were not redirected, else print it."""
    context = current_run()
    if context is None or not context.log_prints or _redirected(options.get("file"), context.stdout):
        _print(*values, **options)
        return
    separator = options.get("sep")
    message = (" " if separator is None else separator).join(map(str, values))
    get_run_logger(context).info("%s", message)


def _redirected(file: Any, stdout_of_run: Any) -> bool:
    if file is None:
        return sys.stdout is not stdout_of_run
    return file is not sys.stdout and file is not sys.stderr
