"""Measure each module of the Python standard library and write a report about it, keeping every step.

    python examples/stdlib_report.py        measures some seven hundred modules
    python examples/stdlib_report.py        finds everything kept

Each file is a step of its own, kept under the bytes of that file: edit one, or install a bug fix of Python,
and only what differs is measured again. `examples/README.md` says what to try.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kept import flow, get_run_logger, task
from kept.cache_policies import INPUTS, TASK_SOURCE, CachePolicy
from kept.futures import KeptFuture
from kept.logging import get_logger
from kept.utilities.hashing import file_hash, stable_hash
from source_report import metrics, page, summaries
from source_report.metrics import Module
from source_report.summaries import ImportGraph, Outstanding, Spread, Totals

PARTS = Path(__file__).with_name("source_report")
STDLIB = Path(sysconfig.get_paths()["stdlib"])
REPORT = Path(__file__).with_name("out") / "report.html"
# Installed packages are not the library; its tests are, but their odd files would hide the rest.
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


@dataclass(kw_only=True)
class CodeIn(CachePolicy):
    """A part of a key that changes when certain files of `source_report` do, or the Python language.

    `TASK_SOURCE` is the text of the task itself and not of the functions that it calls. The language is in it
    because its parser decides what a source file means: 3.13.1 and 3.13.2 agree, 3.12 and 3.13 need not.
    """

    digest: str
    reads_values = False  # it never looks at the arguments, so kept ones need not be read to make the key

    def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str:
        return self.digest


def code_in(*files: str) -> CachePolicy:
    """A policy for the code in these files of `source_report`."""
    language = "{}.{}".format(*sys.version_info)
    return CodeIn(digest=stable_hash(language, *(file_hash(PARTS / name) for name in files)))


KEPT = INPUTS + TASK_SOURCE


# The task gets the bytes, not only a path to read them from: all that a result depends on is then in its key.
@task(cache_policy=KEPT + code_in("metrics.py"))
def measure(path: str, source: bytes) -> Module:
    return metrics.measure_module(path, source)


@task(cache_policy=KEPT + code_in("summaries.py"))
def add_up(modules: Sequence[Module]) -> Totals:
    return summaries.add_up(modules)


@task(cache_policy=KEPT + code_in("summaries.py"))
def link_imports(modules: Sequence[Module]) -> ImportGraph:
    return summaries.link_imports(modules)


@task(cache_policy=KEPT + code_in("summaries.py"))
def spread_complexity(modules: Sequence[Module]) -> Spread:
    return summaries.spread_complexity(modules)


@task(cache_policy=KEPT + code_in("summaries.py"))
def pick_outstanding(modules: Sequence[Module], number: int = 15) -> Outstanding:
    return summaries.pick_outstanding(modules, number)


@task(cache_policy=KEPT + code_in("page.py", "page.html", "style.css", "table.js", "charts.py", "markup.py"))
def lay_out(
    title: str,
    subject: str,
    modules: Sequence[Module],
    totals: Totals,
    graph: ImportGraph,
    spread: Spread,
    outstanding: Outstanding,
) -> str:
    found = page.Findings(modules=modules, totals=totals, graph=graph, spread=spread, outstanding=outstanding)
    return page.lay_out(title, subject, found)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of a flow's steps."""

    hits: int
    ran: int
    saved: float
    """Seconds of processor time that measuring the modules that hit took when they were measured."""


@flow(name="source-report")
def source_report(source: Path, out: Path, limit: int | None = None) -> Tally:
    """Measure the modules below `source`, or the first `limit` of them, and write the report to `out`."""
    files = list(islice(find_modules(source), limit))
    title, subject = describe(source)
    get_run_logger().info("Measuring %d modules of %s", len(files), source)
    measured = measure.map(
        [file.relative_to(source).as_posix() for file in files], [file.read_bytes() for file in files]
    )
    show_progress(measured)
    totals = add_up.submit(measured)
    graph = link_imports.submit(measured)
    spread = spread_complexity.submit(measured)
    outstanding = pick_outstanding.submit(measured)
    report = lay_out.submit(title, subject, measured, totals, graph, spread, outstanding)
    # The page is kept and writing it is not: a kept step would leave a report that was deleted unwritten.
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report.result(), encoding="utf-8")
    return count([*measured, totals, graph, spread, outstanding, report], measured)


def find_modules(source: Path) -> Iterator[Path]:
    """The source files below a folder that an import statement can name, always in the same order."""
    for folder, inner, files in os.walk(source):
        inner[:] = sorted(name for name in inner if name.isidentifier() and name not in SKIPPED)
        yield from (
            Path(folder, name)
            for name in sorted(files)
            if name.endswith(".py") and name.removesuffix(".py").isidentifier()
        )


def describe(source: Path) -> tuple[str, str]:
    """The report's title and the line above it."""
    if source == STDLIB:
        return "The Python standard library, measured", f"Python {platform.python_version()}"
    return f"The modules of {source.name}, measured", str(source)


def show_progress(futures: Sequence[KeptFuture[Any]]) -> None:
    """Wait for the steps, saying on a terminal how many are done."""
    for done, future in enumerate(futures, 1):
        future.wait()
        if sys.stderr.isatty() and (done % 10 == 0 or done == len(futures)):
            end = "\n" if done == len(futures) else ""
            print(f"\rmeasured {done:,} of {len(futures):,} modules", end=end, file=sys.stderr, flush=True)


def count(steps: Sequence[KeptFuture[Any]], measured: Sequence[KeptFuture[Module]]) -> Tally:
    hits = sum(is_hit(step) for step in steps)
    return Tally(
        hits=hits,
        ran=len(steps) - hits,
        saved=sum(step.result().seconds for step in measured if is_hit(step)),
    )


def is_hit(step: KeptFuture[Any]) -> bool:
    return step.state.name == "Cached"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Python modules and write a report, keeping every step.")
    parser.add_argument(
        "--source",
        type=Path,
        default=STDLIB,
        metavar="DIR",
        help="the folder to measure (default: Python's standard library)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=REPORT,
        metavar="FILE",
        help="the report to write (default: examples/out/report.html)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="measure the first N modules only")
    parser.add_argument("--verbose", action="store_true", help="log a line for each step")
    chosen = parser.parse_args(arguments)
    if chosen.limit is not None and chosen.limit < 1:
        parser.error(f"--limit is {chosen.limit}; it takes a number of modules from 1")
    if not any(find_modules(chosen.source)):
        parser.error(f"there is no Python module in --source {chosen.source}")
    return chosen


def main() -> None:
    chosen = options()
    # About the code that is measured, which nobody here can change.
    warnings.simplefilter("ignore", SyntaxWarning)
    if not chosen.verbose:
        # Seven hundred lines would hide those of the flow and the last one.
        get_logger("task_runs").setLevel(logging.WARNING)
    started = time.perf_counter()
    tally = source_report(chosen.source, chosen.out, chosen.limit)
    seconds = time.perf_counter() - started
    print(
        f"{tally.hits + tally.ran:,} steps: {tally.hits:,} hits, {tally.ran:,} ran; "
        f"{tally.saved:.1f} s of work saved; flow took {seconds:.2f} s; report: {shown(chosen.out)}"
    )
    if not tally.hits:
        print("Now run it again: what has been computed is kept.")


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    main()
