"""Lay out what was measured as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from . import charts
from .markup import element, text
from .metrics import Module
from .summaries import ImportGraph, Outstanding, Place, Spread, Totals

HERE = Path(__file__).parent
LINE_KINDS = ("code", "docstrings", "comments", "blank")
# The columns of the table of modules after their name, in the order of `_cells`.
COLUMNS = (
    "Lines",
    "Code",
    "Comments",
    "Docstrings",
    "Functions",
    "Classes",
    "Complexity",
    "Nesting",
    "Imported by",
    "Brings in",
)
SORTED_BY = "Lines"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that the page shows."""

    modules: Sequence[Module]
    totals: Totals
    graph: ImportGraph
    spread: Spread
    outstanding: Outstanding


def lay_out(title: str, subject: str, found: Findings) -> str:
    """The page; the same findings give the same text, so it says nothing of when and how it was made."""
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=text(title),
        subject=text(subject),
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        script=(HERE / "table.js").read_text(encoding="utf-8"),
        lead=_lead(found),
        tiles=_tiles(found),
        figures="".join(_figures(found)),
        outstanding="".join(_outstanding(found.outstanding)),
        shown=text(_counted(len(found.modules), "module")),
        modules=_module_table(found),
        unparsed=_unparsed(found.totals.unparsed),
    )


def _lead(found: Findings) -> str:
    lines = found.totals.lines
    sentences = [
        f"Of {_counted(lines.total, 'line')}, {_percent(lines.code, lines.total)} are code, "
        f"{_percent(lines.docstrings, lines.total)} docstrings and "
        f"{_percent(lines.comments, lines.total)} comments."
    ]
    if found.outstanding.most_complex:
        worst = found.outstanding.most_complex[0]
        sentences.append(
            f"{found.spread.simple:.0%} of the functions have a complexity of 10 or less; the record of "
            f"{worst.function.complexity:,} is held by {_code(worst.module + '.' + worst.function.name)}."
        )
    if found.graph.importers:
        first = found.graph.importers[0]
        sentences.append(f"The module imported by most others is {_code(first.name)}: {first.total:,} of them need it.")
    return " ".join(sentences)


def _tiles(found: Findings) -> str:
    totals = found.totals
    tiles = {
        "modules": f"{totals.modules:,}",
        "lines": f"{totals.lines.total:,}",
        "functions": f"{totals.functions:,}",
        "classes": f"{totals.classes:,}",
        "median complexity": f"{found.spread.middle:g}",
        "files not parsed": f"{len(totals.unparsed):,}",
    }
    return "".join(
        element("div", element("dt", text(name)), element("dd", text(value))) for name, value in tiles.items()
    )


def _figures(found: Findings) -> list[str]:
    packages = [
        charts.Bar(label=package.name, values=tuple(getattr(package.lines, kind) for kind in LINE_KINDS))
        for package in found.totals.packages[:15]
    ]
    imported = [
        charts.Bar(label=importers.name, values=(importers.at_once, importers.deferred))
        for importers in found.graph.importers[:15]
    ]
    modules = [
        charts.Point(label=module.name, x=module.lines.code, y=module.complexity)
        for module in found.modules
        if module.functions
    ]
    return [
        _figure(
            charts.stacked_bars,
            "Where the lines are",
            packages,
            caption="The packages and single modules with the most lines, and what the lines hold.",
            series=LINE_KINDS,
            axis="lines",
        ),
        _figure(
            charts.stacked_bars,
            "Most imported modules",
            imported,
            caption="How many modules import each: as they are imported themselves, or deferred.",
            series=("at import", "deferred"),
            axis="importing modules",
        ),
        _figure(
            charts.columns,
            "How complex functions are",
            found.spread.bins if found.spread.functions else (),
            caption=f"{_counted(found.spread.functions, 'function')} by cyclomatic complexity; from 6 on a "
            "column spans more values.",
            x_axis="cyclomatic complexity",
            y_axis="functions",
        ),
        _figure(
            charts.scatter,
            "Size and complexity",
            modules,
            caption="A point is a module that has functions. Both axes are logarithmic.",
            x_axis="lines of code",
            y_axis="complexity of the most complex function",
            named=10,
        ),
    ]


def _figure(draw: Callable[..., str], title: str, data: Sequence[object], *, caption: str, **options: object) -> str:
    chart = draw(title, data, **options) if data else element("p", "Nothing to show.")
    return element(
        "figure",
        element("figcaption", element("h3", text(title)), element("p", text(caption))),
        element("div", chart, class_="scroll", role="region", aria_label=title, tabindex="0"),
    )


def _outstanding(outstanding: Outstanding) -> list[str]:
    return [
        _ranking(
            "Most complex",
            "By cyclomatic complexity.",
            "Complexity",
            [(place, place.function.complexity) for place in outstanding.most_complex],
        ),
        _ranking(
            "Longest",
            "From def to the last statement, in lines.",
            "Lines",
            [(place, place.function.length) for place in outstanding.longest],
        ),
    ]


def _ranking(title: str, caption: str, unit: str, ranked: Sequence[tuple[Place, int]]) -> str:
    largest = max((value for _, value in ranked), default=0)
    rows = [
        element(
            "tr",
            element(
                "th",
                text(place.function.name),
                element("small", text(f"{place.module}, line {place.function.line}")),
                scope="row",
            ),
            element("td", text(f"{value:,}"), charts.proportion(value, largest)),
        )
        for place, value in ranked
    ]
    table = element(
        "table",
        element("caption", text(f"{title} functions")),
        element("thead", element("tr", _head("Function"), _head(unit))),
        element("tbody", *rows),
    )
    return element("div", element("h3", text(title)), element("p", text(caption)), table, class_="card")


def _module_table(found: Findings) -> str:
    importers = {importers.name: importers.total for importers in found.graph.importers}
    parsed = [module for module in found.modules if not module.error]
    rows = [
        element(
            "tr",
            element("th", text(module.name), scope="row"),
            *(
                element("td", cell)
                for cell in _cells(module, importers.get(module.name, 0), found.graph.reach[module.name])
            ),
        )
        for module in sorted(parsed, key=lambda module: (-module.lines.total, module.name))
    ]
    return element(
        "table",
        element("caption", text("Every module that parses")),
        element("thead", element("tr", *(_sortable_head(name) for name in ("Module", *COLUMNS)))),
        element("tbody", *rows),
        id="module-table",
    )


def _cells(module: Module, importers: int, reach: int) -> tuple[str, ...]:
    lines = module.lines
    return (
        f"{lines.total:,}",
        f"{lines.code:,}",
        _percent(lines.comments, lines.total),
        _percent(lines.docstrings, lines.total),
        f"{len(module.functions):,}",
        f"{module.classes:,}",
        f"{module.complexity:,}",
        f"{module.nesting:,}",
        f"{importers:,}",
        f"{reach:,}",
    )


def _head(name: str) -> str:
    return element("th", text(name), scope="col")


def _sortable_head(name: str) -> str:
    button = element("button", text(name), type="button")
    if name == SORTED_BY:
        return element("th", button, scope="col", aria_sort="descending")
    return element("th", button, scope="col")


def _unparsed(modules: Sequence[Module]) -> str:
    if not modules:
        return ""
    items = (element("li", _code(module.path), ": ", text(module.error)) for module in modules)
    return element(
        "section",
        element("h2", "Files that do not parse", id="unparsed"),
        element("ul", *items),
        aria_labelledby="unparsed",
    )


def _code(content: str) -> str:
    return element("code", text(content))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _percent(part: float, whole: float) -> str:
    return f"{part / whole if whole else 0:.0%}"
