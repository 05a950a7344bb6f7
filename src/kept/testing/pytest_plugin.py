"""The fixture `kept_store`, which pytest finds where kept is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kept.results import ResultStore


@pytest.fixture
def kept_store() -> Iterator[ResultStore]:
    """A store in memory for this test alone: what flows and tasks keep goes there, and no history is written."""
    # Imported here: pytest loads this module at each start, in projects that may never ask for the fixture.
    from kept.testing.utilities import memory_store  # noqa: PLC0415

    with memory_store() as store:
        yield store
