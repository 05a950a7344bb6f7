"""The command line: `kept version`, `kept config ...`, `kept profile ...`, `kept block ...`,
`kept cache ...`, `kept promote`, `kept why`, `kept deps`, `kept accept`, `kept plan`.

A command asks the package and prints the answer; what it finds out belongs into the package. Typer and
tomlkit are imported here and nowhere else, and nothing else imports this folder.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from kept.cli import accept, block, cache, config, deps, plan, profile, promote, version, why
from kept.exceptions import KeptException
from kept.settings.profiles import PROFILE_VARIABLE

app = typer.Typer(
    help="Runs Python workflows and keeps what their steps return.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.add_typer(profile.app, name="profile")
app.add_typer(block.app, name="block")
app.add_typer(cache.app, name="cache")
app.command("promote")(promote.promote)
app.command("why")(why.why)
app.command("plan")(plan.plan)
app.command("deps")(deps.deps)
app.command("accept")(accept.accept)
app.command("version")(version.show)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version.version_of("kept"))
        raise typer.Exit


@app.callback()
def options(
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="NAME", help="Use this profile, this time.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", "-v", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what goes for every command."""
    if profile is not None:
        os.environ[PROFILE_VARIABLE] = profile


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and the exit code 1."""
    try:
        app(prog_name="kept")
    except KeptException as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
