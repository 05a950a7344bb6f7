"""Measure kept beside its peers: `python benchmarks/run.py --help`.

Needs Python and pip only. Environments, stores and logs go to a cache folder. The report of a whole run
goes to RESULTS.md and results/ here, that of a part of one stays in the cache folder.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import environments
import report
from catalogue import CASES, PEERS, Case, sizes_of
from processes import Bench, Trouble

HERE = Path(__file__).resolve().parent
_NAMES = [*dict.fromkeys(c.group for c in CASES), *(c.name for c in CASES)]


def main() -> int:
    """Set up, measure, write; 1 if anything could not be measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # what was started is ended all the same
    options = _options()
    options.envs.mkdir(parents=True, exist_ok=True)
    far = any(case.how == "far" for case in options.cases)
    for peer in [*options.peers, *(["swift"] if far else [])]:
        environments.prepare(options.envs, peer)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.work or options.envs))
    bench = Bench(environments=options.envs, folder=folder, timeout=options.timeout)
    try:
        results = _measure(bench, options)
    finally:
        bench.end()
        shutil.rmtree(folder, ignore_errors=True)
    _write(results, options)
    return int(any("trouble" in turn for turn in results.turns))


def _measure(bench: Bench, options: argparse.Namespace) -> report.Results:
    results = report.Results(
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
        peers=options.peers,
        rounds=options.rounds,
        machine=report.machine(bench.folder),
        versions=environments.versions(options.envs, options.peers),
        load=[f"{os.getloadavg()[0]:.1f}"],
    )
    start = perf_counter()
    for case in options.cases:
        for number in range(1, min(options.rounds, case.rounds or options.rounds) + 1):
            for peer in options.peers:  # one after the other, so that a slow minute of the machine hits them all
                _turn(bench, results, case, peer, number, options)
    results.minutes = (perf_counter() - start) / 60
    results.load.append(f"{os.getloadavg()[0]:.1f}")
    return results


def _turn(
    bench: Bench, results: report.Results, case: Case, peer: str, number: int, options: argparse.Namespace
) -> None:
    sizes = sizes_of(case, peer, quick=options.quick, full=options.full)
    if sizes is None:
        return
    turn = {"case": case.name, "peer": peer, "round": number, "sizes": sizes}
    try:
        outcome = bench.turn(case.how, case.name, peer, sizes)
    except Trouble as trouble:
        turn["trouble"] = str(trouble)
        print(f"{case.name:20} {peer:10} failed: {trouble}", file=sys.stderr)
    else:
        turn |= vars(outcome)
        print(
            f"{case.name:20} {peer:10} {_glance(case, outcome.figures)} [{outcome.took:.1f} s]",
            file=sys.stderr,
        )
    results.turns.append(turn)


def _glance(case: Case, figures: dict[str, list[float]]) -> str:
    row = next(row for row in case.rows if row.figure in figures)
    return f"{row.figure} {report.shown(median(figures[row.figure]), row)}"


def _write(results: report.Results, options: argparse.Namespace) -> None:
    page = report.markdown(results)
    out = options.out
    (out / "results").mkdir(parents=True, exist_ok=True)
    name = results.date.replace(" UTC", "").replace(" ", "-").replace(":", "")
    (out / "results" / f"{name}.json").write_text(results.as_json())
    (out / "RESULTS.md").write_text(page)
    print(page)
    print(f"written: {out / 'RESULTS.md'} and {out / 'results' / name}.json", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure kept side by side with its peers.")
    parser.add_argument("--cases", help="names or groups, comma between (default: all): " + ", ".join(_NAMES))
    parser.add_argument("--peers", help="names, comma between (default: all): " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, help="turns of each peer at each case (default: 3; 1 if --quick)")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works, not to quote")
    parser.add_argument("--full", action="store_true", help="a million entries, and Prefect at sizes it needs long for")
    parser.add_argument("--timeout", type=float, help="seconds a process may take (default: 300; 3600 if --full)")
    parser.add_argument("--envs", type=Path, default=environments.default_folder(), help="default: %(default)s")
    parser.add_argument("--work", type=Path, help="where the stores are made (default: in --envs)")
    parser.add_argument("--out", type=Path, help="where the report goes (default: here if whole, else in --envs)")
    options = parser.parse_args()
    whole = not (options.cases or options.peers or options.quick)
    cases = _chosen(parser, options.cases, _NAMES)
    options.cases = [c for c in CASES if c.name in cases or c.group in cases]
    taking_part = [p for p in PEERS if any(p in c.sizes for c in options.cases)]
    options.peers = [p for p in taking_part if p in _chosen(parser, options.peers, list(PEERS))]
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.timeout = options.timeout or (3600 if options.full else 300)
    options.out = options.out or (HERE if whole else options.envs)
    options.envs, options.out = options.envs.absolute(), options.out.absolute()
    return options


def _chosen(parser: argparse.ArgumentParser, text: str | None, known: list[str]) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else known
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
