"""Calling functions later, all on one thread of the process, which ends when there is nothing left to call."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from kept.utilities.forks import in_forked_child
from kept.utilities.threads import start

_IDLE_SECONDS = 0.2
# How long the thread may sleep on: what it waits for may have been cancelled, which nobody wakes it for.
_SLEEP_SECONDS = 0.5
_SWEEP = 1000


class Alarm:
    """A call that is to come; `cancel()` keeps it from coming, unless it has begun."""

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[[], None]) -> None:
        self.fn: Callable[[], None] | None = fn

    def cancel(self) -> None:
        """Don't call."""
        self.fn = None


class _Clock:
    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._due: list[tuple[float, int, Alarm]] = []
        self._count = itertools.count()
        self._sweep_at = _SWEEP
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, alarm: Alarm) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), alarm))
            if len(self._due) > self._sweep_at:
                self._sweep()
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="kept-clock", daemon=True)
                start(thread)
                self._thread = thread
            elif self._due[0][2] is alarm:
                self._changed.notify()

    def _sweep(self) -> None:
        # Most alarms are cancelled long before their time.
        self._due = [entry for entry in self._due if entry[2].fn is not None]
        heapq.heapify(self._due)
        self._sweep_at = 2 * len(self._due) + _SWEEP

    def _work(self) -> None:
        while (alarm := self._next()) is not None:
            fn = alarm.fn
            if fn is not None:
                fn()

    def _next(self) -> Alarm | None:
        """The next alarm, when its time has come; None after a while without any."""
        with self._changed:
            while True:
                while self._due and self._due[0][2].fn is None:
                    heapq.heappop(self._due)
                if not self._due:
                    if self._changed.wait(_IDLE_SECONDS) or self._due:
                        continue
                    self._thread = None
                    return None
                left = self._due[0][0] - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(left, _SLEEP_SECONDS))


_clock = _Clock()


def call_later(seconds: float, fn: Callable[[], None]) -> Alarm:
    """Call `fn()` in so many seconds, on a thread that it must not hold up, and which it must not raise in."""
    alarm = Alarm(fn)
    _clock.add(seconds, alarm)
    return alarm


@in_forked_child
def _start_anew() -> None:
    # The thread is not there in a forked child, nor are those who wait.
    global _clock
    _clock = _Clock()
