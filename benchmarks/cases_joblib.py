"""joblib's worker: `Memory`, silent, which is its fastest way."""

from __future__ import annotations

import os

import plain
import work
from joblib import Memory
from worker import Figures, Sizes, main

FOLDER = os.environ["BENCHMARK_STORE"]
MEMORY = Memory(FOLDER, verbose=0)


def hit_array_out(sizes: Sizes) -> Figures:
    """As it comes, and with its arrays mapped read-only, which is faster and which its user must ask for."""
    figures = plain.hit_array_out(MEMORY.cache, sizes)
    work.ran.clear()
    mapped = plain.hit_array_out(Memory(FOLDER + "-mapped", verbose=0, mmap_mode="r").cache, sizes)
    return figures | {f"mapped_{name}": samples for name, samples in mapped.items()}


CASES = plain.cases(MEMORY.cache) | {"hit_array_out": hit_array_out}

if __name__ == "__main__":
    main(CASES)
