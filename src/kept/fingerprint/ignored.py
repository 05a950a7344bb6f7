"""Types whose values a key leaves out, or of which it only says what they lead to.

What reports on the work or carries it out (loggers, progress bars, consoles, pools, cluster clients) has no part in a
result. A client of a service has, by the address that it leads to: two databases are two inputs, two sessions with one
are not. A local database (SQLite, DuckDB) is in neither list, as its content is the input, nor is what stands for one
thing at a service, as a boto3 `Bucket`.

They are known by package and class, so that nothing is imported for them; a subclass of the user's own is not among
them, as what it adds may matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kept.fingerprint.canonical import NoContent, Node

Rule = Callable[[Any], Node]


def ignored(_: object) -> Node:
    """Describe any value as nothing at all."""
    return Node("ignored")


def rule_for(kind: type) -> Rule | None:
    """Return the rule for a type of a library that is listed here."""
    package = kind.__module__.partition(".")[0]
    for base in kind.__mro__[:-1]:
        if base.__module__.partition(".")[0] == package:
            name = f"{package}.{base.__qualname__}"
            if name in _IGNORED:
                return ignored
            if name in _ADDRESSES:
                return _leading_to(name, _ADDRESSES[name])
    return None


def _leading_to(name: str, attributes: Iterable[str]) -> Rule:
    def described(value: Any) -> Node:
        kind = type(value)
        try:
            address = tuple([str(_at(value, path)) for path in attributes])
        except Exception as error:
            raise NoContent(
                f"a client ({kind.__module__}.{kind.__qualname__}) does not say where it leads to "
                f"({type(error).__name__}: {error})"
            ) from error
        if address[0].startswith(_LOCAL):
            raise NoContent(
                f"a client ({kind.__module__}.{kind.__qualname__}) leads to a local database, whose content is the "
                "input: pass that as a File"
            )
        return Node("client", (name, address))

    return described


def _at(value: Any, path: str) -> object:
    """What stands at the end of a dotted path; a part in brackets is a key of a dict, which may be missing."""
    for part in path.split("."):
        value = value.get(part[1:-1]) if part.startswith("[") else getattr(value, part)
    return value


_LOCAL = ("sqlite", "duckdb")
_IGNORED = frozenset(
    """
    logging.Logger logging.LoggerAdapter loguru.Logger structlog.BoundLogger structlog.BoundLoggerBase
    structlog.BoundLoggerLazyProxy
    tqdm.tqdm rich.Console rich.Progress
    requests.Session urllib3.PoolManager
    concurrent.Executor
    distributed.Client dask.Client pyspark.SparkSession pyspark.SparkContext
    """.split()
)
# Of a client: what leads to its service. Some are private, as the library has no other way to ask.
_ADDRESSES: dict[str, tuple[str, ...]] = {
    "httpx.BaseClient": ("base_url",),
    "aiohttp.ClientSession": ("_base_url",),
    "botocore.BaseClient": ("meta.service_model.service_name", "meta.region_name", "meta.endpoint_url"),
    "boto3.Session": ("profile_name", "region_name"),
    "sqlalchemy.Engine": ("url",),
    "sqlalchemy.AsyncEngine": ("url",),
    "sqlalchemy.Connection": ("engine.url",),
    "sqlalchemy.Session": ("bind.url",),
    "sqlalchemy.AsyncSession": ("bind.url",),
    "redis.Redis": tuple(f"connection_pool.connection_kwargs.[{name}]" for name in ("host", "port", "path", "db")),
    "psycopg.BaseConnection": ("info.host", "info.port", "info.dbname", "info.user"),
    "psycopg2.connection": ("info.host", "info.port", "info.dbname", "info.user"),
}
