"""Why a run was a hit, a miss or neither, from the parts of its key and those of the nearest kept result.

Pure functions of what is known; `engine.explaining` finds that out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kept.engine.code_changes import bare_source, diff_of
from kept.engine.plan import ago
from kept.fingerprint import CodePart
from kept.utilities.remembered import recalled

CodeOf = Callable[[str], Sequence[CodePart]]
"""Gives the parts of the code that a digest stands for; none if nobody knows."""

_SHOWN = 3
"""How many differences a line shows."""
_WIDTH = 60
"""How long a value may be in a line."""
_DIGEST = ("b3:", "b3p:")


class Kept(NamedTuple):
    """A result that was kept, as far as it explains anything."""

    key: str
    parts: Mapping[str, str]
    """The named parts of its key."""
    at: float
    """When it was kept, in seconds since the epoch."""
    seconds: float
    """How long computing it took."""
    run: str
    """The name of the task run, or flow run, that computed it."""
    flow_run: str
    """The name of the flow run around; empty if there was none."""
    arguments: Mapping[str, str] = {}
    """Those that were remembered, as literals of Python."""

    @property
    def who(self) -> str:
        """The run in words: that of the flow, which is what people know, or else its own."""
        return f"run {(self.flow_run or self.run)!r}"


class Difference(NamedTuple):
    """One thing that is not as it was when the nearest result was kept."""

    what: str
    """`code.etl.clean`, `inputs.cfg['lr']`, `dist.numpy`."""
    how: str
    """ "changed", "added" or "removed"."""
    old: str = ""
    """What it was, as text; empty if that is not known or too long."""
    new: str = ""
    where: str = ""
    """Where the code is: `etl.py:14`."""
    diff: str = ""
    """How the code changed, as a unified diff without comments, docstrings and annotations."""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        if self.old and self.new:
            return f"{self.what} {_short(self.old)} -> {_short(self.new)}{place}"
        return f"{self.what} {self.how}{place}"


class Explanation(NamedTuple):
    """What was or would be decided about a call, and why. `print` shows all of it, `.line` the short form."""

    decision: str
    """ "HIT", "MISS" or "OFF"."""
    reason: str
    """The rule that decided, as a phrase."""
    of: str
    """The task, as `module.qualname`, or the flow by its name."""
    now: float
    """When it was decided, in seconds since the epoch."""
    key: str | None = None
    parts: Mapping[str, str] = {}
    """The named parts of the key."""
    run: str = ""
    """The name of the run, if there was one."""
    flow_run: str = ""
    """The name of the flow run around it."""
    state: str = ""
    """The name of the state that the run ended in."""
    nearest: Kept | None = None
    """The kept result: of a hit the one that is used, of a miss the one that is most like it."""
    differences: tuple[Difference, ...] = ()
    """What differs from the nearest kept result."""
    not_compared: tuple[str, ...] = ()
    """Parts that only one of both keys has."""
    saved: float = 0.0
    """The seconds that a hit saves."""

    @property
    def line(self) -> str:
        """One line, as the log shows it."""
        return f"{self.decision}: {'; '.join(self._phrases(_SHOWN))}"

    @property
    def age(self) -> float:
        """How long the nearest result had been kept then, in seconds."""
        return max(0.0, self.now - self.nearest.at) if self.nearest else 0.0

    def _phrases(self, shown: int) -> Iterator[str]:
        """Why, and what is known of the kept result."""
        kept = self.nearest
        if self.decision == "HIT":
            origin = f" {ago(self.age)} in {kept.who}, which took {seconds(kept.seconds)}" if kept else ""
            yield f"{self.reason}{'' if self.reason == 'kept' or kept is None else '; kept'}{origin}"
        elif kept is None:
            first = self.decision == "MISS" and self.reason == NOT_KEPT
            yield f"{self.reason}, and nothing else of this step is known" if first else self.reason
        elif self.differences or self.not_compared:
            yield self._said(shown)
            yield f"nearest kept result is from {ago(self.age)}, {kept.who}"
        else:
            yield f"kept {ago(self.age)} in {kept.who}, and not there any more"

    def _said(self, shown: int) -> str:
        said = [str(one) for one in self.differences[:shown]]
        if len(self.differences) > shown:
            said.append(f"{len(self.differences) - shown} more")
        if not said:
            return f"nothing that both have differs, not compared: {', '.join(self.not_compared)}"
        return ", ".join(said)

    def __str__(self) -> str:
        failed = self.state if self.state not in ("Completed", "Cached") else ""
        rows = [" ".join(filter(None, (self.decision, self.of, self.run, failed)))]
        if not self.differences:
            rows += [f"  {phrase}" for phrase in self._phrases(0)]
        else:
            *_, nearest = self._phrases(0)
            rows += [f"  {self.reason}; {nearest}"]
        for one in self.differences:
            rows += [f"  - {one}", *(f"      {row}" for row in one.diff.splitlines())]
        if self.differences and self.not_compared:
            rows.append(f"  not compared, as only one of both keys has it: {', '.join(self.not_compared)}")
        if self.saved:
            rows.append(f"  saved {seconds(self.saved)}")
        if self.key:
            rows.append(f"  key {self.key}")
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain values, for JSON."""
        return {
            **self._asdict(),
            "parts": dict(self.parts),
            "line": self.line,
            "nearest": self.nearest and {**self.nearest._asdict(), "parts": dict(self.nearest.parts)},
            "differences": [one._asdict() for one in self.differences],
        }


