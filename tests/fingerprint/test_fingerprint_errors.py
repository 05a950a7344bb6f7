"""What has no stable content is refused with the way to it and the cures."""

from __future__ import annotations

import asyncio
import gc
import itertools
import queue
import socket
import sqlite3
import sys
import tempfile
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from fingerprint_samples import Params, Plain

from kept.exceptions import HashError, ParameterTypeError
from kept.fingerprint import fingerprint, register_fingerprint

CURES = (
    "Leave it out with cache_policy=INPUTS - 'model' or annotate it as Ignore[...], turn caching off with "
    "cache_policy=NO_CACHE, compute the key yourself with cache_key_fn=..., or pass something that identifies it "
    "instead."
)


def message(value: object, where: str = "value") -> str:
    with pytest.raises(HashError) as caught:
        fingerprint(value, where=where)
    return str(caught.value)


def test_the_message_names_the_way_the_reason_and_the_cures() -> None:
    model = Plain(session=Plain(_lock=threading.Lock()))
    expected = f"argument 'model' -> .session -> ._lock: a lock (_thread.lock) has no stable content. {CURES}"
    assert message(model, "argument 'model'") == expected


def test_an_argument_can_be_left_out_only_where_there_is_one() -> None:
    assert "INPUTS" not in message(threading.Lock())
    assert "Turn caching off with cache_policy=NO_CACHE" in message(threading.Lock())


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: [0, bad], "value -> [1]"),
        (lambda bad: (bad,), "value -> [0]"),
        (lambda bad: {"a": {"b": [bad]}}, "value -> ['a'] -> ['b'] -> [0]"),
        (lambda bad: {(1, 2): bad}, "value -> [(1, 2)]"),
        (lambda bad: [*range(5000), bad], "value -> [5000]"),
        (lambda bad: {**{i: i for i in range(5000)}, "x": bad}, "value -> ['x']"),
        (lambda bad: Plain(a=Plain(b=bad)), "value -> .a -> .b"),
        (lambda bad: Params(a=bad), "value -> ['a']"),
        (lambda bad: deque([1, bad]), "value -> [1]"),
        (lambda bad: defaultdict(list, k=bad), "value -> ['k']"),
        (lambda bad: {bad}, "value -> an element"),
        (lambda bad: slice(1, bad), "value -> .1"),
        (lambda bad: SimpleNamespace(a=1, locks=[bad]), "value -> .locks -> [0]"),
        (lambda bad: SimpleNamespace(**{f"x{i}": i for i in range(5000)}, lock=bad), "value -> .lock"),
    ],
)
def test_the_way_is_written_as_one_would_walk_it(make: Callable[[object], object], path: str) -> None:
    assert message(make(threading.Lock())).startswith(f"{path}: a lock (")


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    pass


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (threading.Lock, "a lock (_thread.lock) has no stable content"),
        (threading.RLock, "a lock (_thread.RLock) has no stable content"),
        (generator, "a generator (builtins.generator) has no stable content"),
        (lambda: iter([1]), "an iterator (builtins.list_iterator) gives its items only once; pass list(...) of it"),
        (lambda: zip([1], [2], strict=True), "an iterator (builtins.zip) gives its items only once"),
        (lambda: map(len, []), "an iterator (builtins.map) gives its items only once"),
        (itertools.count, "an iterator (itertools.count) gives its items only once"),
        (sys._getframe, "a stack frame (builtins.frame) has no stable content"),
        (queue.SimpleQueue, "a queue (_queue.SimpleQueue) has no stable content"),
        (threading.local, "a context (_thread._local) has no stable content"),
    ],
)
def test_what_has_no_stable_content_is_refused_by_name(make: Callable[[], object], reason: str) -> None:
    assert reason in message(make())


def test_mocks_are_refused_as_they_never_end() -> None:
    assert "makes new content whenever it is looked at" in message([mock.MagicMock()])
    assert "a lock (asyncio.locks.Lock)" in message(asyncio.Lock())


