"""`kept cache`: the places that keep results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kept.cli.collect import collect
from kept.cli.places import named_place
from kept.settings import Settings, get_current_settings
from kept.storage import resolve_storage
from kept.store import Store
from kept.store.bucket import Bucket
from kept.store.checkup import Step, examined_bucket, examined_files, examined_store

app = typer.Typer(help="Examine and clean the places that keep results.", no_args_is_help=True, rich_markup_mode=None)

_SIGNS = {True: "ok", False: "FAILED", None: "no"}

app.command("collect")(collect)


@app.command()
def ping(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="PLACE", help="A saved block, as type/name or name, a URL or a path.", show_default=False
        ),
    ] = None,
) -> None:
    """Try a place for results from end to end, by default the one of the settings, and say what it guarantees."""
    settings = get_current_settings()
    store = resolve_storage(named_place(place), settings)
    typer.echo(store.location)
    failed = False
    for step in _steps(store, settings):
        typer.echo(f"  {step.name:<14}{_SIGNS[step.ok]:<8}{step.said}".rstrip())
        failed |= step.ok is False
    if failed:
        raise typer.Exit(1)


def _steps(store: Store, settings: Settings) -> Iterator[Step]:
    files = store.bare.filesystem if store.bare is not None else None
    redis = bool(settings.locking.redis_url)
    if isinstance(files, Bucket):
        return examined_bucket(files, Path(settings.home) / "guarantees.json", redis)
    return examined_store(store) if files is None else examined_files(files, redis)
