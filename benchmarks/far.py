"""The cases of stores that are far away: one text for kept and Prefect.

Each fills a bucket from another process, which has a home of its own as another machine would, and then reads it from
here, where nothing is near yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any
from urllib.request import urlopen

import work
from worker import Figures, Sizes, elsewhere, peak_above_now, per_call, seconds
from workflow import Api, in_flow

COUNTED = 20
"""So many hits are for counting requests."""


@dataclass(frozen=True, kw_only=True)
class FarApi(Api):
    """The names that these cases need from the engine."""

    bucket: Any
    """The block of the S3 bucket, or the function that makes it."""

    def far(self, function: Callable[..., Any]) -> Any:
        return self.task(cache_policy=self.inputs, result_storage=self.bucket)(function)


def credentials() -> dict[str, str]:
    """As the blocks of both want them; the address of the server is in the environment."""
    return {
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }


def cases(api: FarApi) -> dict[str, Callable[[Sizes], Figures]]:
    """Each case by its name in the catalogue, and those by which they fill the bucket."""
    functions = {
        "fill": fill, "far_hit": hit, "far_map": map_items, "far_keep": keep, "far_load": load, "far_miss": miss,
    }  # fmt: skip
    return {name: partial(function, api) for name, function in functions.items()}


def fill(api: FarApi, sizes: Sizes) -> Figures:
    """Keep so many small results."""
    step = api.far(work.step)
    in_flow(api, lambda: step.map(range(sizes["keys"]), work.LABEL).result() and None)
    work.expect("step", sizes["keys"])
    return {}


def hit(api: FarApi, sizes: Sizes, beside: Callable[[int], object] | None = None) -> Figures:
    """Hits of which nothing is near, and what is measured beside them, each in turn the first."""
    elsewhere("fill", sizes)
    step, keys = api.far(work.step), sizes["keys"]
    samples: dict[str, list[float]] = {}

    def hit_one(i: int) -> None:
        step(i, work.LABEL)

    acts = {"call": hit_one} | ({"beside": beside} if beside else {})

    def body() -> None:
        hit_one(0)  # connects
        samples["requests"] = [requests_for(lambda: [hit_one(i) for i in range(1, 1 + COUNTED)]) / COUNTED]
        for i in range(1 + COUNTED, keys):
            for name in sorted(acts, reverse=i % 2 == 0):
                samples.setdefault(name, []).append(seconds(partial(acts[name], i)))

    in_flow(api, body)
    work.expect("step", 0)
    return samples


def miss(api: FarApi, sizes: Sizes) -> Figures:
    """Small results, computed and kept."""
    step = api.far(work.step)
    in_flow(api, lambda: step(-1, work.LABEL) and None)
    calls = sizes["batches"] * sizes["calls"]
    samples: list[float] = []
    served = requests_for(lambda: in_flow(api, lambda: samples.extend(per_call(lambda i: step(i, work.LABEL), sizes))))
    work.expect("step", 1 + calls)
    return {"call": samples, "requests": [served / calls]}


def map_items(api: FarApi, sizes: Sizes) -> Figures:
    """The first map finds nothing near, those after it what the first has left."""
    elsewhere("fill", sizes)
    return map_filled(api, sizes)


def map_filled(api: FarApi, sizes: Sizes) -> Figures:
    """The same, once the bucket is filled."""
    step, items = api.far(work.step), sizes["keys"]

    def mapped() -> float:
        start = perf_counter()
        values = step.map(range(items), work.LABEL).result()
        took = perf_counter() - start
        if [value["x"] for value in values] != list(range(items)):
            raise SystemExit("the map returned other values")
        return took * 1000 / items

    cold = in_flow(api, mapped)
    warm = [in_flow(api, mapped) for _ in range(sizes["repeats"])]
    work.expect("step", 0)
    return {"cold": [cold], "warm": warm}


def keep(api: FarApi, sizes: Sizes) -> Figures:
    """A large result, computed and kept."""
    make_array = api.far(work.make_array)
    work.prepare_array(80_000)
    in_flow(api, lambda: make_array(-1).size)
    array = work.prepare_array(sizes["array_bytes"])
    took, peak = _took_and_peak(lambda: in_flow(api, lambda: make_array(1).size))
    work.expect("make_array", 2)
    return {"up": [took * 1e9 / array.nbytes], "up_memory": [peak]}


def load(api: FarApi, sizes: Sizes) -> Figures:
    """The same, and then read from where nothing of it is near."""
    figures = elsewhere("far_keep", sizes)
    make_array = api.far(work.make_array)
    in_flow(api, lambda: float(make_array(-1).sum()))
    took, peak = _took_and_peak(lambda: in_flow(api, lambda: float(make_array(1).sum())))
    work.expect("make_array", 0)
    size = sizes["array_bytes"]
    return figures | {"down": [took * 1e9 / size], "down_memory": [peak - size]}


def _took_and_peak(action: Callable[[], object]) -> tuple[float, float]:
    took: list[float] = []
    peak = peak_above_now(lambda: took.append(seconds(action)))
    return took[0], float(peak)


def requests_served() -> int:
    """How many requests the S3 server has had so far."""
    with urlopen(os.environ["AWS_ENDPOINT_URL"] + "/.requests", timeout=30) as answer:
        return sum(json.loads(answer.read()).values())


def requests_for(action: Callable[[], object]) -> int:
    """How many requests the server gets from it."""
    before = requests_served()
    action()
    return requests_served() - before
