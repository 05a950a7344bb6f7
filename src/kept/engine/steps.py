"""One run, from its inputs to its final state, as a generator of effects: for tasks and flows, sync and async.

The moments of a run, each a method of `RunSteps`, in their order: inputs resolved, run prepared, key made, result
looked up, lock taken, function called, result packed and committed, hooks run, end recorded. `engine.tasks` and
`engine.flows` say what a task and a flow do differently.
"""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar

from kept.cache_policies import Call
from kept.context import FlowRunContext, enter_run, leave_run
from kept.engine.anew import Anew, bringing
from kept.engine.attempts import attempts
from kept.engine.checking import check_hit, watch
from kept.engine.effects import Io, Lock, Steps, Wait
from kept.engine.explain import Explanation, is_code
from kept.engine.explaining import WORDS, explain, leave_code
from kept.engine.generators import Returned, Yielded
from kept.engine.hooks import run_hooks
from kept.engine.inputs import FarAway, Resolver, Unread, check_reach, unfinished
from kept.engine.names import storage_key
from kept.engine.outcome import final_state, is_outcome, settled
from kept.engine.plan import Bypass, Decision, Hit, Identity, Rules, Run, judge, kept_by_another
from kept.engine.renewal import renew
from kept.engine.signals import catch_sigterm, crash_message, release_sigterm, undisturbed
from kept.exceptions import CancelledRun, KeptException, LockLostError, MissingResult, SerializationError
from kept.files import changed_file, note_files
from kept.fingerprint import CodeIdentity, classes_among, code_identity
from kept.history import RunRecord
from kept.locking.memory import MemoryLockManager
from kept.logging.loggers import log_run
from kept.logging.prints import logged_prints
from kept.results import KeptResult, LazyResult, Origin, ResultStore
from kept.run_notes import NOT_KEPT, NOT_LOCKED, NOT_READ, RunNotes
from kept.states import Cancelled, Crashed, Failed, Pending, State, StateType
from kept.store import Entry, Miss
from kept.transactions import IsolationLevel, Transaction, activate, deactivate, get_transaction
from kept.utilities.handles import can_hold_handles, find_handles
from kept.utilities.remembered import remembered
from kept.utilities.tracebacks import shown

_CODE_PARTS = ("task_source", "code", "version", "flow")
# How a miss begins that the user should hear of: there is something under the key, or there may be.
_TROUBLE = (
    "the store can't be read",
    "damaged",
    "missing",
    "unreadable",
    "written by a newer version",
    "not trusted",
    "not accepted",
)
_NOT_KEPT = Miss("not kept yet")
_IN_THIS_PROCESS = MemoryLockManager()


