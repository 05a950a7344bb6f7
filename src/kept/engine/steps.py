"""A task run, from its inputs to its final state, as a generator of effects: the one text for sync and async."""

from __future__ import annotations

import logging
import time
from typing import Any

from kept.cache_policies import Call
from kept.context import (
    FlowRunContext,
    TaskRun,
    TaskRunContext,
    current_run,
    current_tags,
    enter_run,
    flow_context_of,
    leave_run,
    new_id,
)
from kept.engine.attempts import Job, Returned, attempts
from kept.engine.effects import Io, Lock, Steps, Wait
from kept.engine.hooks import run_hooks
from kept.engine.names import custom_name, storage_key, task_run_name
from kept.engine.outcome import final_state, is_outcome
from kept.engine.plan import Bypass, Decision, Hit, Identity, Rules, Run, judge, kept_by_another, task_rules
from kept.engine.spec import TaskSpec
from kept.exceptions import ConfigurationError, KeptException
from kept.futures import Resolver, can_hold_handles, find_handles, unfinished
from kept.history import RunRecord
from kept.logging.handlers import configure
from kept.logging.loggers import log_run, task_runs
from kept.logging.prints import logged_prints
from kept.results import KeptResult, Origin, ResultStore
from kept.settings import get_current_settings
from kept.states import Crashed, Failed, Pending, State, StateType
from kept.store import Entry, Miss
from kept.transactions import IsolationLevel, Transaction, activate, deactivate, get_transaction

_CODE_PARTS = ("task_source", "code.")
_WORDS = {Hit: "HIT", Run: "MISS", Bypass: "OFF"}
# How a miss begins that the user should hear of: there is something under the key, or there may be.
_TROUBLE = ("the store can't be read", "damaged", "missing", "unreadable", "written by a newer version")


def begin(spec: TaskSpec) -> TaskRun:
    """The record of a new run of a task."""
    flow = flow_context_of(current_run())
    run_id = new_id()
    tags = current_tags()
    return TaskRun(
        run_id,
        task_run_name(spec.name, run_id),
        tags | spec.options.tags if spec.options.tags else tags,
        None,
        None if flow is None else flow.flow_run.id,
    )


