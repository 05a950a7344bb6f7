"""`kept plan`: what a flow would do now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from kept.cli.finding import WORD, find
from kept.engine.planning import FlowPlan, Planned
from kept.engine.planning import plan as plan_flow
from kept.exceptions import ConfigurationError
from kept.flows import Flow

_COUNTED = {"HIT": "hit", "RUN": "run", "DEPENDS": "depend on others", "AGAIN": "computed before"}
_NAMED = 3


def plan(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help=f"A flow: {WORD}.", show_default=False)],
    parameters: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Its parameters, as JSON or text.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say of each task of a flow whether it would hit, run or depend on others. No task runs, only the flow's body."""
    found = find(flow)
    if not isinstance(found, Flow):
        raise ConfigurationError(
            f"{flow} is a task: `kept plan` takes a flow. Its explain(...) says what a call would be."
        )
    planned = plan_flow(found, found.spec.binder.bind((), dict(map(_parameter, parameters or ()))))
    if as_json:
        typer.echo(json.dumps(_as_dict(planned), indent=2))
        return
    for row in _rows(planned):
        typer.echo(row)


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not (separator and name.isidentifier()):
        raise ConfigurationError(f"{text!r} is no parameter: write name=value, as in limit=0.5 or day=monday.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _as_dict(planned: FlowPlan) -> dict[str, Any]:
    steps = [{**one._asdict(), "explanation": one.explanation and one.explanation.as_dict()} for one in planned.steps]
    return {"flow": planned.flow, "steps": steps, "end": planned.end}


def _rows(planned: FlowPlan) -> Iterator[str]:
    """One row a call, or for all that differ by their arguments only."""
    for count, at, one in _folded(planned.steps):
        times = f" × {count}" if count > 1 else ""  # noqa: RUF001
        yield f"{'  ' * one.depth}{one.outcome:<8}{at + 1:>3} {one.name}{times}: {_why(one, planned.steps)}"
    if planned.end:
        yield f"What follows is not known. {planned.end}"
    outcomes = [one.outcome for one in planned.steps]
    counts = [f"{outcomes.count(word)} {said}" for word, said in _COUNTED.items() if word in outcomes]
    yield f"{planned.flow}: {', '.join(counts) or 'no tasks'}"


def _folded(steps: Sequence[Planned]) -> Iterator[tuple[int, int, Planned]]:
    """Equal steps that follow each other as one: how many, the place of the first, and that."""
    at = 0
    while at < len(steps):
        count = 1
        while at + count < len(steps) and steps[at + count][:3] == steps[at][:3]:
            count += 1
        yield count, at, steps[at]
        at += count


def _why(one: Planned, steps: Sequence[Planned]) -> str:
    if one.explanation is not None and one.outcome != "AGAIN":
        return one.explanation.line.partition(": ")[2]
    named = [f"{steps[other].name} ({other + 1})" for other in one.others[:_NAMED]]
    more = len(one.others) - len(named)
    names = ", ".join([*named, f"{more} more"] if more else named)
    return f"computed by {names}" if one.outcome == "AGAIN" else f"on what {names} gives"
