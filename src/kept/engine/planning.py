"""What a flow would do now, as far as that can be known without running it: `kept plan`.

The body of the flow runs as it does for a picture. A task that would be a hit gives its kept value, so that what comes
after it is known as well; in the place of any other result stands a `Drawn`, and what is passed one depends on others.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
from collections.abc import Iterable
from typing import Any, NamedTuple

from kept.engine.drawing import DrawingContext, Drawn, being_drawn
from kept.engine.drivers import drive
from kept.engine.explain import Explanation
from kept.engine.flows import FlowRunSteps
from kept.engine.mapping import each_call
from kept.engine.plan import Hit
from kept.engine.spec import FlowSpec
from kept.engine.steps import RunSteps
from kept.engine.tasks import TaskRunSteps
from kept.exceptions import VisualizationError
from kept.futures import KeptConcurrentFuture, KeptFuture, KeptFutureList
from kept.results import KeptResult
from kept.states import Completed, State, StateType
from kept.utilities.annotations import BaseAnnotation, unmapped
from kept.utilities.handles import find_handles


class Planned(NamedTuple):
    """One call that a flow would make."""

    name: str
    """Of the task or subflow."""
    outcome: str
    """ "HIT", "RUN", "DEPENDS" if its inputs are not known, or "AGAIN" if an earlier step of the plan computes it."""
    depth: int
    """How many subflows it is in."""
    explanation: Explanation | None = None
    """Why; None where the inputs are not known."""
    others: tuple[int, ...] = ()
    """The steps that it depends on, or that compute it, by their places."""


class FlowPlan(NamedTuple):
    """What a flow would do now."""

    flow: str
    steps: tuple[Planned, ...]
    """The calls in their order."""
    end: str
    """Why nothing is known of what follows; empty if that is all."""


def plan(flow: Any, parameters: dict[str, Any]) -> FlowPlan:
    """What a flow would do under these parameters. Its own body runs, and none of its tasks."""
    steps: list[Planned] = []
    run = _run_of(flow, parameters)
    explanation = drive(run.explaining())
    if explanation.decision == "HIT":
        return FlowPlan(flow.name, (Planned(flow.name, "HIT", 0, explanation),), "")
    end = ""
    try:
        PlanningContext(flow, run, steps, {}, None).body()
    except VisualizationError as error:
        end = str(error)
    except Exception as error:  # the user's flow may raise anything
        end = f"The body of the flow raised {type(error).__name__}: {error}"
    return FlowPlan(flow.name, tuple(steps), end)


class PlanningContext(DrawingContext):
    """The context in which the body of a flow runs for a plan.

    Arguments:
        run: what its run would be.
        steps: the calls so far, also those of the flow around.
        computed: which step computes what is kept under a key.
    """

    __slots__ = ("_run", "computed", "depth", "steps")

    def __init__(
        self,
        flow: Any,
        run: RunSteps,
        steps: list[Planned],
        computed: dict[str, int],
        around: PlanningContext | None,
    ) -> None:
        super().__init__(flow, run.parameters)
        self.parent = around
        self.flow_run = run.run
        self.persist_result = run.rules.persist_of_tasks
        self.result_store = run.rules.store_of_tasks
        self.steps = steps
        self.computed = computed
        self.depth: int = 0 if around is None else around.depth + 1
        self._run = run

    def body(self) -> Any:
        """What the body of the flow returns."""
        args, kwargs = self._run.spec.binder.call(self._run.parameters)
        with being_drawn(self):
            value = self.flow.fn(*args, **kwargs)
            return _awaited(value) if hasattr(value, "__await__") else value

    def note(self, thing: Any, parameters: dict[str, Any], wait_for: Any, times: str = "") -> Any:
        """Plan one call; a future that has ended with what is known of its result."""
        at = len(self.steps)
        others = tuple(sorted(self._sources(parameters)))
        if others:
            self.steps.append(Planned(thing.name + times, "DEPENDS", self.depth, None, others))
            return self._unknown(thing, at)
        run = _run_of(thing, parameters)
        explanation = drive(run.explaining())
        if isinstance(run.decision, Hit) and run.rules.store is not None:
            self.steps.append(Planned(thing.name, "HIT", self.depth, explanation))
            kept = KeptResult(run.rules.store, run.decision.entry)
            return _ended(run, State(StateType.COMPLETED, "Cached", None, kept, None, explanation.key))
        first = self.computed.get(explanation.key or "")
        if first is not None:
            self.steps.append(Planned(thing.name, "AGAIN", self.depth, explanation, (first,)))
            return self._unknown(thing, first)
        self.steps.append(Planned(thing.name, "RUN", self.depth, explanation))
        if explanation.key is not None:
            self.computed[explanation.key] = at
        if isinstance(thing.spec, FlowSpec):
            return self._of_subflow(thing, run, at)
        return self._unknown(thing, at)

    def map(self, thing: Any, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None) -> Any:
        """As a task runner: one call for each element, or one for all if nobody knows how many."""
        if any(isinstance(v, (KeptFuture, State, BaseAnnotation)) and self._sources([v]) for v in _mapped(parameters)):
            return KeptFutureList([self.note(thing, parameters, wait_for, " × n")])  # noqa: RUF001
        return KeptFutureList([self.note(thing, call, wait_for) for call in each_call(thing.spec, parameters)])

    def _of_subflow(self, flow: Any, run: RunSteps, at: int) -> Any:
        """What a subflow that would run returns, its own calls planned."""
        value = PlanningContext(flow, run, self.steps, self.computed, self).body()
        if isinstance(value, KeptConcurrentFuture):
            return value
        return self._unknown(flow, at) if find_handles(value) else _ended(run, Completed(data=value))

    def _unknown(self, thing: Any, at: int) -> Drawn:
        return Drawn(at, f"{'flow' if isinstance(thing.spec, FlowSpec) else 'task'} {thing.name!r}")


def _mapped(parameters: dict[str, Any]) -> Iterable[Any]:
    """What `.map` would take apart."""
    return (value for value in parameters.values() if not isinstance(value, unmapped))


def _run_of(thing: Any, parameters: dict[str, Any]) -> RunSteps:
    """A run that is never begun. `new_run` would give what stands for one in a picture."""
    if isinstance(thing.spec, FlowSpec):
        return FlowRunSteps(thing.spec, thing, parameters, lambda: None)
    return TaskRunSteps(thing.spec, thing, parameters)


def _ended(run: RunSteps, state: State[Any]) -> KeptConcurrentFuture[Any]:
    future: KeptConcurrentFuture[Any] = KeptConcurrentFuture(run.run)
    future.end(state)
    return future


def _awaited(coroutine: Any) -> Any:
    """What a coroutine gives, in this context, whether or not a loop runs in this thread."""
    import asyncio  # noqa: PLC0415 - 20 ms that only async flows need

    context = contextvars.copy_context()
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        return aside.submit(context.run, asyncio.run, coroutine).result()
