"""What runs do with a store that is far away: look many things up at a time, and fetch what somebody looks at."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from tests.conftest import Lines


class Far:
    """A file system in memory that counts what is asked of it, and is in another place as far as kept knows."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.meet: threading.Barrier | None = None

    def read_path(self, path: str) -> bytes:
        self.reads.append(path)
        if self.meet is not None:
            self.meet.wait()
        return self.files[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.files[path] = bytes(content)

    def reads_of(self, kind: str) -> int:
        return sum(path.startswith(kind) for path in self.reads)


@pytest.fixture
def far() -> Far:
    return Far()


def test_mapped_runs_look_into_it_at_the_same_time(far: Far) -> None:
    @task(cache_policy=INPUTS, result_storage=far)
    def double(x: int) -> int:
        return 2 * x

    @flow
    def doubled() -> list[Any]:
        return double.map(range(30), return_state=True)

    doubled()
    far.meet = threading.Barrier(30, timeout=20)
    assert {state.name for state in doubled()} == {"Cached"}


def test_gathered_async_runs_look_into_it_at_the_same_time(far: Far, log: Lines) -> None:
    @task(cache_policy=INPUTS, result_storage=far)
    async def double(x: int) -> int:
        return 2 * x

    @flow
    async def doubled() -> list[int]:
        return await asyncio.gather(*[double(x) for x in range(30)])

    asyncio.run(doubled())
    log.clear()
    far.meet = threading.Barrier(30, timeout=20)
    assert asyncio.run(doubled()) == [2 * x for x in range(30)]
    assert len(log.having("Cached")) == 30
