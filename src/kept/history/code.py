"""What code is, as it may be written down: the parts of a code identity as JSON, without what looks secret in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kept.fingerprint import CodePart
from kept.utilities.remembered import looks_secret, masked


def written(parts: Iterable[CodePart]) -> str:
    """The parts as text."""
    return json.dumps([shown(part) for part in parts])


def read(text: str | bytes) -> tuple[CodePart, ...]:
    """The parts that were written. Raises `ValueError` or `TypeError` for another text."""
    return tuple([_part(*fields) for fields in json.loads(text)])


def shown(part: CodePart) -> CodePart:
    """A part as people may see it: values that look secret by their names are hidden."""
    if part.kind in ("constant", "object") and looks_secret(part.name.rpartition(".")[2]):
        return part._replace(text="********")
    return part._replace(text=masked(part.text))


def _part(*fields: Any) -> CodePart:
    *others, reaches = fields
    return CodePart._make((*others, tuple(reaches)))
