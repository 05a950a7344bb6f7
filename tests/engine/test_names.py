"""Names of runs: generated ones, templates and functions."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from kept.engine.names import custom_name, storage_key, task_run_name, two_words
from kept.exceptions import ConfigurationError


def test_a_flow_run_is_named_by_two_words() -> None:
    for _ in range(200):
        assert re.fullmatch(r"[a-z]+-[a-z]+", two_words())


def test_names_differ() -> None:
    assert len({two_words() for _ in range(100)}) > 50


def test_names_neither_follow_nor_disturb_the_seed_of_the_users_random_numbers() -> None:
    def drawn() -> tuple[str, float]:
        random.seed(1)
        return "".join(two_words() for _ in range(5)), random.random()

    (names, number), (other_names, same_number) = drawn(), drawn()
    assert names != other_names
    assert number == same_number


def test_a_task_run_is_named_by_task_and_id() -> None:
    assert task_run_name("add_one", "d85f0000-1111") == "add_one-d85"


def test_a_template_is_filled_with_the_parameters() -> None:
    assert custom_name("{x:>3}-{day[0]}", {"x": 1, "day": ["mon"]}, "task 't'") == "  1-mon"


def test_a_function_without_arguments_gives_the_name() -> None:
    assert custom_name(lambda: "mine", {"x": 1}, "task 't'") == "mine"


def test_a_function_may_ask_for_the_parameters() -> None:
    def named(parameters: dict[str, Any]) -> str:
        return f"x is {parameters['x']}"

    assert custom_name(named, {"x": 1}, "task 't'") == "x is 1"


def test_a_name_function_can_not_change_the_parameters_of_the_run() -> None:
    given = {"x": 1}

    def meddle(parameters: dict[str, Any]) -> str:
        parameters.clear()
        return "n"

    custom_name(meddle, given, "task 't'")
    assert given == {"x": 1}


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{y}", "task 't'.*'{y}'.*'y'.*x, flow_run, task_run"),
        ("{", "can't be filled in"),
        ("{x.nothing}", "nothing"),
        ("{x[0]}", "can't be filled in"),
        ("{}", "can't be filled in"),
    ],
)
def test_a_template_that_can_not_be_filled_says_what_it_can_name(template: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        custom_name(template, {"x": 1}, "task 't'")


def test_a_function_that_raises_or_gives_no_text_is_named() -> None:
    with pytest.raises(ConfigurationError, match="function of task 't' raised ZeroDivisionError"):
        custom_name(lambda: 1 / 0, {}, "task 't'")
    with pytest.raises(ConfigurationError, match="task 't' came out as 7; it has to be a string"):
        custom_name(lambda: 7, {}, "task 't'")


def test_a_storage_key_names_parameters() -> None:
    assert storage_key("hello-{parameters[name]}.pickle", {"name": "ada"}, "task 't'") == "hello-ada.pickle"
    with pytest.raises(ConfigurationError, match=r"result_storage_key of task 't'.*parameters"):
        storage_key("{name}", {"name": "ada"}, "task 't'")
