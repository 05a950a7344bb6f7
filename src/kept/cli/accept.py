"""`kept accept`: a change of code that changes no result, so that what was kept stays valid."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from kept.cli.finding import WORD, find
from kept.engine.accepted import Accepted, in_the_end, read_accepted, write_accepted
from kept.engine.explain import Kept, code_differences
from kept.engine.explaining import kept_results
from kept.engine.plan import ago
from kept.exceptions import ConfigurationError
from kept.fingerprint.code import code_identity
from kept.settings import get_current_settings

_MOST = 100_000
"""How many results are looked through for the last one of other code."""


def accept(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help=f"A task or flow: {WORD}.", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why no result changes.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it back: the task runs again.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List what is accepted.")] = False,
) -> None:
    """Say that the present change of a task's code changes no result: what was kept before it stays valid."""
    path = Path(get_current_settings().cache.accepted_path)
    accepted = read_accepted(path)
    if listed:
        for one in accepted:
            typer.echo(_said(one))
        return
    if task is None:
        raise ConfigurationError(f"Which task? `kept accept TASK` takes {WORD}; `kept accept --list` takes none.")
    found = find(task)
    typer.echo((_undone if undo else _accepted)(found, path, accepted, reason))


def _accepted(found: Any, path: Path, accepted: Sequence[Accepted], reason: str) -> str:
    identity, name = code_identity(found.fn), found.spec.key
    for one in accepted:
        if one.code == identity.digest and one.task == name:
            raise ConfigurationError(f"This is accepted already: {_said(one)}. `kept accept --undo` takes it back.")
    results, history = kept_results(found.new_run({}), most=_MOST)
    before = _latest_of_other_code(results, in_the_end(accepted).get(identity.digest, identity.digest), name)
    old = before.parts["code"]
    write_accepted(path, [*accepted, Accepted(name, identity.digest, old, _author(), _now(), reason)])
    changes = code_differences(history.code(old), identity.parts) if history else []
    rows = [f"  - {one}" for one in changes]
    age = ago(max(0.0, datetime.now(timezone.utc).timestamp() - before.at))
    return "\n".join([f"{name}: what was kept {age} in {before.who} stays valid, noted in {path}.", *rows])


def _latest_of_other_code(results: Sequence[Kept], code: str, name: str) -> Kept:
    if not results:
        raise ConfigurationError(f"No result of {name} is known to be kept, so there is none to stay valid.")
    with_code = [kept for kept in results if "code" in kept.parts]
    if not with_code:
        raise ConfigurationError(
            f"The results of {name} are kept under keys without its code, so a change of that changes nothing. "
            "With a cache_policy such as PURE they would."
        )
    others = [kept for kept in with_code if kept.parts["code"] != code]
    if not others:
        raise ConfigurationError(f"The code of {name} has not changed since its results were kept.")
    return max(others, key=lambda kept: kept.at)


def _undone(found: Any, path: Path, accepted: Sequence[Accepted], _: str) -> str:
    digest, name = code_identity(found.fn).digest, found.spec.key
    of_task = [one for one in accepted if one.task == name]
    if not of_task:
        raise ConfigurationError(f"No change of {name} is accepted in {path}: `kept accept --list` shows what is.")
    last = next((one for one in of_task if one.code == digest), of_task[-1])
    write_accepted(path, [one for one in accepted if one is not last])
    return f"Taken back: {_said(last)}"


def _said(one: Accepted) -> str:
    return f"{one.task}  {one.code[:11]} as {one.stands_for[:11]}  by {one.by}, {one.at}  {one.reason}".rstrip()


def _author() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may have a user without a name
        return getpass.getuser()
    return "unknown"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
