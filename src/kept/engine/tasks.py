"""What a task run does differently from other runs."""

from __future__ import annotations

from typing import Any

from kept.context import FlowRunContext, TaskRun, TaskRunContext, current_run, current_tags, flow_context_of, new_id
from kept.engine.names import custom_name, task_run_name
from kept.engine.plan import task_rules
from kept.engine.spec import TaskSpec
from kept.engine.steps import RunSteps
from kept.logging.handlers import configure
from kept.logging.loggers import task_runs
from kept.settings import get_current_settings
from kept.states import State, StateType


def begin(spec: TaskSpec, flow: FlowRunContext | None) -> TaskRun:
    """The record of a new run of a task."""
    run_id = new_id()
    tags = current_tags()
    return TaskRun(
        run_id,
        task_run_name(spec.name, run_id),
        tags | spec.options.tags if spec.options.tags else tags,
        None,
        None if flow is None else flow.flow_run.id,
    )


class TaskRunSteps(RunSteps):
    """One task run."""

    __slots__ = ()

    kind = "Task"
    log = task_runs
    inputs_are_read = False
    kept_without_key = False
    settles = False
    holds_results_back = True

    def __init__(self, spec: TaskSpec, task: Any, parameters: dict[str, Any], run: TaskRun | None = None) -> None:
        settings = get_current_settings()
        configure(settings)
        around = current_run()
        flow = flow_context_of(around)
        rules = task_rules(spec, settings, flow)
        super().__init__(spec, task, parameters, flow, rules, begin(spec, flow) if run is None else run)
        self.context = TaskRunContext(
            task,
            self.run,
            parameters,
            rules.persist,
            rules.store,
            flow,
            rules.log_prints,
            around,
        )

    def prepare(self) -> None:
        """Name the run, if its task says how."""
        if self.rules.run_name is not None:
            self.rename(custom_name(self.rules.run_name, self.parameters, self.named))

    def hooks(self, state: State[Any]) -> tuple[Any, ...]:
        if state.type is StateType.COMPLETED:
            return self.spec.options.on_completion  # type: ignore[no-any-return]
        return self.spec.options.on_failure if state.type is StateType.FAILED else ()
