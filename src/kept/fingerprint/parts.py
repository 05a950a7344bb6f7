"""What is told of the things that code reaches, each by a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from blake3 import blake3

from kept.fingerprint import syntax
from kept.fingerprint.canonical import Node, fingerprint_with
from kept.fingerprint.kinds import is_code, is_ours, is_plain, items_of
from kept.fingerprint.plain import ATOMS, CONTAINERS, PLAIN_TYPES, plain_bytes
from kept.fingerprint.rules import describe
from kept.fingerprint.standins import STAND_IN, Info, State


class CodePart(NamedTuple):
    """One thing that code reaches."""

    name: str
    """The last name of its module and its own: "etl.clean"; a second one of the name ends in "#2"."""
    kind: str
    """"function", "class", "constant", "object", "module", "definition", "unknown"."""
    digest: str
    """Of this thing alone, without what it reaches."""
    where: str
    """File and line, "etl.py:14"; empty where nobody knows."""
    text: str
    """The source as it stands in the file, or a constant as it is shown."""
    reaches: tuple[str, ...]
    """The names of the parts that it reaches by itself."""


class CodeIdentity:
    """What a function is, and what it was found out from."""

    digest: str
    """Of the whole graph."""
    distributions: dict[str, str]
    """The versions of the installed distributions that it reaches, by their names."""
    key_parts: dict[str, str]
    """What of it goes into a key: `code`, and `dist.NAME` for each distribution."""

    def __init__(self, digest: str, distributions: dict[str, str], listing: Callable[[], tuple[CodePart, ...]]) -> None:
        self.digest = digest
        self.distributions = dict(sorted(distributions.items()))
        self.key_parts = {"code": digest, **{f"dist.{name}": each for name, each in self.distributions.items()}}
        self._listing = listing

    @cached_property
    def parts(self) -> tuple[CodePart, ...]:
        """What it reaches, itself first; made when somebody asks for it."""
        return self._listing()

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of parts of which nothing but a name or a type is known."""
        return tuple([part.name for part in self.parts if part.kind == "unknown"])

    def __repr__(self) -> str:
        return f"CodeIdentity({self.digest!r})"


class Listing:
    """Writes parts out of what was noted."""

    def __init__(self, infos: dict[int, Info], described: dict[int, tuple[Any, Node]], *held: Any) -> None:
        self._infos = infos
        self._described = described
        self._held = held  # so that nothing else comes to have the id of what was described
        self._names: dict[Any, str] = {}
        self._taken: dict[str, int] = {}
        self._queue: list[tuple[Any, Any]] = []

    def parts(self, root: Any) -> tuple[CodePart, ...]:
        """The parts of what was noted, from `root` on, nearer ones first."""
        for info in self._within(root, set()):
            self._name(id(info), info.name, info)
        return tuple([self._part(info) for _, info in self._queue])

    def _part(self, info: Any) -> CodePart:
        if isinstance(info, CodePart):
            return info
        reaches: list[str] = []
        for label, child in info.members.items():
            reaches.extend(self._reached(info, label, child))
        own = (info.own, *[(k, v) for k, v in sorted(info.members.items()) if k[0] == "=" and is_plain(v)])
        text = syntax.text_at(info.file, info.node) if info.file is not None else ""
        name = self._names[id(info)]
        return CodePart(name, info.kind, _digest_of(own), info.where, text, tuple(dict.fromkeys(reaches)))

    def _reached(self, owner: Info, label: str, child: Any) -> Iterator[str]:
        if type(child) in PLAIN_TYPES and plain_bytes(child) is not None:
            if label[0] != "=":
                yield self._constant(owner, label, "constant", _digest_of(child), _shown(child))
            return
        if type(child) is State:
            yield self._constant(owner, label, "unknown", "", child.name)
            return
        inner = list(self._within(child, set()))
        if not isinstance(child, STAND_IN) and id(child) not in self._infos and not is_wrapping(child):
            yield self._constant(owner, label, "object", _digest_of_object(child), _shown(child))
        for info in inner:
            yield self._name(id(info), info.name, info)

    def _constant(self, owner: Info, label: str, kind: str, digest: str, shown: str) -> str:
        stem = owner.name.partition(".")[0]
        name = label if "." in label else f"{stem}.{label}"
        return self._name((name, digest), name, CodePart(name, kind, digest, "", shown, ()))

    def _name(self, key: Any, name: str, info: Any) -> str:
        if key not in self._names:
            count = self._taken[name] = self._taken.get(name, 0) + 1
            self._names[key] = name if count == 1 else f"{name}#{count}"
            if isinstance(info, CodePart):
                info = info._replace(name=self._names[key])
            self._queue.append((key, info))
        return self._names[key]

    def _within(self, value: Any, seen: set[int]) -> Iterator[Info]:
        """What was noted of a value, or of the values in it."""
        stack = [value]
        while stack:
            each = stack.pop()
            if id(each) in seen or type(each) in ATOMS:
                continue
            seen.add(id(each))
            if id(each) in self._infos:
                yield self._infos[id(each)]
            elif id(each) in self._described:
                stack.extend(reversed(self._described[id(each)][1].children))
            elif type(each) in CONTAINERS:
                stack.extend(items_of(each))


_DIGITS = 16
_SHOWN = 200
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def is_wrapping(value: Any) -> bool:
    """Whether a value says what it wraps."""
    return hasattr(value, "__wrapped__")


def _digest_of(value: Any) -> str:
    encoded = plain_bytes(value)
    return blake3(repr(value).encode("utf-8", "replace") if encoded is None else encoded).hexdigest()[:_DIGITS]


def _digest_of_object(value: Any) -> str:
    """The digest of an object without the code in it, which has parts of its own."""
    try:
        return fingerprint_with(_without_code, value, "value", None)[-_DIGITS:]
    except Exception:  # an object may raise anything when it is looked at
        return _digest_of(_shown(value))


def _without_code(value: Any) -> Node:
    if is_code(value) or is_ours(type(value)):
        return Node("code", getattr(value, "__qualname__", ""))
    return describe(value)


def _shown(value: Any) -> str:
    try:
        shown = _ADDRESS.sub("", repr(value))
    except Exception:
        shown = f"<{type(value).__qualname__}>"
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
