"""Where the time of a cached hit goes: `~/.cache/kept-benchmarks/kept/bin/python benchmarks/profile_hit.py`.

A profiler would cost more than most of these stages. So one real hit is watched for the arguments of each
stage, and then each stage is timed alone with them, inside the same flow run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from timeit import repeat
from typing import Any

CALLS = 2_000

Stage = tuple[str, Any, str]


def stages() -> list[Stage]:
    """What it is, and the class or module and the name under which the engine finds it; none contains another."""
    from kept.engine import steps, tasks
    from kept.engine.binding import Binder
    from kept.history.sqlite import SqliteRecorder
    from kept.results import ResultStore

    return [
        ("bind the arguments", Binder, "bind"),
        ("run id, name, tags, rules, context", tasks.TaskRunSteps, "__init__"),
        ("fingerprint the inputs, make the key", steps.RunSteps, "_identify"),
        ("look the entry up", ResultStore, "lookup"),
        ("judge it", steps, "judge"),
        ("load the value", ResultStore, "fetch"),
        ("the log line", steps.RunSteps, "write"),
        ("the history record, made", steps.RunSteps, "_record"),
        ("the history record, handed over", SqliteRecorder, "record"),
    ]


def watch(call: Callable[[], object], watched: list[Stage]) -> dict[str, Callable[[], object]]:
    """Run `call` once and return, for each stage, what repeats it."""
    again: dict[str, Callable[[], object]] = {}

    def watching(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any, **kwargs: Any) -> Any:
            again.setdefault(title, lambda: function(*args, **kwargs))
            return function(*args, **kwargs)

        return seen

    originals = [(owner, name, getattr(owner, name)) for _, owner, name in watched]
    try:
        for (title, owner, name), (_, _, original) in zip(watched, originals, strict=True):
            setattr(owner, name, watching(title, original))
        call()
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
    return again


def microseconds(call: Callable[[], object]) -> float:
    """The least of ten batches: what the stage needs when nothing disturbs it."""
    return min(repeat(call, number=CALLS, repeat=10)) / CALLS * 1e6


def main() -> None:
    from kept import flow, task
    from kept.cache_policies import INPUTS

    @task(cache_policy=INPUTS)
    def step(x: int, label: str) -> dict[str, Any]:
        return {"x": x, "label": label}

    @flow
    def profile() -> list[tuple[str, float]]:
        step(1, "north")
        again = watch(lambda: step(1, "north"), stages())
        whole = microseconds(lambda: step(1, "north"))
        nothing = microseconds(lambda: None)
        rows = [(title, microseconds(call) - nothing) for title, call in again.items()]
        rest = whole - sum(time for _, time in rows)
        return [*rows, ("the rest: generator, driver, state", rest), ("the whole hit", whole)]

    for title, time in profile():
        print(f"{time:8.2f} us  {title}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KEPT_HOME"] = folder
        # The log goes to a file, as it does in run.py.
        with Path(folder, "log").open("w") as log, contextlib.redirect_stderr(log):
            main()
