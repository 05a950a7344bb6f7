"""The command line: `kept version`, `kept config ...`.

A command asks the package and prints the answer; what it finds out belongs into the package. Typer and
tomlkit are imported here and nowhere else, and nothing else imports this folder.
"""

from __future__ import annotations

import sys

import typer

from kept.cli import config, version
from kept.exceptions import KeptException

app = typer.Typer(
    help="Runs Python workflows and keeps what their steps return.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.command("version")(version.show)


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and the exit code 1."""
    try:
        app(prog_name="kept")
    except KeptException as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
