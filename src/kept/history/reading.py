"""What the history says: runs by name, id or key, what was kept of a step, and what a code digest stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import decompress

from kept.fingerprint import CodePart
from kept.history import code
from kept.history.records import RunRecord
from kept.store.database import Database
from kept.utilities.sql import named_queries

SQL = named_queries(Path(__file__).with_name("queries.sql"))


class History:
    """The runs in a database of the recorder. Raises `StoreError` where it can't be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> RunRecord | None:
        """The run that ended last."""
        return next(iter(self._runs("last")), None)

    def find(self, word: str) -> RunRecord | None:
        """The last run of this id, name or key, or else of one that begins so."""
        exact = self._runs("named", word, word, word)
        return next(iter(exact or self._runs("beginning", *(len(word), word) * 3)), None)

    def of_flow_run(self, flow_run_id: str) -> list[RunRecord]:
        """The runs in a flow run, in the order of their starts."""
        return self._runs("of_flow_run", flow_run_id)

    def kept(self, of: str, *before: float, most: int = 200) -> list[RunRecord]:
        """The last results that were kept of a step, the latest first: the last ones before the first of some moments
        before which there are any.

        Arguments:
            before: in seconds since the epoch.
            most: how many at most.
        """
        found = (self._runs("kept", of, moment, most) for moment in before)
        return next(filter(None, found), [])

    def began(self, run: RunRecord) -> float:
        """When the outermost flow run around a run began, as far as it is recorded; the run itself without one."""
        around = self.find(run.flow_run_id) if run.flow_run_id else None
        return run.started if around is None else self.began(around)

    def kept_under(self, of: str, key: str | None, before: float) -> RunRecord | None:
        """The run that kept what was at a key at a moment."""
        return next(iter(self._runs("kept_under", of, before, key)), None)

    def code(self, digest: str) -> tuple[CodePart, ...]:
        """What a code digest stands for; nothing if that was never recorded here."""
        rows = self._database.fetch_all(SQL["code"], (digest,))
        return code.read(decompress(rows[0][0])) if rows else ()

    def _runs(self, query: str, *parameters: Any) -> list[RunRecord]:
        return [_record(RunRecord(*row)) for row in self._database.fetch_all(SQL[query], parameters)]


def _record(run: RunRecord) -> RunRecord:
    return run._replace(parts=_read(run.parts), arguments=_read(run.arguments), assets=_read(run.assets))


def _read(text: Any) -> Any:
    return None if text is None else json.loads(text)
