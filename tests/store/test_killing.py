"""Writers that are killed at any moment: the store is whole, keeps what it said it keeps, and never lies."""

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kept.store import Entry, Miss, Store, open_store
from kept.store.digests import digest_of
from kept.testing import an_entry
from tests.store.conftest import forked

KILLS = 200
BLOB = 300_000  # large enough to be mapped


def blob_of(key: str) -> bytes:
    return (digest_of([key.encode()], 0).encode() * (BLOB // 64 + 1))[:BLOB]


def entries_of(writer: str) -> Iterator[list[Entry]]:
    """What a writer puts, one after another: a small entry, one with a blob, three at once."""
    step = 0
    while True:
        key = f"{writer}-{step}"
        if step % 3 == 0:
            yield [an_entry(key, payload=key.encode() * 50)]
        elif step % 3 == 1:
            yield [an_entry(key, payload=None, blob=digest_of([blob_of(key)], BLOB))]
        else:
            yield [an_entry(f"{key}-{part}", payload=key.encode()) for part in range(3)]
        step += 1


def write_until_killed(store: Store, writer: str, said: int) -> None:
    for entries in entries_of(writer):
        for entry in entries:
            if entry.blob:
                assert store.blobs.put([blob_of(entry.key)]) == entry.blob
        store.entries.put(entries)
        os.write(said, b".")  # only now is it acknowledged


def killed_writers(store: Store, round_: int, count: int) -> dict[str, int]:
    """Start writers, kill them at a random moment, and give how many puts each had acknowledged."""
    pipes = {f"w{round_}-{number}": os.pipe() for number in range(count)}
    children = [
        forked(lambda w=writer, p=pipe: write_until_killed(store, w, p[1]))  # type: ignore[misc]
        for writer, pipe in pipes.items()
    ]
    first = next(iter(pipes.values()))[0]
    select.select([first], [], [], 20)
    time.sleep(random.random() * 0.02)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    acknowledged = {}
    for writer, (reading, writing) in pipes.items():
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            acknowledged[writer] = len(pipe.read())
    return acknowledged


def examine(store: Store, acknowledged: dict[str, int]) -> None:
    for writer, count in acknowledged.items():
        source = entries_of(writer)
        for _ in range(count):
            for entry in next(source):
                assert store.entries.get(entry.key) == entry, "an acknowledged entry was lost"
        half_done = [store.entries.get(entry.key) for entry in next(source)]
        assert len({isinstance(found, Miss) for found in half_done}) == 1, "a put of several was torn"
    for entry in store.entries.scan():
        if entry.key.startswith(tuple(acknowledged)) and entry.blob:
            assert bytes(store.blobs.open(entry.blob)) == blob_of(entry.key)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_two_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path, layout: str) -> None:
    store = open_store(tmp_path / "s", layout)
    writers = 4
    total = 0
    for round_ in range(KILLS // writers):
        acknowledged = killed_writers(store, round_, writers)
        total += sum(acknowledged.values())
        examine(store, acknowledged)
    assert total > KILLS
    if layout == "embedded":
        store.entries.close()
        connection = sqlite3.connect(tmp_path / "s" / "entries.sqlite")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    for digest, _ in store.blobs.scan():
        assert not isinstance(store.blobs.open(digest), Miss)
