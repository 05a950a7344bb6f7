"""Threads that take submitted runs from a queue: few as long as runs are short, more when runs have to wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any, Protocol

from kept.engine.stopping import WORKER, Stop
from kept.utilities.later import call_later
from kept.utilities.threads import start

# How often a queue that nobody is free for is looked at, and what counts as a short run. Threads that take turns at
# short runs spend their time handing the interpreter over: more of them make it slower.
_LOOK = 0.002
_SHORT = 0.0002
_BURST = 0.001
_STALLS = 4


class Work(Protocol):
    """What a worker does."""

    def finish(self) -> None:
        """Do it."""


class Workers:
    """A pool of daemon threads.

    Arguments:
        most: threads at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: deque[Work] = deque()
        self._threads: list[_Worker] = []
        self._idle: list[Any] = []
        self._starting = threading.Lock()
        self._watched = self._closed = False
        self._begun = self._seen = self._stalls = 0
        self._looked = self._woken = 0.0

    def add(self, work: Work) -> None:
        """Have it done as soon as a thread is free, or a moment later if it is one of many."""
        self._queue.append(work)
        now = time.monotonic()
        if now - self._woken > _BURST:
            self._woken = now
            self._get_more(1 if not self._threads else 0)
        if not self._watched:
            self._watch()

    def hurry(self) -> None:
        """Don't wait for more to be added: somebody waits for the end."""
        if self._idle and self._queue:
            self._get_more(0)

    def is_full(self) -> bool:
        """Whether each thread that there may be is at work, or waiting in the middle of it."""
        return not self._idle and len(self._threads) >= self._most

    def backlog(self) -> int:
        """How much waits for a thread."""
        return len(self._queue)

    def close(self, wait: bool = True) -> None:
        """End the threads, once all is done that was added; without `wait`, only those that have nothing to do."""
        with self._starting:
            self._closed = True
        while self._wake_one():
            pass
        for thread in self._threads:
            if wait or not thread.at_work:
                thread.join()

    def _wake_one(self) -> bool:
        try:
            self._idle.pop().release()
        except IndexError:
            return False
        return True

    def _get_more(self, new: int, idle: int = 1) -> None:
        """Wake up to `idle` threads; start up to `new` ones in place of those that are not there."""
        while idle and self._wake_one():
            idle -= 1
            new -= 1
        with self._starting:
            for _ in range(0 if self._closed else min(new, self._most - len(self._threads))):
                thread = _Worker(self)
                self._threads.append(thread)  # before it works, and asks whether there are others
                try:
                    start(thread)
                except RuntimeError:  # no more threads are to be had, or the interpreter is shutting down
                    self._threads.pop()
                    if self._threads:
                        return
                    raise

    def _watch(self) -> None:
        self._watched = True
        self._seen, self._looked = self._begun, time.monotonic()
        call_later(_LOOK, self._look)

    def _look(self) -> None:
        """Get more threads to work if runs have to wait for those that are at work."""
        if not self._waits():
            self._watched = False
            if not self._waits():  # nothing was added since
                return
        at_work = len(self._threads) - len(self._idle)
        if not at_work or self._is_slow():
            more = min(max(at_work, 1), len(self._queue))
            with contextlib.suppress(RuntimeError):  # there may be threads again at the next look
                self._get_more(more, more)
        self._watch()

    def _waits(self) -> bool:
        return bool(self._queue) and not self._closed and not self.is_full()

    def _is_slow(self) -> bool:
        begun, window = self._begun - self._seen, time.monotonic() - self._looked
        if window < 2 * _LOOK:
            self._stalls = 0
            return begun * _SHORT < window
        # This look came late: others keep the interpreter busy, so that short runs seem long.
        self._stalls = 0 if begun else self._stalls + 1
        return self._stalls >= _STALLS

    def next_for(self, awake: Any) -> Work | None:
        """The next run; None if there will be none. `awake` is the lock that the asking thread sleeps at."""
        while True:
            try:
                work = self._queue.popleft()
            except IndexError:
                if self._closed:
                    return None
            else:
                self._begun += 1
                return work
            self._idle.append(awake)
            if self._queue or self._closed:  # added before it was known that this thread is idle
                try:
                    self._idle.remove(awake)
                except ValueError:
                    awake.acquire()
            else:
                awake.acquire()


class _Worker(threading.Thread):
    def __init__(self, workers: Workers) -> None:
        super().__init__(name=WORKER, daemon=True)
        self._workers = workers
        self.at_work = False

    def run(self) -> None:
        while True:
            self.at_work = False
            with contextlib.suppress(Stop):  # it came when the run had ended: the next ones need this thread
                return self._work()

    def _work(self) -> None:
        awake = threading.Lock()
        awake.acquire()
        while (work := self._workers.next_for(awake)) is not None:
            self.at_work = True
            work.finish()
            self.at_work = False
            del work