class RunSteps:
    """One run: what is known of it at the start, and what was found out on the way.

    Attributes:
        spec: what runs.
        owner: the user's task or flow, for contexts and hooks.
        run: the record of the run.
        parameters: the arguments by name.
        flow: the context of the flow run around it.
        rules: what applies to the run.
        context: what the code of the run sees of it; a subclass sets it.
        label: what log lines call the run.
        files: the digests of files that the key was made of, by their paths.
        elsewhere: whether the function is called in another process, which reads for itself what is kept.
        lazy: whether the value of a hit may stay where it is until somebody looks at it.
        locks: who has given it the lock on its key, if it holds one that others heed.
        over: what its entry may take the place of.
        lost: whether another run has taken that over.
        collects: whether the values of a generator are remembered: if they are kept, or asked for in the state.
        arguments: the small ones among them, as text, if the run computes.
        silent: whether nothing is said in the log.
    """

    __slots__ = (
        "arguments",
        "collects",
        "context",
        "decision",
        "elsewhere",
        "files",
        "flow",
        "identity",
        "label",
        "lazy",
        "locks",
        "lost",
        "not_kept",
        "over",
        "owner",
        "parameters",
        "resolver",
        "rules",
        "run",
        "saved",
        "silent",
        "spec",
    )

    kind: ClassVar[str]
    """ "Task" or "Flow"."""
    log: ClassVar[logging.Logger]
    """Where lines about the run go."""
    inputs_are_read: ClassVar[bool]
    """Whether code of ours or the user's always sees the inputs, even if the run is a hit."""
    kept_without_key: ClassVar[bool]
    """Whether a result that only the state of this run leads to is kept although nobody asked for just that."""
    settles: ClassVar[bool]
    """Whether futures among what the function returns are replaced by their final states."""
    holds_results_back: ClassVar[bool]
    """Whether a transaction that the user opens in the run commits with the run, and not at its own end."""

    def __init__(
        self, spec: Any, owner: Any, parameters: dict[str, Any], flow: FlowRunContext | None, rules: Rules, run: Any
    ) -> None:
        self.spec = spec
        self.owner = owner
        self.flow = flow
        self.rules = rules
        self.run = run
        run.parameters = self.parameters = parameters
        self.label = f"{self.kind} run '{run.name}'"
        self.identity: Identity | None = None
        self.resolver: Resolver | None = None
        self.decision: Decision = rules.bypass
        self.not_kept = ""
        self.saved = 0.0
        self.locks: Any = None
        self.lost = False
        self.over: dict[str, str | None] = {}
        self.files: dict[str, str] = {}
        self.collects = rules.persist
        self.elsewhere = self.lazy = self.silent = False
        self.arguments: dict[str, str] | None = None
        self.context: Any = None

    @property
    def named(self) -> str:
        """The task or flow in a sentence: `task 'add'`."""
        return f"{self.kind.lower()} {self.spec.name!r}"

    @property
    def recorded_as(self) -> str:
        """What the history calls the task or flow."""
        return str(self.spec.key)

    def prepare(self) -> None:
        """Name the run and check its inputs. What it raises fails the run."""
        raise NotImplementedError

    def hooks(self, state: State[Any]) -> tuple[Any, ...]:
        """The user's hooks for a final state."""
        raise NotImplementedError

    def make_key(self) -> Identity | None:
        """What this call is kept under; None if the policy gives no key for it."""
        policy = self.rules.policy
        assert policy is not None
        known = self.resolver.known if self.resolver is not None else None
        flow_parameters = self.flow.parameters if self.flow is not None else None
        ignored = self.spec.binder.ignored
        self.files = {}
        noting = note_files(self.files)
        try:
            parts = policy.compute_parts(Call(self.context, self.parameters, flow_parameters, known, ignored))
        finally:
            noting.var.reset(noting)
        if parts is None:
            return None
        accepted = self.rules.accepted
        if accepted:
            parts = {name: accepted.get(part, part) if is_code(name) else part for name, part in parts.items()}
        return Identity(policy.key_of(parts), parts)

    def steps(self, wait_for: Any = None) -> Steps[State[Any]]:
        """The run, to its final state. An exception of the function is in the state; an interrupt is raised."""
        enter_run(self.context)
        sigterm = catch_sigterm(self.spec.is_async) if self.context.parent is None else None
        try:
            state = yield from self.to_state(wait_for)
        except GeneratorExit:
            raise
        except BaseException as error:
            with undisturbed():
                yield from self._crashed(error)
            raise
        else:
            yield from self._ended(state)
            return state
        finally:
            leave_run(self.context)
            if sigterm is not None:
                release_sigterm(sigterm, self._flush, keep=self.kind == "Task")

    def _crashed(self, error: BaseException) -> Steps[None]:
        """The end of a run that was ended from outside."""
        self.write(logging.ERROR, f"Crash detected! Execution was interrupted by {error!r}")
        yield from self._ended(Crashed(message=crash_message(error), data=error))

    def cancelled(self, message: str) -> Steps[State[Any]]:
        """The end of a run that will never begin."""
        state: State[Any] = Cancelled(message=message, data=CancelledRun(message))
        yield from self._ended(state)
        return state

    def _flush(self) -> None:
        if self.rules.recorder is not None:
            self.rules.recorder.flush()

    def _ended(self, state: State[Any]) -> Steps[None]:
        """The end of the run: its hooks, a line in the log, a record in the history."""
        run = self.run
        run.state = state
        state.note_run(*((run.flow_run_id, run.id) if self.kind == "Task" else (run.id, None)))
        hooks = self.hooks(state)
        if hooks:
            yield from run_hooks(hooks, (self.owner, run, state), self.log, self.label)
            run.state = state
        level = logging.INFO if state.type is StateType.COMPLETED or state.name == "Closed" else logging.ERROR
        self.write(level, f"Finished in state {state}")
        if self.rules.recorder is not None:
            self.rules.recorder.record(self._record(state))

    def explaining(self) -> Steps[Explanation]:
        """What would be decided about the run, which does not begin. Raises what would fail it before it does."""
        self.silent = self.lazy = True
        enter_run(self.context)
        try:
            state = yield from self._decided(None)
            if state is not None and isinstance(state.data, Exception):
                raise state.data
            store = self.rules.store
            found: Explanation = yield Io(explain, (self, True), store is not None and store.slow)
        finally:
            leave_run(self.context)
        found = found._replace(run="")
        return found if state is None or state.is_completed() else found._replace(reason=state.message or state.name)

    def to_state(self, wait_for: Any) -> Steps[State[Any]]:
        """What the run comes to: not ready, a hit, or what its function makes of it."""
        state = yield from self._decided(wait_for)
        if state is None:
            state = yield from (self._alone() if self._takes_turns() else self._compute())
        if self.rules.check and isinstance(self.decision, Hit) and not self.decision.stale:
            yield from check_hit(self, state)
        return state

    def _decided(self, wait_for: Any) -> Steps[State[Any] | None]:
        """The state of a run that needs not compute, or can't; None, with the decision, if it has to."""
        if wait_for or can_hold_handles(self.parameters):
            not_ready = yield from self._resolve(wait_for)
            if not_ready:
                return not_ready
        try:
            self.prepare()
        except Exception as error:
            self.write(logging.ERROR, str(error))
            return Failed(message=f"{type(error).__name__}: {' '.join(str(error).split())}", data=error)
        if self.rules.policy is not None:
            self.identity = self._identify()
            if self.identity is not None:
                return (yield from self._look_up(self.identity.key))
        elif self.rules.storage_key is not None:
            self.identity = self._identify()  # not to look there, but to write there
        return None

    def _resolve(self, wait_for: Any) -> Steps[State[Any] | None]:
        """Put values in the place of futures; a state if the run can't start."""
        handles = find_handles([self.parameters, wait_for])
        if not handles:
            return None
        try:
            check_reach(handles)
        except KeptException as error:
            self.write(logging.ERROR, str(error))
            return Failed(message=str(error), data=error)
        waiting = unfinished(handles)
        if waiting:
            yield Wait(waiting)
        policy = self.rules.policy
        self.resolver = resolver = Resolver(policy is not None and policy.reads_objects)
        resolver.check(wait_for)
        try:
            self.parameters = yield from self._resolved(resolver)
        except MissingResult as error:
            return self._without_input(error)
        if resolver.failed:
            return Pending(name="NotReady", message=resolver.failed)
        if not resolver.unread:
            self._read_inputs()
        elif self._reads_values():
            return (yield from self.reading())
        return None

    def _resolved(self, resolver: Resolver) -> Steps[dict[str, Any]]:
        """The arguments, their handles replaced, once what has to be read for the key is here."""
        while True:
            try:
                return {name: resolver.resolve(value) for name, value in self.parameters.items()}
            except FarAway as wanted:
                far = (wanted.data, *resolver.to_bring(self.parameters.values()))
                resolver.bring((yield from bringing(far)))

    def reading(self) -> Steps[State[Any] | None]:
        """Put copies of kept values where nothing but their fingerprints was known; a state if one is not to be had."""
        resolver = self.resolver
        if resolver is not None and resolver.unread:
            resolver.bring((yield from bringing(resolver.to_bring(self.parameters.values()))))
        try:
            self._read_inputs()
        except MissingResult as error:
            return self._without_input(error)
        return None

    def inputs_ready(self) -> Steps[State[Any] | None]:
        """Read the inputs that the function is to be called with here; a state if one is not to be had."""
        if self.elsewhere and not self._shows_inputs() and self._can_be_read_elsewhere():
            return None
        return (yield from self.reading())

    def _without_input(self, error: MissingResult) -> State[Any]:
        self.write(logging.ERROR, f"An input can't be had: {error}")
        return Failed(message=f"An input can't be had: {error}", data=error)

    def _can_be_read_elsewhere(self) -> bool:
        """Whether another process can read all inputs that nobody has looked at."""
        unread = self.resolver is not None and self.resolver.unread
        return not unread or all(
            handle.data.travels for handle in find_handles(self.parameters) if isinstance(handle, Unread)
        )

    def _reads_values(self) -> bool:
        """Whether somebody sees the inputs even if the run is a hit."""
        policy = self.rules.policy
        seen = self.inputs_are_read or self.rules.storage_key is not None or bool(self.spec.options.on_completion)
        return seen or self.rules.run_name is not None or (policy is not None and policy.reads_values)

    def _shows_inputs(self) -> bool:
        """Whether the user's code may look at the inputs of a run that computes, besides its function."""
        options = self.spec.options
        return bool(options.on_running or options.on_failure or getattr(options, "retry_condition_fn", None))

    def _read_inputs(self) -> None:
        """Put copies of kept values where nothing but their fingerprints was known."""
        resolver = self.resolver
        if resolver is not None:
            if resolver.unread:
                self.parameters = {name: resolver.read(value) for name, value in self.parameters.items()}
                resolver.unread = False
                if resolver.changed:
                    self.forget_key("an input was lost from the store, and what there is instead is another value")
            self.run.parameters = self.context.parameters = self.parameters

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self.run.name = name
        self.label = f"{self.kind} run '{name}'"

    def _identify(self) -> Identity | None:
        """The key of this call; None, with the reason as the decision, if it has none."""
        try:
            if self.rules.storage_key is not None:
                key = storage_key(self.rules.storage_key, self.parameters, self.named)
                return Identity(key, {"result_storage_key": key})
            identity = self.make_key()
        except (Exception, SystemExit) as error:
            message = f"The cache key can't be computed, so this run is not cached: {_said(error)}"
            # Where it was raised is said by the traceback, unless it is one of our sentences.
            info = None if isinstance(error, KeptException) else shown(error)
            self.write(logging.ERROR, message, info)
            self.decision = Bypass(f"the key can't be computed: {_said(error)}")
            return None
        if identity is None:
            self.decision = Bypass("the cache policy gives no key for this call")
        return identity

    def _look_up(self, key: str, afresh: bool = False) -> Steps[State[Any] | None]:
        """The state of a hit; None, with the reason as the decision, if the run has to compute.

        Arguments:
            afresh: ask the store, whatever is known of the key.
        """
        rules = self.rules
        if rules.refresh:
            self.decision = Run(rules.refresh)
            return None
        store = rules.store
        assert store is not None
        try:
            found = (yield from self._asked(store, key, afresh)) if store.slow else store.lookup(key)
            self.decision = decision = judge(found, rules.expiration, time.time(), rules.serves_stale)
            if not isinstance(decision, Hit):
                return self._miss(decision.reason)
            entry = decision.entry
            if entry.files and decision.stale:  # a renewal would write over what was given back meanwhile
                return self._miss(decision.reason)
            if entry.files and self.silent:  # to explain a run writes nothing
                return self._hit(entry, KeptResult(store, entry))
            far = store.slow and not store.is_near(entry)
            if far and self.lazy:
                return self._hit(entry, LazyResult(store, entry, Anew(self)))
            # Giving files back may take long, too.
            value = (yield Io(store.fetch, (entry,), True)) if far or entry.files else store.fetch(entry)
        except (Exception, SystemExit) as error:  # a user's file system may raise anything
            return self._miss(f"{_TROUBLE[0]}: {_said(error)}")
        return (
            self._miss(value.reason) if isinstance(value, Miss) else self._hit(entry, KeptResult(store, entry, value))
        )

    def _asked(self, store: ResultStore, key: str, afresh: bool) -> Steps[Entry | Miss]:
        """What a store that is far away says of the key, which may be known here, and takes no thread then."""
        if not afresh:
            known = store.near(key)
            if known is not None:
                return known
            if self.flow is not None and self.flow.notes.lacks(store.entries, key):
                return _NOT_KEPT
        found: Entry | Miss = yield Io(store.ask, (key,), True)
        if self.flow is not None and isinstance(found, Miss) and not found.reason.startswith(_TROUBLE):
            self.flow.notes.note_absent(store.entries, key)
        return found

    def _hit(self, entry: Entry, kept: KeptResult) -> State[Any] | None:
        decision, message = self.decision, None
        if isinstance(decision, Hit) and decision.stale and not self.silent:
            if not renew(self):
                return self._miss(f"{decision.reason}, and an argument can't be copied for the background")
            self.note("renewed in the background")
            message = f"Stale: {self.decision.reason}"
        if entry.task != self.spec.key and not self.silent:
            self._warn_of_sharing(entry)
        self.saved = entry.seconds
        if self.log.isEnabledFor(self.rules.explained):
            self._say_why()
        return State(StateType.COMPLETED, "Cached", message, kept, None, entry.key)

    def _miss(self, reason: str) -> State[Any] | None:
        """Note why no kept result is used; say so in the log if there is one that should have been usable."""
        self.decision = Run(reason)
        if reason.startswith(_TROUBLE):
            key = self.identity.key if self.identity else None
            level = logging.WARNING if self.is_news(NOT_READ, reason) else logging.DEBUG
            self.write(level, f"The result kept under {key!r} is not used: {reason.rstrip('.')}. Running instead.")
        return None

    def _say_why(self) -> None:
        """Explain the decision in the log."""
        if self.silent:
            return
        try:
            line = explain(self).line
        except Exception as error:  # the history can't be read
            line = f"{WORDS[self.decision.__class__]}: {self.decision.reason} ({_said(error)})"
        self.write(self.rules.explained, line)

    def is_news(self, what: str, reason: str) -> bool:
        """Count a trouble with the store; whether this run should tell of it, or the flow run has been told enough."""
        store, notes = self.rules.store, self.notes()
        return notes is None or store is None or notes.trouble(what, store.location, reason)

    def note(self, what: str) -> None:
        """Add to the reason that the history has of this run."""
        self.decision = self.decision._replace(reason=f"{self.decision.reason}; {what}")

    def notes(self) -> RunNotes | None:
        """What the flow run around remembers of stores and of what was found out about runs."""
        return None if self.flow is None else self.flow.notes

    def _warn_of_sharing(self, entry: Entry) -> None:
        parts = self.identity.parts if self.identity else {}
        by_inputs_alone = any(name.startswith("inputs") for name in parts) and not any(
            name.startswith(_CODE_PARTS) for name in parts
        )
        if by_inputs_alone and kept_by_another(entry, self.spec.key) and "warned" not in self.spec.memo:
            self.spec.memo["warned"] = True
            self.write(
                logging.WARNING,
                f"This result was kept by another task, {entry.task!r}: the cache policy of {self.spec.name!r} looks "
                "at inputs only, so tasks with equal inputs share results. Add TASK_SOURCE to the policy to keep them "
                "apart. (Said once a task.)",
            )

    def _isolated(self) -> bool:
        policy = self.rules.policy
        return policy is not None and policy.isolation_level is IsolationLevel.SERIALIZABLE

    def _takes_turns(self) -> bool:
        """Whether runs with the same key are to wait for each other."""
        if self.identity is None or self.rules.policy is None:
            return False
        if self._isolated():
            return True
        # The caller of a generator is at work while that is paused, and may wait for another such before it goes on.
        return self.rules.settings.cache.single_flight and not (self.rules.refresh or self.spec.is_generator)

    def _alone(self) -> Steps[State[Any]]:
        """Compute under the lock of the key, unless somebody else has kept the result meanwhile."""
        store, identity = self.rules.store, self.identity
        assert store is not None and identity is not None
        if self._locked_around(identity.key):
            return (yield from self._compute())
        isolated = self._isolated()
        name = identity.key if isolated else f"{store.location}\0{identity.key}"
        try:
            locks = (yield from self._locks(store)) if isolated else _IN_THIS_PROCESS
            yield Lock(locks, name, self.run.id)
        except Exception as error:  # what keeps locks is away: that costs computing twice, not the run
            self.write(
                logging.WARNING if self.is_news(NOT_LOCKED, _said(error)) else logging.DEBUG,
                f"The lock on the key can't be had, so others may compute the same at this moment: {_said(error)}",
            )
            return (yield from self._compute())
        self.context.locked = identity.key
        self.locks = locks if isolated else None
        slow = getattr(locks, "slow", False)
        try:
            state = yield from self._look_up(identity.key, afresh=True)
            if state is None:
                if store.slow and isolated:
                    yield from self._note_tags(store, name)
                state = yield from self._compute()
                if store.slow:  # those who wait are to find it
                    yield Io(store.flush, (), True)
        except BaseException:
            self._unlock(locks, name)
            raise
        cancelled = yield Io(self._unlock, (locks, name), slow, counts=True)
        if cancelled is not None:
            raise cancelled
        return state

    def _note_tags(self, store: ResultStore, key: str) -> Steps[None]:
        """Note what is at the key now, so that a result is not kept over another that came there meanwhile."""
        absent = self.decision.reason == _NOT_KEPT.reason
        try:
            self.over = yield Io(store.tags, (self.locks, key, absent), not absent)
        except Exception as error:  # the store is away, which the commit will tell
            self.write(logging.DEBUG, f"What is kept under {key!r} can't be noted: {_said(error)}")

    def _locks(self, store: ResultStore) -> Steps[Any]:
        return (yield Io(store.locks, (), True)) if store.slow else store.locks()

    def _unlock(self, locks: Any, name: str) -> None:
        try:
            locks.release_lock(name, self.run.id)
        except Exception as error:  # the lock is gone, with the folder it was in or by a hold timeout
            if not self.lost:
                self.write(logging.WARNING, f"The lock on the key can't be given back: {_said(error)}")

    def _locked_around(self, key: str) -> bool:
        """Whether a run around this one holds the lock on the same key: waiting for it would never end."""
        around = self.context.parent
        while around is not None:
            if around.locked == key:
                return True
            around = around.parent
        return False

    def forget_key(self, reason: str) -> None:
        """Keep nothing under the key, if there is one: what is computed is not what it stands for."""
        if self.identity is None:
            return
        self.identity = None
        self.decision = Bypass(reason)
        self.not_kept = reason
        self.write(logging.WARNING, f"The result of this run is not kept: {reason}.")

    def _compute(self) -> Steps[State[Any]]:
        key = self.identity.key if self.identity is not None else None
        not_ready = yield from self.inputs_ready()
        if not_ready:
            return not_ready
        if self.log.isEnabledFor(self.rules.explained):
            self._say_why()
        if self.identity is not None:
            self._remember(self.identity)
        store, persist = self.rules.store, self.rules.persist
        if persist and store is not None and store.refusal:
            persist = False  # said before hours are spent on it
            self._say_not_kept(SerializationError(store.refusal), "will not be")
        txn = Transaction(key, store, parent=get_transaction(), of_task=True)
        txn.locks, txn.holder, txn.over = self.locks, self.run.id, self.over
        began = time.perf_counter()
        watched = watch(self) if self.rules.check else None
        if self.holds_results_back:
            activate(txn)
        try:
            outcome = yield from self._called()
        except BaseException:
            txn.rollback()
            raise
        finally:
            deactivate(txn)
        if watched is not None:
            watched.tell()
        if isinstance(outcome, State):
            yield from txn.rolling_back()
            return outcome
        if outcome.decides and is_outcome(outcome.value):
            state = yield from final_state(outcome.value)
            if state.is_completed() and self.identity is not None:
                self.forget_key("it returned a state or futures, not a value")
            yield from txn.finishing() if state.is_completed() else txn.rolling_back()
            return state
        seconds = time.perf_counter() - began - outcome.paused
        value = (yield from settled(outcome.value)) if self.settles else outcome.value
        entry = None
        if persist:
            entry = yield from self._pack(value, seconds)
        return (yield from self._committed(txn, entry, value))

    def _remember(self, identity: Identity) -> None:
        """Note what will explain later misses: arguments, and what the digest of the code stands for."""
        recorder = self.rules.recorder
        if recorder is None:
            return
        if self.rules.settings.history.arguments:
            self.arguments = remembered(self.parameters, identity.parts)
        code = [part for name, part in identity.parts.items() if is_code(name)]
        if code and self.spec.memo.get("recorded") != (recorder, code):
            self.spec.memo["recorded"] = (recorder, code)
            for found in self._code():
                recorder.record_code(found)

    def _code(self) -> list[CodeIdentity]:
        """What the code is that goes into the key: of the function, and of classes of objects among the arguments."""
        return [code_identity(thing) for thing in (self.spec.fn, *classes_among(self.parameters.values()))]

    def _called(self) -> Steps[Returned | State[Any]]:
        if self.rules.log_prints:
            with logged_prints():
                return (yield from attempts(self))
        return (yield from attempts(self))

    def _pack(self, value: Any, seconds: float) -> Steps[Entry | None]:
        """The result as an entry, serialized now; None if it is not to be kept or can't be."""
        store = self.rules.store
        assert store is not None
        again = self.run.run_count > 1
        # The caller of a generator is at work while that runs.
        if (again or self.spec.is_generator) and self.identity and self._key_has_changed(self.identity.key):
            self.forget_key(f"{'an earlier try' if again else 'something'} changed the arguments")
        identity = self.identity
        if identity is None:
            # Nothing will look for it but the state of this run.
            if not (self.kept_without_key or self.spec.options.persist_result or not self.rules.in_memory):
                return None
            identity = Identity(self.run.id, {})
        origin = Origin(self.spec.key, self.run.name, self.flow.flow_run.name if self.flow else "", seconds)
        expiration = self.rules.expiration
        expires = None if expiration is None else time.time() + expiration
        try:
            if value.__class__ is Yielded and not store.faithful:
                raise SerializationError(
                    f"its generator returns a value besides those that it yields, which {store.serializer_name} loses. "
                    "Use result_serializer='pickle'."
                )
            result = (value, *identity, expires, origin)
            entry: Entry = yield Io(store.pack, result, store.slow)
            changed = changed_file(self.files, entry.files) if self.files and self.identity else ""
            if not changed:
                return entry
        except (Exception, SystemExit) as error:  # a user's serializer or file system may raise anything
            self._say_not_kept(error)
            return None
        self.forget_key(f"the file {changed} changed while it ran; let a task write to other files than it reads")
        return (yield from self._pack(value, seconds))

    def _key_has_changed(self, key: str) -> bool:
        if not self.elsewhere:  # else what is known was read by nobody here, or by the run alone
            self.resolver = None
        again = self._identify()
        return again is None or again.key != key

    def _committed(self, txn: Transaction, entry: Entry | None, value: Any) -> Steps[State[Any]]:
        rules, store = self.rules, self.rules.store
        try:
            yield from txn.finishing(entry, rules.on_rollback, rules.on_commit)
        except Exception as error:
            self._say_not_kept(error)
            entry = None
        if entry is None or store is None:
            return State(StateType.COMPLETED, None, None, value)
        yield from self._leave_code(store)
        # A value that can't be read back is better held in memory than lost.
        kept = KeptResult(store, entry, value)
        if not rules.in_memory:
            found = (yield Io(store.fetch, (entry,), True)) if store.slow else store.fetch(entry)
            kept = kept if isinstance(found, Miss) else KeptResult(store, entry)
        return State(StateType.COMPLETED, None, None, kept, None, entry.key)

    def _leave_code(self, store: ResultStore) -> Steps[None]:
        """Keep what the digest of the code stands for, once, where others may want to know what they miss."""
        if store.private or self.identity is None:
            return
        code = [part for name, part in self.identity.parts.items() if is_code(name)]
        if not code or self.spec.memo.get("left") == (store.location, code):
            return
        self.spec.memo["left"] = (store.location, code)
        try:
            yield Io(leave_code, (store, self._code(), self.spec.key), store.slow)
        except Exception as error:  # the result itself is kept
            self.write(logging.DEBUG, f"What its code is can't be left in {store.location}: {_said(error)}")

    def _say_not_kept(self, error: BaseException, how: str = "was not") -> None:
        self.not_kept = f"{type(error).__name__}: {error}"
        self.lost = isinstance(error, LockLostError)
        again = ", so the next run computes it again" if self.identity is not None and not self.lost else ""
        of_store = not isinstance(error, SerializationError)
        level = logging.DEBUG if of_store and not self.is_news(NOT_KEPT, _said(error)) else logging.ERROR
        self.write(level, f"The result {how} kept{again}: {_said(error)}")

    def _record(self, state: State[Any]) -> RunRecord:
        run, identity, decision = self.run, self.identity, self.decision
        return RunRecord(
            run.id,
            self.kind.lower(),
            run.name,
            self.recorded_as,
            run.flow_run_id,
            str(state.type),
            state.name,
            run.started,
            time.time(),
            WORDS[decision.__class__],
            decision.reason,
            state.cache_key if identity is None else identity.key,
            None if identity is None or isinstance(decision, Hit) else identity.parts,
            self.saved,
            self.not_kept,
            state.message or "",
            arguments=self.arguments,
            flow_run=self.flow.flow_run.name if self.flow is not None else "",
        )

    def write(self, level: int, message: str, exc_info: Any = None) -> None:
        """One line in the log."""
        if not self.silent:
            log_run(self.log, level, message, self.label, exc_info)


def _said(error: BaseException) -> str:
    """What an error says; of one that is not ours also its type, without which many say nothing."""
    return str(error) if isinstance(error, KeptException) else f"{type(error).__name__}: {error}"
