"""Signs of life of the locks that this process holds, all given by one thread of it.

The thread runs while locks are held that need it, and a moment longer. Renewals that fall due together are made side
by side: with a server far away, one after the other would come too late for the last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

from kept.exceptions import LockError
from kept.utilities.forks import in_forked_child
from kept.utilities.threads import start

logger = logging.getLogger("kept.locking")

_IDLE_SECONDS = 1.0
_SIDE_BY_SIDE = 8


class _Pulse:
    """One lock that is kept alive."""

    __slots__ = ("beat", "beating", "due", "every")

    def __init__(self, every: float, beat: Callable[[], bool]) -> None:
        self.every = every
        self.beat = beat
        self.due = time.monotonic() + every
        self.beating = threading.Lock()


class _Heart:
    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._pulses: dict[Hashable, _Pulse] = {}
        self._next = float("inf")
        self._thread: threading.Thread | None = None

    def add(self, name: Hashable, pulse: _Pulse) -> None:
        with self._changed:
            self._pulses[name] = pulse
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="kept-heartbeat", daemon=True)
                start(thread)
                self._thread = thread
            elif pulse.due < self._next:
                self._changed.notify()

    def remove(self, name: Hashable) -> None:
        with self._changed:
            pulse = self._pulses.pop(name, None)
        if pulse is not None:
            with pulse.beating:  # a beat on its way would undo what comes next
                pass

    def _work(self) -> None:
        while (due := self._due()) is not None:
            helpers = [threading.Thread(target=self._drain, args=(due,), daemon=True) for _ in due[1:_SIDE_BY_SIDE]]
            for helper in helpers:
                helper.start()
            self._drain(due)
            for helper in helpers:
                helper.join()

    def _due(self) -> list[tuple[Hashable, _Pulse]] | None:
        """The locks whose time has come; None when there have been none for a while."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = [(name, pulse) for name, pulse in self._pulses.items() if pulse.due <= now]
                if due:
                    return due
                self._next = min((pulse.due for pulse in self._pulses.values()), default=now + _IDLE_SECONDS)
                if not self._changed.wait(self._next - now) and not self._pulses:
                    self._thread = None
                    return None

    def _drain(self, due: list[tuple[Hashable, _Pulse]]) -> None:
        while due:
            try:
                name, pulse = due.pop()
            except IndexError:
                return
            with pulse.beating:
                alive = self._pulses.get(name) is pulse and _beats(pulse)
            pulse.due = time.monotonic() + pulse.every
            if not alive:
                with self._changed:
                    if self._pulses.get(name) is pulse:
                        del self._pulses[name]


def _beats(pulse: _Pulse) -> bool:
    try:
        return pulse.beat()
    except LockError as error:
        logger.debug("A lock can't be renewed for now: %s", error)
        return True  # the server may be back before the lease is over


_heart = _Heart()


def keep_alive(name: Hashable, every: float, beat: Callable[[], bool]) -> None:
    """Call `beat()` every so many seconds until it says False, or until `let_go(name)`. It may raise LockError."""
    _heart.add(name, _Pulse(every, beat))


def let_go(name: Hashable) -> None:
    """No more beats for `name`; one that is on its way has ended when this returns."""
    _heart.remove(name)


@in_forked_child
def _start_anew() -> None:
    # A forked child has neither the thread nor the locks.
    global _heart
    _heart = _Heart()