NOT_KEPT = "not kept yet"
"""The reason of a miss for which there is nothing under the key."""


def nearest_of(parts: Mapping[str, str], candidates: Iterable[Kept]) -> Kept | None:
    """The kept result whose key is most like these parts: with the fewest differences, the latest of those."""
    return min(candidates, key=lambda kept: (_distance(parts, kept.parts), -kept.at), default=None)


def _distance(parts: Mapping[str, str], others: Mapping[str, str]) -> int:
    return sum(parts.get(name) != others.get(name) for name in parts.keys() | others.keys())


def compared(
    parts: Mapping[str, str], arguments: Mapping[str, str], kept: Kept, code_of: CodeOf
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """What differs between a key and that of a kept result, code first; and what only one of them has.

    Arguments:
        arguments: those of the call that are remembered, as literals of Python.
    """
    changed = [name for name in parts if name in kept.parts and parts[name] != kept.parts[name]]
    differences = [
        one
        for name in sorted(changed, key=lambda name: not is_code(name))
        for one in _differences(name, kept, parts[name], arguments, code_of)
    ]
    return tuple(differences), tuple(sorted(parts.keys() ^ kept.parts.keys()))


def is_code(name: str) -> bool:
    """Whether a part of a key of this name is the digest of code."""
    return name == "code" or name.startswith("code.")


def _differences(
    name: str, kept: Kept, part: str, arguments: Mapping[str, str], code_of: CodeOf
) -> Iterable[Difference]:
    """What differs in one part."""
    before = kept.parts[name]
    if is_code(name):
        return code_differences(code_of(before), code_of(part)) or [Difference(name, "changed")]
    argument = name.removeprefix("inputs.")
    old, new = kept.arguments.get(argument), arguments.get(argument)
    if name != argument and old is not None and new is not None and old != new:
        return _value_differences(name, recalled(old), recalled(new))
    if before.startswith(_DIGEST) or part.startswith(_DIGEST):
        return [Difference(name, "changed")]
    return [Difference(name, "changed", before, part)]


def code_differences(before: Sequence[CodePart], after: Sequence[CodePart]) -> list[Difference]:
    """What differs between two versions of the code of one step; nothing if one of them is not known."""
    if not (before and after):
        return []
    old, new = ({part.name: part for part in parts} for parts in (before, after))
    moved = {part.digest for part in before} & {part.digest for part in after}
    changed = [_changed(old[name], new[name]) for name in new if name in old and old[name].digest != new[name].digest]
    added = [_one_sided(part, "added") for part in after if part.name not in old and part.digest not in moved]
    removed = [_one_sided(part, "removed") for part in before if part.name not in new and part.digest not in moved]
    return [*changed, *added, *removed]


def _changed(old: CodePart, new: CodePart) -> Difference:
    is_value = new.kind in _VALUES and old.kind in _VALUES
    texts = (old.text, new.text) if is_value and old.text != new.text else ("", "")
    diff = "" if is_value else diff_of(bare_source(old.text), bare_source(new.text))
    return Difference(f"code.{new.name}", "changed", *texts, where=new.where, diff=diff)


_VALUES = ("constant", "object", "module")


def _one_sided(part: CodePart, how: str) -> Difference:
    return Difference(f"code.{part.name}", how, where=part.where)


def _value_differences(path: str, old: Any, new: Any) -> list[Difference]:
    """The places at which two plain values differ."""
    if type(old) is type(new) and isinstance(old, dict):
        changed = [_value_differences(_step(path, key), old[key], new[key]) for key in new if key in old]
        added = [Difference(_step(path, key), "added", new=repr(new[key])) for key in new if key not in old]
        removed = [Difference(_step(path, key), "removed", old=repr(old[key])) for key in old if key not in new]
        return [one for found in (*changed, added, removed) for one in found]
    if type(old) is type(new) and isinstance(old, (list, tuple)) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [one for at, pair in enumerate(pairs) for one in _value_differences(_step(path, at), *pair)]
    texts = repr(old), repr(new)
    return [Difference(path, "changed", *texts)] if texts[0] != texts[1] else []


def _step(path: str, key: Any) -> str:
    """The way to an element, or to a field, which is remembered with its dot."""
    return f"{path}{key}" if isinstance(key, str) and key.startswith(".") else f"{path}[{key!r}]"


def seconds(length: float) -> str:
    """A length of time, short.

    >>> seconds(75.3), seconds(0.0042)
    ('75 s', '4.2 ms')
    """
    if length >= 10:
        return f"{length:,.0f} s"
    return f"{length:.1f} s" if length >= 0.1 else f"{length * 1000:.1f} ms"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
