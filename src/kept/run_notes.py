"""What the runs inside of one flow run learn about stores and about each other, and remember for one another.

A key that a store did not have is not asked for again; the same trouble is told twice, then counted, and told of as
a whole when the outermost flow run ends; and what was written there is known, so that the end can wait for it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import Any

from kept.utilities.forks import in_forked_child

MOST_KEYS = 100_000
"""How many keys are remembered; then all are forgotten. A needless question is all that this costs."""

_TOLD = 2

NOT_READ = "kept results that could not be looked up or read"
NOT_KEPT = "results that were not kept"
NOT_LOCKED = "results computed without the lock on their keys"
RECOMPUTED = "results computed again because they could not be fetched when they were needed"

SAME_RESULT = "hits computed again with the same result"
OTHER_RESULT = "hits computed again with another result"
NOT_CHECKED = "hits that could not be computed again and compared"
CHANGED_ARGUMENTS = "arguments changed by the task or flow that they were passed to"

_lock = threading.Lock()
_all: weakref.WeakSet[RunNotes] = weakref.WeakSet()


class RunNotes:
    """What is noted during one flow run, its subflows included.

    Attributes:
        over: whether the flow run has ended and told of its troubles.
        written: the stores far away that something was published in.
    """

    __slots__ = ("__weakref__", "_counts", "_entries", "_findings", "_known", "_reasons", "over", "written")

    def __init__(self) -> None:
        self.over = False
        self.written: list[Any] = []
        # The id of entries and a key -> whether this process has put an entry there, else there was none.
        self._known: dict[tuple[int, str], bool] = {}
        self._entries: dict[int, Any] = {}  # held, so that no others come to have their ids
        self._counts: dict[tuple[str, str], int] = {}
        self._reasons: dict[str, str] = {}
        self._findings: dict[str, dict[str, int]] = {}
        with _lock:
            _all.add(self)

    def lacks(self, entries: Any, key: str) -> bool:
        """Whether the entries were asked for this key and had none, and this process has put none there since."""
        return self._known.get((id(entries), key)) is False

    def note_absent(self, entries: Any, key: str) -> None:
        """Note that there is none, unless one was put there while this was found out."""
        if len(self._known) >= MOST_KEYS:
            self._known.clear()
        self._entries[id(entries)] = entries
        self._known.setdefault((id(entries), key), False)

    def note_written(self, store: Any) -> None:
        """Note that something was published in a store far away."""
        if all(one is not store for one in self.written):
            self.written.append(store)

    def trouble(self, what: str, location: str, reason: str, count: int = 1) -> bool:
        """Count a trouble of this kind with the store there; whether it should be told, as it is one of the first."""
        with _lock:
            self._reasons.setdefault(location, reason)
            self._counts[what, location] = so_far = self._counts.get((what, location), 0) + count
        return self.over or so_far <= _TOLD

    def is_news(self, finding: str, of: str) -> bool:
        """Count what `KEPT_CACHE_CHECK` found out about this task or flow; whether it should be told, as above."""
        with _lock:
            counts = self._findings.setdefault(finding, {})
            counts[of] = so_far = counts.get(of, 0) + 1
        return self.over or so_far <= _TOLD

    def summaries(self) -> list[str]:
        """What to tell at the end of the flow run: a sentence for each store that gave trouble, and one of checks."""
        self.over = True
        told = []
        for location, reason in self._reasons.items():
            counts = [f"{what}: {count}" for (what, where), count in self._counts.items() if where == location]
            told.append(
                f"The store {location} gave trouble, and the run went on without it: {'; '.join(counts)}. "
                f"The first time: {reason.rstrip('.')}."
            )
        if self._findings.keys() - {SAME_RESULT}:
            told.append(f"What KEPT_CACHE_CHECK found: {'; '.join(map(self._counted, self._findings))}.")
        return told

    def _counted(self, finding: str) -> str:
        counts = self._findings[finding]
        return f"{finding}: {sum(counts.values())} ({', '.join(f'{of} {count}' for of, count in counts.items())})"


def note_published(entries: Any, keys: Iterable[str]) -> None:
    """Let all flow runs of this process know that there are entries at these keys now."""
    with _lock:
        live = list(_all)
    for notes in live:
        if not notes.over:
            notes._known.update(dict.fromkeys(((id(entries), key) for key in keys), True))


@in_forked_child
def _start_anew() -> None:
    # A forked child has none of the threads that may hold this.
    global _lock
    _lock = threading.Lock()
