"""Locks as records that their holders keep alive: the part that files and object stores have in common.

A lock is a small record of JSON under its key, written only where nobody has changed it meanwhile:

    holder   who holds it; null when it is free
    token    chosen at random for this one acquisition
    fence    a number that grows with each acquisition of the key
    beat     counts up while the holder's process lives
    lease    after how many seconds without a new beat it is free
    hold     after how many seconds it is free in any case, or null
    until    when that is, on the monotonic clock of the holder's machine, or null
    host, boot, space, pid, started
             the holder's process, see `processes.py`

Nobody compares the clocks of two machines. Who waits looks at the record, and takes it over once it has not changed
for `lease` seconds of the waiter's own monotonic clock; at once if the process is of this machine and gone.
"""

from __future__ import annotations

import json
import os
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from kept.exceptions import LockError, LockNotHeldError
from kept.locking import polling
from kept.locking.heartbeat import keep_alive, let_go
from kept.locking.processes import is_at_work, is_gone, shares_clock, this_process
from kept.locking.protocol import LockManager
from kept.settings import get_current_settings
from kept.utilities.forks import in_forked_child

BEATS_A_LEASE = 3
"""How many signs of life are due in the time after which one without any is taken for dead."""
_TRIES = 3


class Lease(NamedTuple):
    """What the record of a lock says."""

    holder: str | None
    token: str = ""
    fence: int = 0
    beat: int = 0
    lease: float = 0.0
    hold: float | None = None
    until: float | None = None
    process: dict[str, Any] = {}


class Watch(NamedTuple):
    """Since when a record has been as it is, on the monotonic clock of this process."""

    token: str
    beat: int
    taken: float
    """When this acquisition was first seen."""
    beaten: float
    """When this beat was first seen."""


_FREE = Lease(None)
# What this process holds: the manager and the key -> what it wrote.
_held: dict[tuple[LockManager, str], Lease] = {}


def is_over(lease: Lease, watch: Watch, now: float) -> bool:
    """Whether the lock is free, as far as this process can know it."""
    if lease.holder is None or is_gone(lease.process):
        return True
    if lease.until is not None and shares_clock(lease.process):
        return now >= lease.until
    if lease.hold is not None and now - watch.taken >= lease.hold:
        return True
    # One that is at work may be at a call that lets none of its threads run, its heartbeat neither.
    return now - watch.beaten >= lease.lease and not is_at_work(lease.process)


def watched(lease: Lease, before: Watch | None, now: float) -> Watch:
    """What is known after another look at the record."""
    if before is None or before.token != lease.token:
        return Watch(lease.token, lease.beat, now, now)
    return before if before.beat == lease.beat else before._replace(beat=lease.beat, beaten=now)


