"""What goes from one process to another: tasks, their surroundings, calls and answers, as bytes.

The runs themselves stay in the process that submitted them, with their keys, hooks, retries, transactions and records:
a worker is sent a `RemoteCall`, and answers with an `Answer`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import socket
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kept.context import FlowRun, TaskRun
from kept.exceptions import SerializationError
from kept.store.entry import Entry
from kept.utilities.culprit import find_culprit, kind_of, said_by, short

_CHUNK = 64 * 1024


class FlowFacts(NamedTuple):
    """What a worker knows of a flow; the flow itself stays where it runs."""

    name: str
    version: str | None
    description: str | None


class FlowAround(NamedTuple):
    """A flow run around a call."""

    flow: FlowFacts
    run: FlowRun
    parameters: dict[str, Any]
    persist_result: bool | None
    result_store: Any
    log_prints: bool


class Around(NamedTuple):
    """What surrounds calls, the same for many of them."""

    settings: Mapping[Any, Any]
    tags: frozenset[str]
    flows: list[FlowAround]
    """Outermost first."""
    levels: dict[str, int]
    """Of the loggers."""


class RemoteCall(NamedTuple):
    """One call of a task's or flow's function; numbers stand for what the worker was sent before."""

    thing: int
    around: int
    store: int | None
    run: FlowRun | TaskRun
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout: float | None
    persist_result: bool | None
    log_prints: bool


class Answer(NamedTuple):
    """How a call ended: one of these is there."""

    payload: bytes | None = None
    """The value."""
    entry: Entry | None = None
    """The value as an entry of the store, which lacks its key and origin."""
    error: bytes | None = None
    """The exception, and its traceback as text."""
    noted: bytes = b""
    """What was `set` in the transaction of the task, if anything."""


class WorkerTraceback(Exception):
    """The traceback of an exception that was raised in a worker process, as text; the cause of the exception here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class NotSent:
    """Stands in a worker for a parameter of the flow that can't be pickled."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __kept_fingerprint__(self) -> Any:
        raise TypeError(self._why)

    def __repr__(self) -> str:
        return f"<not sent to this process: {self._why}>"


class Channel:
    """Messages over a socket, in both directions: eight bytes that say how long it is, and the message.

    What comes is read as much at a time as there is: many small messages cost one system call.
    """

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._read = bytearray()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    def send(self, content: bytes) -> None:
        """Send one message. Raises `OSError`."""
        head = len(content).to_bytes(8, "little")
        if len(content) <= _CHUNK:
            self._socket.sendall(head + content)
        else:
            self._socket.sendall(head)
            self._socket.sendall(content)

    def receive(self, timeout: float | None = None) -> bytes | bytearray:
        """The next message.

        Raises:
            EOFError, OSError: the other side is gone.
            TimeoutError: nothing came for so many seconds; the channel can't be used any more.
        """
        if timeout is not None:
            self._socket.settimeout(timeout)
        content = self._take(int.from_bytes(self._take(8), "little"))
        if timeout is not None:
            self._socket.settimeout(None)
        return content

    def _take(self, size: int) -> bytes | bytearray:
        read = self._read
        if size > _CHUNK:
            return self._take_large(size)
        while len(read) < size:
            more = self._socket.recv(_CHUNK)
            if not more:
                raise EOFError
            read += more
        taken = bytes(read[:size])
        del read[:size]
        return taken

    def _take_large(self, size: int) -> bytearray:
        taken = bytearray(size)
        have = min(len(self._read), size)
        taken[:have] = self._read[:have]
        del self._read[:have]
        with memoryview(taken) as view:
            while have < size:
                count = self._socket.recv_into(view[have:])
                if not count:
                    raise EOFError
                have += count
        return taken

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


def dumps(value: Any, what: str, by_reference: bool = False) -> bytes:
    """The value as bytes.

    Arguments:
        what: how an error names it, such as "task 'load'".
        by_reference: refer to what the script defines, for a reader that has run it.

    Raises:
        SerializationError: it can't be pickled; the message says which part.
    """
    with contextlib.suppress(Exception):  # cloudpickle may do what pickle can't
        stream = pickle.dumps(value, 5)
        if by_reference or b"__main__" not in stream:  # a worker has not run the script: what it defines is written out
            return stream
    try:
        return _cloud_dumps(value)
    except Exception as error:
        raise SerializationError(_why_not(value, what, error)) from error


def parameters_sent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a flow, as far as they can be pickled."""
    return {name: _sent(name, value) for name, value in parameters.items()}


def _sent(name: str, value: Any) -> Any:
    try:
        dumps(value, name)
    except SerializationError as error:
        return NotSent(f"the flow's parameter {error}")
    return value


def _cloud_dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    file = io.BytesIO()
    _pickler()(file, protocol=5, buffer_callback=buffer_callback).dump(value)
    return file.getvalue()


@functools.cache
def _pickler() -> Any:
    import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - 15 ms that few programs need

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, types.CodeType):  # cloudpickle may leave the file out, which tracebacks show lines of
                return _code_of_file, (obj.co_filename, *self.dispatch_table[types.CodeType](obj)[1])
            reduced = super().reducer_override(obj)
            if isinstance(obj, type) and obj.__module__ == "__main__" and isinstance(reduced, tuple):
                return (_adopted, reduced[:2], *reduced[2:])
            return reduced

    return Pickler


def _code_of_file(filename: str, *args: Any) -> types.CodeType:
    return types.CodeType(*args).replace(co_filename=filename)


def _adopted(make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """A class of the script, put where the script has it: so what is pickled here refers to it, as it would there."""
    cls = make(*args)
    if "." not in cls.__qualname__:
        vars(sys.modules["__main__"]).setdefault(cls.__qualname__, cls)
    return cls


def _why_not(value: Any, what: str, error: Exception) -> str:
    try:
        path, culprit, error = find_culprit(value, error, _cloud_dumps)
    except Exception:  # the search must never hide the error that it explains
        path, culprit = [], value
    return f"{' -> '.join([what, *path[1:]])}: {short(error)} ({kind_of(culprit)})"


def dumps_error(error: BaseException) -> bytes:
    """An exception and its traceback; one that does not survive pickling as a RuntimeError that says what it was."""
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        stream = dumps((error, told), "the exception")
        if not isinstance(pickle.loads(stream)[0], BaseException):
            raise TypeError("it is unpickled as something else")
    except (Exception, SystemExit) as why:
        said = f"{type(error).__qualname__}: {said_by(error)} (the exception itself can't be pickled: {short(why)})"
        stream = pickle.dumps((RuntimeError(said), told), 5)
    return stream


def loads_error(stream: bytes) -> BaseException:
    """The exception, with its traceback as its cause."""
    error, told = pickle.loads(stream)
    error.__cause__ = WorkerTraceback(told)
    return error  # type: ignore[no-any-return]
