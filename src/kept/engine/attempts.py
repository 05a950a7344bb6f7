"""Calling the user's function until it returns, retries are used up, or it must not be tried again."""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from kept.engine.effects import Call, RunTimeout, Sleep, Steps
from kept.engine.generators import UNFINISHED, Returned, Stream, finished
from kept.engine.hooks import asked, run_hooks
from kept.engine.plan import delay_before
from kept.logging.loggers import log_run
from kept.states import AwaitingRetry, Failed, Retrying, Running, State
from kept.utilities.culprit import said_by
from kept.utilities.tracebacks import shown

if TYPE_CHECKING:
    from kept.engine.steps import RunSteps


def attempts(job: RunSteps) -> Steps[Returned | State[Any]]:
    """Call the function until it returns or may not be tried again; then what it returned, or the failed state."""
    fn, run, rules = job.spec.fn, job.run, job.rules
    args, kwargs = job.spec.binder.call(job.parameters)
    timeout = job.spec.options.timeout_seconds
    stream: Stream | None = None
    retry = 0
    while True:
        run.run_count += 1
        run.state = Retrying() if retry else Running()
        if job.spec.options.on_running:
            yield from run_hooks(job.spec.options.on_running, (job.owner, run, run.state), job.log, job.label)
        try:
            if job.spec.is_generator:
                stream = Stream(fn(*args, **kwargs), timeout, job.collects)
                outcome = yield from stream.steps()
                if stream.steered:
                    job.forget_key("its caller sent something in, which the key knows nothing of")
                return outcome
            value = yield Call(fn, args, kwargs, timeout)
            if value.__class__ in UNFINISHED:
                value = yield from finished(value, timeout, job.spec)
        except Exception as error:
            state = failed(job, error)
            may_retry = retry < rules.retries and not (stream and stream.interrupted)
            again = may_retry and (yield from _may_retry(job, state))
            _log_failure(job, state, retry, again)
        else:
            return Returned(value)
        if not again:
            return state
        retry += 1
        delay = _jittered(delay_before(retry, rules.retry_delays), rules.retry_jitter)
        run.state = AwaitingRetry(scheduled_time=datetime.now(timezone.utc) + timedelta(seconds=delay))
        if delay > 0:
            yield Sleep(delay)


def failed(job: RunSteps, error: Exception) -> State[Any]:
    """The failed state that an exception leads to."""
    if isinstance(error, RunTimeout):
        seconds = job.spec.options.timeout_seconds
        message = f"{job.kind} run exceeded timeout of {float(seconds)} second(s)"
        return Failed(name="TimedOut", message=message, data=TimeoutError(message).with_traceback(error.__traceback__))
    message = f"{job.kind} run encountered an exception {type(error).__name__}: {said_by(error)}"
    return Failed(message=message, data=error)


def _may_retry(job: RunSteps, state: State[Any]) -> Steps[bool]:
    if job.rules.retry_condition is None:
        return True
    try:
        return bool((yield from asked(job.rules.retry_condition, (job.owner, job.run, state))))
    except Exception as error:
        log_run(job.log, logging.ERROR, "retry_condition_fn raised; the run is not retried", job.label, shown(error))
        return False


def _log_failure(job: RunSteps, state: State[Any], retry: int, again: bool) -> None:
    error = state.data
    message = f"{job.kind} run failed with exception: {said_by(error, repr)}"
    if again:
        delay = delay_before(retry + 1, job.rules.retry_delays)
        when = f"will start {delay:g} second(s) from now" if delay else "will start immediately"
        log_run(job.log, logging.INFO, f"{message} - Retry {retry + 1}/{job.rules.retries} {when}", job.label)
        return
    if job.rules.retries:
        message += " - Retries are exhausted" if retry >= job.rules.retries else " - Not retried"
    log_run(job.log, logging.ERROR, message, job.label, shown(error))


def _jittered(delay: float, factor: float | None) -> float:
    return delay if not factor else delay * random.uniform(1, 1 + factor)
