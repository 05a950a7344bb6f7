"""Run what a user's coroutine function returned to its end, from plain code, whether or not a loop is
running."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

from kept.utilities.forks import in_forked_child

if TYPE_CHECKING:
    import asyncio

_NAME = "kept-store-loop"
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def completed(value: Any) -> Any:
    """The value itself, or what awaiting it gives when it can be awaited.

    All is awaited on one loop in a thread of its own: a client that a user's file system opened belongs to
    the loop that it was opened on, and must find the same one at the next call.
    """
    if not hasattr(value, "__await__"):
        return value
    import asyncio  # noqa: PLC0415  # 20 ms that programs without coroutines never need

    if threading.current_thread().name == _NAME:  # a hook on that loop: it can't wait for itself
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            return aside.submit(asyncio.run, _awaited(value)).result()
    return asyncio.run_coroutine_threadsafe(_awaited(value), _helper()).result()


async def _awaited(value: Any) -> Any:
    return await value


def _helper() -> asyncio.AbstractEventLoop:
    global _loop
    import asyncio  # noqa: PLC0415  # as above

    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=_NAME, daemon=True).start()
        return _loop


@in_forked_child
def _forget() -> None:
    # The thread that ran the loop is not there in a forked child.
    global _loop, _lock
    _loop, _lock = None, threading.Lock()
