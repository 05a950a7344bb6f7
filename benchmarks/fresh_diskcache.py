"""A whole script: start, find one kept result, print it."""

import os

from diskcache import Cache

cache = Cache(os.environ["BENCHMARK_STORE"])


@cache.memoize()
def step(x: int, label: str) -> dict[str, object]:
    print("ran")
    return {"x": x, "label": label}


if __name__ == "__main__":
    print("value", step(1, "north"), flush=True)
