"""Files, terms of policies and arguments that don't count, as users write them."""

from __future__ import annotations

import logging
from pathlib import Path

from typing_extensions import assert_type

from kept import Dir, File, Ignore, task
from kept.cache_policies import ENV, FILES, INPUTS, PACKAGES, CachePolicy, ignore_type

Log = Ignore[logging.Logger]
ignore_type(logging.Logger)
policy: CachePolicy = INPUTS + FILES("conf/*.yaml", Path("a")) + ENV("MODEL", missing_ok=True) + PACKAGES("torch")
FILES(3)  # type: ignore[arg-type]


@task(cache_policy=policy)
def load(raw: File, folder: Dir, log: Log, other: Ignore[int] = 1) -> File:
    assert_type(log, logging.Logger)
    assert_type(other, int)
    with open(raw) as file:
        log.info(file.read())
    assert_type(folder / "a.csv", Path)
    return File(raw.path.with_suffix(".out"))


assert_type(load(File("a"), Dir("b"), logging.getLogger()), File)
load("a", Dir("b"), logging.getLogger())  # type: ignore[call-overload]
load(File("a"), Dir("b"), "log")  # type: ignore[call-overload]
