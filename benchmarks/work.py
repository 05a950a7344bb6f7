"""The work that every peer is given: the same functions, wrapped by each in its own way.

Each counts its runs, so that a worker can prove that a hit was a hit and a miss a miss.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LABEL = "north"
ran: Counter[str] = Counter()
_arrays: dict[str, np.ndarray[Any, Any]] = {}


def step(x: int, label: str) -> dict[str, Any]:
    """Small arguments, small result."""
    ran["step"] += 1
    return {"x": x, "label": label}


def double(x: int) -> int:
    """The item of a map."""
    ran["double"] += 1
    return 2 * x


def first_of(array: np.ndarray[Any, Any]) -> float:
    """A large argument, a small result, and no work of its own."""
    ran["first_of"] += 1
    return float(array[0])


def make_array(seed: int) -> np.ndarray[Any, Any]:
    """A large result that costs nothing to make: the prepared array, with one number changed.

    The number makes each result a different one: a store that knows equal contents must write them all.
    """
    ran["make_array"] += 1
    array = _arrays["prepared"]
    array[0] = seed
    return array


def prepare_array(size_bytes: int) -> np.ndarray[Any, Any]:
    """Make the array that `make_array` returns, every page of it touched."""
    # Only the array cases may load numpy: the small ones must not carry it.
    import numpy as np

    _arrays["prepared"] = np.random.default_rng(7).random(size_bytes // 8)
    return _arrays["prepared"]


def expect(name: str, runs: int) -> None:
    """Stop the worker if what it measured is not what it says."""
    if ran[name] != runs:
        raise SystemExit(f"{name} ran {ran[name]} times where {runs} were expected: not what was to be measured")


def idle(x: int) -> int:
    """Nothing, in another process."""
    return x


def busy(x: int) -> int:
    """5 ms of a processor, in another process."""
    until = perf_counter() + 0.005
    while perf_counter() < until:
        pass
    return x


async def pause(seconds: float) -> None:
    """Nothing, for a while, on the event loop."""
    await asyncio.sleep(seconds)
