"""The examination that every lock manager of kept passes, and that a user's own should.

    def test_my_lock_manager_keeps_the_contract():
        check_lock_manager(MyLockManager(...))

It raises AssertionError with the question that was answered wrongly. No test framework is needed.
"""

from __future__ import annotations

import asyncio
import os
import threading

from kept.exceptions import LockError, LockNotHeldError
from kept.locking.protocol import LockManager

_PATIENCE = 30.0
_SOON = 0.3


def check_lock_manager(locks: LockManager, *, any_key: bool = True) -> None:
    """Ask a lock manager all that its contract promises. The keys are new ones at each call.

    Arguments:
        any_key: whether any text can be a key.
    """
    key = f"check-{os.urandom(6).hex()}"
    _true(isinstance(locks, LockManager), "it has the methods of a lock manager")
    _check_holding(locks, f"{key}-held")
    _check_keys(locks, key, any_key)
    _check_reentry(locks, f"{key}-again")
    _check_releasing(locks, f"{key}-released")
    _check_hold_timeout(locks, f"{key}-timeout")
    _check_waiting(locks, f"{key}-waited")
    _check_turns(locks, f"{key}-turns")
    asyncio.run(_check_coroutines(locks, f"{key}-async"))
    asyncio.run(_check_cancelling(locks, f"{key}-cancelled"))


def _check_holding(locks: LockManager, key: str) -> None:
    _true(not locks.is_locked(key), "a key that nobody has locked is free")
    _true(locks.wait_for_lock(key, timeout=0), "nobody has to wait for a free key")
    _true(locks.acquire_lock(key, "a") is True, "a free lock is taken")
    _true(locks.acquire_lock(key, "b", acquire_timeout=0) is False, "a lock has one holder at a time")
    _true(locks.acquire_lock(key, "b", acquire_timeout=0.01) is False, "who waits for a short time gives up after it")
    _true(locks.is_locked(key), "a lock that is held is locked")
    _true(locks.is_lock_holder(key, "a") and not locks.is_lock_holder(key, "b"), "a holder is known by its name")
    _true(locks.wait_for_lock(key, timeout=0.01) is False, "waiting ends after its timeout")
    locks.release_lock(key, "a")
    _true(not locks.is_locked(key) and not locks.is_lock_holder(key, "a"), "a released lock is free")
    _true(locks.acquire_lock(key, "b", acquire_timeout=0) is True, "a released lock can be taken by another")
    locks.release_lock(key, "b")


def _check_keys(locks: LockManager, key: str, any_key: bool) -> None:
    odd = [key * 100, f".{key}", f"../{key}", f"ü{key}\ud800", f"{key}\n", f"{key}}}:{{"] if any_key else []
    keys = [key, f"{key}/x", f"{key}X", f"{key}%2Fx", *odd]
    for each in keys:
        _true(locks.acquire_lock(each, f"h-{len(each)}", acquire_timeout=0), f"{each[:80]!r} is a key of its own")
    for each in keys:
        _true(locks.is_lock_holder(each, f"h-{len(each)}"), "locks on different keys are apart")
        locks.release_lock(each, f"h-{len(each)}")


def _check_reentry(locks: LockManager, key: str) -> None:
    _true(locks.acquire_lock(key, "a") and locks.acquire_lock(key, "a", acquire_timeout=0), "a lock is reentrant")
    locks.release_lock(key, "a")
    _true(not locks.is_locked(key), "one release frees a lock, however often it was taken")


def _check_releasing(locks: LockManager, key: str) -> None:
    _true(_is_refused(locks, key, "a"), "a free lock can't be released")
    locks.acquire_lock(key, "b")
    _true(_is_refused(locks, key, "a"), "who does not hold a lock can't release it: LockNotHeldError")
    _true(locks.is_lock_holder(key, "b"), "and its holder keeps it")
    locks.release_lock(key, "b")


def _is_refused(locks: LockManager, key: str, holder: str) -> bool:
    try:
        locks.release_lock(key, holder)
    except LockNotHeldError as error:
        return isinstance(error, (LockError, ValueError)) and holder in str(error) and key in str(error)
    return False


def _check_hold_timeout(locks: LockManager, key: str) -> None:
    _true(locks.acquire_lock(key, "a", hold_timeout=0.05), "a lock can be taken for a time")
    _true(locks.wait_for_lock(key, _PATIENCE), "a lock whose hold timeout has passed is free")
    _true(not locks.is_lock_holder(key, "a"), "and its holder does not hold it")
    locks.acquire_lock(key, "a", hold_timeout=0.05)
    _true(locks.acquire_lock(key, "b", _PATIENCE, hold_timeout=100), "who waits gets a lock that times out")
    _true(_is_refused(locks, key, "a"), "it is not released by who had it before")
    locks.release_lock(key, "b")


def _check_waiting(locks: LockManager, key: str) -> None:
    locks.acquire_lock(key, "a")
    order: list[str] = []

    def second() -> None:
        if locks.acquire_lock(key, "b", _PATIENCE):
            order.append("b has it")
            locks.release_lock(key, "b")

    thread = threading.Thread(target=second)
    thread.start()
    locks.wait_for_lock(key, timeout=_SOON)
    order.append("a gives it back")
    locks.release_lock(key, "a")
    thread.join()
    _true(order == ["a gives it back", "b has it"], "who waits gets the lock when it is released")


def _check_turns(locks: LockManager, key: str) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(me: str) -> None:
        for _ in range(3):
            if locks.acquire_lock(key, me, _PATIENCE):
                inside.append(me)
                most.append(len(inside))
                inside.remove(me)
                locks.release_lock(key, me)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _true(most == [1] * 12, "threads take turns, and each gets its turn")


async def _check_coroutines(locks: LockManager, key: str) -> None:
    order: list[str] = []
    waiting = asyncio.Event()

    async def first() -> None:
        _true(await locks.aacquire_lock(key, "a"), "a free lock is taken by a coroutine")
        await waiting.wait()
        for _ in range(3):
            await asyncio.sleep(0.001)
            order.append("a")
        locks.release_lock(key, "a")

    async def second() -> None:
        while not locks.is_lock_holder(key, "a"):
            await asyncio.sleep(0.001)
        _true(await locks.aacquire_lock(key, "b", acquire_timeout=0) is False, "nor do two coroutines hold one lock")
        _true(await locks.await_for_lock(key, timeout=0) is False, "awaiting ends after its timeout")
        waiting.set()
        _true(await locks.aacquire_lock(key, "b", _PATIENCE), "a coroutine that waits gets the lock")
        order.append("b")
        locks.release_lock(key, "b")

    await asyncio.gather(first(), second())
    _true(await locks.await_for_lock(key, _PATIENCE), "a free lock is not waited for")
    _true(order == ["a"] * 3 + ["b"], "the loop goes on while a coroutine waits for a lock")


async def _check_cancelling(locks: LockManager, key: str) -> None:
    locks.acquire_lock(key, "a")
    waiting = asyncio.ensure_future(locks.aacquire_lock(key, "b"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait({waiting})
    _true(waiting.cancelled(), "who waits can be cancelled")
    locks.release_lock(key, "a")
    _true(await locks.aacquire_lock(key, "c", _PATIENCE), "and leaves the lock to others")
    locks.release_lock(key, "c")


def _true(answer: bool, question: str) -> None:
    if not answer:
        raise AssertionError(f"not so: {question}")
