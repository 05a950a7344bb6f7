"""What stands in the graph of code for what is no object there, and what is noted of each thing in it."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from kept.fingerprint.syntax import File


class Outside(NamedTuple):
    """What comes with Python or is installed, by its name."""

    tag: str
    name: str


class State(NamedTuple):
    """What code changes itself, or what has no stable content, of which no statement is known: a type."""

    name: str


class Group(NamedTuple):
    """Several things that are reached together."""

    tag: str
    members: dict[str, Any]


class Whole(NamedTuple):
    """All that a module has."""

    space: dict[str, Any]


class Defined(NamedTuple):
    """The statements at the top of a module that has been loaded which bind a name."""

    space: dict[str, Any]
    name: str
    file: File
    statements: list[ast.stmt]


class StaticModule(NamedTuple):
    """A module of the user's as its file has it."""

    name: str
    file: File
    package: str


class Static(NamedTuple):
    """A name at the top of such a module."""

    module: StaticModule
    name: str


class Scope(NamedTuple):
    """Where code looks its names up."""

    space: dict[str, Any]
    looked_up: frozenset[str]
    cells: dict[str, Any]

    @property
    def package(self) -> str:
        """What relative imports start from."""
        package = self.space.get("__package__")
        return package if isinstance(package, str) else str(self.space.get("__name__", "")).rpartition(".")[0]


STAND_IN = (Outside, State, Group, Whole, Defined, StaticModule, Static)


class Info(NamedTuple):
    """What is to be told of one thing that was described."""

    name: str
    kind: str
    own: Any
    file: File | None
    node: Any
    where: str
    members: dict[str, Any]
