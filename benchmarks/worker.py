"""What the workers share: how time and memory are taken, and how figures get back to the driver."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

Sizes = Mapping[str, int]
Figures = dict[str, list[float]]
"""Samples by the name of the figure, in seconds, bytes, or times."""


def per_call(call: Callable[[int], object], sizes: Sizes) -> list[float]:
    """Seconds per call, one sample for each batch.

    Batches rather than single calls, so that what a peer does beside the call (a background writer, the
    garbage collector) is counted too.
    """
    calls = sizes["calls"]
    samples = []
    for batch in range(sizes["batches"]):
        start = perf_counter()
        for i in range(batch * calls, (batch + 1) * calls):
            call(i)
        samples.append((perf_counter() - start) / calls)
    return samples


def per_large_call(call: Callable[[int], object], sizes: Sizes) -> list[float]:
    """Seconds of each call, the value of one let go before the next."""
    samples = []
    for i in range(sizes["repeats"]):
        start = perf_counter()
        value = call(i)
        samples.append(perf_counter() - start)
        del value
    return samples


def seconds(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = perf_counter()
    action()
    return perf_counter() - start


def resident_bytes() -> int:
    """What this process holds of the machine's memory now."""
    return _status("VmRSS")


def peak_above_now(action: Callable[[], object]) -> int:
    """How far the resident memory of this process rises above its present size while `action` runs."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew from here
    before = resident_bytes()
    value = action()
    peak = _status("VmHWM") - before
    del value
    return peak


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {field} in /proc/self/status: the memory cases need Linux")


def in_another_process(case: str, sizes: Sizes) -> Figures:
    """Run a case of this worker in a process of its own, which may be to fill the store only."""
    return _figures(_started(case, sizes, {}))


def elsewhere(case: str, sizes: Sizes) -> Figures:
    """The same as on another machine: with a home of its own."""
    return _figures(started_elsewhere(case, sizes))


def started_elsewhere(case: str, sizes: Sizes, number: int = 0) -> subprocess.Popen[str]:
    """The process of that, for one of several other machines."""
    return _started(case, sizes, {"KEPT_HOME": f"{os.environ['BENCHMARK_STORE']}-elsewhere-{number}"})


def _started(case: str, sizes: Sizes, settings: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, sys.argv[0], case, json.dumps(dict(sizes))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | settings)


def _figures(process: subprocess.Popen[str]) -> Figures:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit("the other process failed")
    return dict(json.loads(output.splitlines()[-1])["figures"])


def main(cases: Mapping[str, Callable[[Sizes], Figures]]) -> None:
    """Run the case named on the command line and print its figures as the last line."""
    name, sizes = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({"figures": cases[name](sizes)}), flush=True)
