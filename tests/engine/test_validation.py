"""Flow parameters against their annotations."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

pydantic = pytest.importorskip("pydantic")

from pydantic import BaseModel, Field  # noqa: E402

from kept import flow, task  # noqa: E402
from kept.engine.validation import validated  # noqa: E402
from kept.exceptions import ParameterTypeError, ValidationError  # noqa: E402
from kept.states import Completed  # noqa: E402

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Point(BaseModel):
    x: int
    y: int = 0


@dataclasses.dataclass
class Size:
    width: int
    height: int


class Handle:
    """A type that pydantic knows nothing of."""


def check(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    spec = flow(function).spec
    return validated(spec, spec.binder.bind(args, kwargs))


def test_a_value_of_its_type_is_passed_on_itself() -> None:
    def f(point: Point, numbers: list[int], anything: Any, unannotated) -> None: ...  # type: ignore[no-untyped-def]

    point, numbers, thing = Point(x=1), [1, 2], object()
    found = check(f, point, numbers, thing, thing)
    assert found["point"] is point
    assert found["anything"] is thing
    assert found["unannotated"] is thing
    assert found["numbers"] == numbers


def test_values_are_converted_to_what_their_annotations_say() -> None:
    def f(n: int, x: float, when: date, where: Path, point: Point, size: Size, some: list[int] | None) -> None: ...

    found = check(f, "1", "2.5", "2024-02-29", "/tmp", {"x": "3"}, {"width": 1, "height": "2"}, ("4", 5))
    assert found == {
        "n": 1,
        "x": 2.5,
        "when": date(2024, 2, 29),
        "where": Path("/tmp"),
        "point": Point(x=3),
        "size": Size(1, 2),
        "some": [4, 5],
    }


def test_constraints_and_choices_count() -> None:
    def f(n: Annotated[int, Field(gt=0)], how: Literal["fast", "slow"] = "fast") -> None: ...

    assert check(f, 1, "slow") == {"n": 1, "how": "slow"}
    with pytest.raises(ValidationError, match=r"n: .*greater than 0"):
        check(f, 0)
    with pytest.raises(ValidationError, match=r"how: .*'fast' or 'slow'"):
        check(f, 1, "medium")


def test_an_error_names_the_flow_each_parameter_and_its_problem() -> None:
    @flow(name="load sales")
    def f(n: int, point: Point, name: str) -> None: ...

    with pytest.raises(ValidationError) as raised:
        f("many", {"x": 1, "y": "up"}, "ok")
    message = str(raised.value)
    assert "'load sales'" in message
    assert "n: Input should be a valid integer" in message
    assert "point.y: Input should be a valid integer" in message
    assert "'many'" in message
    assert "name:" not in message


def test_the_error_is_the_documented_one() -> None:
    @flow
    def f(n: int) -> None: ...

    with pytest.raises(ParameterTypeError, match="invalid parameters"):
        f("many")
    with pytest.raises(ValueError, match="invalid parameters"):
        f("many")


def test_a_flow_with_wrong_parameters_fails_and_its_function_is_not_called() -> None:
    called: list[Any] = []

    @flow
    def f(n: int) -> None:
        called.append(n)

    state = f("many", return_state=True)
    assert state.is_failed()
    assert called == []


def test_a_number_is_not_taken_for_a_string() -> None:
    def f(name: str) -> None: ...

    with pytest.raises(ValidationError, match="name: Input should be a valid string"):
        check(f, 1)


def test_a_bool_is_not_kept_where_an_int_is_asked_for() -> None:
    def f(n: int) -> None: ...

    assert type(check(f, True)["n"]) is int


def test_a_default_that_does_not_fit_is_what_the_author_wrote() -> None:
    def f(day: date = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert check(f) == {"day": None}


def test_an_annotation_that_is_there_for_type_checkers_only_is_passed_over() -> None:
    def f(thing: Unknown, n: int) -> None: ...

    assert check(f, "anything", 1) == {"thing": "anything", "n": 1}


def test_a_class_that_pydantic_does_not_know_is_checked_by_isinstance() -> None:
    def f(handle: Handle) -> None: ...

    handle = Handle()
    assert check(f, handle)["handle"] is handle
    with pytest.raises(ValidationError, match=r"handle: .*instance of Handle"):
        check(f, "other")


def test_stars_are_passed_on_as_they_are() -> None:
    def f(n: int, *args: int, **kwargs: int) -> None: ...

    assert check(f, "1", "2", z="3") == {"n": 1, "args": ("2",), "kwargs": {"z": "3"}}


def test_a_state_is_not_validated_in_place_of_its_value() -> None:
    def f(n: int) -> None: ...

    state = Completed(data=1)
    assert check(f, state)["n"] is state


def test_the_value_of_a_future_is_what_is_validated() -> None:
    @task
    def number() -> str:
        return "7"

    @flow
    def inner(n: int) -> int:
        return n

    @flow
    def outer() -> int:
        return inner(number.submit())  # type: ignore[arg-type]

    assert outer() == 7


def test_the_check_can_be_turned_off() -> None:
    @flow(validate_parameters=False)
    def f(n: int) -> Any:
        return n

    assert f("many") == "many"  # type: ignore[arg-type]


def test_a_long_value_is_shortened_in_the_error() -> None:
    def f(n: int) -> None: ...

    with pytest.raises(ValidationError) as raised:
        check(f, "x" * 1000)
    assert len(str(raised.value)) < 400


def test_a_flow_whose_values_fit_does_not_import_pydantic() -> None:
    program = (
        "import sys\n"
        "from kept import flow\n"
        "@flow\n"
        "def f(a: int, b: str = 'x', c: float = 1.0): return a\n"
        "assert f(1) == 1\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_a_default_is_taken_as_it_stands() -> None:
    @flow
    def started(day: date = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013
        return day

    assert started() is None
    assert started("2026-11-22") == date(2026, 11, 22)
