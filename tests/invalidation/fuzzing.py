"""Edits random programs, and sees that exactly the tasks that depend on what was edited have another code identity.

    scripts/fuzz                 10,000 programs
    scripts/fuzz 500 --first 7   500, from number 7 on

Two processes for each program would take a quarter of an hour for a thousand. So here a version of a program is
imported into this process, under names that are free again afterwards, and the digests of its tasks are compared
instead of what ran. `test_fuzz.py` has whole processes for a few programs.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kept.fingerprint import code_identity
from tests.invalidation.programs import Program, edited, random_program, retouched


def wrong(number: int, folder: Path) -> list[str]:
    """What is wrong with the code identities of one program, told for people; nothing if all is well."""
    dice = random.Random(number)
    program = random_program(dice)
    other, changed = edited(program, dice)
    neutral = retouched(program, dice)
    before = _identities(program, folder / f"{number}-before")
    after = _identities(other, folder / f"{number}-edited")
    same = _identities(neutral, folder / f"{number}-retouched")
    stale = [
        f"program {number}: {task} did not notice the edit" for task in sorted(changed) if before[task] == after[task]
    ]
    needless = [
        f"program {number}: {task} reruns, but reaches nothing that was edited"
        for task in program.tasks
        if task not in changed and before[task] != after[task]
    ]
    moved = [f"program {number}: {task} reruns for remarks" for task in program.tasks if before[task] != same[task]]
    return [*stale, *needless, *moved]


def _identities(program: Program, folder: Path) -> dict[str, str]:
    """The digest of the code of each task of a program that is imported from a folder of its own."""
    write(program, folder)
    known, writes_bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        job = importlib.import_module("job")
        return {task: code_identity(getattr(job, task).fn).digest for task in program.tasks}
    finally:
        sys.dont_write_bytecode = writes_bytecode
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def write(program: Program, folder: Path) -> None:
    for name, text in program.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Edit random programs and compare which tasks notice it.")
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first program, which is its seed")
    parser.add_argument("--jobs", type=int, help="processes at once (default: one for each processor)")
    options = parser.parse_args()
    start, failures = time.perf_counter(), 0
    numbers = range(options.first, options.first + options.count)
    hundreds = [numbers[index : index + 100] for index in range(0, options.count, 100)]
    # What was imported is never given up again, so each process does a hundred only.
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        for complaints in pool.imap(_all_wrong, hundreds, chunksize=1):
            print("".join(f"{complaint}\n" for complaint in complaints), end="", flush=True)
            failures += len(complaints)
    print(f"{options.count} programs, {failures} of them wrong, {time.perf_counter() - start:.0f} s")
    return int(bool(failures))


def _all_wrong(numbers: range) -> list[str]:
    """What is wrong with each of these programs, a text for each one, with the folder that still has it."""
    found = []
    for number in numbers:
        folder = Path(tempfile.mkdtemp(prefix="kept-fuzz-"))
        complaints = wrong(number, folder)
        if complaints:
            found.append(f"{'; '.join(complaints)}: see {folder}")
        else:
            shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    sys.exit(main())
