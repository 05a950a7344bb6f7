"""`kept cache`: the places that keep results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kept.blocks import documents
from kept.exceptions import ConfigurationError
from kept.settings import Settings, get_current_settings
from kept.storage import resolve_storage
from kept.store import Store
from kept.store.bucket import Bucket
from kept.store.checkup import Step, examined_bucket, examined_files, examined_store

app = typer.Typer(help="Examine the places that keep results.", no_args_is_help=True, rich_markup_mode=None)

_SIGNS = {True: "ok", False: "FAILED", None: "no"}


@app.callback()
def commands() -> None:
    """Say what they are about: a group of one command would be that command."""


@app.command()
def ping(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[PLACE]", help="A saved block, as type/name or name, a URL or a path.", show_default=False
        ),
    ] = None,
) -> None:
    """Try a place for results from end to end, by default the one of the settings, and say what it guarantees."""
    settings = get_current_settings()
    store = resolve_storage(_named(place), settings)
    typer.echo(store.location)
    failed = False
    for step in _steps(store, settings):
        typer.echo(f"  {step.name:<14}{_SIGNS[step.ok]:<8}{step.said}".rstrip())
        failed |= step.ok is False
    if failed:
        raise typer.Exit(1)


def _steps(store: Store, settings: Settings) -> Iterator[Step]:
    files = store.bare.filesystem if store.bare is not None else None
    if isinstance(files, Bucket):
        return examined_bucket(files, Path(settings.home) / "guarantees.json")
    return examined_store(store) if files is None else examined_files(files)


def _named(place: str | None) -> str | None:
    """What the user means: the bare name of a saved block is its reference."""
    if place is None or not place.replace("-", "").isalnum():
        return place
    found = [f"{slug}/{name}" for slug, name in documents.all_saved() if name == place]
    if len(found) > 1:
        raise ConfigurationError(f"Several blocks have the name {place!r}: say which, {' or '.join(found)}.")
    if not found:
        raise ConfigurationError(f"No block is saved under the name {place!r}: `kept block ls` lists those that are.")
    return found[0]
