"""Calling the user's hooks: in order, and harmlessly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from kept.engine.effects import Call, Steps
from kept.logging.loggers import log_run
from kept.store.completing import completed
from kept.utilities.tracebacks import shown


def run_hooks(
    hooks: Iterable[Callable[..., Any]], args: tuple[Any, ...], log: logging.Logger, label: str
) -> Steps[None]:
    """Call each hook; one that raises is logged, and the others run all the same."""
    for hook in hooks:
        name = getattr(hook, "__name__", None) or getattr(getattr(hook, "func", hook), "__name__", repr(hook))
        log_run(log, logging.INFO, f"Running hook {name!r} in response to entering state {args[-1].name!r}", label)
        try:
            yield from asked(hook, args)
        except (Exception, SystemExit) as error:
            log_run(
                log,
                logging.ERROR,
                f"An error was encountered while running hook {name!r}",
                label,
                shown(error),
            )
        else:
            log_run(log, logging.INFO, f"Hook {name!r} finished running successfully", label)


def asked(function: Callable[..., Any], args: tuple[Any, ...]) -> Steps[Any]:
    """What a hook or condition answers; it may be async in plain code as well."""
    answer = yield Call(function, args, {}, None)
    return completed(answer)  # in async code it has been awaited already
