"""Workflows in processes of their own, on a bucket of this test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.servers.hosts import Hosts
from tests.servers.needs import until
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3

REPOSITORY = Path(__file__).parents[2]


class Place(NamedTuple):
    """A bucket of this test behind a proxy."""

    proxy: FaultProxy
    bucket: str
    folder: str = "team"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.folder}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes kept keep results here."""
        return {**self.proxy.environment, "KEPT_RESULTS_DEFAULT_STORAGE": self.url}

    def objects(self) -> dict[str, bytes]:
        """What is in the folder of the bucket."""
        server = self.proxy.server
        return {key: server.get(self.bucket, key) for key in server.keys(self.bucket, f"{self.folder}/")}


def a_place(server: S3, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(proxy, server.bucket())
    for name, value in {**place.environment, "KEPT_RESULTS_LOCAL_TIER_SIZE": "0"}.items():
        monkeypatch.setenv(name, value)
    return place


@pytest.fixture
def place(quick_s3: S3, quick_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket where this process keeps its results, with no local tier in front; on the quick server."""
    return a_place(quick_s3, quick_proxy, monkeypatch)


@pytest.fixture
def atomic_place(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The same on the real server, whose conditional writes are made as good as those of S3."""
    with FaultProxy(s3, atomic=True) as proxy:
        yield a_place(s3, proxy, monkeypatch)


class Workers:
    """Starts `tests.survival.work` in processes and reads what they noted; those on a host share its disk, and what
    kept has there, others have a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes_file = folder / "notes"
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: object, env: Mapping[str, str] | None = None, host: tuple[Hosts, int] | None = None
    ) -> subprocess.Popen[str]:
        home = host[0].local / "home" if host else self.folder / f"home-{len(self.started)}"
        paths = {"PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}", "KEPT_HOME": str(home)}
        settings = {**os.environ, **paths, "WORK_NOTES": str(self.notes_file), **(env or {})}
        command = [sys.executable, "-m", "tests.survival.work", *map(str, arguments)]
        options: dict[str, Any] = {"env": settings, **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)}
        process = host[0].run(host[1], command, **options) if host else subprocess.Popen(command, text=True, **options)
        self.started.append(process)
        return process

    def run(self, *arguments: object, **options: Any) -> tuple[str, str]:
        """What a process printed and logged; it has to end well."""
        return ended_well(self.start(*arguments, **options))

    def notes(self, word: str) -> list[tuple[int, int]]:
        """The number and the process of each note, in order."""
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return [(int(number), int(pid)) for noted, number, pid in map(str.split, lines) if noted == word]

    def begun(self) -> list[int]:
        """The numbers that were computed, in order, as often as they were."""
        return [number for number, _ in self.notes("begin")]

    def lead(self, process: subprocess.Popen[str], steps: int = 1) -> None:
        """Let a process that runs "led" take so many steps."""
        begun = len(self.begun())
        assert process.stdin
        process.stdin.write("\n" * steps)
        process.stdin.flush()
        until(lambda: len(self.begun()) == begun + steps or process.poll() is not None, "no step began")
        assert process.poll() is None, process.communicate()[1]


def ended_well(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-5000:]
    return out.strip(), err


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path)
    yield started
    for process in started.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
