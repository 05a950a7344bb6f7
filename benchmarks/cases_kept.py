"""kept's worker: the workflow cases, and those that only kept is asked."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import work
import workflow
from worker import Figures, Sizes, main, per_call

from kept import File, flow, task
from kept.cache_policies import INPUTS, NO_CACHE
from kept.task_runners import ProcessPoolTaskRunner

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


def files(sizes: Sizes) -> Figures:
    """A large file as an argument, changed and unchanged, and one as a result, new, there and deleted."""
    given, made = Path("given.bin"), Path("made.bin")
    figures: Figures = {}
    given.write_bytes(os.urandom(1 << 20) * (sizes["file_bytes"] >> 20))

    @API.cached
    def size_of(file: File) -> int:
        work.ran["size_of"] += 1
        return file.path.stat().st_size

    @API.cached
    def make(turn: int) -> File:
        work.ran["make"] += 1
        given.rename(made)  # as quick as can be
        return File(made)

    def timed(figure: str, call: Callable[[Any], object], argument: Any) -> None:
        start = perf_counter()
        call(argument)
        figures.setdefault(figure, []).append(perf_counter() - start)

    def turns() -> None:
        for turn in range(sizes["repeats"]):
            with given.open("r+b") as file:
                file.write(b"%d" % turn)
            timed("read", _read_through, given)
            timed("changed", size_of, File(given))
            timed("unchanged", size_of, File(given))
            timed("kept", make, turn)
            timed("there", make, turn)
            made.rename(given)
            timed("given", make, turn)
            made.unlink()

    workflow.in_flow(API, turns)
    for name in ("size_of", "make"):
        work.expect(name, sizes["repeats"])
    return figures


def _read_through(path: Path) -> None:
    buffer = bytearray(4 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def processes(sizes: Sizes) -> Figures:
    """The same calls in processes, by kept and the standard library in turn, as the machine changes meanwhile."""
    figures: Figures = {}
    for name, function, tasks in (("idle", work.idle, sizes["tasks"]), ("busy", work.busy, sizes["tasks"] // 5)):
        ours, theirs = [], []
        for _ in range(sizes["repeats"]):
            theirs.append(_in_executor(function, tasks, sizes["workers"]))
            ours.append(_in_runner(function, tasks, sizes["workers"]))
        figures |= {f"{name}_kept": ours, f"{name}_executor": theirs, f"{name}_times": [min(ours) / min(theirs)]}
    return figures


def _in_executor(function: Callable[[int], int], tasks: int, workers: int) -> float:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        list(executor.map(function, range(4 * workers)))
        return _gathered(lambda n: executor.submit(function, n), tasks)


def _in_runner(function: Callable[[int], int], tasks: int, workers: int) -> float:
    step = task(function)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=workers))
    def benchmark() -> float:
        step.map(range(4 * workers)).result()
        return _gathered(step.submit, tasks)

    return benchmark()


def _gathered(submit: Callable[[int], Any], tasks: int) -> float:
    """Seconds for each of so many tasks, with the processes started before."""
    start = perf_counter()
    futures = [submit(n) for n in range(tasks)]
    if [future.result() for future in futures] != list(range(tasks)):
        raise SystemExit("other results came back")
    return (perf_counter() - start) / tasks


def threads(sizes: Sizes) -> Figures:
    """No-op tasks submitted and gathered on threads, and the same by the standard library."""

    @flow
    def benchmark() -> float:
        return _gathered(task(work.idle).submit, sizes["tasks"])

    ours, theirs = [], []
    for _ in range(sizes["repeats"]):
        ours.append(benchmark())
        with ThreadPoolExecutor() as executor:
            theirs.append(_gathered(partial(executor.submit, work.idle), sizes["tasks"]))
    return {"kept": ours, "executor": theirs}


def gathered(sizes: Sizes) -> Figures:
    """Async tasks at once in an async flow, and their functions bare, in turn."""
    step = task(work.pause)

    @flow
    async def benchmark(seconds: float) -> list[tuple[float, float]]:
        rounds = range(sizes["repeats"])
        return [(await _at_once(step, seconds, sizes), await _at_once(work.pause, seconds, sizes)) for _ in rounds]

    figures: Figures = {}
    for name, seconds in (("switch", 0.0), ("sleep", 0.01)):
        ours, bare = (list(samples) for samples in zip(*asyncio.run(benchmark(seconds)), strict=True))
        figures |= {f"{name}_kept": ours, f"{name}_bare": bare, f"{name}_times": [min(ours) / min(bare)]}
    return figures


async def _at_once(function: Callable[[float], Any], seconds: float, sizes: Sizes) -> float:
    start = perf_counter()
    await asyncio.gather(*(function(seconds) for _ in range(sizes["tasks"])))
    return (perf_counter() - start) / sizes["tasks"]


CASES = workflow.cases(API) | {
    "hit_array_out": hit_array_out,
    "lookups": lookups,
    "files": files,
    "processes": processes,
    "threads": threads,
    "gathered": gathered,
}

if __name__ == "__main__":
    main(CASES)
