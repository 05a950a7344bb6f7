"""Plots as inline SVG.

They carry classes and no colours: the page's style sheet gives those, so that a plot follows the page from
light to dark. Lengths are in the SVG's own units, which are pixels when it is shown at its full width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .markup import element, text

WIDTH = 440
# What a character takes on average at the style sheet's 12 px in a wide font; most are narrower.
CHARACTER = 7.4
LINE = 16
# The size of the names in a scatter plot, as part of that of other text.
NAME_SIZE = 11 / 12
# A label that would cover so many points of a scatter plot is left out.
CROWD = 2


@dataclass(frozen=True, kw_only=True)
class Bar:
    label: str
    values: tuple[float, ...]
    """One for each series, stacked in this order."""


@dataclass(frozen=True, kw_only=True)
class Point:
    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def stacked_bars(title: str, bars: Sequence[Bar], *, series: Sequence[str], axis: str) -> str:
    """Horizontal bars, one a row, with their sum at the end; a legend when there is more than one series."""
    row, thickness = 23, 14
    top = 30 if len(series) > 1 else 6
    ends = [_number(sum(bar.values)) for bar in bars]
    plot = Box(
        left=_width_of(max((bar.label for bar in bars), key=len, default="")) + 8,
        top=top,
        right=WIDTH - _width_of(max(ends, key=len, default="")) - 8,
        bottom=top + row * len(bars),
    )
    ticks = _ticks(max((sum(bar.values) for bar in bars), default=0))
    scale = (plot.right - plot.left) / ticks[-1]
    parts = [*_legend(series), *_vertical_grid(plot, [(plot.left + tick * scale, tick) for tick in ticks])]
    for index, (bar, end) in enumerate(zip(bars, ends, strict=True)):
        middle = plot.top + row * (index + 0.5)
        parts.append(_label(bar.label, plot.left - 8, middle, anchor="end"))
        x = plot.left
        for number, (name, value) in enumerate(zip(series, bar.values, strict=True), 1):
            tip = element("title", text(f"{bar.label}, {name}: {_number(value)}"))
            parts.append(
                element(
                    "rect",
                    tip,
                    class_=f"series-{number}",
                    x=x,
                    y=middle - thickness / 2,
                    width=value * scale,
                    height=thickness,
                )
            )
            x += value * scale
        parts.append(_label(end, x + 6, middle, class_="value"))
    parts.append(_axis_name(axis, plot))
    return _svg(title, plot.bottom + 44, parts)


def columns(title: str, bins: Sequence[tuple[str, int]], *, x_axis: str, y_axis: str) -> str:
    """A histogram: a column for each bin with its count above."""
    plot = Box(left=56, top=34, right=WIDTH - 4, bottom=350)
    ticks = _ticks(max((count for _, count in bins), default=0))
    scale = (plot.bottom - plot.top) / ticks[-1]
    step = (plot.right - plot.left) / len(bins)
    parts = [
        element("text", text(y_axis), class_="axis", x=0, y=12),
        *_horizontal_grid(plot, [(plot.bottom - tick * scale, tick) for tick in ticks]),
    ]
    for index, (label, count) in enumerate(bins):
        middle = plot.left + step * (index + 0.5)
        height = count * scale
        tip = element("title", text(f"{label}: {_number(count)}"))
        parts += [
            element(
                "rect",
                tip,
                class_="series-1",
                x=middle - step * 0.38,
                y=plot.bottom - height,
                width=step * 0.76,
                height=height,
            ),
            _label(_number(count), middle, plot.bottom - height - 9, anchor="middle", class_="value"),
            _label(label, middle, plot.bottom + LINE, anchor="middle", class_="tick"),
        ]
    parts.append(_axis_name(x_axis, plot))
    return _svg(title, plot.bottom + 44, parts)


def scatter(title: str, points: Sequence[Point], *, x_axis: str, y_axis: str, named: int) -> str:
    """Points on two logarithmic axes; the `named` furthest along each axis get their label where one fits."""
    plot = Box(left=44, top=34, right=WIDTH - 6, bottom=350)
    # Room for a third more than the largest, so that no point sits on the frame.
    largest_x = 1.3 * max((point.x for point in points), default=10)
    largest_y = 1.3 * max((point.y for point in points), default=10)
    x_scale = (plot.right - plot.left) / math.log10(largest_x)
    y_scale = (plot.bottom - plot.top) / math.log10(largest_y)

    def position(x: float, y: float) -> tuple[float, float]:
        return plot.left + math.log10(x) * x_scale, plot.bottom - math.log10(y) * y_scale

    parts = [
        element("text", text(y_axis), class_="axis", x=0, y=12),
        *_vertical_grid(plot, [(position(tick, 1)[0], tick) for tick in _log_ticks(largest_x)]),
        *_horizontal_grid(plot, [(position(1, tick)[1], tick) for tick in _log_ticks(largest_y)]),
    ]
    places = {point.label: position(point.x, point.y) for point in points}
    for point in points:
        x, y = places[point.label]
        tip = element("title", text(f"{point.label}: {_number(point.x)}, {_number(point.y)}"))
        parts.append(element("circle", tip, class_="point", cx=x, cy=y, r=3))
    by_y = sorted(points, key=lambda point: -point.y)[:named]
    by_x = sorted(points, key=lambda point: -point.x)[:named]
    wanted = list(dict.fromkeys(point.label for pair in zip(by_y, by_x, strict=True) for point in pair))
    parts += _point_labels(wanted, places, plot)
    parts.append(_axis_name(x_axis, plot))
    return _svg(title, plot.bottom + 44, parts)


def proportion(value: float, largest: float) -> str:
    """A bar for a cell of a table, next to the number that it repeats."""
    width = 100 * value / largest if largest else 0
    bar = element("rect", class_="series-1", width=width, height=10)
    return element("svg", bar, class_="proportion", viewBox="0 0 100 10", width=100, height=10, aria_hidden="true")


def _point_labels(wanted: Sequence[str], places: dict[str, tuple[float, float]], plot: Box) -> Iterator[str]:
    """Labels beside their points, each where it covers the fewest points; none where only a crowd is left."""
    dots = [Box(x - 3, y - 3, x + 3, y + 3) for x, y in places.values()]
    taken: list[Box] = []
    for label in wanted:
        x, y = places[label]
        width = _width_of(label) * NAME_SIZE
        # Each position as the text's anchor, where that is, the text's left end and its middle height.
        positions = [
            (anchor, start, Box(left, middle - 7, left + width, middle + 7))
            for anchor, start, left, middle in (
                ("start", x + 7, x + 7, y),
                ("end", x - 7, x - 7 - width, y),
                ("middle", x, x - width / 2, y - 13),
                ("start", x + 4, x + 4, y - 12),
                ("end", x - 4, x - 4 - width, y - 12),
                ("middle", x, x - width / 2, y + 13),
            )
        ]
        free = [
            (sum(box.meets(dot) for dot in dots), number)
            for number, (_, _, box) in enumerate(positions)
            if plot.holds(box) and not any(box.meets(other) for other in taken)
        ]
        covered, number = min(free, default=(CROWD, 0))
        if covered < CROWD:
            anchor, start, box = positions[number]
            taken.append(box)
            yield _label(label, start, (box.top + box.bottom) / 2, anchor=anchor, class_="name")


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return element(
        "svg",
        element("title", text(title)),
        *parts,
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        width=WIDTH,
        height=height,
        role="img",
        class_="chart",
    )


def _legend(series: Sequence[str]) -> Iterator[str]:
    if len(series) < 2:
        return
    x = 0.0
    for number, name in enumerate(series, 1):
        yield element("rect", class_=f"series-{number}", x=x, y=4, width=11, height=11)
        yield _label(name, x + 17, 10, class_="tick")
        x += 17 + _width_of(name) + 20


def _vertical_grid(plot: Box, ticks: Sequence[tuple[float, float]]) -> Iterator[str]:
    for x, tick in ticks:
        yield element("line", class_="grid", x1=x, x2=x, y1=plot.top, y2=plot.bottom)
        yield _label(_number(tick), x, plot.bottom + LINE, anchor="middle", class_="tick")


def _horizontal_grid(plot: Box, ticks: Sequence[tuple[float, float]]) -> Iterator[str]:
    for y, tick in ticks:
        yield element("line", class_="grid", x1=plot.left, x2=plot.right, y1=y, y2=y)
        yield _label(_number(tick), plot.left - 8, y, anchor="end", class_="tick")


def _axis_name(name: str, plot: Box) -> str:
    middle = (plot.left + plot.right) / 2
    return element("text", text(name), class_="axis", x=middle, y=plot.bottom + 40, text_anchor="middle")


def _label(content: str, x: float, middle: float, *, anchor: str = "start", class_: str = "label") -> str:
    """Text centred on a height; `dominant-baseline` is not the same in every browser, a shift is."""
    return element("text", text(content), class_=class_, x=x, y=middle + 4, text_anchor=anchor)


def _width_of(label: str) -> float:
    return len(label) * CHARACTER


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _ticks(largest: float) -> list[float]:
    """Four to six round numbers from 0 to at least the largest value.

    >>> _ticks(870)
    [0, 200, 400, 600, 800, 1000]
    """
    rough = max(largest, 4) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * index for index in range(math.ceil(max(largest, 4) / step) + 1)]


def _log_ticks(largest: float) -> list[float]:
    """1, 3, 10, 30, ..., about evenly far apart on a logarithmic axis, up to the largest value.

    >>> _log_ticks(870)
    [1, 3, 10, 30, 100, 300]
    """
    ticks = [factor * 10**power for power in range(math.ceil(math.log10(largest)) + 1) for factor in (1, 3)]
    return [tick for tick in ticks if tick <= largest]
