"""`flow.visualize()`: a picture of what a flow calls, without running it."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from kept import allow_failure, flow, get_run_logger, task, transaction, unmapped
from kept.exceptions import ConfigurationError, ParameterBindError, ValidationError, VisualizationError
from kept.futures import wait


@task
def load(day: str) -> Any:
    raise AssertionError("no task runs for a picture")


@task
def clean(rows: Any, limit: int = 10) -> Any:
    raise AssertionError


@task
def score(row: Any, model: Any) -> Any:
    raise AssertionError


@flow
def report(scores: Any) -> Any:
    raise AssertionError


def arrows(picture: Any) -> set[str]:
    names = [box.label for box in picture.boxes]
    return {f"{names[line.start]} {'..' if line.dashed else '->'} {names[line.end]}" for line in picture.lines}


def test_calls_become_boxes_and_what_they_pass_on_becomes_lines(home: Path) -> None:
    @flow
    def nightly(day: str) -> Any:
        get_run_logger().info("drawn")
        rows = clean(load(day), limit=3)
        futures = score.map([1, 2, 3], unmapped({"model": rows}))
        wait(futures)
        return report([future.result() for future in futures], wait_for=[rows])

    picture = nightly.visualize("monday")
    assert [box.label for box in picture.boxes] == ["load", "clean", "score × 3", "report"]  # noqa: RUF001
    assert [box.double for box in picture.boxes] == [False, False, False, True]
    assert arrows(picture) == {"load -> clean", "clean -> score × 3", "score × 3 -> report", "clean .. report"}  # noqa: RUF001
    assert not home.exists()


def test_parts_of_results_states_annotations_and_containers_lead_to_where_they_came_from() -> None:
    @flow
    def f() -> None:
        table = load("x")
        clean(table.columns[0] + 1)
        clean({"deep": [allow_failure(load.submit("y"))]})
        clean(load("z", return_state=True))
        with transaction():
            clean.submit(load.submit("w").result().head(3)).result()

    assert sorted(f"{line.start}{line.end}" for line in f.visualize().lines) == ["01", "23", "45", "67"]


def test_a_task_can_say_what_stands_for_its_result() -> None:
    @task(viz_return_value=[{"customer": 1}, {"customer": 2}])
    def customers() -> Any:
        raise AssertionError

    @flow
    def f() -> None:
        for customer in customers():
            if customer["customer"] > 1:
                clean(customer)
        score.map(customers.submit().result(), "model")

    assert arrows(f.visualize()) == {"customers -> clean", "customers -> score × 2"}  # noqa: RUF001


@pytest.mark.parametrize("look", [bool, len, list, int], ids=lambda look: look.__name__)
def test_a_flow_that_looks_at_a_result_is_told_what_to_do(look: Any) -> None:
    @flow
    def f() -> None:
        look(load("x"))

    with pytest.raises(VisualizationError, match=r"looks at the result of task 'load'.*viz_return_value"):
        f.visualize()


def test_a_body_that_raises_is_no_picture() -> None:
    @flow
    def f() -> None:
        raise KeyError("conf")

    with pytest.raises(VisualizationError, match="flow 'f': its body raised KeyError"):
        f.visualize()


def test_parameters_are_bound_and_converted_as_for_a_run() -> None:
    @flow
    def f(n: int) -> None:
        for _ in range(n):
            load("x")

    assert len(f.visualize("3").boxes) == 3
    with pytest.raises(ParameterBindError):
        f.visualize()
    with pytest.raises(ValidationError):
        f.visualize("many")


def test_async_flows_are_drawn_from_plain_code_and_from_a_running_loop() -> None:
    @task
    async def fetch(x: int) -> int:
        raise AssertionError

    @flow
    async def f() -> None:
        found = await asyncio.gather(*[fetch(x) for x in range(2)])
        clean(found)

    async def around() -> Any:
        return f.visualize()

    for picture in (f.visualize(), asyncio.run(around())):
        assert arrows(picture) == {"fetch -> clean"}


def test_after_a_picture_and_beside_it_flows_run_as_ever() -> None:
    @task
    def add(x: int) -> int:
        return x + 1

    @flow
    def inner() -> int:
        return add(1)

    @flow
    def outer() -> tuple[int, int]:
        return len(inner.visualize().boxes), add(inner())

    assert outer() == (1, 3)


def test_a_picture_is_an_svg_for_notebooks_and_a_file(tmp_path: Path) -> None:
    @flow(name='a"b')
    def f() -> None:
        first = load("x")
        clean(clean(first), wait_for=[first])

    picture = f.visualize()
    root = ElementTree.fromstring(picture._repr_svg_())
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert texts == ["load", "clean", "clean"]
    assert picture.save(tmp_path / "f.svg").read_text() == picture.svg
    assert picture.save(str(tmp_path / "f.dot")).read_text().startswith('digraph "a\\"b" {')
    with pytest.raises(ConfigurationError, match=r"saved as \.svg or \.dot, not as 'f.png'"):
        picture.save(tmp_path / "f.png")


def test_a_flow_that_calls_nothing_is_an_empty_picture() -> None:
    @flow
    def f() -> None:
        return None

    ElementTree.fromstring(f.visualize().svg)
    assert repr(f.visualize()) == "<FlowPicture 'f': 0 boxes, 0 lines>"


def test_a_generator_yields_once_what_stands_for_its_values_or_what_it_is_said_to_yield() -> None:
    @task
    def rows() -> Any:
        raise AssertionError
        yield

    @task(viz_return_value=["a", "b"])
    async def words() -> Any:
        raise AssertionError
        yield

    @flow
    async def f() -> None:
        for row in rows():
            clean(row)
        async for word in words():
            load(word)

    picture = f.visualize()
    assert [box.label for box in picture.boxes] == ["rows", "clean", "words", "load", "load"]
    assert arrows(picture) == {"rows -> clean"}
