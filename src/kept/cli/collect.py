"""`kept cache collect`: what was left by those who were killed."""

from __future__ import annotations

from typing import Annotated

import typer

from kept.cli.places import bare_place, seconds_of
from kept.exceptions import ConfigurationError
from kept.settings import get_current_settings
from kept.store.upkeep import Collected
from kept.store.upkeep import collect as collect_store


def collect(
    place: Annotated[
        str | None,
        typer.Argument(metavar="PLACE", help="A saved block, a URL or a path; else that of the settings."),
    ] = None,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Leave what is younger, such as 12h or 2d.")
    ] = "1d",
    keys_in: Annotated[
        list[str] | None,
        typer.Option("--keys-in", metavar="PLACE", help="Where more entries are that point here (key_storage)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove what no result needs: marks of killed transactions, blobs without entries, unfinished files."""
    settings = get_current_settings()
    store, wishes = bare_place(place, settings)
    if wishes.read_only and not dry_run:
        raise ConfigurationError(f"{store.location} is read-only by its settings: nothing is removed there.")
    others = [bare_place(other, settings)[0].entries for other in keys_in or ()]
    done = collect_store(store, seconds_of(older_than), dry_run=dry_run, entries=others)
    typer.echo(f"{store.location}: {'would remove' if dry_run else 'removed'} {_said(done)}.")
    if done.kept_blobs:
        typer.echo(f"Blobs were left alone: {done.kept_blobs} with --keys-in.")


def _said(done: Collected) -> str:
    facts = (
        (done.marks, "marks of killed transactions"),
        (done.manifests, "manifests"),
        (done.blobs, f"blobs ({done.blob_bytes:,} bytes)"),
        (done.files, "unfinished files"),
        (done.locks, "old locks"),
    )
    return ", ".join(f"{count} {what}" for count, what in facts if count) or "nothing"
