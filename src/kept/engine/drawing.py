"""A picture of a flow without running it: the body of the flow runs, its tasks and subflows are only noted.

Each call of a task becomes a box, what it was passed from others becomes lines, and in the place of its result stands
a `Drawn`. Nothing is logged, kept or recorded.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, NoReturn

from kept.context import FlowRun, FlowRunContext, current_run, new_id
from kept.engine.effects import Steps, Yield
from kept.engine.spec import FlowSpec, Spec, TaskSpec
from kept.exceptions import ConfigurationError, VisualizationError
from kept.futures import KeptFuture, KeptFutureList
from kept.states import Completed, State
from kept.store.completing import completed
from kept.utilities.annotations import BaseAnnotation
from kept.utilities.handles import find_handles
from kept.utilities.svg import Box, Line, dot_of, svg_of

# The pictures that are being drawn in this process: where there is none, a call looks no further.
drawing: list[Any] = []


class FlowPicture:
    """What a flow does, as a picture: shown by a notebook, saved with `save`.

    Attributes:
        boxes: the tasks and subflows that it calls, in order.
        lines: what goes from which to which, by their places in `boxes`; dashed for `wait_for`.
    """

    def __init__(self, name: str, boxes: list[Box], lines: list[Line]) -> None:
        self.name = name
        self.boxes = boxes
        self.lines = lines

    @property
    def svg(self) -> str:
        """The picture as an SVG document."""
        return svg_of(self.name, self.boxes, self.lines)

    @property
    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        return dot_of(self.name, self.boxes, self.lines)

    def save(self, path: str | Path) -> Path:
        """Write the picture to a .svg or .dot file and return its path. Raises `ConfigurationError` for others."""
        path = Path(path)
        if path.suffix not in (".svg", ".dot"):
            raise ConfigurationError(
                f"A picture is saved as .svg or .dot, not as {path.name!r}; convert it from there."
            )
        path.write_text(self.svg if path.suffix == ".svg" else self.dot, encoding="utf-8")
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self.boxes)} boxes, {len(self.lines)} lines>"


class Drawn(KeptFuture[Any]):
    """Stands for the result of a task that has not run; also what is taken out of it, and its future."""

    __slots__ = ("_label", "_value", "box")

    def __init__(self, box: int, label: str, value: Any = None) -> None:
        self.box = box
        self._label = label
        self._value = self if value is None else value

    @property
    def task_run_id(self) -> str:
        """A word for a run that there is not."""
        return f"drawn-{self.box}"

    @property
    def state(self) -> State[Any]:
        """Completed."""
        return Completed(data=self._value)

    def wait(self, timeout: float | None = None) -> None:
        """Return at once."""

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """What stands for the result: the task's `viz_return_value`, or this."""
        return self._value

    def add_done_callback(self, fn: Callable[[KeptFuture[Any]], Any]) -> None:
        """Call `fn(self)` at once."""
        fn(self)

    def _part(self, *_: Any, **__: Any) -> Drawn:
        return self

    def __getattr__(self, name: str) -> Drawn:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _unknown(self, *_: Any) -> NoReturn:
        raise VisualizationError(
            f"The flow looks at the result of {self._label}, which does not run for a picture. Say what it would "
            "return: @task(viz_return_value=...)."
        )

    __getitem__ = __call__ = _part
    __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = __contains__ = _unknown


for _name in "add sub mul truediv floordiv mod pow matmul and or xor lt le gt ge neg".split():
    setattr(Drawn, f"__{_name}__", Drawn._part)
    if hasattr(operator, f"i{_name}"):
        setattr(Drawn, f"__r{_name}__", Drawn._part)


