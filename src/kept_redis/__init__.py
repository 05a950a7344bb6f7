"""Locks on a Redis server, for `pip install 'kept[redis]'`."""

from __future__ import annotations

from kept_redis.locking import RedisLockManager

__all__ = ["RedisLockManager"]
