"""The report: medians over rounds, their spread, ratios to kept, budgets; as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from catalogue import CASES, Case, Row
from environments import CHECKOUT

SCALES = {
    "us": (1e6, " us"),
    "ms": (1e3, " ms"),
    "s": (1.0, " s"),
    "B": (1.0, " B"),
    "MB": (1e-6, " MB"),
    "x": (1.0, " x"),
    "n": (1.0, ""),
}
TITLES = {
    "kept": "kept",
    "prefect": "Prefect",
    "prefect-aws": "Prefect, prefect-aws",
    "joblib": "joblib",
    "diskcache": "diskcache",
}
HEADINGS = {"embedded": "Stores of one machine", "far": "Stores and locks that are shared"}


@dataclass(kw_only=True)
class Results:
    """All that one run of the benchmarks found."""

    date: str
    command: str
    peers: list[str]
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]
    load: list[str] = field(default_factory=list)
    minutes: float = 0.0
    turns: list[dict[str, Any]] = field(default_factory=list)
    """Each turn: case, peer, round, sizes, and its figures or its trouble."""

    def medians(self, case: Case, row: Row, peer: str) -> list[float]:
        """The median of each round."""
        return [
            median(turn["figures"][row.figure])
            for turn in self.turns
            if turn["case"] == case.name and turn["peer"] == peer and turn.get("figures", {}).get(row.figure)
        ]

    def as_json(self) -> str:
        """The raw figures, to four digits; one line a turn."""
        turns = ",\n  ".join(json.dumps(_rounded(turn)) for turn in self.turns)
        head = {name: value for name, value in vars(self).items() if name != "turns"}
        return json.dumps(head, indent=1)[:-2] + f',\n "turns": [\n  {turns}\n ]\n}}\n'


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def markdown(results: Results) -> str:
    """The whole page."""
    lines = [
        "# Measured side by side",
        "",
        "Made by `python benchmarks/run.py`; what is measured and how is in [README.md](README.md).",
        "",
        *(f"- {name}: {value}" for name, value in _facts(results)),
        "",
        "Each figure is the median over the rounds of each round's median. `12x`: twelve times kept's.",
        "",
        *_tables(results, "##", ["kept must", "met"], _main_cells),
        "## Spread",
        "",
        "The least and the greatest of the rounds' medians.",
        "",
        *_tables(results, "###", [], _spread_cells),
    ]
    troubles = [turn for turn in results.turns if "trouble" in turn]
    if troubles:
        lines += ["## What failed", ""]
        lines += [f"- {t['case']}, {t['peer']}, round {t['round']}: {t['trouble']}" for t in troubles]
    return "\n".join(lines) + "\n"


def _facts(results: Results) -> Iterable[tuple[str, str]]:
    yield "date", results.date
    yield "command", f"`{results.command}`, {results.rounds} rounds, {results.minutes:.0f} minutes"
    yield from results.machine.items()
    yield "load (1 min average) before and after", ", ".join(results.load)
    yield "versions", ", ".join(f"{name} {version}" for name, version in results.versions.items())


def _tables(results: Results, level: str, columns: list[str], cells: Any) -> list[str]:
    """A table for each group that was measured, of the peers that take part in it."""
    lines: list[str] = []
    for group, heading in HEADINGS.items():
        measured = [
            (case, row)
            for case in CASES
            for row in case.rows
            if case.group == group and any(results.medians(case, row, peer) for peer in results.peers)
        ]
        if measured:
            peers = [peer for peer in results.peers if any(peer in case.sizes for case, _ in measured)]
            head = ["work", *(TITLES[peer] for peer in peers), *columns]
            lines += [f"{level} {heading}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
            lines += [
                "| " + " | ".join([row.title, *cells(results, peers, case, row)]) + " |" for case, row in measured
            ]
            lines.append("")
    return lines


def _main_cells(results: Results, peers: list[str], case: Case, row: Row) -> list[str]:
    ours = results.medians(case, row, "kept")
    cells = []
    for peer in peers:
        found = results.medians(case, row, peer)
        cell = shown(median(found), row) if found else "-"
        if peer != "kept" and found and ours and row.unit not in "xn" and median(ours) > 0:
            cell += f" ({_times(median(found) / median(ours))})"
        cells.append(f"**{cell}**" if peer == "kept" and found else cell)
    if row.budget is None:
        return [*cells, "", ""]
    met = "" if not ours else "yes" if median(ours) <= row.budget else f"no, {_times(median(ours) / row.budget)}"
    return [*cells, f"<= {shown(row.budget, row)}", met]


def _spread_cells(results: Results, peers: list[str], case: Case, row: Row) -> list[str]:
    cells = []
    for peer in peers:
        found = results.medians(case, row, peer)
        cells.append(f"{shown(min(found), row)} to {shown(max(found), row)}" if found else "-")
    return cells


def shown(value: float, row: Row) -> str:
    """A figure with its unit, to three digits."""
    scale, unit = SCALES[row.unit]
    number = value * scale
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    number = round(number, digits) + 0.0  # never "-0.00"
    return f"{number:,.{digits}f}{unit}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2f}x"


def machine(folder: Path) -> dict[str, str]:
    """What it was measured on."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_system()}, kernel {platform.release()}, {platform.machine()}",
        "file system of the stores": _file_system(folder),
        "Python": platform.python_version(),
        "commit": _commit(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _file_system(folder: Path) -> str:
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if folder.resolve().is_relative_to(mounted) and len(mounted) > len(best[0]):
            best = (mounted, kind)
    return best[1]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(CHECKOUT), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "src")
    return (git("rev-parse", "--short", "HEAD") or "none") + (", with changes not committed" if changed else "")
