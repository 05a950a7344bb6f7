"""A workflow that notes what it does, for processes of their own: `python -m tests.survival.work NAME ARGUMENTS`.

Where results are kept is said by the environment, as it is by users. Notes go to the file WORK_NOTES, which all
processes of a test share, a line each: "begin 17 4711" when a step begins (its number, the process), "kept 17 4711"
when its result has been kept. With WORK_HOLD=0.8 four steps of five note "hold" and
never end.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from kept import flow, task
from kept.cache_policies import INPUTS, TASK_SOURCE
from kept.futures import as_completed
from kept.task_runners import ThreadPoolTaskRunner
from kept.transactions import IsolationLevel, transaction

ALONE = (INPUTS + TASK_SOURCE).configure(isolation_level=IsolationLevel.SERIALIZABLE)
LARGE = 100_000


def note(word: str, number: int) -> None:
    file = os.open(os.environ["WORK_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word} {number} {os.getpid()}\n".encode())  # one write, so lines of processes are never mixed
    os.close(file)


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def triple(number: int) -> int:
    note("begin", number)
    if random.random() < float(os.environ.get("WORK_HOLD", "0")):
        note("hold", number)
        time.sleep(1000)  # until it is killed
    return 3 * number


@task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
def large(number: int) -> bytes:
    note("begin", number)
    return b"%d" % (number % 10) * LARGE


@flow
def triples(count: int) -> list[int]:
    """One after the other."""
    return [triple(number) for number in range(count)]


@flow
def led(count: int) -> list[int]:
    """One after the other, each when a line comes in."""
    return [triple(number) for number in range(count) if sys.stdin.readline()]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def alone(count: int) -> int:
    """Each number by one process only, whichever is first."""
    numbers = random.sample(range(count), count)
    futures = {triple.with_options(cache_policy=ALONE).submit(number): number for number in numbers}
    for future in as_completed(list(futures)):
        future.result()
        note("kept", futures[future])
    return sum(future.result() for future in futures)


@task(persist_result=True, cache_key_fn=lambda _, arguments: f"part-{arguments['number']}")
def part(number: int) -> bytes:
    note("begin", number)
    return b"%d" % number * (LARGE if number % 2 else 10)


@flow
def together(count: int) -> None:
    """Parts that are to be seen together or not at all."""
    with transaction(key="all"):
        for number in range(count):
            part(number)


@flow
def forks(count: int) -> list[int]:
    """A child that is forked after the store was used, and goes on with the flow on its own."""
    before = triples(count)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with {status}"
        assert triples(count) == before
        return before
    try:
        assert triples(2 * count)[:count] == before
        note("kept", 0)
        os._exit(0)
    finally:
        os._exit(1)


@flow
def first(number: int) -> int:
    """One step that takes a lock: by it a process finds out, for all of its machine, which locks the server allows."""
    return triple.with_options(cache_policy=ALONE)(number)


PROGRAMS: dict[str, Callable[[int], Any]] = {
    "triples": triples,
    "led": led,
    "alone": alone,
    "first": first,
    "together": together,
    "forks": forks,
}

if __name__ == "__main__":
    print(PROGRAMS[sys.argv[1]](int(sys.argv[2])))
