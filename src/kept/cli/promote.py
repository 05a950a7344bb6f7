"""`kept promote`: chosen results from one place to another."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from kept.cli.places import bare_place, seconds_of
from kept.settings import get_current_settings
from kept.store.promotion import Promoted, chosen
from kept.store.promotion import promote as promote_entries


def promote(
    from_: Annotated[str, typer.Option("--from", metavar="PLACE", help="Where they are: a block, URL or path.")],
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="Where they go.")],
    task: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Of these tasks, such as 'etl.*'.")] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Of these keys.")] = None,
    since: Annotated[str | None, typer.Option(metavar="AGE", help="Kept in this time, such as 12h or 7d.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied.")] = False,
) -> None:
    """Copy chosen results to another place; `default` is the place of the settings."""
    settings = get_current_settings()
    source, target = (bare_place(place, settings, on_terms=True)[0] for place in (from_, to))
    after = None if since is None else time.time() - seconds_of(since)
    tasks, keys = tuple(task or ()), tuple(key or ())
    counts = [0, 0]
    choice = promote_entries(source, target, lambda entry: chosen(entry, tasks, keys, after), dry_run=dry_run)
    for one in choice:
        counts[bool(one.skipped)] += 1
        typer.echo(_line(one, dry_run))
    verb = "would be copied" if dry_run else "copied"
    typer.echo(f"{counts[0]} {verb} from {source.location} to {target.location}, {counts[1]} skipped.")


def _line(one: Promoted, dry_run: bool) -> str:
    entry = one.entry
    what = f"{entry.task or '-'}  {entry.key}"
    if one.skipped:
        return f"skipped  {what}  ({one.skipped})"
    return f"{'would copy' if dry_run else 'copied'}  {what}  ({entry.size} bytes)"