class TaskRunSteps:
    """One task run: what is known of it at the start, and what was found out on the way."""

    __slots__ = (
        "context",
        "decision",
        "flow",
        "identity",
        "label",
        "not_kept",
        "parameters",
        "resolver",
        "rules",
        "run",
        "saved",
        "spec",
        "task",
    )

    def __init__(self, spec: TaskSpec, task: Any, parameters: dict[str, Any], run: TaskRun | None = None) -> None:
        settings = get_current_settings()
        configure(settings)
        around = current_run()
        self.spec = spec
        self.task = task
        self.flow: FlowRunContext | None = flow_context_of(around)
        self.rules: Rules = task_rules(spec, settings, self.flow)
        self.run = begin(spec) if run is None else run
        self.run.parameters = self.parameters = parameters
        self.label = f"Task run '{self.run.name}'"
        self.identity: Identity | None = None
        self.resolver: Resolver | None = None
        self.decision: Decision = Bypass(self.rules.off)
        self.not_kept = ""
        self.saved = 0.0
        self.context = TaskRunContext(
            task,
            self.run,
            parameters,
            self.rules.persist,
            self.rules.store,
            self.flow,
            self.rules.log_prints,
            around,
        )

    def steps(self, wait_for: Any = None) -> Steps[State[Any]]:
        """The run, to its final state. An exception of the task is in the state; an interrupt is raised."""
        enter_run(self.context)
        try:
            state = yield from self._to_state(wait_for)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._log(logging.ERROR, f"Crash detected! Execution was interrupted by {error!r}")
            self._finish(Crashed(message=f"Execution was interrupted by {type(error).__name__}", data=error))
            raise
        else:
            self.run.state = state
            hooks = self._hooks(state)
            if hooks:
                yield from run_hooks(hooks, (self.task, self.run, state), task_runs, self.label)
            self._finish(state)
            return state
        finally:
            leave_run(self.context)

    def _to_state(self, wait_for: Any) -> Steps[State[Any]]:
        if wait_for or can_hold_handles(self.parameters):
            not_ready = yield from self._resolve(wait_for)
            if not_ready:
                return not_ready
        if self.spec.options.task_run_name is not None:
            wrong = self._rename()
            if wrong is not None:
                return wrong
        if not self.rules.off:
            self.identity = self._identify()
            if self.identity is not None:
                hit = yield from self._look_up(self.identity.key)
                if hit is not None:
                    return hit
        elif self.rules.storage_key is not None:
            self.identity = self._identify()  # not to look there, but to write there
        if self._isolated():
            return (yield from self._alone())
        return (yield from self._compute())

    def _resolve(self, wait_for: Any) -> Steps[State[Any] | None]:
        """Put values in the place of futures; a state if the run can't start."""
        handles = find_handles([self.parameters, wait_for])
        if not handles:
            return None
        waiting = unfinished(handles)
        if waiting:
            yield Wait(waiting)
        self.resolver = resolver = Resolver()
        resolver.check(wait_for)
        self.parameters = {name: resolver.resolve(value) for name, value in self.parameters.items()}
        if resolver.failed:
            return Pending(name="NotReady", message=resolver.failed)
        if not resolver.unread or self._reads_values():
            self._read_inputs()
        return None

    def _reads_values(self) -> bool:
        """Whether the user's code sees the inputs even if the run is a hit."""
        options, policy = self.spec.options, self.rules.policy
        named = options.task_run_name is not None or self.rules.storage_key is not None
        return named or bool(options.on_completion) or (policy is not None and policy.reads_values)

    def _read_inputs(self) -> None:
        """Put copies of kept values where nothing but their fingerprints was known."""
        resolver = self.resolver
        if resolver is not None:
            if resolver.unread:
                self.parameters = {name: resolver.read(value) for name, value in self.parameters.items()}
                resolver.unread = False
                if resolver.changed and self.identity is not None:
                    self._forget_key("an input was lost from the store, and changed in memory since")
            self.run.parameters = self.context.parameters = self.parameters

    def _rename(self) -> State[Any] | None:
        """Give the run the name that its options say; a failed state if that can't be done."""
        template = self.spec.options.task_run_name
        try:
            self.run.name = custom_name(template, self.parameters, f"task {self.spec.name!r}")
        except ConfigurationError as error:
            self._log(logging.ERROR, str(error))
            return Failed(message=f"{type(error).__name__}: {error}", data=error)
        self.label = f"Task run '{self.run.name}'"
        return None

    def _identify(self) -> Identity | None:
        """The key of this call; None, with the reason as the decision, if it has none."""
        try:
            if self.rules.storage_key is not None:
                key = storage_key(self.rules.storage_key, self.parameters, f"task {self.spec.name!r}")
                return Identity(key, {"result_storage_key": key})
            policy = self.rules.policy
            assert policy is not None
            known = self.resolver.known if self.resolver is not None else None
            flow_parameters = self.flow.parameters if self.flow is not None else None
            parts = policy.compute_parts(Call(self.context, self.parameters, flow_parameters, known))
        except (Exception, SystemExit) as error:
            message = f"The cache key can't be computed, so this run is not cached: {_said(error)}"
            # Where it was raised is said by the traceback, unless it is one of our sentences.
            info = None if isinstance(error, KeptException) else (type(error), error, error.__traceback__)
            log_run(task_runs, logging.ERROR, message, self.label, info)
            self.decision = Bypass(f"the key can't be computed: {_said(error)}")
            return None
        if parts is None:
            self.decision = Bypass("the cache policy gives no key for this call")
            return None
        return Identity(policy.key_of(parts), parts)

    def _look_up(self, key: str) -> Steps[State[Any] | None]:
        """The state of a hit; None, with the reason as the decision, if the run has to compute."""
        rules = self.rules
        if rules.refresh:
            self.decision = Run(rules.refresh)
            return None
        store = rules.store
        assert store is not None
        try:
            found = yield Io(store.lookup, (key,), store.slow)
            self.decision = decision = judge(found, rules.expiration, time.time())
            if not isinstance(decision, Hit):
                return self._miss(decision.reason)
            value = yield Io(store.fetch, (decision.entry,), store.slow)
        except (Exception, SystemExit) as error:  # a user's file system may raise anything
            return self._miss(f"{_TROUBLE[0]}: {_said(error)}")
        return self._miss(value.reason) if isinstance(value, Miss) else self._hit(store, decision.entry, value)

    def _hit(self, store: ResultStore, entry: Entry, value: Any) -> State[Any]:
        if entry.task != self.spec.key:
            self._warn_of_sharing(entry)
        self.saved = entry.seconds
        return State(StateType.COMPLETED, "Cached", None, KeptResult(store, entry, value), None, entry.key)

    def _miss(self, reason: str) -> State[Any] | None:
        """Note why no kept result is used; say so in the log if there is one that should have been usable."""
        self.decision = Run(reason)
        if reason.startswith(_TROUBLE):
            key = self.identity.key if self.identity else None
            self._log(
                logging.WARNING, f"The result kept under {key!r} is not used: {reason.rstrip('.')}. Running instead."
            )
        return None

    def _warn_of_sharing(self, entry: Entry) -> None:
        parts = self.identity.parts if self.identity else {}
        by_inputs_alone = any(name.startswith("inputs") for name in parts) and not any(
            name.startswith(_CODE_PARTS) for name in parts
        )
        if by_inputs_alone and kept_by_another(entry, self.spec.key) and "warned" not in self.spec.memo:
            self.spec.memo["warned"] = True
            self._log(
                logging.WARNING,
                f"This result was kept by another task, {entry.task!r}: the cache policy of {self.spec.name!r} looks "
                "at inputs only, so tasks with equal inputs share results. Add TASK_SOURCE to the policy to keep them "
                "apart. (Said once a task.)",
            )

    def _isolated(self) -> bool:
        policy = self.rules.policy
        serializable = policy is not None and policy.isolation_level is IsolationLevel.SERIALIZABLE
        return serializable and self.identity is not None

    def _alone(self) -> Steps[State[Any]]:
        """Compute under the lock of the key, unless somebody else has kept the result meanwhile."""
        store, identity = self.rules.store, self.identity
        assert store is not None and identity is not None
        if self._locked_around(identity.key):
            return (yield from self._compute())
        locks = store.locks()
        yield Lock(locks, identity.key, self.run.id)
        self.context.locked = identity.key
        try:
            hit = yield from self._look_up(identity.key)
            if hit is not None:
                return hit
            return (yield from self._compute())
        finally:
            try:
                locks.release_lock(identity.key, self.run.id)
            except Exception as error:  # the lock is gone, with the folder it was in or by a hold timeout
                self._log(logging.WARNING, f"The lock on the key can't be given back: {_said(error)}")

    def _locked_around(self, key: str) -> bool:
        """Whether a run around this one holds the lock on the same key: waiting for it would never end."""
        around = self.context.parent
        while around is not None:
            if isinstance(around, TaskRunContext) and around.locked == key:
                return True
            around = around.parent
        return False

    def _forget_key(self, reason: str) -> None:
        """Keep nothing under the key: what is computed is not what it stands for."""
        self.identity = None
        self.decision = Bypass(reason)
        self.not_kept = reason
        self._log(logging.WARNING, f"The result of this run is not kept: {reason}.")

    def _compute(self) -> Steps[State[Any]]:
        key = self.identity.key if self.identity is not None else None
        self._read_inputs()
        txn = Transaction(key, self.rules.store, parent=get_transaction(), of_task=True)
        began = time.perf_counter()
        activate(txn)
        try:
            outcome = yield from self._called()
        except BaseException:
            txn.rollback()
            raise
        finally:
            deactivate(txn)
        if isinstance(outcome, State):
            txn.rollback()
            return outcome
        value = outcome.value
        if is_outcome(value):
            state = yield from final_state(value)
            yield Io(txn.finish if state.is_completed() else txn.rollback, (), False)
            return state
        seconds = time.perf_counter() - began
        entry = None
        if self.rules.persist:
            entry = yield from self._pack(value, seconds)
        return (yield from self._committed(txn, entry, value))

    def _called(self) -> Steps[Returned | State[Any]]:
        options, rules = self.spec.options, self.rules
        job = Job(
            kind="Task",
            owner=self.task,
            spec=self.spec,
            run=self.run,
            retries=rules.retries,
            delays=rules.retry_delays,
            log=task_runs,
            label=self.label,
            jitter=options.retry_jitter_factor,
            condition=options.retry_condition_fn,
        )
        if rules.log_prints:
            with logged_prints():
                return (yield from attempts(job, self.spec.fn, self.parameters))
        return (yield from attempts(job, self.spec.fn, self.parameters))

    def _pack(self, value: Any, seconds: float) -> Steps[Entry | None]:
        """The result as an entry, serialized now; None if it is not to be kept or can't be."""
        store = self.rules.store
        assert store is not None
        if self.run.run_count > 1 and self.identity is not None and self._key_has_changed(self.identity.key):
            self._forget_key("an earlier try changed the arguments")
        identity = self.identity
        if identity is None:
            # Nothing will look for it but the state of this run.
            if not (self.spec.options.persist_result or not self.rules.in_memory):
                return None
            identity = Identity(self.run.id, {})
        origin = Origin(self.spec.key, self.run.name, self.flow.flow_run.name if self.flow else "", seconds)
        expiration = self.rules.expiration
        expires = None if expiration is None else time.time() + expiration
        try:
            entry = yield Io(store.pack, (value, *identity, expires, origin), store.slow)
        except (Exception, SystemExit) as error:  # a user's serializer or file system may raise anything
            self._say_not_kept(error)
            return None
        return entry  # type: ignore[no-any-return]

    def _key_has_changed(self, key: str) -> bool:
        self.resolver = None
        again = self._identify()
        return again is None or again.key != key

    def _committed(self, txn: Transaction, entry: Entry | None, value: Any) -> Steps[State[Any]]:
        options, store = self.spec.options, self.rules.store
        try:
            yield Io(txn.finish, (entry, options.on_rollback, options.on_commit), store is not None and store.slow)
        except Exception as error:
            self._say_not_kept(error)
            entry = None
        if entry is None or store is None:
            return State(StateType.COMPLETED, None, None, value)
        # A value that can't be read back is better held in memory than lost.
        forget = not self.rules.in_memory and not isinstance((yield Io(store.fetch, (entry,), store.slow)), Miss)
        kept = KeptResult(store, entry) if forget else KeptResult(store, entry, value)
        return State(StateType.COMPLETED, None, None, kept, None, entry.key)

    def _say_not_kept(self, error: BaseException) -> None:
        self.not_kept = f"{type(error).__name__}: {error}"
        self._log(logging.ERROR, f"The result was not kept, so the next run computes it again: {_said(error)}")

    def _hooks(self, state: State[Any]) -> tuple[Any, ...]:
        if state.type is StateType.COMPLETED:
            return self.spec.options.on_completion
        return self.spec.options.on_failure if state.type is StateType.FAILED else ()

    def _finish(self, state: State[Any]) -> None:
        """The end of the run, in the log and in the history."""
        run, rules = self.run, self.rules
        run.state = state
        level = logging.INFO if state.type is StateType.COMPLETED else logging.ERROR
        self._log(level, f"Finished in state {state}")
        if rules.recorder is not None:
            rules.recorder.record(self._record(state))

    def _record(self, state: State[Any]) -> RunRecord:
        run, identity, decision = self.run, self.identity, self.decision
        return RunRecord(
            run.id,
            "task",
            run.name,
            self.spec.key,
            run.flow_run_id,
            state.type.value,
            state.name,
            run.started,
            time.time(),
            _WORDS[decision.__class__],
            decision.reason,
            None if identity is None else identity.key,
            None if identity is None or isinstance(decision, Hit) else identity.parts,
            self.saved,
            self.not_kept,
            state.message or "",
        )

    def _log(self, level: int, message: str) -> None:
        log_run(task_runs, level, message, self.label)


def _said(error: BaseException) -> str:
    """What an error says; of one that is not ours also its type, without which many say nothing."""
    return str(error) if isinstance(error, KeptException) else f"{type(error).__name__}: {error}"
