"""diskcache's worker: `Cache.memoize`, as it comes but for the size limit."""

from __future__ import annotations

import os

import plain
from diskcache import Cache
from worker import main

# The default limit of 1 GB would have it cull the arrays that are being measured.
CACHE = Cache(os.environ["BENCHMARK_STORE"], size_limit=2**36)

if __name__ == "__main__":
    main(plain.cases(CACHE.memoize()))
