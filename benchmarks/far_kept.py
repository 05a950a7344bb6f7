"""kept's worker for far stores: the cases, each with the bare client beside it in one process, and those of locks.

The bare client is obstore with its own defaults, which is what kept speaks with the server through.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from collections.abc import Callable
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any

import far
import obstore
import redis
import work
from obstore.store import S3Store
from worker import Figures, Sizes, elsewhere, main, per_call, seconds, started_elsewhere
from workflow import hit_small, in_flow, map_items

from kept import flow, task
from kept.cache_policies import INPUTS, NO_CACHE
from kept.transactions import IsolationLevel
from kept_redis import RedisLockManager

URL = f"s3://{os.environ['BENCHMARK_BUCKET']}/kept"
CLIENT = S3Store(os.environ["BENCHMARK_BUCKET"], client_options={"allow_http": True})
REDIS = redis.Redis.from_url(os.environ["BENCHMARK_REDIS_URL"])
API = far.FarApi(flow=flow, task=task, inputs=INPUTS, no_cache=NO_CACHE, bucket=URL)
LOCKED = INPUTS.configure(
    isolation_level=IsolationLevel.SERIALIZABLE,
    lock_manager=RedisLockManager.from_url(os.environ["BENCHMARK_REDIS_URL"]),
)
LEASED = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE)
AT_ONCE = (8, 16, 32, 64)
PART = 16 * 1024 * 1024


def hit(sizes: Sizes) -> Figures:
    """With a GET of an entry beside each hit, and then the hits again, beside those of the store of this machine."""
    entries: list[str] = []

    def get(i: int) -> None:
        entries.extend(() if entries else _paths("kept/entries/"))
        obstore.get(CLIENT, entries[i]).bytes()

    figures = far.hit(API, sizes, get)
    figures["times"] = [statistics.median(figures["call"]) / statistics.median(figures["beside"])]
    step, keys = API.far(work.step), sizes["keys"]
    loop = {"batches": 10, "calls": 100, "keys": keys}
    figures["warm"] = in_flow(API, lambda: per_call(lambda i: step(i % keys, work.LABEL), loop))
    work.expect("step", 0)
    return figures | {"embedded": hit_small(API, loop)["call"]}


def _paths(prefix: str) -> list[str]:
    return [found["path"] for batch in obstore.list(CLIENT, prefix) for found in batch]


def many(sizes: Sizes) -> Figures:
    """With the server's limit before and after: all objects by the bare client, as many at once as goes best."""
    elsewhere("fill", sizes)
    paths = _paths("kept/entries/")
    limits = {at_once: _limit(paths, at_once) for at_once in AT_ONCE}
    best = min(limits, key=lambda at_once: limits[at_once])
    figures = far.map_filled(API, sizes)
    figures["limit"] = [limits[best], _limit(paths, best)]
    # A thousand a second is enough of any server.
    figures["times"] = [figures["cold"][0] / max(1.0, statistics.mean(figures["limit"]))]
    local = map_items(API, {"items": sizes["keys"], "repeats": sizes["repeats"]})
    return figures | {"embedded": [took / 10 for took in local["items_10k"]]}


def _limit(paths: list[str], at_once: int) -> float:
    """Seconds for a thousand."""

    async def get_all() -> None:
        places = asyncio.Semaphore(at_once)
        await asyncio.gather(*(get(path, places) for path in paths))

    async def get(path: str, places: asyncio.Semaphore) -> None:
        async with places:
            await (await obstore.get_async(CLIENT, path)).bytes_async()

    return seconds(lambda: asyncio.run(get_all())) * 1000 / len(paths)


def load(sizes: Sizes) -> Figures:
    """With the same bytes sent and fetched by the bare client, in the way that goes best."""
    figures = far.load(API, sizes)
    payload = work.prepare_array(sizes["array_bytes"])
    scale = 1e9 / payload.nbytes
    sent = [seconds(partial(_send, payload, at_once)) * scale for at_once in (4, 12)]
    got = [seconds(act) * scale for act in (_get, partial(_get_parts, payload.nbytes))]
    return figures | {
        "bare_up": [min(sent)],
        "bare_down": [min(got)],
        "up_times": [figures["up"][0] / min(sent)],
        "down_times": [figures["down"][0] / min(got)],
    }


