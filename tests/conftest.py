"""What all tests share: a home of their own, the lines that runs log, and real servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from kept.logging.handlers import RunFormatter
from tests.servers.fixtures import fault_proxy, hosts, quick_proxy, quick_s3, redis_server, s3

__all__ = ["fault_proxy", "hosts", "quick_proxy", "quick_s3", "redis_server", "s3"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which kept keeps everything during this test; not there before something is kept."""
    folder = tmp_path / "kept-home"
    monkeypatch.setenv("KEPT_HOME", str(folder))
    return folder


class Lines(logging.Handler):
    """Formatted log lines, as the console shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(RunFormatter())
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> str:
        return self._lines[index]

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __contains__(self, text: str) -> bool:
        """Whether any line holds the text."""
        return any(text in line for line in self._lines)

    def clear(self) -> None:
        self._lines.clear()

    def having(self, *texts: str) -> list[str]:
        """The lines that hold all the texts."""
        return [line for line in self._lines if all(text in line for text in texts)]


@pytest.fixture
def log() -> Iterator[Lines]:
    """The lines logged by kept during the test: a sequence, with `"text" in log` and `log.having(...)`."""
    lines = Lines()
    logger = logging.getLogger("kept")
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)