class LeaseLockManager(LockManager):
    """A lock manager over four verbs, which a subclass supplies: `_read`, `_create`, `_replace`, `_free`.

    Arguments:
        lease_seconds: after how many seconds without a sign of life a lock is free; by default the setting
            KEPT_LOCKING_LEASE_SECONDS.
    """

    slow = False
    """Whether each look takes so long that an event loop should not wait for it."""
    _pace = polling.QUICK

    def __init__(self, lease_seconds: float | None = None) -> None:
        self.lease_seconds = lease_seconds
        self._watches: dict[str, Watch] = {}

    @abstractmethod
    def _read(self, key: str) -> tuple[bytes, Any] | None:
        """The record of the key and a tag that changes with it; None if there is none. Raises `LockError`."""

    @abstractmethod
    def _create(self, key: str, record: bytes) -> bool:
        """Write the record if there is none. Raises `LockError`."""

    @abstractmethod
    def _replace(self, key: str, record: bytes, tag: Any) -> bool:
        """Write the record if the present one still has this tag. Raises `LockError`."""

    @abstractmethod
    def _free(self, key: str, fence: int, tag: Any) -> bool:
        """Likewise, let the lock be free. Raises `LockError`."""

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return polling.wait(self._attempt(key, holder, hold_timeout), acquire_timeout, self._pace)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        attempt = self._attempt(key, holder, hold_timeout)
        if not self.slow:
            return await polling.await_(attempt, acquire_timeout)

        async def take() -> bool:
            return await polling.aside(attempt, lambda: self.release_lock(key, holder))

        return await polling.await_answer(take, acquire_timeout, self._pace)

    def release_lock(self, key: str, holder: str) -> None:
        mine = _held.get((self, key))
        if mine is not None and mine.holder == holder:
            let_go((self, key))
            del _held[self, key]
        for tries in range(_TRIES):
            found = self._look(key)
            if found is None or not self._is_of(found[0], holder, mine):
                if tries:  # it is free, and the reply to that was lost
                    return
                raise LockNotHeldError(key, holder)
            if self._free(key, found[0].fence, found[1]):
                return
        raise LockError(f"the lock on {key!r} can't be given back: its record changes all the time")

    def is_locked(self, key: str) -> bool:
        found = self._look(key)
        return found is not None and not self._is_over(key, found[0])

    def is_lock_holder(self, key: str, holder: str) -> bool:
        found = self._look(key)
        return found is not None and self._is_of(found[0], holder, _held.get((self, key)))

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return polling.wait(lambda: not self.is_locked(key), timeout, self._pace)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        if not self.slow:
            return await polling.await_(lambda: not self.is_locked(key), timeout)

        async def look() -> bool:
            return await polling.aside(lambda: not self.is_locked(key), lambda: None)

        return await polling.await_answer(look, timeout, self._pace)

    def fence_of(self, key: str) -> int:
        """The number of the last acquisition of the lock on `key`, larger than those of all before; 0 for none."""
        found = self._look(key)
        return 0 if found is None else found[0].fence

    def _attempt(self, key: str, holder: str, hold_timeout: float | None) -> Callable[[], bool]:
        """A function that tries to take the lock, and says whether it did.

        Its first try creates the record: that is one request where nobody has had the lock. A server that was there
        once is given the time of a lease to come back.
        """
        token = os.urandom(16).hex()
        seconds = self.lease_seconds or float(get_current_settings().locking.lease_seconds)
        answered: list[float] = []

        def attempt() -> bool:
            now = time.monotonic()
            try:
                taken = self._take(key, self._new(holder, token, seconds, hold_timeout), first=not answered)
            except LockError:
                if not answered or now - answered[-1] > seconds:
                    raise
                return False
            answered[:] = [time.monotonic()]
            return taken

        return attempt

    def _new(self, holder: str, token: str, seconds: float, hold: float | None) -> Lease:
        until = None if hold is None else time.monotonic() + hold
        # Grows also where the record of the last acquisition was removed, as lock files are.
        return Lease(holder, token, time.time_ns() // 1000, 0, seconds, hold, until, this_process())

    def _take(self, key: str, lease: Lease, first: bool) -> bool:
        if first and self._create(key, _record(lease)):
            return self._keep(key, lease)
        found = self._look(key)
        if found is None:
            return self._create(key, _record(lease)) and self._keep(key, lease)
        present, tag = found
        if present.token == lease.token:  # the reply to our own write was lost
            return self._keep(key, present)
        if not self._is_over(key, present):
            return present.holder == lease.holder
        lease = lease._replace(fence=max(lease.fence, present.fence + 1))
        return self._replace(key, _record(lease), tag) and self._keep(key, lease)

    def _keep(self, key: str, lease: Lease) -> bool:
        self._watches.pop(key, None)
        _held[self, key] = lease
        keep_alive((self, key), lease.lease / BEATS_A_LEASE, lambda: self._beat(key, lease.token))
        return True

    def _beat(self, key: str, token: str) -> bool:
        """Renew the lock; whether that has to go on."""
        found = self._look(key)
        if found is None or found[0].token != token:
            return False
        lease, tag = found
        if lease.until is not None and time.monotonic() >= lease.until:
            self._free(key, lease.fence, tag)
            return False
        self._replace(key, _record(lease._replace(beat=lease.beat + 1)), tag)
        return True

    def _look(self, key: str) -> tuple[Lease, Any] | None:
        found = self._read(key)
        return None if found is None else (_lease(found[0]), found[1])

    def _is_over(self, key: str, lease: Lease) -> bool:
        now = time.monotonic()
        watch = self._watches[key] = watched(lease, self._watches.get(key), now)
        return is_over(lease, watch, now)

    def _is_of(self, present: Lease, holder: str, mine: Lease | None) -> bool:
        """Whether the record says that `holder` has the lock: of this process by its token, else by its name."""
        if present.holder != holder:
            return False
        if present.until is not None and shares_clock(present.process) and time.monotonic() >= present.until:
            return False
        if mine is not None and mine.holder == holder:
            return mine.token == present.token
        return not is_gone(present.process)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_watches": {}}


def _record(lease: Lease) -> bytes:
    fields = lease._asdict()
    return json.dumps({**fields.pop("process"), **fields}, sort_keys=True).encode()


def _lease(record: bytes) -> Lease:
    """What a record says; that the lock is free if it is none of ours, who write whole ones only."""
    try:
        fields = json.loads(record)
        if fields["holder"] is None:
            return _FREE._replace(fence=int(fields["fence"]))
        process = {name: fields[name] for name in ("host", "boot", "space", "pid", "started")}
        hold, until = fields["hold"], fields["until"]
        return Lease(
            holder=str(fields["holder"]),
            token=str(fields["token"]),
            fence=int(fields["fence"]),
            beat=int(fields["beat"]),
            lease=float(fields["lease"]),
            hold=None if hold is None else float(hold),
            until=None if until is None else float(until),
            process={**process, "pid": int(process["pid"])},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _FREE


def free_record(fence: int) -> bytes:
    """The record of a lock that nobody holds."""
    return _record(_FREE._replace(fence=fence))


@in_forked_child
def _forget() -> None:
    # What the parent holds is its own: a forked child keeps nothing of it alive.
    _held.clear()
