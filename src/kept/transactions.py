"""Transactions: results that become visible together, or not at all.

Every task run that keeps its result does so through one of these, alone or inside one that the user opened: the
value is serialized at once (*staged*), its entry is published when the outermost transaction commits. So there
is one way into the store, and a run that dies on the way leaves nothing visible.
"""

from __future__ import annotations

import copy
import enum
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from kept.context import FlowRunContext, new_id
from kept.exceptions import ConfigurationError, LockLostError, RollBack, StoreError
from kept.results import ResultRecord, ResultStore, get_result_store
from kept.run_notes import NOT_KEPT
from kept.store.completing import completed
from kept.store.entry import Entry
from kept.utilities.effects import ASYNC, PLAIN, Call, Io, Lock, drive, drive_async
from kept.utilities.forks import in_forked_child

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
Hook = Callable[[Any], Any]
Steps = Generator[Call | Io | Lock, Any, T]
Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"  # not to be evaluated: Python 3.10 can't

_active: ContextVar[BaseTransaction | None] = ContextVar("kept_transaction", default=None)
_joining = threading.Lock()
_UNSET = object()
_log = logging.getLogger("kept.transactions")


class IsolationLevel(str, enum.Enum):
    """How transactions with the same key are kept apart."""

    READ_COMMITTED = "READ_COMMITTED"
    """They may run side by side; what one has committed the others can read. The default."""
    SERIALIZABLE = "SERIALIZABLE"
    """One at a time, by a lock on the key, which is given back at the end of the block: inside another transaction
    that is before the result can be read, and others may compute it meanwhile."""


class CommitMode(str, enum.Enum):
    """When a transaction publishes what it has staged."""

    EAGER = "EAGER"
    """As soon as it ends, even inside another one; and the tasks called in it as soon as each of them ends."""
    LAZY = "LAZY"
    """Together with the transaction around it. The default."""
    OFF = "OFF"
    """Only when told to."""


