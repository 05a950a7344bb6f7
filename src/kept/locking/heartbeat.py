"""Signs of life of the locks that this process holds, all given by one thread of it.

The thread runs while locks are held that need it, and a moment longer. Renewals that fall due together are made side
by side: with a server far away, one after the other would come too late for the last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

from kept.utilities.forks import in_forked_child
from kept.utilities.threads import start

logger = logging.getLogger("kept.locking")

_IDLE_SECONDS = 1.0
_LONGEST_WAIT = 60.0
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
            # Not in this thread: a beat that hangs must not hold up those that fall due meanwhile.
            helpers = [threading.Thread(target=self._drain, args=(due,), daemon=True) for _ in due[:_SIDE_BY_SIDE]]
            if not sum(map(_starts, helpers)):
                self._drain(due)

    def _due(self) -> list[tuple[Hashable, _Pulse]] | None:
        """The locks whose time has come; None when there have been none for a while."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = [(name, pulse) for name, pulse in self._pulses.items() if pulse.due <= now]
                if due:
                    for _, pulse in due:
                        pulse.due = float("inf")  # till it is given
                    return due
                self._next = min((pulse.due for pulse in self._pulses.values()), default=now + _IDLE_SECONDS)
                if not self._changed.wait(min(self._next - now, _LONGEST_WAIT)) and not self._pulses:
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
            with self._changed:
                pulse.due = time.monotonic() + pulse.every
                if not alive and self._pulses.get(name) is pulse:
                    del self._pulses[name]
                elif pulse.due < self._next:
                    self._changed.notify()


def _beats(pulse: _Pulse) -> bool:
    try:
        return pulse.beat()
    except Exception as error:  # whatever it is, other locks are to be kept alive
        logger.debug("A lock can't be renewed for now: %s", error)
        return True  # the server may be back before the lease is over


def _starts(helper: threading.Thread) -> bool:
    try:
        helper.start()
    except RuntimeError:  # there can be no more threads
        return False
    return True


_heart = _Heart()


def keep_alive(name: Hashable, every: float, beat: Callable[[], bool]) -> None:
    """Call `beat()` every so many seconds until it says False, or until `let_go(name)`; again also if it raises."""
    _heart.add(name, _Pulse(every, beat))


def let_go(name: Hashable) -> None:
    """No more beats for `name`; one that is on its way has ended when this returns."""
    _heart.remove(name)


@in_forked_child
def _start_anew() -> None:
    # A forked child has neither the thread nor the locks.
    global _heart
    _heart = _Heart()
