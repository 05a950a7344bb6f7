"""`kept config`: see, change and check settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kept.exceptions import ConfigurationError
from kept.settings import (
    ALL_SETTINGS,
    Setting,
    find_setting,
    get_current_settings,
    problems,
    settings_file,
)

app = typer.Typer(help="See, change and check settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def view(
    show_defaults: Annotated[
        bool, typer.Option("--show-defaults/--hide-defaults", help="List what nothing sets, too.")
    ] = False,
    show_sources: Annotated[
        bool, typer.Option("--show-sources/--hide-sources", help="Say where each value comes from.")
    ] = True,
) -> None:
    """List the settings and their values."""
    settings = get_current_settings()
    for setting in ALL_SETTINGS:
        source = settings.sources.get(setting)
        if source or show_defaults:
            origin = f"  (from {source or 'the default'})" if show_sources else ""
            typer.echo(f"{setting.name}={text_of(setting.value())}{origin}")
    if not settings.sources and not show_defaults:
        typer.echo("All settings have their defaults; --show-defaults lists them.", err=True)


@app.command("set")
def set_(
    assignments: Annotated[list[str], typer.Argument(metavar="KEPT_NAME=VALUE...", show_default=False)],
) -> None:
    """Write settings to the nearest kept.toml.

    If pyproject.toml holds a table [tool.kept] instead, they are written there; if neither is found,
    kept.toml is made in the current directory.
    """
    from kept.cli.edit import write  # noqa: PLC0415 - see `unset`

    wanted = dict(_parse(assignment) for assignment in assignments)
    path = write(settings_file(), Path.cwd(), wanted)
    for setting, value in wanted.items():
        typer.echo(f"Set {setting.name}={text_of(value)} in {path}.")
        _mention_variable(setting)


@app.command()
def unset(
    names: Annotated[list[str], typer.Argument(metavar="KEPT_NAME...", show_default=False)],
) -> None:
    """Take settings out of the file that sets them."""
    # Imported here: tomlkit costs as much as typer, and only the commands that write need it.
    from kept.cli.edit import erase  # noqa: PLC0415

    settings = [find_setting(name) for name in names]
    path = erase(settings_file(), settings)
    for setting in settings:
        typer.echo(f"Unset {setting.name} in {path}.")
        _mention_variable(setting)


@app.command()
def validate() -> None:
    """Check file and environment, and name everything that is wrong."""
    found = problems()
    for problem in found:
        typer.echo(problem, err=True)
    if found:
        raise typer.Exit(1)
    file = settings_file()
    count = len(get_current_settings().sources)
    typer.echo(f"All settings are right: {count} set, {file.path if file else 'no file'}.")


def text_of(value: object) -> str:
    """The text that stands for a value in the environment and on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _parse(assignment: str) -> tuple[Setting[Any], object]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigurationError(f"{assignment!r} sets nothing: write it as KEPT_NAME=VALUE.")
    setting = find_setting(name.strip())
    return setting, setting.read(text, "the command line")


def _mention_variable(setting: Setting[Any]) -> None:
    """Say so when the environment wins over what has just been written."""
    for name in (setting.name, *setting.aliases):
        if os.environ.get(name, "").strip():
            typer.echo(f"The variable {name} is set to {os.environ[name]!r} and wins over the file.", err=True)
