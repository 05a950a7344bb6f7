"""What has no part in a key, or only by the address that it leads to."""

from __future__ import annotations

import concurrent.futures
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import boto3
import pytest
import redis
import requests
import rich.console

from kept.exceptions import HashError, ParameterTypeError
from kept.fingerprint import fingerprint, ignore_type, register_fingerprint


def client(service: str = "s3", **options: Any) -> Any:
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    return boto3.client(service, **{**keys, **options})


@pytest.mark.parametrize(
    "make",
    [
        logging.getLogger,
        lambda: logging.getLogger("a"),
        lambda: logging.LoggerAdapter(logging.getLogger("a"), {"run": object()}),
        rich.console.Console,
        requests.Session,
        concurrent.futures.ThreadPoolExecutor,
    ],
)
def test_what_reports_on_the_work_or_carries_it_out_counts_as_nothing(make: Callable[[], Any]) -> None:
    assert fingerprint(make()) == fingerprint(logging.getLogger("another"))
    assert fingerprint({"log": make(), "x": 1}) != fingerprint({"log": make(), "x": 2})


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (client, lambda: client("sqs")),
        (client, lambda: client(region_name="eu-west-1")),
        (client, lambda: client(endpoint_url="http://localhost:1")),
        (redis.Redis, lambda: redis.Redis(db=3)),
        (redis.Redis, lambda: redis.Redis(host="elsewhere")),
        (lambda: redis.Redis(password="a"), lambda: redis.Redis(password="a", port=1)),
    ],
)
def test_a_client_counts_by_the_address_that_it_leads_to(same: Callable[[], Any], other: Callable[[], Any]) -> None:
    assert fingerprint(same()) == fingerprint(same()) != fingerprint(other())


def test_clients_of_two_libraries_are_two_things() -> None:
    assert len({fingerprint(client()), fingerprint(redis.Redis()), fingerprint(requests.Session())}) == 3


def test_a_client_that_does_not_say_where_it_leads_to_is_refused() -> None:
    lost = redis.Redis()
    lost.connection_pool = None  # type: ignore[assignment]
    with pytest.raises(HashError, match=r"a client \(redis.client.Redis\) does not say where it leads to"):
        fingerprint(lost)


def test_what_a_subclass_of_the_users_own_adds_is_not_passed_over() -> None:
    class Prefixed(logging.LoggerAdapter):  # type: ignore[type-arg]
        def __init__(self, prefix: str) -> None:
            super().__init__(logging.getLogger(), {})
            self.prefix = prefix

    assert fingerprint(Prefixed("a")) == fingerprint(Prefixed("a")) != fingerprint(Prefixed("b"))


def test_a_class_of_the_same_name_elsewhere_is_not_meant() -> None:
    class Logger:
        def __init__(self, level: int) -> None:
            self.level = level

    assert fingerprint(Logger(1)) != fingerprint(Logger(2))


class Telemetry:
    def __init__(self, run: int) -> None:
        self.run = run


class Louder(Telemetry):
    pass


def test_a_type_can_be_ignored_with_its_subclasses_wherever_it_stands() -> None:
    class Config:
        def __init__(self, rate: float, telemetry: Any) -> None:
            self.rate, self.telemetry = rate, telemetry

    ignore_type(Telemetry)
    assert fingerprint(Telemetry(1)) == fingerprint(Louder(2))
    assert fingerprint([Config(0.1, Telemetry(1))]) == fingerprint([Config(0.1, Louder(2))])
    assert fingerprint(Config(0.1, Telemetry(1))) != fingerprint(Config(0.2, Telemetry(1)))
    assert fingerprint(Telemetry(1)) != fingerprint(None)


def test_a_type_that_is_refused_or_counts_by_its_address_can_be_ignored() -> None:
    class Connection(sqlite3.Connection):
        pass

    ignore_type(Connection)
    with closing(sqlite3.connect(":memory:", factory=Connection)) as database:
        assert fingerprint(database) == fingerprint(logging.getLogger())


def test_what_a_user_registers_is_taken_before_what_is_listed() -> None:
    class Named(logging.Logger):
        pass

    register_fingerprint(Named, lambda logger: logger.name)
    assert fingerprint(Named("a")) != fingerprint(Named("b"))


def test_what_is_no_class_can_not_be_ignored() -> None:
    with pytest.raises(ParameterTypeError, match=r"it takes a class, as in ignore_type\(httpx.Client\)"):
        ignore_type(logging.getLogger())  # type: ignore[arg-type]
