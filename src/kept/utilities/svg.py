"""Small directed graphs as SVG, without a library: each one that draws needs a program installed or a browser.

Boxes stand in rows by their longest way from a start (Sugiyama, Tagawa, Toda: "Methods for visual understanding of
hierarchical system structures", 1981), and within a row near the mean place of what they follow.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

_HEIGHT, _GAP, _ROW, _MARGIN, _LETTER = 34, 28, 84, 20, 7.8

_STYLE = """
text { font: 13px ui-monospace, monospace; text-anchor: middle; fill: #1b1f24 }
rect { fill: #eef3fb; stroke: #4a6fa5; rx: 7px }
rect.outer { fill: none }
path { fill: none; stroke: #6b7280; stroke-width: 1.3; marker-end: url(#tip) }
path.wait { stroke-dasharray: 5 4 }
marker path { fill: #6b7280; stroke: none; marker-end: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } rect { fill: #1c2a3d; stroke: #7aa2dc } path { stroke: #9aa4b2 } marker path { fill: #9aa4b2 }
}
"""


class Box(NamedTuple):
    """A node."""

    label: str
    double: bool = False
    """Whether its border is double: it has an inside of its own."""


class Line(NamedTuple):
    """An edge, from and to a place in the list of boxes; never backwards."""

    start: int
    end: int
    dashed: bool = False


# Where a line passes through a row.
_LANE = Box("")


class _Place(NamedTuple):
    left: float
    top: float
    width: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def svg_of(title: str, boxes: list[Box], lines: list[Line]) -> str:
    """The graph as an SVG document.

    >>> svg_of("f", [Box("a"), Box("b")], [Line(0, 1)]).count("<rect")
    2
    """
    depth = _depth(len(boxes), lines)
    ways = _ways(depth, lines)
    places = _places([*boxes, *[_LANE] * (len(depth) - len(boxes))], _rows(depth, ways))
    width = max((p.left + p.width for p in places), default=0) + _MARGIN
    height = max((p.top + _HEIGHT for p in places), default=0) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_escaped(title)}</title><style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        *(_curve([places[i] for i in way], line.dashed) for way, line in zip(ways, lines, strict=True)),
        *(_box(box, place) for box, place in zip(boxes, places, strict=False)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def dot_of(title: str, boxes: list[Box], lines: list[Line]) -> str:
    """The graph in the language of Graphviz.

    >>> print(dot_of("f", [Box("a"), Box("b", double=True)], [Line(0, 1, dashed=True)]))
    digraph "f" {
      0 [shape=box, label="a"]
      1 [shape=box, label="b", peripheries=2]
      0 -> 1 [style=dashed]
    }
    <BLANKLINE>
    """
    nodes = [
        f"{number} [shape=box, label={_quoted(box.label)}{', peripheries=2' if box.double else ''}]"
        for number, box in enumerate(boxes)
    ]
    edges = [f"{line.start} -> {line.end}{' [style=dashed]' if line.dashed else ''}" for line in lines]
    return "\n  ".join([f"digraph {_quoted(title)} {{", *nodes, *edges]) + "\n}\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")  # `html.escape` would cost each start of kept 3 ms


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _depth(count: int, lines: list[Line]) -> list[int]:
    """The row of each box: its longest way from a start."""
    depth = [0] * count
    for line in sorted(lines, key=lambda line: line.end):
        depth[line.end] = max(depth[line.end], depth[line.start] + 1)
    return depth


def _ways(depth: list[int], lines: list[Line]) -> list[list[int]]:
    """The places that each line goes through: one in each row between its ends, appended to `depth`, so as to pass
    beside the boxes there."""
    ways = []
    for line in lines:
        between = range(depth[line.start] + 1, depth[line.end])
        ways.append([line.start, *range(len(depth), len(depth) + len(between)), line.end])
        depth.extend(between)
    return ways


def _rows(depth: list[int], ways: list[list[int]]) -> list[list[int]]:
    """The boxes of each row, near what they follow."""
    before: dict[int, list[int]] = {}
    for way in ways:
        for one, next_one in itertools.pairwise(way):
            before.setdefault(next_one, []).append(one)
    order: dict[int, float] = {}
    rows: list[list[int]] = []
    for number in range(max(depth, default=-1) + 1):
        row = [box for box, at in enumerate(depth) if at == number]
        row.sort(key=lambda box: _mean([order[one] for one in before.get(box, ())], box))
        # Counted from the middle, since rows are centred.
        order.update({box: at - len(row) / 2 for at, box in enumerate(row)})
        rows.append(row)
    return rows


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _places(boxes: list[Box], rows: list[list[int]]) -> list[_Place]:
    widths = [len(box.label) * _LETTER + 28 if box.label else 0.0 for box in boxes]
    lengths = [sum(widths[box] for box in row) + _GAP * (len(row) - 1) for row in rows]
    places: dict[int, _Place] = {}
    for number, row in enumerate(rows):
        left = _MARGIN + (max(lengths) - lengths[number]) / 2
        for box in row:
            places[box] = _Place(left, _MARGIN + number * _ROW, widths[box])
            left += widths[box] + _GAP
    return [places[box] for box in range(len(boxes))]


def _curve(way: list[_Place], dashed: bool) -> str:
    path = f"M{way[0].middle:.1f} {way[0].top + _HEIGHT:.1f}"
    for start, end in itertools.pairwise(way):
        y, z = start.top + _HEIGHT, end.top
        half = (y + z) / 2
        path += f"C{start.middle:.1f} {half:.1f} {end.middle:.1f} {half:.1f} {end.middle:.1f} {z:.1f}"
        path += f"V{z + _HEIGHT:.1f}" if end is not way[-1] else ""
    kind = ' class="wait"' if dashed else ""
    return f'<path{kind} d="{path}"/>'


def _box(box: Box, at: _Place) -> str:
    def rect(grow: int, kind: str) -> str:
        return (
            f'<rect{kind} x="{at.left - grow:.1f}" y="{at.top - grow}" width="{at.width + 2 * grow:.1f}" '
            f'height="{_HEIGHT + 2 * grow}"/>'
        )

    border = rect(3, ' class="outer"') if box.double else ""
    text = f'<text x="{at.middle:.1f}" y="{at.top + _HEIGHT / 2 + 4.5:.1f}">{_escaped(box.label)}</text>'
    return f"{border}{rect(0, '')}{text}"
