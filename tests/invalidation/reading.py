"""From the text of a case to the project before and after the edit; the format is told in `__init__.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "cases"


class Version(NamedTuple):
    """A project at one of its two times."""

    options: tuple[tuple[str, str], ...]
    files: dict[str, str]

    def option(self, name: str, default: str) -> str:
        return dict(self.options).get(name, default)

    def options_named(self, name: str) -> list[str]:
        return [value for known, value in self.options if known == name]


class Case(NamedTuple):
    """A project, its edit, and what must follow."""

    topic: str
    name: str
    reruns: bool
    before: Version
    after: Version

    def __str__(self) -> str:
        return f"{self.topic}: {self.name}"


def all_cases() -> list[Case]:
    """Those of all files, in the order of their names."""
    return [case for path in sorted(FOLDER.glob("*.diff")) for case in cases_of(path.stem, path.read_text("utf-8"))]


def cases_of(topic: str, text: str) -> Iterator[Case]:
    for block in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, _, body = block.partition("\n")
        name, _, decision = title.rpartition(": ")
        if decision not in ("reruns", "hits"):
            raise ValueError(f"The title of a case ends with ': reruns' or ': hits', this one does not: {title!r}")
        yield Case(topic, name, decision == "reruns", _version(body, "-"), _version(body, "+"))


def _version(body: str, sign: str) -> Version:
    options: list[tuple[str, str]] = []
    files: dict[str, list[str]] = {}
    elsewhere: set[str] = set()
    """Files with lines of the other time."""
    current = ""
    for line in body.splitlines():
        if line.startswith("--- "):
            current = line[4:]
            files[current] = []
        elif line[:1] not in ("", " ", "-", "+") or line[1:2] not in ("", " "):
            raise ValueError(f"A line of a case begins with two blanks, '- ' or '+ ', this one does not: {line!r}")
        elif current and line[:1] not in ("", " ", sign):
            elsewhere.add(current)
        elif current:
            files[current].append(line[2:])
        elif line.strip() and line[0] in (" ", sign):
            name, _, value = line[2:].partition(": ")
            options.append((name, value))
    texts = {name: "\n".join(lines).strip("\n") + "\n" for name, lines in files.items()}
    return Version(
        tuple(options), {name: text for name, text in texts.items() if text.strip() or name not in elsewhere}
    )
