"""`kept why`: why a run was a hit, a miss or neither."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kept.engine.explain import Explanation
from kept.engine.explaining import explain_entry, explain_record
from kept.exceptions import ConfigurationError
from kept.history import History, RunRecord, open_recorder
from kept.results import ResultStore
from kept.settings import get_current_settings
from kept.store import Entry


def why(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|KEY",
            help="The name, id or key of a run, or how one begins; the last run by default.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array, one object a run.")] = False,
) -> None:
    """Say why a run was a hit, a miss or neither; of a flow run, why each run in it was."""
    path = Path(get_current_settings().home) / "history.sqlite"
    history, store = open_recorder(path).history(), ResultStore()
    found = history.find(run) if run else history.last()
    if found is not None:
        began = history.began(found)
        explained = [explain_record(record, began, history, store) for record in _runs_of(found, history)]
    elif run and isinstance(entry := store.lookup(run), Entry):
        explained = [explain_entry(entry)]
    else:
        what = f"No run has an id, name or key that begins with {run!r}" if run else "No run is recorded"
        raise ConfigurationError(f"{what} in {path}. Is it the KEPT_HOME of that run, and KEPT_HISTORY_ENABLED on?")
    if as_json:
        typer.echo(json.dumps([one.as_dict() for one in explained], indent=2))
        return
    if found is not None and found.kind == "flow":
        typer.echo(f"Flow run {found.name!r} of {found.of}: {found.state_name}, {len(explained)} runs in it")
    for text in _folded(explained):
        typer.echo(text)


def _runs_of(found: RunRecord, history: History) -> Iterator[RunRecord]:
    """The run itself and all in it; a flow that nobody wanted to keep goes without saying."""
    if found.kind == "task" or found.decision != "OFF":
        yield found
    if found.kind == "flow":
        for record in history.of_flow_run(found.id):
            yield from _runs_of(record, history)


def _folded(explained: list[Explanation]) -> Iterator[str]:
    """Each explanation, or the first of those that are of one kind."""
    alike: dict[tuple[object, ...], list[Explanation]] = {}
    for one in explained:
        kind = (one.of, one.decision, one.reason, *(difference.what for difference in one.differences))
        alike.setdefault(kind, []).append(one)
    for first, *others in alike.values():
        yield str(first)
        if others:
            yield f"  {len(others):,} more of the same"