class DrawingContext(FlowRunContext):
    """The context in which the body of a flow runs for a picture."""

    __slots__ = ("boxes", "lines", "returned")

    def __init__(self, flow: Any, parameters: dict[str, Any]) -> None:
        run = FlowRun(new_id(), flow.name, parameters=parameters)
        super().__init__(flow=flow, flow_run=run, parameters=parameters, task_runner=self)
        self.boxes: list[Box] = []
        self.lines: dict[Line, None] = {}
        # What tasks are said to return, by its id, so that it is known again where it is passed on.
        self.returned: dict[int, tuple[int, Any]] = {}

    def note(self, thing: Any, parameters: dict[str, Any], wait_for: Any, times: str = "") -> Drawn:
        """Draw one call; the future that stands for its run."""
        spec: Spec = thing.spec
        box = len(self.boxes)
        kind = "flow" if isinstance(spec, FlowSpec) else "task"
        self.boxes.append(Box(spec.name + times, kind == "flow"))
        for source in sorted(self._sources(parameters)):
            self.lines[Line(source, box, False)] = None
        for source in sorted(self._sources(list(wait_for or ()))):
            if Line(source, box, False) not in self.lines:
                self.lines[Line(source, box, True)] = None
        said = spec.options.viz_return_value if isinstance(spec, TaskSpec) else None
        # Numbers and words are not told apart by their id: a line from one of those would be a guess.
        for part in (said, *_near([said])):
            if not isinstance(part, (int, float, str, bytes, type(None))):
                self.returned[id(part)] = (box, part)
        return Drawn(box, f"{kind} {spec.name!r}", said)

    def _sources(self, value: Any) -> set[int]:
        """The boxes from which anything in a value came."""
        found = {self.returned[i][0] for i in map(id, _near(value)) if i in self.returned}
        for handle in find_handles(value):
            if isinstance(handle, Drawn):
                found.add(handle.box)
            elif isinstance(handle, (KeptFuture, State)):
                found |= self._sources([handle.state.data if isinstance(handle, KeptFuture) else handle.data])
            elif isinstance(handle, BaseAnnotation):
                found |= self._sources([handle.value])
        return found

    def submit(self, thing: Any, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None) -> Any:
        """As a task runner: a future of a run that there is not."""
        return self.note(thing, parameters, wait_for)

    def map(self, thing: Any, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None) -> Any:
        """As a task runner: one box for all the runs, and a future for each, or one if nobody knows how many."""
        whole = (str, bytes, BaseAnnotation, KeptFuture)
        sizes = {len(v) for v in parameters.values() if isinstance(v, Sized) and not isinstance(v, whole)}
        future = self.note(thing, parameters, wait_for, f" × {max(sizes) if sizes else 'n'}")  # noqa: RUF001
        return KeptFutureList([future] * (max(sizes) if sizes else 1))

    def pending(self) -> list[KeptFuture[Any]]:
        """Nothing: nothing runs."""
        return []


class DrawnRun:
    """What a task or subflow gives instead of a run while its flow is being drawn."""

    def __init__(self, thing: Any, parameters: dict[str, Any]) -> None:
        context = current_run()
        assert isinstance(context, DrawingContext)
        self.run = context.flow_run
        self.decision = None
        self.collects = thing.spec.is_generator
        self._note = functools.partial(context.note, thing, parameters)

    def steps(self, wait_for: Any = None) -> Steps[State[Any]]:
        """Draw it; the state that stands for its end."""
        state: State[Any] = self._note(wait_for).state
        if self.collects:  # a generator: nobody knows how many values it would yield
            values = state.result()
            for value in values if isinstance(values, list) else [values]:
                yield Yield(value)
        return state


@contextlib.contextmanager
def refusing_runs(what: str) -> Iterator[None]:
    """While code inside is a module that is imported for what it defines: a run that it starts is an error.

    Arguments:
        what: how the error names the module.
    """
    drawing.append(what)
    try:
        yield
    finally:
        drawing.remove(what)


def is_drawn() -> bool:
    """Whether this code is the body of a flow of which a picture is being drawn."""
    if isinstance(drawing[-1], str):
        raise ConfigurationError(
            f"{drawing[-1]} starts a run when it is imported, and nothing is to run now. Put the call below "
            "`if __name__ == '__main__':`."
        )
    return isinstance(current_run(), DrawingContext)


def draw(flow: Any, parameters: dict[str, Any]) -> FlowPicture:
    """The picture of a flow under these parameters, by calling its body. Raises `VisualizationError` if it can't."""
    context = DrawingContext(flow, parameters)
    with being_drawn(context):
        try:
            args, kwargs = flow.spec.binder.call(parameters)
            completed(flow.fn(*args, **kwargs))
        except VisualizationError:
            raise
        except Exception as error:
            raise VisualizationError(
                f"No picture of flow {flow.name!r}: its body raised {type(error).__name__}: {error}. If it works on "
                "the result of a task, say what that would return: @task(viz_return_value=...)."
            ) from error
    return FlowPicture(flow.name, context.boxes, list(context.lines))


@contextlib.contextmanager
def being_drawn(context: DrawingContext) -> Iterator[None]:
    """While code inside is the body of a flow that is not to run its tasks."""
    drawing.append(context)
    try:
        with context:
            yield
    finally:
        drawing.remove(context)


def _near(value: Any) -> Iterator[Any]:
    """A container's elements and theirs: as far as what a task is said to return is looked for."""
    for element in value.values() if isinstance(value, dict) else value:
        yield element
        if isinstance(element, (list, tuple, dict)):
            yield from element.values() if isinstance(element, dict) else element
