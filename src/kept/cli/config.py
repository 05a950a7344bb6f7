"""`kept config`: see, change and check settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kept.exceptions import ConfigurationError
from kept.logging.configuration import custom_config
from kept.settings import (
    ALL_SETTINGS,
    KEPT_PROFILES_PATH,
    Setting,
    active_profile,
    find_setting,
    get_current_settings,
    problems,
    profiles_file,
    settings_file,
)
from kept.settings.profiles import Profile

Project = Annotated[bool, typer.Option("--project", help="In the project's kept.toml or pyproject.toml instead.")]

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
    """List the active profile, the settings and their values."""
    settings = get_current_settings()
    typer.echo(f"KEPT_PROFILE={active_profile().name}")
    for setting in dict.fromkeys((*ALL_SETTINGS, *settings.sources)):
        source = settings.sources.get(setting)
        if source or show_defaults:
            origin = f"  (from {source or 'the default'})" if show_sources else ""
            typer.echo(f"{setting.name}={setting.shown(setting.value())}{origin}")
    if not settings.sources and not show_defaults:
        typer.echo("All settings have their defaults; --show-defaults lists them.", err=True)


@app.command("set")
def set_(
    assignments: Annotated[list[str], typer.Argument(metavar="KEPT_NAME=VALUE...", show_default=False)],
    project: Project = False,
) -> None:
    """Write settings to the active profile, or with --project to the project's file.

    That is the nearest kept.toml, or the nearest pyproject.toml with a table [tool.kept]; if neither is found,
    kept.toml is made in the current directory.
    """
    from kept.cli.edit import write, write_profile  # noqa: PLC0415 - see `unset`

    wanted = dict(_parse(assignment) for assignment in assignments)
    if project:
        where = str(write(settings_file(), Path.cwd(), wanted))
    else:
        profile = _profile_to_change(wanted)
        write_profile(profiles_file(), profile.name, {setting.name: value for setting, value in wanted.items()})
        where = f"profile {profile.name!r}"
    for setting, value in wanted.items():
        typer.echo(f"Set {setting.name}={setting.shown(value)} in {where}.")
        _mention_what_wins(setting, project)


@app.command()
def unset(
    names: Annotated[list[str], typer.Argument(metavar="KEPT_NAME...", show_default=False)],
    project: Project = False,
) -> None:
    """Take settings out of the active profile, or with --project out of the project's file."""
    # Imported here: tomlkit costs as much as typer, and only the commands that write need it.
    from kept.cli.edit import erase, erase_from_profile  # noqa: PLC0415

    settings = [find_setting(name) for name in names]
    if project:
        where = str(erase(settings_file(), settings))
    else:
        profile = active_profile()
        erase_from_profile(profile, settings)
        where = f"profile {profile.name!r}"
    for setting in settings:
        typer.echo(f"Unset {setting.name} in {where}.")
        _mention_what_wins(setting, project)


@app.command()
def validate() -> None:
    """Check environment, files and profile, and name everything that is wrong."""
    found = problems() or _problems_of_logging()
    for problem in found:
        typer.echo(problem, err=True)
    if found:
        raise typer.Exit(1)
    file = settings_file()
    count = len(get_current_settings().sources)
    where = f"{file.path if file else 'no file'}, profile {active_profile().name!r}"
    typer.echo(f"All settings are right: {count} set, {where}.")


def _problems_of_logging() -> list[str]:
    try:
        custom_config(get_current_settings())
    except ConfigurationError as error:
        return [str(error)]
    return []


def _parse(assignment: str) -> tuple[Setting[Any], object]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigurationError(f"{assignment!r} sets nothing: write it as KEPT_NAME=VALUE.")
    setting = find_setting(name.strip())
    return setting, setting.read(text, "the command line")


def _profile_to_change(wanted: Mapping[Setting[Any], object]) -> Profile:
    if KEPT_PROFILES_PATH in wanted:
        raise ConfigurationError(
            "KEPT_PROFILES_PATH can't be set in a profile, which is found before it is read: "
            "use the variable, or --project."
        )
    return active_profile()


def _mention_what_wins(setting: Setting[Any], project: bool) -> None:
    """Say so when the environment, or the project's file, wins over what has just been written."""
    written = "the file" if project else "the profile"
    for name in (setting.name, *setting.aliases):
        if os.environ.get(name, "").strip():
            typer.echo(f"The variable {name} is set to {os.environ[name]!r} and wins over {written}.", err=True)
    file = settings_file()
    if not project and file and setting.path in file.values:
        typer.echo(f"{file.where(setting.path)} sets it too and wins over the profile.", err=True)
