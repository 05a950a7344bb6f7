"""Calling the user's function until it returns, retries are used up, or it must not be tried again."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from kept.context import Run
from kept.engine.effects import Call, RunTimeout, Sleep, Steps
from kept.engine.generators import GENERATORS, Returned, Stream, listed
from kept.engine.hooks import asked, run_hooks
from kept.engine.plan import delay_before
from kept.engine.spec import Spec
from kept.logging.loggers import log_run
from kept.states import AwaitingRetry, Failed, Retrying, Running, State
from kept.utilities.tracebacks import shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be called, and how often."""

    kind: str
    """ "Task" or "Flow"."""
    owner: Any
    """The user's task or flow object, for hooks and conditions."""
    spec: Spec
    run: Run
    retries: int
    delays: tuple[float, ...]
    log: logging.Logger
    label: str
    jitter: float | None = None
    condition: Callable[..., Any] | None = None
    collects: bool = False
    """Whether the values of a generator are to be kept."""


def attempts(job: Job, fn: Callable[..., Any], parameters: dict[str, Any]) -> Steps[Returned | State[Any]]:
    """Call `fn` until it returns or may not be tried again; then what it returned, or the failed state."""
    args, kwargs = job.spec.binder.call(parameters)
    timeout = job.spec.options.timeout_seconds
    stream: Stream | None = None
    retry = 0
    while True:
        yield from _start(job, retry)
        try:
            if job.spec.is_generator:
                stream = Stream(fn(*args, **kwargs), timeout, job.collects)
                return (yield from stream.steps())
            value = yield Call(fn, args, kwargs, timeout)
            if value.__class__ in GENERATORS:
                value = yield from listed(value, timeout)
        except Exception as error:
            state = failed(job, error)
            may_retry = retry < job.retries and not (stream and stream.interrupted)
            again = may_retry and (yield from _may_retry(job, state))
            _log_failure(job, state, retry, again)
        else:
            return Returned(value)
        if not again:
            return state
        retry += 1
        delay = _jittered(delay_before(retry, job.delays), job.jitter)
        job.run.state = AwaitingRetry(scheduled_time=datetime.now(timezone.utc) + timedelta(seconds=delay))
        if delay > 0:
            yield Sleep(delay)


def failed(job: Job, error: Exception) -> State[Any]:
    """The failed state that an exception leads to."""
    if isinstance(error, RunTimeout):
        seconds = job.spec.options.timeout_seconds
        message = f"{job.kind} run exceeded timeout of {float(seconds)} second(s)"
        return Failed(name="TimedOut", message=message, data=TimeoutError(message).with_traceback(error.__traceback__))
    message = f"{job.kind} run encountered an exception {type(error).__name__}: {error}"
    return Failed(message=message, data=error)


def _start(job: Job, retry: int) -> Steps[None]:
    job.run.run_count += 1
    job.run.state = Retrying() if retry else Running()
    hooks = job.spec.options.on_running
    if hooks:
        yield from run_hooks(hooks, (job.owner, job.run, job.run.state), job.log, job.label)


def _may_retry(job: Job, state: State[Any]) -> Steps[bool]:
    if job.condition is None:
        return True
    try:
        return bool((yield from asked(job.condition, (job.owner, job.run, state))))
    except Exception as error:
        log_run(job.log, logging.ERROR, "retry_condition_fn raised; the run is not retried", job.label, shown(error))
        return False


def _log_failure(job: Job, state: State[Any], retry: int, again: bool) -> None:
    error = state.data
    message = f"{job.kind} run failed with exception: {error!r}"
    if again:
        delay = delay_before(retry + 1, job.delays)
        when = f"will start {delay:g} second(s) from now" if delay else "will start immediately"
        log_run(job.log, logging.INFO, f"{message} - Retry {retry + 1}/{job.retries} {when}", job.label)
        return
    if job.retries:
        message += " - Retries are exhausted" if retry >= job.retries else " - Not retried"
    log_run(job.log, logging.ERROR, message, job.label, shown(error))


def _jittered(delay: float, factor: float | None) -> float:
    return delay if not factor else delay * random.uniform(1, 1 + factor)