def test_coroutines_are_refused() -> None:
    waiting = coroutine()
    assert "a coroutine (builtins.coroutine) has no stable content" in message(waiting)
    waiting.close()


def test_asyncio_futures_are_refused() -> None:
    loop = asyncio.new_event_loop()
    with closing(loop):
        assert "an asyncio future (_asyncio.Future) has no value yet" in message(loop.create_future())


def test_threads_and_events_are_refused() -> None:
    assert "a thread (threading.Thread)" in message(threading.Thread())
    assert "a lock (_thread.lock)" in message(threading.Event())


def test_open_files_are_refused_with_their_cure(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("w") as file:
        assert "an open file (_io.TextIOWrapper) has no stable content; pass its path" in message(file)
    with path.open("rb", buffering=0) as file:
        assert "an open file (_io.FileIO)" in message(file)
    with tempfile.NamedTemporaryFile() as temporary:
        assert ".file: an open file (_io.BufferedRandom)" in message(temporary)


def test_connections_are_refused() -> None:
    with socket.socket() as connection:
        assert "a socket (socket.socket) has no stable content" in message(connection)
    with closing(sqlite3.connect(":memory:")) as database:
        assert "a database connection (sqlite3.Connection) has no stable content" in message({"db": database})


def test_the_cure_of_an_error_while_reading_names_that_error() -> None:
    class Broken:
        def __getstate__(self) -> Any:
            raise ValueError("not now")

    text = message([Broken()])
    assert text.startswith("value -> [0]: an object (test_fingerprint_errors.")
    assert "ValueError: not now" in text


class Broken:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __kept_fingerprint__(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self if self.answer == "itself" else self.answer


class Registered(Plain):
    """A class of others, which knows nothing of fingerprints."""


def test_a_stand_in_that_fails_is_said() -> None:
    text = message([Broken(OSError("gone"))], "argument 'model'")
    assert text.startswith(
        "argument 'model' -> [0]: Broken.__kept_fingerprint__() raised OSError: gone: correct it. Leave it out"
    )


@pytest.mark.parametrize(("answer", "shown"), [(None, "None"), ("itself", "the object itself")])
def test_a_stand_in_that_tells_nothing_apart_is_refused(answer: Any, shown: str) -> None:
    text = message(Broken(answer))
    assert f"Broken.__kept_fingerprint__() returned {shown}: let it return what tells one Broken from another" in text
    assert "or leave all of them out by ignore_type" in text


def test_a_stand_in_without_content_is_said_with_who_gave_it() -> None:
    text = message(Broken([threading.Lock()]))
    assert text.startswith("value -> what Broken.__kept_fingerprint__() returned -> [0]: a lock (_thread.lock)")


def test_a_registered_function_that_fails_is_named_with_its_place() -> None:
    register_fingerprint(Registered, lambda value: value.path)
    line = sys._getframe().f_lineno - 1
    reason = f"the fingerprint function of Registered (test_fingerprint_errors.py:{line}) raised AttributeError: "
    assert reason in message(Registered())


def test_an_async_function_is_no_fingerprint_function() -> None:
    async def later(value: Registered) -> str:
        return "late"

    register_fingerprint(Registered, later)
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        assert "returned: a coroutine (builtins.coroutine) has no stable content" in message(Registered())
        gc.collect()


@pytest.mark.parametrize(("kind", "function"), [(Registered(), len), (Registered, "path")])
def test_only_functions_can_be_registered_and_only_for_classes(kind: Any, function: Any) -> None:
    with pytest.raises(ParameterTypeError, match="it takes a class, and a function that gets an object of it"):
        register_fingerprint(kind, function)


def test_a_lock_in_a_closure_is_found() -> None:
    lock = threading.Lock()

    def locked() -> object:
        return lock

    assert message(locked).startswith("value -> .__closure__ -> ['lock']: a lock (_thread.lock)")


def test_c_objects_that_show_nothing_are_refused() -> None:
    assert "an object (builtins.PyCapsule) has no stable content" in message(_capsule())


def _capsule() -> object:
    import datetime

    return datetime.datetime_CAPI
