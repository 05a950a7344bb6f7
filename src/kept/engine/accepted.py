"""Changes of code that the author says change no result: a digest of new code stands for the one that was kept.

Each is a line of JSON in one file, small enough to be read, and to be part of a repository:

    {"task": "etl.clean", "code": "b3:...", "as": "b3:...", "by": "ada", "at": "2026-11-29T18:00:00Z", "reason": "."}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from kept.exceptions import ConfigurationError

_log = logging.getLogger("kept.cache")
_FIELDS = ("task", "code", "as", "by", "at", "reason")
_NONE: Mapping[str, str] = {}
# By path: what tells one content of the file from another, and what it says.
_read: dict[Path, tuple[tuple[int, int, int], Mapping[str, str]]] = {}


class Accepted(NamedTuple):
    """One accepted change."""

    task: str
    """As `module.qualname`."""
    code: str
    """The digest of the new code."""
    stands_for: str
    """The digest of the code that earlier results were kept under."""
    by: str
    """Who says so."""
    at: str
    """When, as ISO 8601 has it."""
    reason: str


def accepted_codes(path: Path) -> Mapping[str, str]:
    """What each accepted digest stands for in the end. Trouble with the file is told; then nothing is accepted."""
    try:
        stat = path.stat()
    except OSError:
        return _NONE
    state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    known = _read.get(path)
    if known is None or known[0] != state:
        try:
            codes = in_the_end(read_accepted(path))
        except ConfigurationError as error:
            _log.warning("No change of code counts as accepted: %s", error)
            codes = _NONE
        known = _read[path] = state, codes
    return known[1]


def in_the_end(accepted: Iterable[Accepted]) -> Mapping[str, str]:
    """What each digest stands for, along chains; what leads back to itself stands for nothing else."""
    steps = {one.code: one.stands_for for one in accepted}
    ends = {}
    for code in steps:
        end, seen = code, {code}
        while (after := steps.get(end)) is not None and after not in seen:
            end = after
            seen.add(end)
        ends[code] = end
    return {code: end for code, end in ends.items() if code != end}


def read_accepted(path: Path) -> list[Accepted]:
    """All accepted changes, in the order of the file. Raises `ConfigurationError` if they can't be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}. Make it readable, or delete it.") from error
    return [_parsed(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def write_accepted(path: Path, accepted: Iterable[Accepted]) -> None:
    """Make these all accepted changes, in one step. Raises `ConfigurationError` if that can't be."""
    path = path.resolve()
    draft = path.with_name(f".{path.name}.draft")
    rows = [json.dumps(dict(zip(_FIELDS, one, strict=True)), ensure_ascii=False) for one in accepted]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written: {error.strerror}. Make it writable, or set KEPT_CACHE_ACCEPTED_PATH."
        ) from error


def _parsed(line: str, where: str) -> Accepted:
    try:
        values = json.loads(line)
        fields = [values[name] for name in _FIELDS]
    except (ValueError, KeyError, TypeError):
        fields = []
    if not fields or not all(isinstance(field, str) for field in fields):
        raise ConfigurationError(
            f"{where} is no accepted change, which is JSON with {', '.join(_FIELDS)}: correct it there, or delete it."
        )
    return Accepted(*fields)
