"""`kept accept`: a change of code that changes no result, so that what was kept stays valid."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Mapping, Sequence
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
from kept.fingerprint import CodeIdentity, code_identity
from kept.history.code import shown
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
    results, history = kept_results(found.new_run({}), most=_MOST)
    name, codes, ends = found.spec.key, _codes_now(found, results), in_the_end(accepted)
    digests = {part: ends.get(code.digest, code.digest) for part, code in codes.items()}
    before = _latest_of_other_code(results, digests, name, [one for one in accepted if one.task == name])
    changed = [part for part in digests if part in before.parts and before.parts[part] != digests[part]]
    facts = (_author(), datetime.now(timezone.utc).isoformat(timespec="seconds"), reason)
    new = [Accepted(name, codes[part].digest, before.parts[part], *facts) for part in changed]
    write_accepted(path, [*accepted, *new])
    rows = [f"{name}: what was kept {ago(max(0.0, time.time() - before.at))} in {before.who} stays valid; see {path}."]
    for one, part in zip(new, changed, strict=True):
        kept_code = history.code(one.stands_for) if history else ()
        rows += [f"  - {change}" for change in code_differences(kept_code, [*map(shown, codes[part].parts)])]
    return "\n".join(rows)


def _codes_now(found: Any, results: Sequence[Kept]) -> dict[str, CodeIdentity]:
    """The code as it is, by the parts of keys: of the function, and of the classes whose objects it was given."""
    known = {part for kept in results for part in kept.parts}
    values = getattr(found.fn, "__globals__", {}).values()
    classes = {f"code.{value.__qualname__}": value for value in values if isinstance(value, type)}
    of_classes = {part: code_identity(kind) for part, kind in classes.items() if part in known}
    return {"code": code_identity(found.fn), **of_classes}


def _latest_of_other_code(
    results: Sequence[Kept], digests: Mapping[str, str], name: str, accepted: Sequence[Accepted]
) -> Kept:
    """The last result that was kept under other code than this, which is as it counts at present."""
    with_code = sorted((kept for kept in results if "code" in kept.parts), key=lambda kept: kept.at)
    others = [kept for kept in with_code if any(kept.parts.get(part, code) != code for part, code in digests.items())]
    if not results:
        raise ConfigurationError(f"No result of {name} is known to be kept, so there is none to stay valid.")
    if not with_code:
        raise ConfigurationError(
            f"The results of {name} are kept under keys without its code, so a change of that changes nothing. "
            "With a cache_policy such as PURE they would."
        )
    now = next((one for one in reversed(accepted) if one.stands_for in digests.values()), None)
    if now is not None and with_code[-1] not in others:
        raise ConfigurationError(f"This is accepted already: {_said(now)}. `kept accept --undo` takes it back.")
    if not others:
        raise ConfigurationError(f"The code of {name} has not changed since its results were kept.")
    return others[-1]


def _undone(found: Any, path: Path, accepted: Sequence[Accepted], _: str) -> str:
    digest, name = code_identity(found.fn).digest, found.spec.key
    of_task = [one for one in accepted if one.task == name]
    if not of_task:
        raise ConfigurationError(f"No change of {name} is accepted in {path}: `kept accept --list` shows what is.")
    last = next((one for one in of_task if one.code == digest), of_task[-1])
    write_accepted(path, [one for one in accepted if (one.task, one.at) != (name, last.at)])
    return f"Taken back: {_said(last)}"


def _said(one: Accepted) -> str:
    return f"{one.task}  {one.code[:11]} as {one.stands_for[:11]}  by {one.by}, {one.at}  {one.reason}".rstrip()


def _author() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):  # a container may have a user without a name
        return getpass.getuser()
    return "unknown"
