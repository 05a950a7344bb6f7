"""Results and the store that keeps them: a serializer, entries, blobs and locks, put together for a run."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast

from kept.blocks import documents
from kept.context import FlowRunContext, TaskRunContext, current_run, flow_context_of, new_id
from kept.exceptions import (
    ConfigurationError,
    KeptException,
    MissingResult,
    ParameterTypeError,
    SerializationError,
)
from kept.files import Taking, given
from kept.fingerprint import classes_among, data_fingerprint
from kept.locking.objects import ObjectLockManager
from kept.locking.picking import check_answers, locks_for
from kept.run_notes import note_published
from kept.serializers import CompressedSerializer, PickleSerializer, Serializer
from kept.settings import get_current_settings
from kept.states import Loadable, moment
from kept.storage import resolve_storage
from kept.store import Entry, Miss
from kept.store.objects import put_over
from kept.utilities.effects import in_thread

INLINE_LIMIT = 32 * 1024
"""Payloads up to this many bytes live in their entry; larger ones become blobs."""

# Ends the fingerprint of a result that holds objects of the user's classes: what they do is told by their classes,
# so a policy that looks at code has to see them.
_WITH_OBJECTS = "+objects"


class Origin(NamedTuple):
    """Who computed a result."""

    task: str = ""
    run: str = ""
    flow_run: str = ""
    seconds: float = 0.0


class ResultRecordMetadata(NamedTuple):
    """What is known of a kept result besides its value."""

    storage_key: str
    """The key it is kept under."""
    expiration: datetime | None
    """When it stops being valid, in UTC; None for never."""
    serializer: Serializer
    """How it became bytes."""


class ResultRecord(NamedTuple):
    """A result that was read from a store."""

    result: Any
    metadata: ResultRecordMetadata


class KeptResult(Loadable):
    """The value of a completed run as it is kept: read when first asked for, and remembered."""

    __slots__ = ("_value", "entry", "store")

    _UNREAD = object()

    def __init__(self, store: ResultStore, entry: Entry, value: Any = _UNREAD) -> None:
        self.store = store
        self.entry = entry
        self._value = value

    def load_result(self) -> Any:
        """The value; the same object each time. Raises `MissingResult` if it can't be read any more."""
        if self._value is self._UNREAD:
            self._value = self.load_copy()
        return self._value

    @property
    def fingerprint(self) -> str | None:
        fingerprint = self.entry.fingerprint
        return None if fingerprint is None else fingerprint.removesuffix(_WITH_OBJECTS)

    @property
    def holds_objects(self) -> bool:
        fingerprint = self.entry.fingerprint
        return fingerprint is not None and fingerprint.endswith(_WITH_OBJECTS)

    @property
    def expires(self) -> float | None:
        return self.entry.expires

    @property
    def slow(self) -> bool:
        """Whether it has to be read from a store that is far away."""
        return self._value is self._UNREAD and self.far

    @property
    def far(self) -> bool:
        return self.store.slow and not self.store.is_near(self.entry)

    @property
    def travels(self) -> bool:
        return self.store.shared or not self.entry.blobs

    def bring(self) -> None:
        with contextlib.suppress(MissingResult):  # raised again where the value is wanted
            if self.slow:
                self.load_result()

    def load_copy(self) -> Any:
        value = self.fetched()
        if isinstance(value, Miss):
            raise self._missing(value.reason)
        return value

    def fetched(self) -> Any:
        """A copy of the value, or a `Miss` that says why there is none."""
        try:
            return self.store.fetch(self.entry)
        except Exception as error:  # a user's file system may raise anything
            return Miss(f"the store can't be read: {error}")

    def _missing(self, reason: str) -> MissingResult:
        return MissingResult(
            f"The result kept under {self.entry.key!r} in {self.store.location} can't be read any more: "
            f"{reason.rstrip('.')}. Run the flow again to compute it anew."
        )

    def reference(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The place in the store if another process can read it there, else the value.

        Raises:
            MissingResult: it is lost from the store, and was changed in memory since.
        """
        entry, store = self.entry, self.store
        # What is far away is not asked for twice: the other process says so if it can't have it.
        if self.travels and (store.slow or entry.blob is None or not isinstance(store.blobs.open(entry.blob), Miss)):
            return _fetched, (store, entry)
        value = self.load_result()
        if data_fingerprint(value) != self.fingerprint:
            raise MissingResult(f"The result kept under {entry.key!r} was changed in memory, and its original is lost.")
        return _rebuild, (value,)

    def __reduce__(self) -> Any:
        return _rebuild, (self.load_result(),)


class Again(Protocol):
    """How a result that can't be fetched is computed."""

    def begin(self, reason: str) -> Any:
        """The future of a run that does so; raises an exception if there can be none."""

    def ended(self) -> Any:
        """Its final state, where the future has ended; raises an exception if its value is not the one wanted."""


class LazyResult(KeptResult):
    """A kept result that is far away: fetched when somebody looks at it; if that can't be, it is computed anew, once.

    Arguments:
        again: how it is computed.
    """

    __slots__ = ("_again", "_future", "_lock")

    def __init__(self, store: ResultStore, entry: Entry, again: Again) -> None:
        super().__init__(store, entry)
        self._again: Again | None = again
        self._future: Any = None
        self._lock = threading.Lock()

    @property
    def slow(self) -> bool:
        return self._value is self._UNREAD

    def bring(self) -> None:
        with contextlib.suppress(Exception):  # raised again where the value is wanted
            if self.slow and self._future is None:
                found = self._fetched_once()
                if isinstance(found, Miss):
                    self.anew(found.reason)

    def load_result(self) -> Any:
        self.bring()
        if self.slow:
            self.anew("").wait()
            self._take()
        return self._value

    async def aload_result(self) -> Any:
        await in_thread(self.bring)
        if self.slow:
            await self.anew("").aresult(raise_on_failure=False)
            self._take()
        return self._value

    def load_copy(self) -> Any:
        value = self.fetched()
        if isinstance(value, Miss):
            if not self.slow:
                raise self._missing(value.reason)
            self.anew(value.reason).wait()
            self._take()
            return super().load_copy()
        return value

    def anew(self, reason: str) -> Any:
        """The future of the run that computes it anew, which is begun if it was not. Raises `MissingResult`."""
        with self._lock:
            if self._future is None:
                if self._again is None:
                    raise self._missing(reason)
                try:
                    self._future = self._again.begin(reason)
                except Exception as error:
                    raise self._missing(f"{reason}, and it can't be computed anew: {error}") from error
            return self._future

    def _fetched_once(self) -> Any:
        found = self.fetched()
        with self._lock:
            if self.slow and not isinstance(found, Miss):
                self._value, self._again = found, None
        return found

    def _take(self) -> None:
        """The value that was computed anew."""
        with self._lock:
            again = self._again
            if again is None:  # somebody else has taken it
                return
            try:
                state = again.ended()
                value = state.result()
            except BaseException as error:
                raise self._missing(f"it could not be computed anew ({type(error).__name__}: {error})") from error
            if isinstance(state.data, KeptResult):
                self.entry = state.data.entry
            self._value, self._again = value, None


class InputLost(MissingResult):
    """A process was passed a reference to a kept result, and can't read that."""


def _rebuild(value: Any) -> Any:
    return value


def _fetched(store: ResultStore, entry: Entry) -> Any:
    try:
        return KeptResult(store, entry).load_copy()
    except MissingResult as error:
        raise InputLost(str(error)) from error


class ResultStore:
    """Keeps results under keys.

    Arguments:
        result_storage: where payloads live: a path, a filesystem (`LocalFileSystem(...)` or any object with
            `read_path` and `write_path`), a URL, a saved block as type/name, or None for the default of the settings.
        metadata_storage: where entries live, if elsewhere; the same choices.
        serializer: a `Serializer` or the name of one; None for the default of the settings.
        lock_manager: who hands out locks for `SERIALIZABLE` transactions.
    """

    def __init__(
        self,
        result_storage: Any = None,
        metadata_storage: Any = None,
        serializer: Serializer | str | None = None,
        lock_manager: Any = None,
    ) -> None:
        settings = get_current_settings()
        with documents.watching() as self._blocks:
            storage = resolve_storage(result_storage, settings)
            entries = resolve_storage(metadata_storage, settings) if metadata_storage else storage
        self.storage = result_storage
        self.entries = entries.entries
        self.blobs = storage.blobs
        self.location = storage.location
        self.serializer = resolve_serializer(serializer or settings.results.default_serializer)
        self.serializer_name = self.serializer.name
        # A value that comes back changed is not the one that was fingerprinted: it is hashed when it is passed on.
        self.faithful = _is_faithful(self.serializer)
        """Whether a value comes back as it was."""
        self.shared = storage.shared
        """Whether other processes of this machine see the payloads. What a user's own file system does is not known."""
        self.refusal = self._refusal(storage.accepts or entries.accepts)
        """Why what this serializer writes is not kept; empty if it is."""
        self.private = storage.private or entries.private
        """Whether nobody but this machine has what is kept."""
        self.lock_manager = lock_manager
        self._place_of_keys = entries
        self.slow = storage.slow or entries.slow
        """Whether reading takes so long that an event loop should not wait for it."""
        # With entries elsewhere, payloads belong where the user put them, however small.
        self._inline_limit = -1 if metadata_storage else INLINE_LIMIT

    def _refusal(self, accepts: tuple[str, ...]) -> str:
        if not accepts or self.serializer_name in accepts:
            return ""
        only = ", ".join(accepts)
        return (
            f"its serializer is {self.serializer_name}, and {self.location} accepts {only} only. "
            f"Use result_serializer={accepts[0]!r}, or another store."
        )

    @property
    def by_reference(self) -> bool:
        """Whether saved blocks say where results are kept."""
        return bool(self._blocks)

    @property
    def outdated(self) -> bool:
        """Whether a block that says where results are kept was saved again since."""
        return documents.changed(self._blocks)

    def lookup(self, key: str) -> Entry | Miss:
        """The entry at `key`, whether or not it has expired, or why there is none. Raises `StoreError`."""
        return self.entries.get(key)

    def near(self, key: str) -> Entry | Miss | None:
        """What is known here of a key of a store far away; None if that has to be asked. Raises `StoreError`."""
        near = getattr(self.entries, "near", None)
        return None if near is None else near(key)

    def ask(self, key: str) -> Entry | Miss:
        """The entry at `key` by what the store has now, whatever is known of it here. Raises `StoreError`."""
        return getattr(self.entries, "ask", self.entries.get)(key)

    def is_near(self, entry: Entry) -> bool:
        """Whether the payload of an entry can be read without asking a store far away."""
        if not self.slow or not entry.blobs:
            return True
        is_near = getattr(self.blobs, "is_near", None)
        return is_near is not None and all(map(is_near, entry.blobs))

    def fetch(self, entry: Entry) -> Any:
        """A fresh copy of the value of an entry, files in it given back, or a `Miss` that says why it can't be had.

        Raises `StoreError`.
        """
        data: Any = entry.payload
        if data is None:
            data = self.blobs.open(entry.blob or "")
            if isinstance(data, Miss):
                return data
        if len(data) != entry.size:
            return Miss(f"damaged: {len(data)} bytes instead of {entry.size}")
        serializer = self._serializer_of(entry)
        try:
            return given(self.blobs, serializer.loads, data) if entry.files else serializer.loads(data)
        except KeptException as error:
            script = _script_of(entry) if isinstance(error.__cause__, AttributeError) else None
            if script is not None and isinstance(serializer, PickleSerializer) and not entry.files:
                with contextlib.suppress(SerializationError):
                    return serializer.loads_of_script(data, script)
            return Miss(f"unreadable: {error}")
        except (Exception, SystemExit) as error:  # a user's serializer, or a pickle, may raise anything
            return Miss(f"unreadable: the serializer {entry.serializer} raised {type(error).__name__}: {error}")

    def as_kept(self, value: Any, entry: Entry) -> Any:
        """The value as it would come back had it been kept as this entry is. A serializer may raise anything."""
        if entry.fingerprint is not None:
            return value
        serializer = self._serializer_of(entry)
        return serializer.loads(serializer.dumps(value))

    def _serializer_of(self, entry: Entry) -> Serializer:
        return self.serializer if entry.serializer == self.serializer_name else Serializer.from_name(entry.serializer)

    def pack(
        self,
        value: Any,
        key: str,
        parts: dict[str, str] | None = None,
        expires: float | None = None,
        origin: Origin = Origin(),  # noqa: B008 - a tuple, never changed
    ) -> Entry:
        """An entry for `value`, its payload written already if it is large; visible once `publish`ed.

        Raises:
            SerializationError: the value can't become bytes, or not such that the store accepts.
            StoreError: the payload can't be written.
        """
        if self.refusal:
            raise SerializationError(self.refusal)
        with Taking(self.blobs) as taking:
            chunks = self._chunks(value)
            fingerprint = _fingerprint_of(value) if self.faithful else None
        size = sum([chunk.nbytes if isinstance(chunk, memoryview) else len(chunk) for chunk in chunks])
        small = size <= self._inline_limit
        return Entry(
            key=key,
            created=time.time(),
            expires=expires,
            serializer=self.serializer_name,
            fingerprint=fingerprint,
            size=size,
            payload=_joined(chunks) if small else None,
            blob=None if small else self.blobs.put(chunks),
            parts=json.dumps(parts) if parts else "{}",
            task=origin.task,
            run=origin.run,
            flow_run=origin.flow_run,
            seconds=origin.seconds,
            files=taking.digests,
        )

    def _chunks(self, value: Any) -> list[bytes | memoryview]:
        try:
            chunks = self.serializer.chunks(value)
        except KeptException:
            raise
        except (Exception, SystemExit) as error:  # a user's serializer, or a pickle, may raise anything
            raise SerializationError(
                f"the serializer {self.serializer_name} raised {type(error).__name__}: {error}. "
                "Correct it, or use another result_serializer."
            ) from error
        for chunk in chunks:
            if not isinstance(chunk, (bytes, memoryview)):
                raise SerializationError(
                    f"the serializer {self.serializer_name} gave a {type(chunk).__name__} instead of bytes. "
                    "Let its dumps() return bytes, or use another result_serializer."
                )
        return chunks

    def tags(self, locks: Any, key: str, absent: bool) -> dict[str, str | None]:
        """What `publish` finds at a key whose lock is held, if nobody else writes there; nothing if it can't tell.

        Only servers of objects can compare and write in one step: those that were found fit to hold leases.

        Arguments:
            absent: whether it is known that nothing is there.
        """
        bare = self._place_of_keys.bare
        if bare is None or not self._are_here(locks):
            return {}
        return {key: None if absent else bare.tag_of(key)}

    def publish(self, entries: Sequence[Entry], over: Mapping[str, str | None] | None = None) -> None:
        """Make packed entries visible, all at once.

        Arguments:
            over: what they may take the place of, by `tags`.

        Raises:
            StoreError: they can't be written.
            LockLostError: something else is there.
        """
        if over:
            with put_over(over):
                self.publish(entries)
            return
        if not self.slow:
            self.entries.put(entries)
            return
        if self._inline_limit < 0 and (flush := getattr(self.blobs, "flush", None)):
            flush()  # who sends the entries does not know of payloads that are sent elsewhere
        try:
            self.entries.put(entries)
        finally:  # some may be there even if others are not
            note_published(self.entries, [entry.key for entry in entries])
            flow = flow_context_of(current_run())
            if flow is not None and hasattr(self.entries, "flush"):
                flow.notes.note_written(self)

    def flush(self) -> int:
        """Wait until all that was published is where it belongs; how many entries are not, for which the log says why.

        Only stores that send what they are given later, while the program goes on, have anything to wait for.
        """
        flush = getattr(self.entries, "flush", None)
        return 0 if flush is None else int(flush())

    def locks(self) -> Any:
        """Who hands out the locks on keys: the manager that was given, else what fits the place of the entries.

        That may be found out by asking a server that is far away. Raises `LockError` if it can't be.
        """
        if self.lock_manager is None:
            self.lock_manager = locks_for(self._place_of_keys, get_current_settings())
        elif self._are_here(self.lock_manager):
            check_answers(self._place_of_keys)
        return self.lock_manager

    def _are_here(self, locks: Any) -> bool:
        """Whether these locks are objects beside the entries."""
        bare = self._place_of_keys.bare
        return bare is not None and isinstance(locks, ObjectLockManager) and locks.files is bare.filesystem

    def read(self, key: str) -> ResultRecord:
        """The result kept under `key`.

        Raises:
            MissingResult: there is none, it has expired, or it can't be read.
        """
        found = self.lookup(key)
        if isinstance(found, Entry) and found.expires is not None and found.expires <= time.time():
            found = Miss("expired")
        value = found if isinstance(found, Miss) else self.fetch(found)
        if isinstance(value, Miss):
            raise MissingResult(f"No result under {key!r} in {self.location}: {value.reason}.")
        entry = cast(Entry, found)
        expiration = None if entry.expires is None else moment(entry.expires)
        return ResultRecord(value, ResultRecordMetadata(key, expiration, self._serializer_of(entry)))

    def write(self, obj: Any, key: str | None = None, expiration: datetime | None = None) -> None:
        """Keep `obj` under `key`, a new one by default, until `expiration`, for ever by default.

        Raises:
            ParameterTypeError: the key is not a string, or the expiration not a `datetime`.
            SerializationError: the value can't become bytes.
            StoreError: it can't be written.
        """
        if not isinstance(key, str | None):
            raise ParameterTypeError(
                f"write() got the key {key!r}; it takes write(obj, key), with a string as the key."
            )
        if not isinstance(expiration, datetime | None):
            raise ParameterTypeError(
                f"write() got expiration={expiration!r}; it takes a datetime, as datetime.now() + timedelta(days=1) is."
            )
        key = key or new_id()
        expires = None if expiration is None else expiration.timestamp()
        self.publish([self.pack(obj, key, expires=expires)])

    def exists(self, key: str) -> bool:
        """Whether a result is kept under `key` that has not expired and is not lost."""
        found = self.lookup(key)
        if isinstance(found, Miss) or (found.expires is not None and found.expires <= time.time()):
            return False
        return found.blob is None or not isinstance(self.blobs.open(found.blob), Miss)

    async def aread(self, key: str) -> ResultRecord:
        """`read()`, to await."""
        return await self._aside(self.read, key)  # type: ignore[no-any-return]

    async def awrite(self, obj: Any, key: str | None = None, expiration: datetime | None = None) -> None:
        """`write()`, to await."""
        await self._aside(self.write, obj, key, expiration)

    async def aexists(self, key: str) -> bool:
        """`exists()`, to await."""
        return await self._aside(self.exists, key)  # type: ignore[no-any-return]

    async def _aside(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns, called in a thread if an event loop should not wait for it."""
        return await in_thread(function, *args) if self.slow else function(*args)

    def acquire_lock(self, key: str, holder: str | None = None, timeout: float | None = None) -> bool:
        """Take the lock on `key`, and say whether that succeeded within `timeout` seconds, for ever by default.

        The holder is this thread of this process by default, here and in the other methods about locks.
        """
        return bool(self.locks().acquire_lock(key, holder or this_thread(), acquire_timeout=timeout))

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Give the lock on `key` back. Raises `LockNotHeldError`."""
        self.locks().release_lock(key, holder or this_thread())

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock on `key`."""
        return bool(self.locks().is_locked(key))

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        """Whether `holder` holds the lock on `key`."""
        return bool(self.locks().is_lock_holder(key, holder or this_thread()))

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock on `key`; False when `timeout` seconds passed before."""
        return bool(self.locks().wait_for_lock(key, timeout))

    def __repr__(self) -> str:
        return f"ResultStore({self.location!r}, serializer={self.serializer_name!r})"


def _script_of(entry: Entry) -> types.ModuleType | None:
    """The module that the task of an entry is in, if that is imported: it may have run as a script then."""
    name = entry.task
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    return sys.modules.get(name)


def _fingerprint_of(value: Any) -> str | None:
    digest = data_fingerprint(value)
    holds_objects = digest is not None and digest[:3] == "b3:" and classes_among([value])
    return f"{digest}{_WITH_OBJECTS}" if holds_objects else digest


def this_thread() -> str:
    """The name of a lock's holder that is this thread of this process on this machine."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def relabelled(
    entry: Entry,
    key: str,
    parts: dict[str, str] | None = None,
    expires: float | None = None,
    origin: Origin = Origin(),  # noqa: B008 - as above
) -> Entry:
    """A packed entry with what `pack` would have been told, had it been known."""
    return entry._replace(
        key=key,
        created=time.time(),
        expires=expires,
        parts=json.dumps(parts) if parts else "{}",
        task=origin.task,
        run=origin.run,
        flow_run=origin.flow_run,
        seconds=origin.seconds,
    )


def get_result_store() -> ResultStore:
    """The store of the run that this code is part of, or the default store outside a run."""
    context = current_run()
    if isinstance(context, (FlowRunContext, TaskRunContext)) and context.result_store is not None:
        return cast(ResultStore, context.result_store)
    return ResultStore()


def should_persist_result() -> bool:
    """Whether the run that this code is part of keeps its result; the settings' default outside a run."""
    context = current_run()
    if isinstance(context, (FlowRunContext, TaskRunContext)) and context.persist_result is not None:
        return context.persist_result
    return bool(get_current_settings().results.persist_by_default)


def resolve_serializer(serializer: Serializer | str) -> Serializer:
    """The serializer itself, or the one of this name. Raises `ConfigurationError` or `SerializationError`."""
    if isinstance(serializer, str):
        return Serializer.from_name(serializer)
    if isinstance(serializer, Serializer):
        return serializer
    raise ConfigurationError(
        f"result_serializer is {serializer!r}. It has to be a Serializer or the name of one: "
        "'pickle', 'json', 'compressed/pickle', 'compressed/json'."
    )


def _is_faithful(serializer: Serializer) -> bool:
    """Whether a value comes back as it was: through a pickle it does, JSON gives a list for a tuple."""
    while isinstance(serializer, CompressedSerializer):
        serializer = serializer.serializer
    return type(serializer) is PickleSerializer


def _joined(chunks: Sequence[bytes | memoryview]) -> bytes:
    first = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return first if isinstance(first, bytes) else bytes(first)
