"""Locks on a Redis server, between any machines that reach it.

Two strings for each key, both for a time only:

    kept:{key}:lock    a token of this acquisition, a colon, and the holder; for the time of a lease, renewed meanwhile
    kept:{key}:fence   the number of the last acquisition, from the server's clock, so that it grows even when the
                       server has lost everything in between

and a channel, kept:{key}:free, on which those who wait are told that the lock was given back. Each step is one script,
so that nobody sees half of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from kept.exceptions import ConfigurationError, LockError, LockNotHeldError
from kept.locking import polling
from kept.locking.heartbeat import keep_alive, let_go
from kept.locking.leases import BEATS_A_LEASE
from kept.locking.protocol import LockManager
from kept.settings import get_current_settings
from kept.utilities.effects import drive, drive_async
from kept.utilities.forks import in_forked_child

try:
    import redis
    import redis.asyncio
    import redis.asyncio.retry
    import redis.backoff
    import redis.retry
except ImportError:
    raise ImportError("Locks on a Redis server need the package redis: pip install 'kept[redis]'") from None

T = TypeVar("T")

_FENCE_SECONDS = 7 * 24 * 3600
_TOKEN_LENGTH = 32
_SOCKET_SECONDS = 5.0
# A server that is not there is given up at once: a run can do without its lock, and who waits asks again anyway.
_RETRIES = 2
_BACKOFF = redis.backoff.ExponentialBackoff(cap=0.1, base=0.02)
# How long to wait at most before looking again: who was to tell may have been killed, or the connection cut.
_LOOK_AGAIN = 1.0
_PAUSE = 0.1


class _Script(NamedTuple):
    text: str
    sha: str


def _script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# 1 and more: taken, and its number; 0: this holder has it already; below: held, for so many more milliseconds.
_TAKE = _script(f"""
local value = redis.call('GET', KEYS[1])
if value == ARGV[1] then return tonumber(redis.call('GET', KEYS[2])) end
if value and string.sub(value, {_TOKEN_LENGTH + 2}) == string.sub(ARGV[1], {_TOKEN_LENGTH + 2}) then return 0 end
if value then return math.min(-redis.call('PTTL', KEYS[1]), -1) end
local now = redis.call('TIME')
local fence = math.max(now[1] * 1000000 + now[2], tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'EX', {_FENCE_SECONDS})
return fence
""")
# A server that was restarted has lost the lock: it is put back if nobody has had it since.
_RENEW = _script(f"""
local value, fence = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if value == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif not value and (not fence or fence == ARGV[3]) then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
else
    return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', {_FENCE_SECONDS})
