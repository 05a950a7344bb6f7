"""Tracebacks as those who wrote the flow read them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from kept.exceptions import ConfigurationError

_OURS = str(Path(__file__).parents[1])


def shown(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """The error for a log record: its traceback without the frames of kept that lie between those of the user.

    Frames of kept at its end stay: that is where an error of ours was raised; but not those of a `ConfigurationError`,
    which is about a line of the user. The error itself is left as it is.
    """
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    seen = isinstance(error, ConfigurationError)
    for frame in reversed(frames):
        theirs = not frame.tb_frame.f_code.co_filename.startswith(_OURS)
        seen = seen or theirs
        if theirs or not seen:
            trace = TracebackType(trace, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return type(error), error, trace
