"""What `KEPT_CACHE_CHECK` looks for: hits that come out otherwise when they are computed again, and changed arguments.

Nothing here changes what a run comes to. Which of two results is right nobody knows, and a step that gives another one
each time would be overwritten for ever: the kept value is used and stays, as it would without the check.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kept.cache_policies import excluded_names
from kept.engine.effects import Call, Io, RunTimeout, Steps
from kept.engine.generators import UNFINISHED, Stream, finished, unseen
from kept.engine.inputs import copied
from kept.engine.outcome import settled
from kept.engine.plan import Hit, ago
from kept.exceptions import HashError, KeptException, MissingResult
from kept.fingerprint import data_fingerprint, fingerprint
from kept.fingerprint.differences import Difference, difference
from kept.logging.loggers import log_run
from kept.logging.prints import logged_prints
from kept.results import KeptResult
from kept.run_notes import CHANGED_ARGUMENTS, NOT_CHECKED, OTHER_RESULT, SAME_RESULT
from kept.states import State
from kept.store import Miss
from kept.transactions import Transaction, activate, deactivate, get_transaction
from kept.utilities.tracebacks import shown

if TYPE_CHECKING:
    from kept.engine.steps import RunSteps

Arguments = dict[str, Any]


class Watch:
    """The arguments of a call as they were before it.

    Arguments:
        job: the run that makes the call.
        used: the arguments that it is made with.
        before: others that are as these were, if there are any: they tell what was changed where.
    """

    def __init__(self, job: RunSteps, used: Arguments, before: Arguments | None) -> None:
        ignored = excluded_names(job.rules.policy)
        self._job, self._used, self._before = job, used, before
        self._digests = {name: _digest(value) for name, value in used.items() if name not in ignored}

    def tell(self) -> None:
        """Say which arguments the call has changed, and where."""
        for name in self._changed():
            where = self._where(name)
            self._job.note(f"changed its argument {name!r}{where}")
            _tell(
                self._job,
                logging.ERROR,
                CHANGED_ARGUMENTS,
                f"{self._job.named} changed its argument {name!r}{where}. Who passed it sees that after a run, and not "
                "after a hit. Let it work on a copy, as copy.deepcopy makes one, and return what it has changed.",
            )

    def _changed(self) -> Iterator[str]:
        for name, digest in self._digests.items():
            if digest is not None and _digest(self._used[name]) != digest:
                yield name

    def _where(self, name: str) -> str:
        try:
            found = None if self._before is None else difference(self._before[name], self._used[name], name)
        except HashError:
            found = None
        return "" if found is None else f": {found}"


def watch(job: RunSteps) -> Watch | None:
    """What looks at the arguments of a run that computes; None if nobody could change them but others."""
    # What is called elsewhere gets copies, and the caller of a generator is at work while that runs.
    if job.identity is None or job.elsewhere or job.spec.is_generator:
        return None
    return Watch(job, job.parameters, _copies(job) if _is_chosen(job) else None)


def check_hit(job: RunSteps, state: State[Any]) -> Steps[None]:
    """Compute a hit again, if it is among those that are checked, and say whether it came out as it was kept."""
    if not _is_chosen(job):
        return
    known = job.identity, job.decision
    try:
        not_ready = yield from job.inputs_ready()
        if not_ready or job.identity is None:
            raise MissingResult("an input was lost from the store")
        found = yield from _compared(job, state.data)
    except (Exception, SystemExit) as error:
        job.identity, job.decision = known
        _say_unchecked(job, error)
        return
    job.note(f"computed again: {found or 'the same'}")
    if found is None:
        _tell(job, logging.DEBUG, SAME_RESULT, f"{job.named} was computed again, with the same result.")
    else:
        _say_different(job, state.data, found)


def _is_chosen(job: RunSteps) -> bool:
    # What a run writes to files would take the place of what was kept, under the eyes of the caller.
    if isinstance(job.decision, Hit) and job.decision.entry.files:
        return False
    # The id of a run is random, and a second source of chance would have to be kept apart from the user's.
    return int(job.run.id[:8], 16) < job.rules.check * (1 << 32)


def _copies(job: RunSteps) -> Arguments | None:
    return copied(job.parameters, excluded_names(job.rules.policy))


def _digest(value: Any) -> str | None:
    """The fingerprint of an argument; None if it has none."""
    try:
        return fingerprint(value)
    except HashError:
        return None


def _compared(job: RunSteps, kept: KeptResult) -> Steps[Difference | None]:
    """Where a result that is computed again differs from the kept one. The caller's arguments stay as they are."""
    copies = None if job.elsewhere else _copies(job)
    watched = None if job.elsewhere else Watch(job, copies or job.parameters, copies and job.parameters)
    value = yield from _computed(job, copies or job.parameters)
    if watched is not None:
        watched.tell()
    store, entry = job.rules.store, kept.entry
    assert store is not None
    value = store.as_kept(value, entry)
    if entry.fingerprint is not None and data_fingerprint(value) == entry.fingerprint:
        return None
    old = (yield Io(kept.fetched, (), True)) if kept.slow else kept.load_result()
    if isinstance(old, Miss):
        raise MissingResult(old.reason)
    return difference(old, value)


