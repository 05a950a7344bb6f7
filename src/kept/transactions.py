"""Transactions: results that become visible together, or not at all.

Every task run that keeps its result does so through one of these, alone or inside one that the user opened: the
value is serialized at once (*staged*), its entry is published when the outermost transaction commits. So there
is one way into the store, and a run that dies on the way leaves nothing visible.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from kept.context import new_id
from kept.exceptions import ConfigurationError, RollBack
from kept.results import ResultRecord, ResultStore, get_result_store
from kept.store.completing import completed
from kept.store.entry import Entry

Hook = Callable[["Transaction"], Any]

_active: ContextVar[Transaction | None] = ContextVar("kept_transaction", default=None)
_joining = threading.Lock()
_UNSET = object()
_log = logging.getLogger("kept.transactions")


class IsolationLevel(enum.Enum):
    """How transactions with the same key are kept apart."""

    READ_COMMITTED = "READ_COMMITTED"
    """They may run side by side; what one has committed the others can read. The default."""
    SERIALIZABLE = "SERIALIZABLE"
    """One at a time, by a lock on the key."""


class CommitMode(enum.Enum):
    """When a transaction publishes what it has staged."""

    EAGER = "EAGER"
    """As soon as it ends, even inside another one."""
    LAZY = "LAZY"
    """Together with the transaction around it. The default."""
    OFF = "OFF"
    """Only when told to."""


class TransactionState(enum.Enum):
    """Where a transaction stands."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    ROLLED_BACK = "ROLLED_BACK"
    COMMITTED = "COMMITTED"


class Transaction:
    """What is staged, and the hooks to run when it commits or rolls back. Made by `transaction()`."""

    __slots__ = (
        "_ended",
        "_entries",
        "_holder",
        "_values",
        "children",
        "commit_mode",
        "isolation_level",
        "key",
        "locks",
        "of_task",
        "on_commit_hooks",
        "on_rollback_hooks",
        "overwrite",
        "parent",
        "state",
        "store",
        "write_on_commit",
    )

    def __init__(
        self,
        key: str | None = None,
        store: ResultStore | None = None,
        commit_mode: CommitMode = CommitMode.LAZY,
        isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED,
        overwrite: bool = False,
        write_on_commit: bool = True,
        parent: Transaction | None = None,
        of_task: bool = False,
    ) -> None:
        self.key = key
        self.store = store
        self.commit_mode = commit_mode
        self.isolation_level = isolation_level
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self.parent = parent
        self.of_task = of_task
        self.children: list[Transaction] = []
        self.locks: Any = None
        self.state = TransactionState.ACTIVE
        self.on_commit_hooks: list[Hook] = []
        self.on_rollback_hooks: list[Hook] = []
        self._ended = False
        self._entries: list[Entry] = []
        self._holder = ""
        self._values: dict[str, Any] = {}

    @property
    def holder(self) -> str:
        """Who holds the lock on the key, where one is needed: this transaction and no other."""
        self._holder = self._holder or f"transaction-{new_id()}"
        return self._holder

    def is_active(self) -> bool:
        """Whether work is still going on in it."""
        return self.state is TransactionState.ACTIVE

    def is_staged(self) -> bool:
        """Whether it has ended and waits for the transaction around it."""
        return self.state is TransactionState.STAGED

    def is_committed(self) -> bool:
        """Whether its results are visible; true from the start if its key had a result already."""
        return self.state is TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        """Whether it ended in an error."""
        return self.state is TransactionState.ROLLED_BACK

    def set(self, name: str, value: Any) -> None:
        """Remember a value under `name`, for the hooks and for transactions inside."""
        self._values[name] = value

    def get(self, name: str, default: Any = _UNSET) -> Any:
        """A value that was `set` here or in a transaction around. Raises `ValueError` without one or a default."""
        if name in self._values:
            return self._values[name]
        if self.parent is not None:
            return self.parent.get(name, default)
        if default is _UNSET:
            raise ValueError(f"Nothing was set under {name!r} in this transaction, and no default was given.")
        return default

    def read(self) -> ResultRecord | None:
        """The result kept under the key of this transaction, or None."""
        if self.key is None or self.store is None or not self.store.exists(self.key):
            return None
        return self.store.read(self.key)

    def stage(
        self,
        value: Any,
        on_rollback_hooks: list[Hook] | None = None,
        on_commit_hooks: list[Hook] | None = None,
    ) -> None:
        """Set the value to be kept under the key when this commits, with hooks to run then or on rollback."""
        if self.key is not None and self.store is not None and self.write_on_commit:
            self._entries = [self.store.pack(value, self.key)]
        self.on_rollback_hooks += on_rollback_hooks or []
        self.on_commit_hooks += on_commit_hooks or []

    def finish(
        self, entry: Entry | None = None, on_rollback: Iterable[Hook] = (), on_commit: Iterable[Hook] = ()
    ) -> None:
        """End it: commit, or wait for the transaction around. Raises `StoreError` if nothing could be published.

        Arguments:
            entry: a packed result to publish.
            on_rollback, on_commit: hooks that belong to it.
        """
        if self.state is not TransactionState.ACTIVE:
            return
        if entry is not None:
            self._entries = [entry]
        self.on_rollback_hooks += on_rollback
        self.on_commit_hooks += on_commit
        if self.commit_mode is CommitMode.OFF:
            return
        if self.commit_mode is CommitMode.EAGER or not self._follows():
            self.commit()

    def _follows(self) -> bool:
        """Whether the outcome is that of a transaction around: one that goes on, or one that was rolled back.

        Work on another thread may end when the transaction in which it was submitted is over. What a task keeps does
        not wait for the task that called it: only a transaction that the user opened holds results back.
        """
        around = self.parent
        while around is not None:
            if self.of_task and around.of_task:
                around = around.parent
                continue
            with _joining:
                if not around._ended:
                    self.state = TransactionState.STAGED
                    around.children.append(self)
                    return True
            if around.is_rolled_back():
                return self.rollback()
            around = around.parent
        return False

    def commit(self) -> bool:
        """Publish everything staged here and inside, in one step per store; then run the commit hooks.

        Raises:
            StoreError: the store refused, so nothing was published.
        """
        if self.state in (TransactionState.COMMITTED, TransactionState.ROLLED_BACK):
            return self.is_committed()
        members = self._end()
        _publish(members)
        for member in members:
            member.state = TransactionState.COMMITTED
        for member in members:
            member._run_hooks(member.on_commit_hooks, "commit")
        return True

    def rollback(self) -> bool:
        """Drop everything staged here and inside, and run the rollback hooks, last staged first."""
        if self.state in (TransactionState.COMMITTED, TransactionState.ROLLED_BACK):
            return self.is_rolled_back()
        members = self._end(TransactionState.ROLLED_BACK)
        for member in reversed(members):
            member._entries = []
            member._run_hooks(list(reversed(member.on_rollback_hooks)), "rollback")
        return True

    def _end(self, state: TransactionState | None = None) -> list[Transaction]:
        """This and all inside, innermost first; nothing can join them any more."""
        with _joining:
            members = list(self._members())
            for member in members:
                member._ended = True
                member.state = state or member.state
        return members

    def _members(self) -> Iterator[Transaction]:
        for child in self.children:
            yield from child._members()
        yield self

    def _run_hooks(self, hooks: list[Hook], moment: str) -> None:
        for hook in hooks:
            name = getattr(hook, "__name__", repr(hook))
            try:
                completed(hook(self))
            except Exception:
                _log.exception(
                    "The %s hook %r of transaction %r raised; the others run all the same.",
                    moment,
                    name,
                    self.key,
                )


