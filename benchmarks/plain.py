"""The cases of the peers that wrap a function and nothing more: joblib and diskcache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import work
from worker import Figures, Sizes, in_another_process, peak_above_now, per_call, per_large_call

Keep = Callable[[Callable[..., Any]], Callable[..., Any]]


def cases(keep: Keep) -> dict[str, Callable[[Sizes], Figures]]:
    """Each case by its name in the catalogue."""
    functions = [
        hit_small,
        miss_small,
        hit_array_in,
        hit_array_out,
        miss_array_out,
        map_items,
        memory_keep,
        memory_load,
        memory_fingerprint,
    ]
    return {function.__name__: partial(function, keep) for function in functions}


def hit_small(keep: Keep, sizes: Sizes) -> Figures:
    step, keys = keep(work.step), sizes["keys"]
    for x in range(keys):
        step(x, work.LABEL)
    samples = per_call(lambda i: step(i % keys, work.LABEL), sizes)
    work.expect("step", keys)
    return {"call": samples}


def miss_small(keep: Keep, sizes: Sizes) -> Figures:
    step = keep(work.step)
    step(-1, work.LABEL)
    samples = per_call(lambda i: step(i, work.LABEL), sizes)
    work.expect("step", 1 + sizes["batches"] * sizes["calls"])
    return {"call": samples}


def hit_array_in(keep: Keep, sizes: Sizes) -> Figures:
    array = work.prepare_array(sizes["array_bytes"])
    first_of = keep(work.first_of)
    first_of(array)
    samples = per_large_call(lambda _: first_of(array), sizes)
    work.expect("first_of", 1)
    return {"call": samples}


def hit_array_out(keep: Keep, sizes: Sizes) -> Figures:
    work.prepare_array(sizes["array_bytes"])
    make_array = keep(work.make_array)
    make_array(1)
    value = per_large_call(lambda _: make_array(1), sizes)
    read = per_large_call(lambda _: make_array(1).sum(), sizes)
    work.expect("make_array", 1)
    return {"value": value, "read": read}


def miss_array_out(keep: Keep, sizes: Sizes) -> Figures:
    work.prepare_array(sizes["array_bytes"])
    make_array = keep(work.make_array)
    make_array(-1)
    samples = per_large_call(make_array, sizes)
    work.expect("make_array", 1 + sizes["repeats"])
    return {"call": samples}


def map_items(keep: Keep, sizes: Sizes) -> Figures:
    """Neither has a map over kept items: a loop is what their users write."""
    double, items = keep(work.double), sizes["items"]
    for x in range(items):
        double(x)
    samples = []
    for _ in range(sizes["repeats"]):
        start = perf_counter()
        values = [double(x) for x in range(items)]
        samples.append((perf_counter() - start) * 10_000 / items)
        if values != [2 * x for x in range(items)]:
            raise SystemExit("the loop returned other values")
    work.expect("double", items)
    return {"items_10k": samples}


def memory_keep(keep: Keep, sizes: Sizes) -> Figures:
    make_array = keep(work.make_array)
    work.prepare_array(80_000)
    make_array(-1)
    size = work.prepare_array(sizes["array_bytes"]).nbytes
    peak = peak_above_now(lambda: make_array(1).size)
    work.expect("make_array", 2)
    return {"beside": [peak / size]}


def memory_load(keep: Keep, sizes: Sizes) -> Figures:
    in_another_process("memory_keep", sizes)
    make_array = keep(work.make_array)
    make_array(-1).sum()
    peak = peak_above_now(lambda: float(make_array(1).sum()))
    work.expect("make_array", 0)
    return {"beside": [peak / sizes["array_bytes"] - 1]}


def memory_fingerprint(keep: Keep, sizes: Sizes) -> Figures:
    first_of = keep(work.first_of)
    first_of(work.prepare_array(80_000))
    array = work.prepare_array(sizes["array_bytes"])
    peak = peak_above_now(lambda: first_of(array))
    work.expect("first_of", 2)
    return {"beside": [peak / array.nbytes]}
