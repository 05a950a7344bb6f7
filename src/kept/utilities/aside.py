"""Threads for what reads and writes: of the process, so that event loops and runs that wait for a store share them.

They are not those of an event loop: it has six on a machine of two cores, and waits for them when it ends.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import functools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kept.utilities.forks import in_forked_child
from kept.utilities.threads import start

T = TypeVar("T")

MOST = 64
"""Threads at most. Each waits for another machine, as a rule; they are started when all others are at work."""

_IDLE_SECONDS = 5.0


class _Crew:
    """Daemon threads that take calls from a queue, and end when there are none for a while."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._count = 0

    def add(self, call: Callable[[], None]) -> None:
        """Have it called; here, if no thread is to be had. It must not raise."""
        self._calls.put(call)
        if self._idle.acquire(blocking=False):
            return
        with self._starting:
            if self._count == MOST:
                return
            self._count += 1
            try:
                start(threading.Thread(target=self._work, name="kept-io", daemon=True))
                return
            except RuntimeError:  # no thread is to be had, or the interpreter is shutting down
                self._count -= 1
                alone = not self._count
        if alone:
            self._calls.get()()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call()
            del call

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            self._idle.release()
        while True:
            try:
                return self._calls.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if self._idle.acquire(blocking=False):  # else somebody counts on this thread
                    with self._starting:
                        self._count -= 1
                    return None


_crew = _Crew()


@in_forked_child
def _start_anew() -> None:
    # A forked child has none of the threads.
    global _crew
    _crew = _Crew()


def call_aside(function: Callable[..., T], *args: Any) -> concurrent.futures.Future[T]:
    """The future of a call in one of the threads, in a copy of this context. It must not wait for a run."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    work = functools.partial(contextvars.copy_context().run, function, *args)
    _crew.add(functools.partial(_do, future, work))
    return future


def _do(future: concurrent.futures.Future[T], work: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            value = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)


def together(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """`[function(item) for item in items]`, many at a time. An error is raised when what has begun has ended.

    The calling thread takes its part, so this comes to its end also where all other threads are at work.
    """
    left = deque(enumerate(items))
    found: list[Any] = [None] * len(left)

    def work() -> None:
        while True:
            try:
                place, item = left.popleft()
            except IndexError:
                return
            found[place] = function(item)

    helpers = [call_aside(work) for _ in range(min(len(left) - 1, MOST))]
    try:
        work()
    finally:
        # Who has not begun finds nothing left to do; nobody needs to wait for a free thread to say so.
        begun = [helper for helper in helpers if not helper.cancel()]
        concurrent.futures.wait(begun)
    for helper in begun:
        helper.result()
    return found
