"""Put the corpus of edits, `tests/invalidation/cases`, to kept and to its peers: what is noticed, what is needless.

    python benchmarks/invalidation.py                          all; redun and Prefect, being slow, on each fifth case
    python benchmarks/invalidation.py --systems kept,joblib    some

Each edited project is run before and after the edit, in processes of their own. The same files are given to all, but
for the lines that import a decorator and the decorator itself. Where a system could not run the task, before the edit
or after it, it neither noticed the edit nor spared a rerun; such cases are counted in a column of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import environments
from processes import Bench

sys.path.insert(1, str(environments.CHECKOUT))
from tests.invalidation.reading import Case, all_cases
from tests.invalidation.writing import KEPT, Call, Dress, Failed, Prober, Workshop, runs

STORE = "INVALIDATION_STORE"


class System(NamedTuple):
    """How one of them is asked."""

    title: str
    dress: Dress
    preloaded: tuple[str, ...]
    call: str = "{}"
    every: int = 1
    """Only each case of so many is put to it."""


_FLOWLESS = "import os\n\n\ndef flow(function):\n    return function\n\n\n"
SYSTEMS = {
    "kept": System("kept, `CODE` and `PURE`", KEPT, ("kept.flows", "kept.tasks", "kept.cache_policies")),
    "joblib": System(
        "joblib",
        Dress(f"{_FLOWLESS}from joblib import Memory\ntask = Memory(os.environ['{STORE}'], verbose=0).cache\n"),
        ("joblib",),
    ),
    "charmonium": System(
        "charmonium.cache, `assume_purity=False`",
        Dress(
            f"{_FLOWLESS}from charmonium.cache import DirObjStore, MemoizedGroup, memoize\n"
            # Its default follows no globals, which would make it blind to all that this is about.
            "from charmonium.cache.memoize import DEFAULT_FREEZE_CONFIG\nDEFAULT_FREEZE_CONFIG.assume_purity = False\n"
            f"task = memoize(group=MemoizedGroup(obj_store=DirObjStore(os.environ['{STORE}']), temporary=False, "
            "fine_grain_persistence=True))\n"
        ),
        ("charmonium.cache",),
    ),
    "redun": System(
        "redun",
        Dress(
            f"{_FLOWLESS}import logging\nimport redun\nfrom redun.config import Config\n"
            f"address = 'sqlite:///' + os.environ['{STORE}'] + '.db'\n"
            "scheduler = redun.Scheduler(config=Config({'backend': {'db_uri': address}}))\nscheduler.load()\n"
            "task = redun.task(namespace='cases')\nlogging.getLogger('redun').setLevel('ERROR')\n"
        ),
        ("redun",),
        call="scheduler.run({})",
        every=5,
    ),
    "prefect": System(
        "Prefect, `INPUTS + TASK_SOURCE`",
        Dress(
            "import os\nfrom prefect import flow, task\nfrom prefect.cache_policies import INPUTS, TASK_SOURCE\n"
            f"policy = (INPUTS + TASK_SOURCE).configure(key_storage=os.environ['{STORE}'])\n",
            "@task(cache_policy=policy, persist_result=True)",
            "@task(cache_policy=policy, persist_result=True)",
        ),
        ("prefect",),
        every=5,
    ),
}


def main() -> int:
    options = _options()
    options.envs.mkdir(parents=True, exist_ok=True)
    cases = [case for case in all_cases() if _is_for_all(case)]
    needed = sum(case.reruns for case in cases)
    print(f"{len(cases)} cases: {needed} needed reruns, {len(cases) - needed} needless ones\n")
    print("| system | needed reruns caught | needless reruns spared | could not be run | cases | seconds |")
    print("|---|---|---|---|---|---|")
    for name in options.systems:
        environments.prepare(options.envs, name)
        start = perf_counter()
        with _settings(name, options.envs) as settings:
            score = _score(name, cases[:: SYSTEMS[name].every], options.envs, settings, options.verbose)
        print(_row(name, score, perf_counter() - start), flush=True)
    versions = environments.versions(options.envs, options.systems)
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return 0


def _is_for_all(case: Case) -> bool:
    """Whether a case says nothing that only kept's API has."""
    text = "".join([*case.before.files.values(), *case.after.files.values()])
    return not any(word in text for word in ("cache_policy", ".fn()", ".submit(", "kept"))


def _score(name: str, cases: list[Case], envs: Path, settings: dict[str, str], verbose: bool) -> Counter[str]:
    system, python = SYSTEMS[name], str(environments.python_of(envs, name))
    score: Counter[str] = Counter()
    with closing(Prober(python, *system.preloaded, "numpy", "pydantic", **settings)) as prober:
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                outcome = _outcome(case, system, prober, Path(folder))
            score[outcome.partition(" ")[0], case.reruns] += 1
            if verbose:
                print(f"{name}: {case}: {outcome}", file=sys.stderr)
    return score


def _outcome(case: Case, system: System, prober: Prober, folder: Path) -> str:
    """What a system made of an edit: "ran", "hit" or "failed"."""
    workshop, store = Workshop(folder, system.dress), str(folder / "store")

    def calls(version_is: str, *steps: str) -> list[Call]:
        work = workshop.write(getattr(case, version_is))
        work["call"] = system.call.format(work["call"])
        return prober.calls(runs(work, folder / "home", list(steps), {STORE: store}))

    between = [text for name, text in case.after.files.items() if name == "between"]
    try:
        (before,) = calls("before", "call")
        if not before.ran:
            return "failed"
        after = calls("after", *(["call", *between] if between else []), "call")[-1]
    except Failed as failure:
        return f"failed ({str(failure).strip().splitlines()[-1]})"
    return "ran" if after.ran else "hit"


def _row(name: str, score: Counter[str], seconds: float) -> str:
    def share(outcome: str, reruns: bool) -> str:
        whole = sum(count for (_, of), count in score.items() if of is reruns)
        return f"{score[outcome, reruns] / whole:.0%}" if whole else "-"

    failed = score["failed", True] + score["failed", False]
    cells = (share("ran", True), share("hit", False), failed, score.total(), f"{seconds:.0f}")
    return f"| {SYSTEMS[name].title} | {' | '.join(map(str, cells))} |"


@contextmanager
def _settings(name: str, envs: Path) -> Iterator[dict[str, str]]:
    """The environment of a system's processes; of Prefect with a server beside it, whose start would be each run's."""
    if name != "prefect":
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(environments=envs, folder=Path(folder), timeout=300)
        home = Path(folder) / "home"
        home.mkdir()
        try:
            with bench._prefect_server(home) as served:
                yield {**bench._environment("prefect", home), **served}
        finally:
            bench.end()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score kept and its peers on the corpus of edits.")
    parser.add_argument("--systems", help="names, comma between (default: all): " + ", ".join(SYSTEMS))
    parser.add_argument("--envs", type=Path, default=environments.default_folder(), help="default: %(default)s")
    parser.add_argument("--verbose", action="store_true", help="say what each made of each case")
    options = parser.parse_args()
    options.systems = options.systems.split(",") if options.systems else list(SYSTEMS)
    for name in options.systems:
        if name not in SYSTEMS:
            parser.error(f"{name!r} is none of {', '.join(SYSTEMS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
