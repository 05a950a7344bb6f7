"""Small values as text: what is remembered of arguments, and what never is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from kept.utilities.remembered import masked, recalled, remembered


def told(value: Any, name: str = "x") -> str | None:
    return (remembered({name: value}, {f"inputs.{name}": "b3:1"}) or {}).get(name)


@pytest.mark.parametrize("value", [None, True, 5, -0.5, 1j, "a'b", b"\0", [1, (2, {"a": {3}})], {}, {1: None}])
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    text = told(value)
    assert text is not None
    assert recalled(text) == value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 301,
        b"x" * 301,
        10**400,
        list(range(1000)),
        {n: n for n in range(200)},
        [["x" * 200, "y" * 200]],
        "\0" * 90,
    ],
    ids=["text", "bytes", "number", "list", "dict", "nested", "escapes"],
)
def test_large_values_are_not_remembered(value: Any) -> None:
    assert told(value) is None


def test_a_container_that_holds_itself_is_not_remembered() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert told(loop) is None


@pytest.mark.parametrize("value", [object(), SecretStr("hush"), [SecretStr("hush")], range(3), type], ids=repr)
def test_other_objects_are_not_remembered(value: Any) -> None:
    assert told(value) is None


@dataclasses.dataclass(frozen=True)
class Config:
    lr: float = 0.1
    layers: tuple[int, ...] = (3, 4)


class Model(BaseModel):
    lr: float = 0.1


class Login(BaseModel):
    user: str = "ada"
    password: str = "hush"


class Key(BaseModel):
    value: SecretStr = SecretStr("hush")


def test_small_dataclasses_and_models_are_remembered_by_their_fields() -> None:
    assert told(Config()) == "{'.lr': 0.1, '.layers': (3, 4)}"
    assert told(Model()) == "{'.lr': 0.1}"
    assert told(Login()) is told(Key()) is None
    assert told([Config()]) is None


@pytest.mark.parametrize("name", "password DB_PASSWORD secret auth_token key api_key apiKey keys credentials".split())
def test_what_looks_secret_by_its_name_is_not_remembered(name: str) -> None:
    assert told("hush", name) is None
    assert told({"host": "h", name: "hush"}) is None
    assert told([{name: 1}]) is None


@pytest.mark.parametrize("name", "monkey keyboard author pinned day x".split())
def test_names_that_only_contain_such_a_word_are(name: str) -> None:
    assert told(1, name) == "1"


def test_an_address_with_a_password_is_not_remembered() -> None:
    assert told("postgres://ada:hush@db/x") is None
    assert told("https://example.com/x") is not None


def test_arguments_that_are_no_part_of_the_key_are_not_remembered() -> None:
    assert remembered({"x": 1, "debug": True}, {"inputs.x": "b3:1"}) == {"x": "1"}
    assert remembered({"debug": True}, {"code": "b3:1"}) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("TOKEN = 'hush'", "TOKEN = '********'"),
        ('def f(password: str = "hush"): ...', 'def f(password: str = "********"): ...'),
        ("{'api_key': 'hush', 'host': 'h'}", "{'api_key': '********', 'host': 'h'}"),
        ("os.environ['SECRET'] = b'hush'", "os.environ['SECRET'] = b'********'"),
        ("open('postgres://ada:hush@db/x')", "open('postgres://ada:********@db/x')"),
        ("rows.sort(key='day', monkey='banana')", "rows.sort(key='day', monkey='banana')"),
        ("token = read(path)", "token = read(path)"),
    ],
)
def test_source_is_shown_without_strings_that_look_secret(text: str, shown: str) -> None:
    assert masked(text) == shown
