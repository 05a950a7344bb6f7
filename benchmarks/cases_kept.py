"""kept's worker: the workflow cases, and those that only kept is asked."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import work
import workflow
from worker import Figures, Sizes, main, per_call

from kept import flow, task
from kept.cache_policies import INPUTS, NO_CACHE

API = workflow.Api(flow=flow, task=task, inputs=INPUTS, no_cache=NO_CACHE)
GROUP = 50_000


def hit_array_out(sizes: Sizes) -> Figures:
    """kept maps its arrays unasked: the peers' mapped loads compare with the same figures."""
    figures = workflow.hit_array_out(API, sizes)
    return figures | {f"mapped_{name}": samples for name, samples in figures.items()}


def lookups(sizes: Sizes) -> Figures:
    """Hits among more and more entries of one store, in random order."""
    step = API.cached(work.step)
    figures: Figures = {}
    filled = 0
    for size in (1_000, 10_000, 100_000, 1_000_000):
        if size > sizes["largest"]:
            break
        for start in range(filled, size, GROUP):
            numbers = range(start, min(start + GROUP, size))
            workflow.in_flow(API, partial(_fill, step, numbers))
        filled = size
        look_up = partial(_look_up, step, random.Random(size), size)
        figures[f"at_{size}"] = workflow.in_flow(API, partial(per_call, look_up, sizes))
        work.expect("step", size)
    medians = [sorted(samples)[len(samples) // 2] for samples in figures.values()]
    return figures | {"growth": [medians[-1] / medians[0]]}


def _fill(step: Any, numbers: range) -> None:
    for x in numbers:
        step(x, work.LABEL)


def _look_up(step: Any, draw: random.Random, size: int, _: int) -> None:
    step(draw.randrange(size), work.LABEL)


CASES = workflow.cases(API) | {"hit_array_out": hit_array_out, "lookups": lookups}

if __name__ == "__main__":
    main(CASES)