class TransactionState(str, enum.Enum):
    """Where a transaction stands."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    ROLLED_BACK = "ROLLED_BACK"
    COMMITTED = "COMMITTED"


_ENDED = (TransactionState.COMMITTED, TransactionState.ROLLED_BACK)


class BaseTransaction:
    """What is staged, and the hooks to run when it commits or rolls back.

    What takes time is written once, as generators of effects; `Transaction` and `AsyncTransaction` drive them.
    """

    __slots__ = (
        "_ended",
        "_entries",
        "_named",
        "_refusal",
        "_values",
        "children",
        "commit_mode",
        "holder",
        "isolation_level",
        "key",
        "locks",
        "logger",
        "of_task",
        "on_commit_hooks",
        "on_rollback_hooks",
        "over",
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
        commit_mode: CommitMode | None = None,
        isolation_level: IsolationLevel | None = None,
        overwrite: bool = False,
        write_on_commit: bool = True,
        logger: Logger | None = None,
        parent: BaseTransaction | None = None,
        of_task: bool = False,
    ) -> None:
        self.key = key
        self.store = store
        self.commit_mode = commit_mode
        self.isolation_level = isolation_level
        self.over: dict[str, str | None] = {}
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self.logger = logger or _log
        self.parent = parent
        self.of_task = of_task
        self.children: list[BaseTransaction] = []
        self.holder = ""
        self.locks: Any = None
        self.state = TransactionState.ACTIVE if of_task else TransactionState.PENDING
        self.on_commit_hooks: list[Hook] = []
        self.on_rollback_hooks: list[Hook] = []
        self._ended = False
        self._entries: list[Entry] = []
        self._named = False
        self._refusal: StoreError | None = None
        self._values: dict[str, Any] = {}

    @classmethod
    def get_active(cls) -> BaseTransaction | None:
        """The innermost transaction that is open here, or None."""
        return _active.get()

    def get_parent(self) -> BaseTransaction | None:
        """The transaction around this one, or None."""
        return self.parent

    def is_pending(self) -> bool:
        """Whether its block has not begun."""
        return self.state is TransactionState.PENDING

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
        """A copy of a value that was `set` here or in a transaction around; `set` it again to change it.

        What can't be copied, a connection or a lock, is given itself. Raises `ValueError` for a name that was not set
        if there is no default.
        """
        if name in self._values:
            return _copied(self._values[name])
        if self.parent is not None:
            return self.parent.get(name, default)
        if default is _UNSET:
            raise ValueError(f"Nothing was set under {name!r} in this transaction, and no default was given.")
        return default

    def stage(
        self,
        value: Any,
        on_rollback_hooks: list[Hook] | None = None,
        on_commit_hooks: list[Hook] | None = None,
    ) -> None:
        """Set the value to be kept under the key when this commits, with hooks to run then or on rollback.

        Where it has ended there is nothing left to do: after `commit()`, or from the start if its key had a result.
        """
        if self._ended:
            return
        if self.key is not None and self.store is not None and self.write_on_commit:
            try:
                self._entries = [self.store.pack(value, self.key)]
            except StoreError as error:  # told where it would have been published
                self._refusal = error
        self.on_rollback_hooks += on_rollback_hooks or []
        self.on_commit_hooks += on_commit_hooks or []

    def beginning(self) -> Steps[None]:
        """Take the place inside the transaction around, lock the key if need be, and see what is kept under it."""
        parent = self.parent = _active.get()
        mode = self.commit_mode or (parent.commit_mode if parent else None)
        self.commit_mode = _named(CommitMode, mode or CommitMode.LAZY)
        isolation = self.isolation_level or (parent.isolation_level if parent else None)
        self.isolation_level = _named(IsolationLevel, isolation or IsolationLevel.READ_COMMITTED)
        self._named = self.key is not None
        if self._named and not isinstance(self.key, str):
            raise ConfigurationError(f"The key of a transaction is text, such as 'orders-2026-11', not {self.key!r}.")
        if self._named:
            self.store = self.store or get_result_store()
        elif self.isolation_level is IsolationLevel.SERIALIZABLE and not parent:
            raise ConfigurationError("A SERIALIZABLE transaction locks its key, and this one has none: pass key=...")
        self.key = self.key or new_id()
        yield from self._locking()
        self.state = TransactionState.ACTIVE
        activate(self)
        try:
            if self.locks is not None and self.store is not None and self.store.slow:
                self.over = yield Io(self.store.tags, (self.locks, self.key, False), True)
            if self._named and not self.overwrite and (yield from self._is_kept()):
                self.state = TransactionState.COMMITTED
                self._ended = True
        except BaseException:
            self._leave()
            raise

    def _locking(self) -> Steps[None]:
        if self._named and self.isolation_level is IsolationLevel.SERIALIZABLE and not self._is_locked_around():
            assert self.store is not None and self.key is not None
            manager = (yield Io(self.store.locks, (), True)) if self.store.slow else self.store.locks()
            self.holder = f"transaction-{new_id()}"
            yield Lock(manager, self.key, self.holder)
            self.locks = manager

    def _is_locked_around(self) -> bool:
        """Whether a transaction around this one holds the lock on the same key: waiting for it would never end."""
        around = self.parent
        while around is not None and not (around.locks is not None and around.key == self.key):
            around = around.parent
        return around is not None

    def _is_kept(self) -> Steps[bool]:
        """Whether the store has the key; False, which is told, if it does not answer."""
        try:
            return bool((yield from self._ask("exists")))
        except StoreError as error:
            self.logger.warning("Whether transaction %r is done can't be looked up, so it goes on: %s", self.key, error)
            return False

    def _ask(self, verb: str) -> Steps[Any]:
        """What the store says about the key."""
        assert self.store is not None
        answer = getattr(self.store, verb)
        return (yield Io(answer, (self.key,), True)) if self.store.slow else answer(self.key)

    def reading(self) -> Steps[ResultRecord | None]:
        """The result kept under the key, or None."""
        if self.key is None or self.store is None or not (yield from self._ask("exists")):
            return None
        return (yield from self._ask("read"))  # type: ignore[no-any-return]

    def ending(self, error: BaseException | None) -> Steps[bool]:
        """The end of the block, by `error` if there is one; whether that was a `RollBack`, which goes no further."""
        try:
            yield from self.finishing() if error is None else self.rolling_back()
            return isinstance(error, RollBack)
        finally:
            self._leave()

    def _leave(self) -> None:
        deactivate(self)
        if self.locks is not None:
            try:
                self.locks.release_lock(self.key, self.holder)
            except Exception as problem:  # the lock is gone, with the folder it was in or by a hold timeout
                self.logger.warning("The lock on %r can't be given back: %s", self.key, problem)
            self.locks = None

    def finishing(
        self, entry: Entry | None = None, on_rollback: Iterable[Hook] = (), on_commit: Iterable[Hook] = ()
    ) -> Steps[None]:
        """End it: commit, or wait for the transaction around. Raises what the store says to a task's result.

        Arguments:
            entry: a packed result to publish.
            on_rollback, on_commit: hooks that belong to it.
        """
        if self.state is not TransactionState.ACTIVE:
            return
        if entry is not None:
            self._entries = [entry]
        elif self._named and not self._entries:
            yield from self._marking()
        self.on_rollback_hooks += on_rollback
        self.on_commit_hooks += on_commit
        if self.commit_mode is CommitMode.OFF:
            return
        around = None if self.commit_mode is CommitMode.EAGER else self._follow()
        if around is None:
            yield from self.committing()
        elif around.is_rolled_back():
            yield from self.rolling_back()

    def _marking(self) -> Steps[None]:
        """Stage a nothing: a key is what one asks later whether this was done."""
        try:
            self.stage(None)
        except BaseException:
            yield from self.rolling_back()
            raise

    def _follow(self) -> BaseTransaction | None:
        """The transaction around whose outcome is that of this one: one that goes on, or one that was rolled back.

        Work on another thread may end when the transaction in which it was submitted is over. What a task keeps does
        not wait for the task that called it: only a transaction that the user opened holds results back.
        """
        around = self.parent
        while around is not None:
            if not (self.of_task and around.of_task):
                if self.of_task and around.commit_mode is CommitMode.EAGER:
                    return None
                with _joining:
                    if not around._ended:
                        self.state = TransactionState.STAGED
                        around.children.append(self)
                        return around
                if around.is_rolled_back():
                    return around
            around = around.parent
        return None

    def committing(self) -> Steps[bool]:
        """Publish everything staged here and inside, in one step per store; then run the commit hooks."""
        if self.state in _ENDED:
            return self.is_committed()
        members = self._end()
        cancelled = None
        published: list[tuple[ResultStore, list[Entry]]] = []
        staged = _by_store(members)
        try:
            for member in members:
                if member._refusal is not None:
                    raise member._refusal
            if self.locks is not None and self._entries:
                yield from still_held(self.locks, self.key, self.holder)
            for store, entries in staged:
                if store.slow:
                    cancelled = (yield Io(store.publish, (entries, self.over), True, counts=True)) or cancelled
                else:
                    store.publish(entries)
                published.append((store, entries))
        except BaseException as error:
            for store, entries in published:
                yield from self._retracting(store, entries)
            # What a task did is done, whether or not its result could be kept; what the user opened in it is not.
            for lost in reversed(self.children) if self.of_task else (self,):
                yield from lost.rolling_back()
            if self.of_task or not isinstance(error, Exception):
                raise
            # Trouble with a store never ends the run: `is_rolled_back()` tells those who want to know.
            self.logger.error("Transaction %r was rolled back, for it could not be committed: %s", self.key, error)
            _note_not_kept(staged, error)
            return False
        for store, _ in published:
            if store.slow and not _ends_later():
                yield from self._sending(store)
        for member in members:
            member.state = TransactionState.COMMITTED
        for member in members:
            if member.on_commit_hooks:
                yield from member._hooks(member.on_commit_hooks, "commit")
        if cancelled is not None:
            raise cancelled
        return True

    def _sending(self, store: ResultStore) -> Steps[None]:
        """Wait until what was published is where it belongs: no flow run around will do so at its end."""
        try:
            yield Io(store.flush, (), True)
        except Exception as problem:
            self.logger.warning("What was kept in %s may not be there yet: %s", store.location, problem)

    def _retracting(self, store: ResultStore, entries: list[Entry]) -> Steps[None]:
        """Take back what was published, for another store has refused: what is undone must not be found as done."""
        try:
            yield Io(store.entries.delete, ([entry.key for entry in entries],), store.slow, counts=True)
        except Exception as problem:
            self.logger.warning(
                "Transaction %r was rolled back, but %s still holds results of it that can't be deleted: %s",
                self.key,
                store.location,
                problem,
            )

    def rolling_back(self) -> Steps[bool]:
        """Drop everything staged here and inside, and run the rollback hooks, last staged first."""
        if self.state in _ENDED:
            return self.is_rolled_back()
        members = self._end(TransactionState.ROLLED_BACK)
        for member in reversed(members):
            member._entries = []
            yield from member._hooks(reversed(member.on_rollback_hooks), "rollback")
        return True

    def _end(self, state: TransactionState | None = None) -> list[BaseTransaction]:
        """This and all inside, innermost first; nothing can join them any more."""
        with _joining:
            members = list(self._members()) if self.children else [self]
            for member in members:
                member._ended = True
                member.state = state or member.state
        return members

    def _members(self) -> Iterator[BaseTransaction]:
        for child in self.children:
            yield from child._members()
        yield self

    def _hooks(self, hooks: Iterable[Hook], moment: str) -> Steps[None]:
        for hook in hooks:
            name = getattr(hook, "__name__", repr(hook))
            try:
                completed((yield Call(hook, (self,), {}, None)))
            except (Exception, SystemExit):
                self.logger.exception(
                    "The %s hook %r of transaction %r raised; the others run all the same.", moment, name, self.key
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key={self.key!r}, state={self.state.value})"


class Transaction(BaseTransaction):
    """A transaction for plain code. Made by `transaction()`, and begun by `with`."""

    __slots__ = ()

    def read(self) -> ResultRecord | None:
        """The result kept under the key of this transaction, or None."""
        return drive(self.reading(), PLAIN)

    def commit(self) -> bool:
        """Publish everything staged here and inside, in one step per store; then run the commit hooks.

        Returns:
            Whether that was done. If a store refused, which the log tells, this was rolled back.
        """
        return drive(self.committing(), PLAIN)

    def rollback(self) -> bool:
        """Drop everything staged here and inside, and run the rollback hooks, last staged first."""
        return drive(self.rolling_back(), PLAIN)

    def __enter__(self) -> Transaction:
        drive(self.beginning(), PLAIN)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> bool | None:
        return drive(self.ending(error), PLAIN)


class AsyncTransaction(BaseTransaction):
    """A transaction for async code, which never holds up the event loop. Made by `atransaction()`."""

    __slots__ = ()

    async def read(self) -> ResultRecord | None:
        """`Transaction.read`, to await."""
        return await drive_async(self.reading(), ASYNC)

    async def commit(self) -> bool:
        """`Transaction.commit`, to await."""
        return await drive_async(self.committing(), ASYNC)

    async def rollback(self) -> bool:
        """`Transaction.rollback`, to await."""
        return await drive_async(self.rolling_back(), ASYNC)

    async def __aenter__(self) -> AsyncTransaction:
        await drive_async(self.beginning(), ASYNC)
        return self

    async def __aexit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await drive_async(self.ending(error), ASYNC)


def still_held(locks: Any, key: str | None, holder: str) -> Steps[None]:
    """Make sure of the lock, by who hands it out: a process that was stopped may have lost it, and not know.

    Raises:
        LockLostError: another has it, or nobody says.
    """
    try:
        held = yield Io(locks.is_lock_holder, (key, holder), getattr(locks, "slow", False))
    except Exception as error:
        raise LockLostError(
            f"its lock on {key!r} could not be made sure of, and another may have it by now: {error}"
        ) from error
    if not held:
        raise LockLostError(
            f"its lock is gone, and another run took over the key {key!r}, or may have: this one gave no sign of life "
            "for longer than KEPT_LOCKING_LEASE_SECONDS, or the lock was removed. What is kept there is left as it is"
        )


def _note_not_kept(staged: list[tuple[ResultStore, list[Entry]]], error: Exception) -> None:
    """Count in the summary of the flow run around what a commit that failed should have kept."""
    around = FlowRunContext.get()
    if around is not None:
        for store, entries in staged:
            around.notes.trouble(NOT_KEPT, store.location, str(error), len(entries))


def _named(kind: type[E], value: Any) -> E:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(f"{kind.__name__}.{name}" for name in kind.__members__)
        raise ConfigurationError(f"A transaction got {value!r}, which is none of {names}.") from None


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a class of the user's may raise anything
        return value


def _by_store(members: list[BaseTransaction]) -> list[tuple[ResultStore, list[Entry]]]:
    """The entries of all members, together where they go into the same store."""
    found: dict[int, tuple[ResultStore, list[Entry]]] = {}
    for member in members:
        if member._entries and member.store is not None:
            found.setdefault(id(member.store.entries), (member.store, []))[1].extend(member._entries)
    return list(found.values())


def _ends_later() -> bool:
    """Whether a flow run is around, at whose end all that was published will be where it belongs."""
    flow = FlowRunContext.get()
    return flow is not None and not flow.notes.over


@in_forked_child
def _forget() -> None:
    # A forked child has none of the threads that may hold this.
    global _joining
    _joining = threading.Lock()


def get_transaction() -> BaseTransaction | None:
    """The innermost transaction that is open here, or None."""
    return _active.get()


def activate(txn: BaseTransaction | None) -> None:
    """Make `txn` the innermost one, until `deactivate` is called with it; None for work that is in none."""
    _active.set(txn)


def deactivate(txn: BaseTransaction) -> None:
    """Go back to the transaction around `txn`, if that is the innermost one here."""
    if _active.get() is txn:
        _active.set(txn.parent)


def transaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Logger | None = None,
) -> Transaction:
    """Keep what the tasks inside return only if the whole block succeeds; to be used as `with transaction() as txn:`.

    Arguments:
        key: a name under which this is known to be done, and a value can be staged; none by default.
        store: where it is kept; the store of the run around by default.
        commit_mode: when to publish; together with the transaction around by default.
        isolation_level: how to be kept apart from others with the same key.
        overwrite: ignore a result that is kept under the key.
        write_on_commit: whether anything is kept under the key.
        logger: who is told of hooks that raise; the logger `kept.transactions` by default.
    """
    return Transaction(key, store, commit_mode, isolation_level, overwrite, write_on_commit, logger)


def atransaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Logger | None = None,
) -> AsyncTransaction:
    """`transaction()`, for `async with`; its `read`, `commit` and `rollback` are to be awaited."""
    return AsyncTransaction(key, store, commit_mode, isolation_level, overwrite, write_on_commit, logger)