def _computed(job: RunSteps, parameters: Arguments) -> Steps[Any]:
    """What the function returns now, called once, in a transaction as each call of it has one."""
    txn = Transaction(None, job.rules.store, parent=get_transaction(), of_task=True)
    if job.holds_results_back:
        activate(txn)
    try:
        value = yield from _printed(job, parameters)
    except Exception:
        yield from txn.rolling_back()
        raise
    except BaseException:
        txn.rollback()
        raise
    finally:
        deactivate(txn)
    yield from txn.finishing()
    return value


def _printed(job: RunSteps, parameters: Arguments) -> Steps[Any]:
    if not job.rules.log_prints:
        return (yield from _returned(job, parameters))
    with logged_prints():
        return (yield from _returned(job, parameters))


def _returned(job: RunSteps, parameters: Arguments) -> Steps[Any]:
    fn, timeout = job.spec.fn, job.spec.options.timeout_seconds
    args, kwargs = job.spec.binder.call(parameters)
    if job.spec.is_generator:
        outcome: Any = yield from unseen(Stream(fn(*args, **kwargs), timeout, collects=True).steps())
        return outcome.value
    value = yield Call(fn, args, kwargs, timeout)
    if value.__class__ in UNFINISHED:
        value = yield from finished(value, timeout, job.spec)
    return (yield from settled(value)) if job.settles else value


def _say_different(job: RunSteps, kept: KeptResult, found: Difference) -> None:
    entry = kept.entry
    by = f" by run {entry.run!r}" if entry.run else ""
    _tell(
        job,
        logging.ERROR,
        OTHER_RESULT,
        f"{job.named} returns something else than what is kept of it: {found}. The kept result is used; it was kept "
        f"{ago(max(0.0, time.time() - entry.created))}{by} under {entry.key!r}. The key knows nothing of what made the "
        "difference (code, the time, chance, a file, a global variable): make that an argument or a part of the cache "
        "policy, as PURE does with code, or renew the result with refresh_cache=True.",
    )


def _say_unchecked(job: RunSteps, error: BaseException) -> None:
    said, is_ours = _said(job, error), isinstance(error, (KeptException, RunTimeout))
    job.note(f"could not be computed again and compared: {said}")
    if isinstance(error, HashError):
        if "unchecked" in job.spec.memo:
            return  # what has no fingerprint has none the next time either
        job.spec.memo["unchecked"] = True
    message = f"{job.named} can't be computed again and compared: {said.rstrip('.')}. Its kept result is used."
    _tell(job, logging.WARNING, NOT_CHECKED, message, None if is_ours else shown(error))


def _said(job: RunSteps, error: BaseException) -> str:
    if isinstance(error, RunTimeout):
        return f"it took longer than its timeout_seconds, {job.spec.options.timeout_seconds:g}"
    return str(error) if isinstance(error, KeptException) else f"{type(error).__name__}: {error}"


def _tell(job: RunSteps, level: int, finding: str, message: str, info: Any = None) -> None:
    notes = job.notes()
    is_news = notes is None or notes.is_news(finding, job.named)
    log_run(job.log, level if is_news else logging.DEBUG, f"KEPT_CACHE_CHECK: {message}", job.label, info)
