"""A flow run, from its parameters to its final state, as a generator of effects."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from kept.context import (
    FlowRun,
    FlowRunContext,
    current_run,
    current_tags,
    enter_run,
    flow_context_of,
    leave_run,
    new_id,
)
from kept.engine.attempts import Job, attempts
from kept.engine.effects import Io, Steps, Wait
from kept.engine.hooks import run_hooks
from kept.engine.names import custom_name, two_words
from kept.engine.outcome import final_state, is_outcome, settled
from kept.engine.plan import flow_persists, recorder, retry_delays
from kept.engine.spec import FlowSpec
from kept.engine.validation import validated
from kept.futures import Resolver, find_handles, unfinished
from kept.history import RunRecord
from kept.logging.handlers import configure
from kept.logging.loggers import flow_runs, log_run
from kept.logging.prints import logged_prints
from kept.results import KeptResult, Origin, ResultStore
from kept.settings import get_current_settings
from kept.states import Crashed, Failed, Pending, State, StateType


class FlowRunSteps:
    """One flow run.

    Arguments:
        spec: what runs.
        flow: the user's flow, for contexts and hooks.
        parameters: the arguments by name.
        new_runner: makes the task runner for this run.
        run: the record of the run; a new one by default.
    """

    def __init__(
        self,
        spec: FlowSpec,
        flow: Any,
        parameters: dict[str, Any],
        new_runner: Callable[[], Any],
        run: FlowRun | None = None,
    ) -> None:
        self.spec = spec
        self.flow = flow
        self.parameters = parameters
        self.settings = get_current_settings()
        configure(self.settings)
        around = current_run()
        parent = flow_context_of(around)
        self.is_subflow = around is not None
        self.run = run or FlowRun(
            new_id(),
            two_words(),
            current_tags(),
            parameters,
            parent.flow_run.id if parent is not None else None,
        )
        self.runner = new_runner()
        persists = flow_persists(spec, self.settings, parent.persist_result if parent is not None else None)
        self.context = FlowRunContext(
            flow=flow,
            flow_run=self.run,
            parameters=parameters,
            task_runner=self.runner,
            persist_result=persists,
            result_store=_store(spec, parent),
            log_prints=self._log_prints(parent),
            parent=around,
        )
        self.label = f"Flow run '{self.run.name}'"
        self.not_kept = ""

    def steps(self, wait_for: Any = None) -> Steps[State[Any]]:
        """The run, to its final state. An exception of the flow is in the state; an interrupt is raised."""
        enter_run(self.context)
        try:
            with self.runner:
                state = yield from self._to_state(wait_for)
                # What has been waited for may have submitted more.
                while pending := self.runner.pending():
                    yield Wait(pending)
        except GeneratorExit:
            raise
        except BaseException as error:
            state = Crashed(message=f"Execution was interrupted by {type(error).__name__}", data=error)
            self._log(logging.ERROR, f"Crash detected! Execution was interrupted by {error!r}")
            self.run.state = state
            yield from self._hooks(state)
            self._finish(state)
            raise
        else:
            self.run.state = state
            yield from self._hooks(state)
            self._finish(state)
            return state
        finally:
            leave_run(self.context)

    def _to_state(self, wait_for: Any) -> Steps[State[Any]]:
        not_ready = yield from self._resolve(wait_for)
        if not_ready is not None:
            return not_ready
        try:
            if self.spec.options.validate_parameters:
                self._take(validated(self.spec, self.parameters))
            if self.spec.options.flow_run_name is not None:
                self._rename()
        except Exception as error:
            self._log(logging.ERROR, str(error))
            return Failed(message=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", data=error)
        kind = "subflow" if self.is_subflow else "flow"
        self._log(logging.INFO, f"Beginning {kind} run '{self.run.name}' for flow '{self.spec.name}'")
        return (yield from self._called())

    def _resolve(self, wait_for: Any) -> Steps[State[Any] | None]:
        handles = find_handles([self.parameters, wait_for])
        if not handles:
            return None
        waiting = unfinished(handles)
        if waiting:
            yield Wait(waiting)
        resolver = Resolver()
        resolver.check(wait_for)
        self._take({name: resolver.read(resolver.resolve(value)) for name, value in self.parameters.items()})
        return Pending(name="NotReady", message=resolver.failed) if resolver.failed else None

    def _take(self, parameters: dict[str, Any]) -> None:
        self.parameters = self.run.parameters = self.context.parameters = parameters

    def _rename(self) -> None:
        self.run.name = custom_name(self.spec.options.flow_run_name, self.parameters, f"flow {self.spec.name!r}")
        self.label = f"Flow run '{self.run.name}'"

    def _called(self) -> Steps[State[Any]]:
        options, settings = self.spec.options, self.settings
        retries = settings.flows.default_retries if options.retries is None else options.retries
        job = Job(
            kind="Flow",
            owner=self.flow,
            spec=self.spec,
            run=self.run,
            retries=retries,
            delays=retry_delays(options.retry_delay_seconds, settings.flows.default_retry_delay_seconds, retries),
            log=flow_runs,
            label=self.label,
        )
        began = time.perf_counter()
        if self.context.log_prints:
            with logged_prints():
                outcome = yield from attempts(job, self.spec.fn, self.parameters)
        else:
            outcome = yield from attempts(job, self.spec.fn, self.parameters)
        if isinstance(outcome, State):
            return outcome
        if is_outcome(outcome.value):
            return (yield from final_state(outcome.value))
        seconds = time.perf_counter() - began
        return (yield from self._completed((yield from settled(outcome.value)), seconds))

    def _completed(self, value: Any, seconds: float) -> Steps[State[Any]]:
        """The state of a flow that returned a value, which is kept under the run's id if that is wanted."""
        in_memory = self.spec.options.cache_result_in_memory
        if not self.context.persist_result:
            return State(StateType.COMPLETED, data=value)
        store = self.context.result_store or ResultStore()
        origin = Origin(self.spec.key, self.run.name, self.run.name, seconds)
        try:
            entry = yield Io(store.pack, (value, self.run.id, None, None, origin), store.slow)
            yield Io(store.publish, ([entry],), store.slow)
        except Exception as error:
            self.not_kept = f"{type(error).__name__}: {error}"
            self._log(logging.ERROR, f"The result of the flow was not kept: {error}")
            return State(StateType.COMPLETED, data=value)
        kept = KeptResult(store, entry, value) if in_memory else KeptResult(store, entry)
        return State(StateType.COMPLETED, data=kept, cache_key=entry.key)

    def _hooks(self, state: State[Any]) -> Steps[None]:
        options = self.spec.options
        hooks = {
            StateType.COMPLETED: options.on_completion,
            StateType.FAILED: options.on_failure,
            StateType.CANCELLED: options.on_cancellation,
            StateType.CRASHED: options.on_crashed,
        }.get(state.type, ())
        yield from run_hooks(hooks, (self.flow, self.run, state), flow_runs, self.label)

    def _finish(self, state: State[Any]) -> None:
        self.run.state = state
        level = logging.INFO if state.type is StateType.COMPLETED else logging.ERROR
        self._log(level, f"Finished in state {state}")
        taker = recorder(self.settings)
        if taker is not None:
            taker.record(self._record(state))

    def _record(self, state: State[Any]) -> RunRecord:
        run = self.run
        return RunRecord(
            id=run.id,
            kind="flow",
            name=run.name,
            of=self.spec.name,
            flow_run_id=run.flow_run_id,
            state_type=state.type.value,
            state_name=state.name,
            started=run.started,
            ended=time.time(),
            decision="",
            reason="",
            key=state.cache_key,
            parts=None,
            saved=0.0,
            not_kept=self.not_kept,
            message=state.message or "",
        )

    def _log_prints(self, parent: FlowRunContext | None) -> bool:
        if self.spec.options.log_prints is not None:
            return self.spec.options.log_prints
        return parent.log_prints if parent is not None else bool(self.settings.logging.log_prints)

    def _log(self, level: int, message: str) -> None:
        log_run(flow_runs, level, message, self.label)


def _store(spec: FlowSpec, parent: FlowRunContext | None) -> ResultStore | None:
    """The store that a flow gives to its tasks; None for the default one of each."""
    options = spec.options
    inherited: ResultStore | None = parent.result_store if parent is not None else None
    if options.result_storage is None and options.result_serializer is None:
        return inherited
    storage = options.result_storage
    if storage is None and inherited is not None:
        storage = inherited.storage
    return ResultStore(result_storage=storage, serializer=options.result_serializer)
