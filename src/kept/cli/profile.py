"""`kept profile`: named sets of settings, one of which is active."""

from __future__ import annotations

import json
import os
import re
from typing import Annotated

import typer

from kept.exceptions import ConfigurationError
from kept.settings import profiles_file
from kept.settings.kinds import text_of
from kept.settings.profiles import DEFAULT_PROFILE, PROFILE_VARIABLE, ProfilesFile

app = typer.Typer(help="Keep sets of settings under names, and switch.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
_VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@app.command()
def ls() -> None:
    """List the profiles; a star marks the active one."""
    file = profiles_file()
    active = _active(file)
    for name in sorted({*file.profiles, active, DEFAULT_PROFILE}):
        typer.echo(f"{'*' if name == active else ' '} {name}")
    file.find_active(os.environ.get(PROFILE_VARIABLE, ""))


@app.command()
def create(
    name: Name,
    from_: Annotated[str | None, typer.Option("--from", metavar="OTHER", help="Copy this profile.")] = None,
) -> None:
    """Make a profile, empty or as a copy of another one."""
    from kept.cli.edit import write_profile  # noqa: PLC0415 - see `kept config unset`

    file = profiles_file()
    _check_new(file, name)
    write_profile(file, name, file.find(from_).values if from_ else {})
    typer.echo(f"Created profile {name!r} in {file.path}.")
    typer.echo(f"`kept profile use {name}` makes it the active one, `kept -p {name} ...` uses it once.")


@app.command()
def use(name: Name) -> None:
    """Make a profile the active one, in this and all later sessions."""
    from kept.cli.edit import activate_profile  # noqa: PLC0415 - see `kept config unset`

    file = profiles_file()
    activate_profile(file, file.find(name).name)
    typer.echo(f"Profile {name!r} is active now.")
    variable = os.environ.get(PROFILE_VARIABLE, "").strip()
    if variable and variable != name:
        typer.echo(f"The variable {PROFILE_VARIABLE} is set to {variable!r} and wins over this.", err=True)


@app.command()
def inspect(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="The format: json.")] = None,
) -> None:
    """Show what a profile sets, by default the active one."""
    if output not in (None, "json"):
        raise ConfigurationError(f"--output can't be {output!r}; allowed is json.")
    file = profiles_file()
    profile = file.find(name or _active(file))
    if output:
        typer.echo(json.dumps({key: text_of(value) for key, value in profile.values.items()}, indent=2))
        return
    for key, value in profile.values.items():
        typer.echo(f"{key}={text_of(value)}")
    if not profile.values:
        typer.echo(f"Profile {profile.name!r} sets nothing.", err=True)


@app.command()
def rename(name: Name, new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", show_default=False)]) -> None:
    """Give a profile another name; if it is the active one, it stays that."""
    from kept.cli.edit import rename_profile  # noqa: PLC0415 - see `kept config unset`

    file = profiles_file()
    _check_there(file, name)
    _check_new(file, new_name)
    rename_profile(file, name, new_name)
    typer.echo(f"Renamed profile {name!r} to {new_name!r}.")
    if os.environ.get(PROFILE_VARIABLE, "").strip() == name:
        typer.echo(f"The variable {PROFILE_VARIABLE} still names {name!r}: set it to {new_name!r}.", err=True)


@app.command()
def delete(name: Name) -> None:
    """Delete a profile that isn't active."""
    from kept.cli.edit import delete_profile  # noqa: PLC0415 - see `kept config unset`

    file = profiles_file()
    _check_there(file, name)
    if name in (_active(file), file.active):
        raise ConfigurationError(f"Profile {name!r} is the active one: `kept profile use` another one first.")
    delete_profile(file, name)
    typer.echo(f"Deleted profile {name!r}.")


def _active(file: ProfilesFile) -> str:
    return file.active_name(os.environ.get(PROFILE_VARIABLE, ""))


def _check_there(file: ProfilesFile, name: str) -> None:
    if file.find(name).name not in file.profiles:
        raise ConfigurationError(f"Profile {name!r} is not in {file.path}: it sets nothing, and is always there.")


def _check_new(file: ProfilesFile, name: str) -> None:
    if not _VALID.fullmatch(name):
        raise ConfigurationError(f"A profile can't be called {name!r}: letters, digits, '_', '-' and '.' make a name.")
    if name in file.profiles:
        raise ConfigurationError(f"There is a profile {name!r} already; `kept profile inspect {name}` shows it.")