return 1
""")
_RELEASE = _script(f"""
local value = redis.call('GET', KEYS[1])
if not value or (value ~= ARGV[1] and (ARGV[1] ~= '' or string.sub(value, {_TOKEN_LENGTH + 2}) ~= ARGV[2])) then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[3], '')
return 1
""")
# 0: free; below: held, for so many more milliseconds.
_LEFT = _script("""
local left = redis.call('PTTL', KEYS[1])
if left == -2 then return 0 end
return math.min(-left, -1)
""")


class _Hold(NamedTuple):
    """A lock that this process has taken."""

    holder: str
    value: bytes
    fence: int
    lease: float
    until: float
    """When it is free in any case, on the monotonic clock."""

    def left(self) -> int:
        """For how many milliseconds it is to be renewed."""
        return int(1000 * min(self.lease, self.until - time.monotonic()))


class _Ask(NamedTuple):
    """Run a script."""

    script: _Script
    key: str
    args: tuple[Any, ...]


class _Listen(NamedTuple):
    """Wait until the lock is given back, or for so many seconds."""

    seconds: float


_held: dict[tuple[LockManager, str], _Hold] = {}


class RedisLockManager(LockManager):
    """Locks on a Redis server.

    A killed holder's lock is free after the time of a lease, and who waits is told when one is given back.

    Arguments:
        host, port, db, username, password, ssl: where the server is, and who asks; this machine by default.
        connection_url: all of these as "redis://user:password@host:port/db", `rediss` for TLS, and redis-py's options
            as its query; used instead of them.
        lease_seconds: after how many seconds without a sign of life a lock is free; by default the setting
            KEPT_LOCKING_LEASE_SECONDS.

    Raises:
        ConfigurationError: the URL is none that Redis has.
    """

    slow = True
    """Whether each look takes so long that an event loop should not wait for it."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        ssl: bool = False,
        connection_url: str | None = None,
        lease_seconds: float | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.db = db
        self.username = username
        self.password = password
        self.ssl = ssl
        self.connection_url = connection_url
        self.lease_seconds = lease_seconds
        self._client: Any = self._made(redis.Redis)

    @classmethod
    def from_url(cls, url: str, lease_seconds: float | None = None) -> RedisLockManager:
        """The manager for the server at "redis://user:password@host:port/db"."""
        return cls(connection_url=url, lease_seconds=lease_seconds)

    @property
    def client(self) -> redis.Redis:
        """The client that asks the server."""
        return self._client  # type: ignore[no-any-return]

    @property
    def async_client(self) -> redis.asyncio.Redis:
        """A new client for the running event loop; whoever asked for it closes it."""
        return self._made(redis.asyncio.Redis)  # type: ignore[no-any-return]

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        hold = self._new_hold(holder, hold_timeout)
        taking = self._taking(key, hold, acquire_timeout)
        return self._keep(key, hold, self._driven(key, taking))

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        # What is free is taken by the client that is connected already, in a thread, which takes no time.
        if await polling.aside(
            lambda: self.acquire_lock(key, holder, 0, hold_timeout), lambda: self.release_lock(key, holder)
        ):
            return True
        hold = self._new_hold(holder, hold_timeout)
        try:
            fence = await self._driven_async(key, self._taking(key, hold, acquire_timeout))
        except asyncio.CancelledError:
            asyncio.get_running_loop().run_in_executor(None, self._give_back, key, hold.value, holder)
            raise
        return self._keep(key, hold, fence)

    def release_lock(self, key: str, holder: str) -> None:
        hold = _held.get((self, key))
        mine = hold is not None and hold.holder == holder
        if mine:
            let_go((self, key))
            del _held[self, key]
        if not self._give_back(key, hold.value if mine and hold else b"", holder):
            raise LockNotHeldError(key, holder)

    def is_locked(self, key: str) -> bool:
        return self._value(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        hold = _held.get((self, key))
        if hold is not None and hold.holder == holder:
            return self._renew(key, hold)
        value = self._value(key)
        return value is not None and value[_TOKEN_LENGTH + 1 :] == _encoded(holder)

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return bool(self._driven(key, self._waiting(key, timeout)))

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return bool(await self._driven_async(key, self._waiting(key, timeout)))

    def fence_of(self, key: str) -> int:
        """The number of the last acquisition of the lock on `key`, larger than those of all before; 0 for none."""
        return int(self._asked(key, lambda: self._client.get(_name(key, "fence"))) or 0)

    def __eq__(self, other: object) -> bool:
        return self._address() == other._address() if isinstance(other, RedisLockManager) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._address())

    def __repr__(self) -> str:
        return f"RedisLockManager({self._place()})"  # without the password

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (*self._address(), self.lease_seconds))

    def _address(self) -> tuple[Any, ...]:
        return (self.host, self.port, self.db, self.username, self.password, self.ssl, self.connection_url)

    def _place(self) -> str:
        options = self._client.connection_pool.connection_kwargs
        return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")

    # --- taking and waiting, one text for plain and for async code

    def _taking(self, key: str, hold: _Hold, timeout: float | None) -> Generator[_Ask | _Listen, Any, int | None]:
        """The number of the acquisition, 0 if the holder had the lock already; None if it was not to be had."""
        ask = _Ask(_TAKE, key, (hold.value, max(hold.left(), 1)))
        return (yield from self._asking(ask, timeout, lambda answer: answer if answer >= 0 else None))

    def _waiting(self, key: str, timeout: float | None) -> Generator[_Ask | _Listen, Any, bool | None]:
        ask = _Ask(_LEFT, key, ())
        return (yield from self._asking(ask, timeout, lambda answer: True if answer == 0 else None))

    def _asking(
        self, ask: _Ask, timeout: float | None, judge: Callable[[int], T | None]
    ) -> Generator[_Ask | _Listen, Any, T | None]:
        """Ask until the answer is good, or for so many seconds. A server that goes away has a lease to return."""
        deadline = None if timeout is None else time.monotonic() + timeout
        answered: float | None = None
        patience = self._lease()
        while True:
            seconds = _PAUSE
            try:
                left = yield ask
                if (good := judge(left)) is not None:
                    return good
                answered = time.monotonic()
                seconds = min(-left / 1000 + 0.001, _LOOK_AGAIN)
            except LockError:
                if answered is None or time.monotonic() - answered > patience:
                    raise
            if deadline is not None:
                seconds = min(seconds, deadline - time.monotonic())
                if seconds <= 0:
                    return None
            try:
                yield _Listen(seconds)
            except LockError:
                seconds = _PAUSE

    def _driven(self, key: str, steps: Generator[Any, Any, T]) -> T:
        news: list[Any] = []

        def listen(effect: _Listen) -> None:
            if not news:  # and ask again before waiting: it may have been given back just now
                news.append(self._client.pubsub(ignore_subscribe_messages=True))
                self._asked(key, lambda: news[0].subscribe(_name(key, "free")))
            else:
                self._heard(key, news[0], effect.seconds)

        try:
            return drive(steps, {_Ask: lambda ask: self._run(ask), _Listen: listen})
        finally:
            for each in news:
                each.close()

    def _heard(self, key: str, news: Any, seconds: float) -> None:
        try:
            self._asked(key, lambda: news.get_message(timeout=seconds))
        except LockError:
            time.sleep(min(seconds, _PAUSE))
            raise

    async def _driven_async(self, key: str, steps: Generator[Any, Any, T]) -> T:
        async with self.async_client as client, client.pubsub(ignore_subscribe_messages=True) as news:

            async def run(ask: _Ask) -> int:
                return int(await self._awaited(key, lambda: _eval_async(client, ask)))

            async def listen(effect: _Listen) -> None:
                try:
                    if not news.subscribed:
                        await self._awaited(key, lambda: news.subscribe(_name(key, "free")))
                    else:
                        await self._awaited(key, lambda: news.get_message(timeout=effect.seconds))
                except LockError:
                    await asyncio.sleep(min(effect.seconds, _PAUSE))
                    raise

            return await drive_async(steps, {_Ask: run, _Listen: listen})

    # --- what is held

    def _lease(self) -> float:
        return self.lease_seconds or float(get_current_settings().locking.lease_seconds)

    def _new_hold(self, holder: str, hold_timeout: float | None) -> _Hold:
        until = float("inf") if hold_timeout is None else time.monotonic() + hold_timeout
        return _Hold(holder, f"{os.urandom(16).hex()}:".encode() + _encoded(holder), 0, self._lease(), until)

    def _keep(self, key: str, hold: _Hold, fence: int | None) -> bool:
        if fence:
            mine = _held[self, key] = hold._replace(fence=fence)
            keep_alive((self, key), hold.lease / BEATS_A_LEASE, lambda: self._renew(key, mine))
        return fence is not None

    def _renew(self, key: str, hold: _Hold) -> bool:
        left = hold.left()
        return left > 0 and self._run(_Ask(_RENEW, key, (hold.value, left, hold.fence))) == 1

    def _give_back(self, key: str, value: bytes, holder: str) -> bool:
        return self._run(_Ask(_RELEASE, key, (value, _encoded(holder), _name(key, "free")))) == 1

    # --- the server

    def _made(self, kind: Callable[..., Any]) -> Any:
        retry = (redis.asyncio.retry if kind is redis.asyncio.Redis else redis.retry).Retry(_BACKOFF, _RETRIES)
        limits = {"socket_timeout": _SOCKET_SECONDS, "socket_connect_timeout": _SOCKET_SECONDS, "retry": retry}
        if self.connection_url is None:
            password = getattr(self.password, "get_secret_value", lambda: self.password)()
            who = {"username": self.username, "password": password}
            return kind(host=self.host, port=self.port, db=self.db, ssl=self.ssl, **who, **limits)
        try:
            return kind.from_url(self.connection_url, **limits)  # type: ignore[attr-defined]
        except (ValueError, TypeError):
            raise ConfigurationError(  # not what redis says: that may quote a part of the password
                "The address of the Redis server is not one: write redis://user:password@host:port/0, or rediss:// for "
                "TLS, with %-codes for special characters in the password. (Sentinels are not supported yet.)"
            ) from None

    def _value(self, key: str) -> bytes | None:
        return self._asked(key, lambda: self._client.get(_name(key, "lock")))  # type: ignore[no-any-return]

    def _run(self, ask: _Ask) -> int:
        return int(self._asked(ask.key, lambda: _eval(self._client, ask)))

    def _asked(self, key: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (redis.RedisError, OSError) as error:
            raise self._trouble(key, error) from error

    async def _awaited(self, key: str, action: Callable[[], Any]) -> Any:
        try:
            return await action()
        except (redis.RedisError, OSError) as error:
            raise self._trouble(key, error) from error

    def _trouble(self, key: str, error: Exception) -> LockError:
        return LockError(
            f"the lock on {key!r} can't be had from Redis at {self._place()}: {str(error).rstrip('.')}. See that the "
            "server runs, and that KEPT_LOCKING_REDIS_URL or the lock_manager says where and who asks"
        )


def _name(key: str, what: str) -> bytes:
    # In braces, so that a cluster keeps what belongs to a key on one server.
    return b"kept:{" + _encoded(key) + b"}:" + what.encode()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _command(ask: _Ask, verb: str, script: str) -> tuple[Any, ...]:
    return (verb, script, 2, _name(ask.key, "lock"), _name(ask.key, "fence"), *ask.args)


def _eval(client: Any, ask: _Ask) -> Any:
    """Run the script, on a connection of the pool: half the time of the client's own way, which is taken in trouble."""
    pool = client.connection_pool
    try:
        connection = pool.get_connection()
        try:
            connection.send_command(*_command(ask, "EVALSHA", ask.script.sha))
            return connection.read_response()
        except (redis.ConnectionError, redis.TimeoutError):
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
    except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.NoScriptError):
        return client.execute_command(*_command(ask, "EVAL", ask.script.text))


async def _eval_async(client: Any, ask: _Ask) -> Any:
    try:
        return await client.execute_command(*_command(ask, "EVALSHA", ask.script.sha))
    except redis.exceptions.NoScriptError:
        return await client.execute_command(*_command(ask, "EVAL", ask.script.text))


@in_forked_child
def _forget() -> None:
    # What the parent holds is its own: a forked child keeps nothing of it alive.
    _held.clear()
