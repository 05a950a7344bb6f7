"""What a flow run does differently from other runs: it checks its parameters, and waits for what it submitted."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable
from typing import Any

from kept.context import FlowRun, FlowRunContext, current_run, current_tags, flow_context_of, new_id
from kept.engine.effects import Io, Steps, Wait
from kept.engine.names import custom_name, two_words
from kept.engine.plan import Identity, flow_rules
from kept.engine.spec import FlowSpec
from kept.engine.steps import RunSteps
from kept.engine.validation import validated
from kept.fingerprint.source import source_digest
from kept.logging.handlers import configure
from kept.logging.loggers import flow_runs
from kept.run_notes import NOT_KEPT, RunNotes
from kept.settings import get_current_settings
from kept.states import State, StateType


def begin(flow: FlowRunContext | None) -> FlowRun:
    """The record of a new run of a flow."""
    return FlowRun(new_id(), two_words(), current_tags(), None, None if flow is None else flow.flow_run.id)


class FlowRunSteps(RunSteps):
    """One flow run.

    Arguments:
        spec: what runs.
        flow: the user's flow, for contexts and hooks.
        parameters: the arguments by name.
        new_runner: makes the task runner for this run.
        run: the record of the run; a new one by default.
    """

    __slots__ = ("runner",)

    kind = "Flow"
    log = flow_runs
    inputs_are_read = True  # by the check against their annotations
    kept_without_key = True
    settles = True
    holds_results_back = False

    def __init__(
        self,
        spec: FlowSpec,
        flow: Any,
        parameters: dict[str, Any],
        new_runner: Callable[[], Any],
        run: FlowRun | None = None,
    ) -> None:
        settings = get_current_settings()
        configure(settings)
        around = current_run()
        parent = flow_context_of(around)
        rules = flow_rules(spec, settings, parent)
        super().__init__(spec, flow, parameters, parent, rules, begin(parent) if run is None else run)
        self.runner = new_runner()
        self.context = FlowRunContext(
            flow=flow,
            flow_run=self.run,
            parameters=parameters,
            task_runner=self.runner,
            persist_result=rules.persist_of_tasks,
            result_store=rules.store_of_tasks,
            log_prints=rules.log_prints,
            parent=around,
        )

    @property
    def recorded_as(self) -> str:
        return str(self.spec.name)

    def to_state(self, wait_for: Any) -> Steps[State[Any]]:
        """What the run comes to, once all that it submitted has ended."""
        with self.runner:
            state = yield from super().to_state(wait_for)
            if state.name == "TimedOut":
                self.runner.cancel_all()
            # What has been waited for may have submitted more.
            while pending := self.runner.pending():
                yield Wait(pending)
        return state

    def notes(self) -> RunNotes:
        return self.context.notes  # type: ignore[no-any-return]

    def _ended(self, state: State[Any]) -> Steps[None]:
        if self.flow is None:
            yield from self._done_with_stores(wait=state.type is not StateType.CRASHED)
        yield from super()._ended(state)

    def _done_with_stores(self, wait: bool) -> Steps[None]:
        """Wait until what runs have put into stores far away is there, and tell what trouble these gave."""
        notes = self.notes()
        for store in notes.written if wait else ():
            try:
                lost, reason = (yield Io(store.flush, (), True)), "it could not be sent there"
            except Exception as error:
                lost, reason = 1, str(error)
            if lost:
                notes.trouble(NOT_KEPT, store.location, reason, lost)
        for sentence in notes.summaries():
            self.write(logging.WARNING, sentence)

    def prepare(self) -> None:
        """Check and convert the parameters, name the run, and say that it begins."""
        if self.spec.options.validate_parameters:
            self.parameters = self.run.parameters = self.context.parameters = validated(self.spec, self.parameters)
        if self.rules.run_name is not None:
            self.rename(custom_name(self.rules.run_name, self.parameters, self.named))
        kind = "flow" if self.context.parent is None else "subflow"
        self.write(logging.INFO, f"Beginning {kind} run '{self.run.name}' for flow '{self.spec.name}'")

    def make_key(self) -> Identity | None:
        """What this call is kept under: unlike tasks, flows with equal inputs share nothing."""
        identity = super().make_key()
        policy = self.rules.policy
        if identity is None or policy is None:
            return identity
        fn = self.spec.fn
        # What a partial or an object that can be called holds makes another flow of it.
        name = self.spec.key if isinstance(fn, types.FunctionType) else f"{self.spec.key}:{source_digest(fn)}"
        parts = {**identity.parts, "flow": name}
        return Identity(policy.key_of(parts), parts)

    def hooks(self, state: State[Any]) -> tuple[Any, ...]:
        options = self.spec.options
        of_state: dict[StateType, tuple[Any, ...]] = {
            StateType.COMPLETED: options.on_completion,
            StateType.FAILED: options.on_failure,
            StateType.CANCELLED: options.on_cancellation,
            StateType.CRASHED: options.on_crashed,
        }
        return of_state.get(state.type, ())
