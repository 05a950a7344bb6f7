"""The cases of the two workflow engines, kept and Prefect: one text, as one is a drop-in for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import work
from worker import (
    Figures,
    Sizes,
    in_another_process,
    peak_above_now,
    per_call,
    per_large_call,
    resident_bytes,
    seconds,
)


@dataclass(frozen=True, kw_only=True)
class Api:
    """The names that the cases need from the engine."""

    flow: Any
    task: Any
    inputs: Any
    no_cache: Any

    def cached(self, function: Callable[..., Any]) -> Any:
        return self.task(cache_policy=self.inputs)(function)


def cases(api: Api) -> dict[str, Callable[[Sizes], Figures]]:
    """Each case by its name in the catalogue."""
    functions = [
        hit_small,
        miss_small,
        call_nocache,
        hit_array_in,
        hit_array_out,
        miss_array_out,
        map_items,
        many_tasks,
        many_submits,
        memory_keep,
        memory_load,
        memory_fingerprint,
    ]
    return {function.__name__: partial(function, api) for function in functions}


def in_flow(api: Api, body: Callable[[], Any]) -> Any:
    """Run `body` inside a flow and return its value."""

    @api.flow(name="benchmark")  # type: ignore[untyped-decorator]
    def benchmark() -> Any:
        return body()

    return benchmark()


def _samples_and_whole(api: Api, body: Callable[[], list[float]], calls: int) -> Figures:
    samples: list[float] = []
    whole = seconds(lambda: in_flow(api, lambda: samples.extend(body())))
    return {"call": samples, "whole_flow": [whole / calls]}


def hit_small(api: Api, sizes: Sizes) -> Figures:
    step, keys = api.cached(work.step), sizes["keys"]
    in_flow(api, lambda: [step(x, work.LABEL) for x in range(keys)] and None)
    calls = sizes["batches"] * sizes["calls"]
    figures = _samples_and_whole(api, lambda: per_call(lambda i: step(i % keys, work.LABEL), sizes), calls)
    work.expect("step", keys)
    return figures


def miss_small(api: Api, sizes: Sizes) -> Figures:
    step = api.cached(work.step)
    in_flow(api, lambda: step(-1, work.LABEL) and None)
    calls = sizes["batches"] * sizes["calls"]
    figures = _samples_and_whole(api, lambda: per_call(lambda i: step(i, work.LABEL), sizes), calls)
    work.expect("step", 1 + calls)
    return figures


def call_nocache(api: Api, sizes: Sizes) -> Figures:
    step = api.task(cache_policy=api.no_cache)(work.step)
    in_flow(api, lambda: step(-1, work.LABEL) and None)
    calls = sizes["batches"] * sizes["calls"]
    figures = _samples_and_whole(api, lambda: per_call(lambda i: step(i, work.LABEL), sizes), calls)
    work.expect("step", 1 + calls)
    return figures


def hit_array_in(api: Api, sizes: Sizes) -> Figures:
    array = work.prepare_array(sizes["array_bytes"])
    first_of = api.cached(work.first_of)
    in_flow(api, lambda: first_of(array))
    samples = in_flow(api, lambda: per_large_call(lambda _: first_of(array), sizes))
    work.expect("first_of", 1)
    return {"call": samples}


def hit_array_out(api: Api, sizes: Sizes) -> Figures:
    work.prepare_array(sizes["array_bytes"])
    make_array = api.cached(work.make_array)
    in_flow(api, lambda: make_array(1).size)
    value = in_flow(api, lambda: per_large_call(lambda _: make_array(1), sizes))
    read = in_flow(api, lambda: per_large_call(lambda _: make_array(1).sum(), sizes))
    work.expect("make_array", 1)
    return {"value": value, "read": read}


def miss_array_out(api: Api, sizes: Sizes) -> Figures:
    work.prepare_array(sizes["array_bytes"])
    make_array = api.cached(work.make_array)
    in_flow(api, lambda: make_array(-1).size)
    samples = in_flow(api, lambda: per_large_call(make_array, sizes))
    work.expect("make_array", 1 + sizes["repeats"])
    return {"call": samples}


def map_items(api: Api, sizes: Sizes) -> Figures:
    double, items = api.cached(work.double), sizes["items"]
    in_flow(api, lambda: sum(double.map(range(items)).result()))

    def mapped() -> float:
        start = perf_counter()
        values = double.map(range(items)).result()
        took = perf_counter() - start
        if values != [2 * x for x in range(items)]:
            raise SystemExit("the map returned other values")
        return took

    samples = [in_flow(api, mapped) for _ in range(sizes["repeats"])]
    work.expect("double", items)
    # By the 10,000 items whatever their number here.
    return {"items_10k": [sample * 10_000 / items for sample in samples]}


def many_tasks(api: Api, sizes: Sizes) -> Figures:
    """Many direct calls in one flow: do the last cost what the first did?"""
    step = api.task(cache_policy=api.no_cache)(work.step)
    in_flow(api, lambda: step(-1, work.LABEL) and None)

    def run(numbers: range) -> None:
        for i in numbers:
            step(i, work.LABEL)

    figures: Figures = in_flow(api, lambda: _first_and_last_tenth(run, sizes["tasks"]))
    work.expect("step", 1 + sizes["tasks"])
    return figures


def many_submits(api: Api, sizes: Sizes) -> Figures:
    """The same through `.submit`, in groups that are waited for and let go."""
    step = api.task(cache_policy=api.no_cache)(work.step)
    in_flow(api, lambda: step.submit(-1, work.LABEL).result() and None)

    def run(numbers: range) -> None:
        for start in range(numbers.start, numbers.stop, 100):
            futures = [step.submit(i, work.LABEL) for i in range(start, min(start + 100, numbers.stop))]
            for future in futures:
                future.result()

    figures: Figures = in_flow(api, lambda: _first_and_last_tenth(run, sizes["tasks"]))
    work.expect("step", 1 + sizes["tasks"])
    return figures


def _first_and_last_tenth(run: Callable[[range], None], tasks: int) -> Figures:
    tenth = tasks // 10
    parts = [range(tenth), range(tenth, tasks - tenth), range(tasks - tenth, tasks)]
    times, memory = [], [resident_bytes()]
    for part in parts:
        start = perf_counter()
        run(part)
        times.append(perf_counter() - start)
        memory.append(resident_bytes())
    return {
        "first_time": [times[0] / tenth],
        "last_time": [times[2] / tenth],
        "time_growth": [times[2] / times[0]],
        "first_memory": [(memory[1] - memory[0]) / tenth],
        "last_memory": [(memory[3] - memory[2]) / tenth],
    }


def memory_keep(api: Api, sizes: Sizes) -> Figures:
    make_array = api.cached(work.make_array)
    work.prepare_array(80_000)
    in_flow(api, lambda: make_array(-1).size)
    size = work.prepare_array(sizes["array_bytes"]).nbytes
    peak = peak_above_now(lambda: in_flow(api, lambda: make_array(1).size))
    work.expect("make_array", 2)
    return {"beside": [peak / size]}


def memory_load(api: Api, sizes: Sizes) -> Figures:
    in_another_process("memory_keep", sizes)
    make_array = api.cached(work.make_array)
    in_flow(api, lambda: make_array(-1).sum())

    peak = peak_above_now(lambda: in_flow(api, lambda: float(make_array(1).sum())))
    work.expect("make_array", 0)
    # The array itself is among what the process holds at its peak.
    return {"beside": [peak / sizes["array_bytes"] - 1]}


def memory_fingerprint(api: Api, sizes: Sizes) -> Figures:
    first_of = api.cached(work.first_of)
    small = work.prepare_array(80_000)
    in_flow(api, lambda: first_of(small))
    array = work.prepare_array(sizes["array_bytes"])
    peak = peak_above_now(lambda: in_flow(api, lambda: first_of(array)))
    work.expect("first_of", 2)
    return {"beside": [peak / array.nbytes]}
