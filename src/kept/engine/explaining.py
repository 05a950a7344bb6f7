"""Finds out what explains a run: what was kept of the same step before, here and in its store."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kept.context import flow_context_of
from kept.engine.explain import NOT_KEPT, CodeOf, Explanation, Kept, compared, nearest_of
from kept.engine.plan import Bypass, Hit, Run, kept_by_another
from kept.exceptions import KeptException, StoreError
from kept.fingerprint import CodeIdentity, CodePart, code_identity
from kept.history import RunRecord, code
from kept.results import Origin
from kept.store.entry import Entry, Miss
from kept.utilities.remembered import remembered

if TYPE_CHECKING:
    from kept.engine.steps import RunSteps
    from kept.history import History
    from kept.results import ResultStore

WORDS = {Hit: "HIT", Run: "MISS", Bypass: "OFF"}
"""What people call the decisions."""
_CODE = "code-"
"""How the keys begin under which code is left for others."""
_MOST_SCANNED = {True: 1000, False: 100_000}
"""How many entries are looked through, in a store that is far away and here."""


def explain(run: RunSteps, scan: bool = False) -> Explanation:
    """What was decided about a run, and why.

    Arguments:
        scan: whether to look through the store if the history knows nothing of the step.
    """
    decision, identity = run.decision, run.identity
    found = Explanation(WORDS[type(decision)], decision.reason, run.recorded_as, time.time(), run=run.run.name)
    if run.flow is not None:
        found = found._replace(flow_run=run.flow.flow_run.name)
    if identity is not None:
        found = found._replace(key=identity.key, parts=identity.parts)
    if isinstance(decision, Hit):
        return found._replace(nearest=kept_of(decision.entry), saved=decision.entry.seconds)
    if identity is None or decision.reason != NOT_KEPT:
        return found
    candidates, history = kept_results(run, scan)
    arguments = remembered(run.parameters, identity.parts) or {}
    return against(found, arguments, candidates, code_source(history, run.rules.store, run.spec.fn))


def kept_results(run: RunSteps, scan: bool = True, most: int = 200) -> tuple[list[Kept], History | None]:
    """What was kept of the step of a run so far, and the history, if there is one, that may know what its code was.

    What was kept before the flow run around began goes before what others in it have kept: an element of a map is not
    one that has changed.

    Arguments:
        scan: as for `explain`.
        most: how many results of the history are looked at.
    """
    recorder = run.rules.recorder
    history: History | None = None if recorder is None else recorder.history()
    known = []
    with contextlib.suppress(StoreError):  # the log has told that the history is in trouble
        if history is not None:
            records = history.kept(run.recorded_as, _began(run), time.time(), most=most)
            known = [_of_record(record) for record in records]
    return known or (list(_scanned(run.rules.store, run.spec.key)) if scan else []), history


def _began(run: RunSteps) -> float:
    """When the outermost flow run around began."""
    outermost, around = run.run, run.flow
    while around is not None:
        outermost, around = around.flow_run, flow_context_of(around.parent)
    return float(outermost.started)


def explain_record(record: RunRecord, began: float, history: History, store: ResultStore) -> Explanation:
    """Why a run of the past was what it was.

    Arguments:
        began: when the outermost flow run around it began.
        store: where to look for what the history does not know.
    """
    found = Explanation(
        record.decision,
        record.reason,
        record.of,
        record.started,
        record.key,
        record.parts or {},
        record.name,
        record.flow_run,
        record.state_name,
        saved=record.saved,
    )
    if record.decision == "HIT":
        return found._replace(nearest=_origin(record, history, store))
    if record.parts is not None and record.reason == NOT_KEPT:
        before = [_of_record(one) for one in history.kept(record.of, began, record.started)]
        found = against(found, record.arguments or {}, before, code_source(history, store))
    if record.not_kept:
        found = found._replace(reason=f"{found.reason}; its own result is not: {record.not_kept}")
    return found


def explain_entry(entry: Entry) -> Explanation:
    """What an entry says of who kept it, for a key that no run of the history has."""
    return Explanation("HIT", "kept", entry.task, time.time(), entry.key, nearest=kept_of(entry), saved=entry.seconds)


def against(found: Explanation, arguments: Any, candidates: Iterable[Kept], code_of: CodeOf) -> Explanation:
    """The explanation of a miss with what differs from the nearest of some kept results."""
    nearest = nearest_of(found.parts, candidates)
    if nearest is None:
        return found
    differences, not_compared = compared(found.parts, arguments, nearest, code_of)
    return found._replace(nearest=nearest, differences=differences, not_compared=not_compared)


def _scanned(store: ResultStore | None, key: str) -> Iterator[Kept]:
    """What a store holds of the task with this key (`module.qualname`), as far as it is looked through."""
    if store is not None:
        for entry in itertools.islice(store.entries.scan(), _MOST_SCANNED[store.slow]):
            if entry.task and not kept_by_another(entry, key) and not entry.key.startswith(_CODE):
                yield kept_of(entry)


def kept_of(entry: Entry) -> Kept:
    """What an entry says."""
    parts = {}
    with contextlib.suppress(ValueError):
        parts = json.loads(entry.parts)
    return Kept(entry.key, parts, entry.created, entry.seconds, entry.run, entry.flow_run)


def _of_record(run: RunRecord) -> Kept:
    parts, arguments = run.parts or {}, run.arguments or {}
    return Kept(run.key or "", parts, run.ended, run.ended - run.started, run.name, run.flow_run, arguments)


def _origin(record: RunRecord, history: History, store: ResultStore) -> Kept | None:
    """Who kept what a hit of the past used. A store that is near answers at once, the history looks through a step."""

    def in_store() -> Kept | None:
        with contextlib.suppress(KeptException):
            entry = store.lookup(record.key or "")
            if isinstance(entry, Entry) and entry.created <= record.started:
                return kept_of(entry)
        return None

    def in_history() -> Kept | None:
        kept = history.kept_under(record.of, record.key, record.started)
        return None if kept is None else _of_record(kept)

    return in_history() or in_store() if store.slow else in_store() or in_history()


def code_source(history: History | None, store: ResultStore | None, fn: Any = None) -> CodeOf:
    """Gives what a code digest stands for: as the function has it now, as the history has it, or as others left it."""

    def code_of(digest: str) -> Sequence[CodePart]:
        if fn is not None and (identity := code_identity(fn)).digest == digest:
            return [code.shown(part) for part in identity.parts]
        with contextlib.suppress(StoreError):
            if history is not None and (known := history.code(digest)):
                return known
        return _left_in(store, digest)

    return code_of


def leave_code(store: ResultStore, identities: Iterable[CodeIdentity], task: str) -> None:
    """Keep what digests of code stand for beside the results, for others who share the store.

    Raises:
        StoreError: it can't be written.
        SerializationError: the store accepts no such thing.
    """
    texts = {_code_key(one.digest): code.written(one.parts) for one in identities}
    store.publish([store.pack(text, key, origin=Origin(task)) for key, text in texts.items()])


def _code_key(digest: str) -> str:
    return _CODE + digest.rpartition(":")[2]


def _left_in(store: ResultStore | None, digest: str) -> Sequence[CodePart]:
    if store is None:
        return ()
    with contextlib.suppress(KeptException, ValueError, TypeError):  # what others left may be anything
        entry = store.lookup(_code_key(digest))
        text = entry if isinstance(entry, Miss) else store.fetch(entry)
        return () if isinstance(text, Miss) else code.read(text)
    return ()
