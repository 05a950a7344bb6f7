"""Annotations: notes on how an argument is to be treated."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from kept.utilities.annotations import BaseAnnotation, allow_failure, freeze, opaque, quote, unmapped

ALL = (unmapped, allow_failure, quote, opaque, freeze)


@pytest.mark.parametrize("kind", ALL)
def test_it_gives_back_what_it_was_given(kind: Any) -> None:
    value = [1, 2]
    assert kind(value).unwrap() is value
    assert kind(value).value is value


@pytest.mark.parametrize("kind", ALL)
def test_it_can_be_put_around_another_value(kind: Any) -> None:
    other = kind(1).rewrap(2)
    assert type(other) is kind
    assert other.unwrap() == 2


def test_two_are_equal_when_kind_and_value_are() -> None:
    assert unmapped(1) == unmapped(1)
    assert unmapped(1) != unmapped(2)
    assert unmapped(1) != quote(1)
    assert len({quote(1), quote(1), opaque(1)}) == 2


def test_it_shows_its_kind_and_value() -> None:
    assert [repr(kind("x")) for kind in ALL] == [
        "unmapped('x')",
        "allow_failure('x')",
        "quote('x')",
        "opaque('x')",
        "freeze('x')",
    ]


def test_what_is_frozen_can_be_had() -> None:
    assert freeze(1).unfreeze() == 1


def test_quotes_can_be_taken_off() -> None:
    assert quote([1]).unquote() == [1]


def test_all_are_annotations_and_none_is_another() -> None:
    for kind in ALL:
        assert isinstance(kind(1), BaseAnnotation)
        assert [other for other in ALL if issubclass(kind, other)] == [kind]


@pytest.mark.parametrize("kind", ALL)
def test_it_can_be_pickled(kind: Any) -> None:
    assert pickle.loads(pickle.dumps(kind((1, "a")))) == kind((1, "a"))
