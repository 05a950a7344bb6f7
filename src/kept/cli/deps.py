"""`kept deps`: what the code of a task reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from kept.cli.finding import WORD, find
from kept.fingerprint import CodeIdentity, CodePart, code_identity
from kept.history.code import shown


def deps(
    task: Annotated[str, typer.Argument(metavar="TASK", help=f"A task or flow: {WORD}.", show_default=False)],
) -> None:
    """Show what the code of a task reaches: when any of it changes, the task runs again under the policy CODE."""
    identity = code_identity(find(task).fn)
    for row in _tree(identity):
        typer.echo(row)
    for name, version in sorted(identity.distributions.items()):
        typer.echo(f"installed: {name} {version}")
    for name in identity.unknown:
        typer.echo(f"unknown: {name}, of which nothing but the name counts")


def _tree(identity: CodeIdentity) -> Iterator[str]:
    """The parts, each under what reaches it first; what it reaches in its turn is shown once."""
    by_name = {part.name: shown(part) for part in identity.parts}
    above: set[str] = set()

    def rows(part: CodePart, first: str, rest: str) -> Iterator[str]:
        again = part.name in above and part.reaches
        yield f"{first}{_said(part)}{' (see above)' if again else ''}"
        below = [] if again else [by_name[name] for name in part.reaches if name in by_name]
        above.add(part.name)
        for child in below:
            is_last = child is below[-1]
            yield from rows(child, f"{rest}{'└─ ' if is_last else '├─ '}", f"{rest}{'   ' if is_last else '│  '}")

    if identity.parts:
        yield from rows(by_name[identity.parts[0].name], "", "")


def _said(part: CodePart) -> str:
    value = f" = {part.text}" if part.kind in ("constant", "object") and part.text else ""
    place = f" ({part.where})" if part.where else ""
    return f"{part.name}{value}{place}" if part.kind == "function" else f"{part.kind} {part.name}{value}{place}"