def _forget() -> None:
    # A forked child has none of the threads that may hold this.
    global _joining
    _joining = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class AsyncTransaction(Transaction):
    """A transaction opened by `atransaction()`."""

    __slots__ = ()


def _publish(members: list[Transaction]) -> None:
    if len(members) == 1:
        only = members[0]
        if only._entries and only.store is not None:
            only.store.publish(only._entries)
        return
    by_store: dict[int, tuple[ResultStore, list[Entry]]] = {}
    for member in members:
        if member._entries and member.store is not None:
            by_store.setdefault(id(member.store.entries), (member.store, []))[1].extend(member._entries)
    for store, entries in by_store.values():
        store.publish(entries)


def get_transaction() -> Transaction | None:
    """The innermost transaction that is open here, or None."""
    return _active.get()


def _begin(
    kind: type[Transaction],
    key: str | None,
    store: ResultStore | None,
    commit_mode: CommitMode | None,
    isolation_level: IsolationLevel | None,
    overwrite: bool,
    write_on_commit: bool,
) -> Transaction:
    parent = _active.get()
    if isolation_level is IsolationLevel.SERIALIZABLE and key is None:
        raise ConfigurationError("A SERIALIZABLE transaction locks its key, and this one has none: pass key=...")
    txn = kind(
        key=key or new_id(),
        store=store or (get_result_store() if key is not None else None),
        commit_mode=commit_mode or (parent.commit_mode if parent else CommitMode.LAZY),
        isolation_level=isolation_level or (parent.isolation_level if parent else IsolationLevel.READ_COMMITTED),
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        parent=parent,
    )
    if txn.isolation_level is IsolationLevel.SERIALIZABLE and txn.store is not None:
        txn.locks = txn.store.locks()
    return txn


def activate(txn: Transaction) -> None:
    """Make `txn` the innermost one, until `deactivate` is called with it."""
    _active.set(txn)


def deactivate(txn: Transaction) -> None:
    """Go back to the transaction around `txn`, if that is the innermost one here."""
    if _active.get() is txn:
        _active.set(txn.parent)


@contextlib.contextmanager
def _opened(txn: Transaction) -> Iterator[Transaction]:
    activate(txn)
    try:
        _find_committed(txn)
        yield txn
    except BaseException as error:
        txn.rollback()
        if not isinstance(error, RollBack):
            raise
    else:
        txn.finish()
    finally:
        deactivate(txn)
        if txn.locks is not None:
            txn.locks.release_lock(txn.key, txn.holder)


def _find_committed(txn: Transaction) -> None:
    if txn.store is not None and txn.key is not None and not txn.overwrite and txn.store.exists(txn.key):
        txn.state = TransactionState.COMMITTED
        txn._ended = True


@contextlib.contextmanager
def transaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
) -> Iterator[Transaction]:
    """Keep what the tasks inside return only if the whole block succeeds.

    Arguments:
        key: a name under which a value can be staged and found again; none by default.
        store: where it is kept; the store of the run around by default.
        commit_mode: when to publish; together with the transaction around by default.
        isolation_level: how to be kept apart from others with the same key.
        overwrite: ignore a result that is kept under the key.
        write_on_commit: whether a staged value is kept at all.
    """
    txn = _begin(Transaction, key, store, commit_mode, isolation_level, overwrite, write_on_commit)
    if txn.locks is not None:
        txn.locks.acquire_lock(txn.key, txn.holder)
    with _opened(txn):
        yield txn


@contextlib.asynccontextmanager
async def atransaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
) -> AsyncIterator[Transaction]:
    """`transaction()`, for `async with`."""
    txn = _begin(AsyncTransaction, key, store, commit_mode, isolation_level, overwrite, write_on_commit)
    if txn.locks is not None:
        await txn.locks.aacquire_lock(txn.key, txn.holder)
    with _opened(txn):
        yield txn
