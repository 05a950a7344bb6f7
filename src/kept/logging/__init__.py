"""How runs write to the log: loggers by the standard library, one console handler, the documented format."""

from __future__ import annotations

from kept.logging.loggers import disable_run_logger, get_logger, get_run_logger

__all__ = ["disable_run_logger", "get_logger", "get_run_logger"]