def _send(payload: Any, at_once: int) -> None:
    obstore.put(CLIENT, "bare", memoryview(payload).cast("B"), chunk_size=PART, max_concurrency=at_once)


def _get() -> None:
    obstore.get(CLIENT, "bare").bytes()


def _get_parts(size: int) -> None:
    starts = range(0, size, PART)
    obstore.get_ranges(CLIENT, "bare", starts=starts, ends=[min(start + PART, size) for start in starts])


def locked_call(sizes: Sizes) -> Figures:
    """Misses on the store of this machine with and without a lock in Redis, and in S3 with and without a lease."""
    plain = in_turn({"plain": API.cached(work.step), "locked": _cached(LOCKED)}, sizes)
    less = sizes | {"calls": max(1, sizes["calls"] // 50)}
    stored = in_turn({"stored": API.far(work.step), "leased": _cached(LEASED, result_storage=URL)}, less)
    return {
        "lock": _difference(plain["locked"], plain["plain"]),
        "bare_lock": per_call(_bare_lock, sizes),
        "lease": _difference(stored["leased"], stored["stored"]),
        "stored": stored["stored"],
    }


def in_turn(steps: dict[str, Any], sizes: Sizes) -> Figures:
    """Seconds of a miss of each, batch by batch in turn; no two calls have the same key."""
    figures: Figures = {name: [] for name in steps}
    numbers = count()

    def body() -> None:
        for name, step in [*steps.items()] * sizes["batches"]:
            calls = [partial(step, next(numbers), name) for _ in range(sizes["calls"])]
            figures[name] += per_call(lambda i, calls=calls: calls[i](), {"batches": 1, "calls": len(calls)})

    in_flow(API, body)
    return {name: samples[1:] for name, samples in figures.items()}  # the first connects


def _cached(policy: Any, **options: Any) -> Any:
    return task(cache_policy=policy, **options)(work.step)


def _difference(more: list[float], less: list[float]) -> list[float]:
    return [a - b for a, b in zip(more, less, strict=True)]


def _bare_lock(i: int) -> None:
    REDIS.set(f"bare-{i}", "token", nx=True, px=10_000)
    REDIS.delete(f"bare-{i}")


def contend(sizes: Sizes) -> Figures:
    """Processes that all want the same results at the same time, as on machines of their own."""
    processes = [started_elsewhere("contender", sizes, number) for number in range(sizes["processes"])]
    _until(lambda: int(REDIS.get("ready") or 0) == sizes["processes"])
    start = perf_counter()
    REDIS.set("go", 1)
    if any(process.wait() for process in processes):
        raise SystemExit("a contender failed")
    took = perf_counter() - start
    runs = [int(REDIS.get(f"ran-{x}") or 0) for x in range(sizes["keys"])]
    return {"took": [took], "fewest": [min(runs)], "most": [max(runs)]}


def contender(sizes: Sizes) -> Figures:
    """One of them: each result once, in an order of its own."""

    @task(cache_policy=LOCKED, result_storage=URL)
    def step(x: int) -> int:
        REDIS.incr(f"ran-{x}")
        return 2 * x

    @flow
    def benchmark(order: list[int]) -> None:
        if [step(x) for x in order] != [2 * x for x in order]:
            raise SystemExit("other results came back")

    order = random.sample(range(sizes["keys"]), sizes["keys"])
    REDIS.incr("ready")
    _until(lambda: bool(REDIS.get("go")))
    benchmark(order)
    return {}


def _until(condition: Callable[[], bool]) -> None:
    deadline = perf_counter() + 120
    while not condition():
        if perf_counter() > deadline:
            raise SystemExit("the contenders did not come up within 120 s")


CASES = far.cases(API) | {
    "far_hit": hit,
    "far_map": many,
    "far_load": load,
    "far_locks": locked_call,
    "far_contend": contend,
    "contender": contender,
}

if __name__ == "__main__":
    main(CASES)
