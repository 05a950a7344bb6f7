"""Add up what was measured: totals, who imports whom, how complexity is spread, which functions stand out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median

from .metrics import Function, Lines, Module

# Upper ends of the bins, one each where most functions are, wider where few are; the last bin is open.
COMPLEXITY_BINS = (1, 2, 3, 4, 5, 10, 20, 50)


@dataclass(frozen=True, kw_only=True)
class Package:
    """All modules that share the first part of their name."""

    name: str
    modules: int
    lines: Lines


@dataclass(frozen=True, kw_only=True)
class Totals:
    modules: int
    unparsed: tuple[Module, ...]
    """The modules that could not be parsed, whose lines are in no other figure."""
    lines: Lines
    functions: int
    classes: int
    packages: tuple[Package, ...]
    """Those with the most lines first."""


@dataclass(frozen=True, kw_only=True)
class Importers:
    """How many modules import one module, each importer counted once."""

    name: str
    at_once: int
    """Importers that need it to be imported themselves."""
    deferred: int
    """Importers that import it only inside functions or when run as a script."""

    @property
    def total(self) -> int:
        return self.at_once + self.deferred


@dataclass(frozen=True, kw_only=True)
class ImportGraph:
    importers: tuple[Importers, ...]
    """Every imported module, the most imported first; those without source (built in, compiled) too."""
    reach: dict[str, int]
    """How many of the measured modules importing a module can bring in, itself not counted."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a figure is spread over functions."""

    bins: tuple[tuple[str, int], ...]
    """Label and number of functions."""
    functions: int
    middle: float
    """The median; 0 without functions."""
    simple: float
    """The share of functions with a complexity of 10 or less, McCabe's own limit; 0 without functions."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A function and the module where it is."""

    module: str
    function: Function


@dataclass(frozen=True, kw_only=True)
class Outstanding:
    most_complex: tuple[Place, ...]
    longest: tuple[Place, ...]


def add_up(modules: Sequence[Module]) -> Totals:
    parsed = [module for module in modules if not module.error]
    by_package: defaultdict[str, list[Module]] = defaultdict(list)
    for module in parsed:
        by_package[module.name.partition(".")[0]].append(module)
    packages = [
        Package(name=name, modules=len(members), lines=sum((m.lines for m in members), Lines()))
        for name, members in by_package.items()
    ]
    return Totals(
        modules=len(modules),
        unparsed=tuple(module for module in modules if module.error),
        lines=sum((package.lines for package in packages), Lines()),
        functions=sum(len(module.functions) for module in parsed),
        classes=sum(module.classes for module in parsed),
        packages=tuple(sorted(packages, key=lambda package: (-package.lines.total, package.name))),
    )


def link_imports(modules: Sequence[Module]) -> ImportGraph:
    known = {module.name for module in modules}
    bound = {module.name: _bound_names(module, known) for module in modules}
    at_once = {module.name: _targets(module, module.imports, bound) for module in modules}
    deferred = {
        module.name: _targets(module, module.deferred_imports, bound) - at_once[module.name] for module in modules
    }
    now = Counter(target for targets in at_once.values() for target in targets)
    later = Counter(target for targets in deferred.values() for target in targets)
    importers = [Importers(name=name, at_once=now[name], deferred=later[name]) for name in now | later]
    return ImportGraph(
        importers=tuple(sorted(importers, key=lambda found: (-found.total, found.name))),
        reach={name: len(_reached(name, at_once, known)) for name in sorted(known)},
    )


def _bound_names(module: Module, known: set[str]) -> set[str]:
    """What a module imports that is no module; it hides a submodule of that name, as `unittest.main` is."""
    return {name.rpartition(".")[2] for name in module.imports if name not in known}


def _targets(module: Module, imports: Iterable[str], bound: dict[str, set[str]]) -> set[str]:
    return {_resolve(name, bound) for name in imports} - {module.name}


def _resolve(name: str, bound: dict[str, set[str]]) -> str:
    """The module that an imported name is, or is in; for one from elsewhere its top-level package."""
    parent, _, last = name.rpartition(".")
    if last in bound.get(parent, ()):
        return parent
    while name not in bound and "." in name:
        name = name.rpartition(".")[0]
    return name


def _reached(start: str, edges: dict[str, set[str]], known: set[str]) -> set[str]:
    """The measured modules that importing one may import; a package is imported before what is in it."""
    reached: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        new = ({*edges.get(name, ()), *_parents(name)} & known) - reached
        reached |= new
        pending += new
    return reached - {start}


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def spread_complexity(modules: Sequence[Module]) -> Spread:
    values = [function.complexity for module in modules for function in module.functions]
    bins = []
    low = 1
    for high in COMPLEXITY_BINS:
        label = str(high) if low == high else f"{low}–{high}"  # noqa: RUF001 - a range has an en dash
        bins.append((label, sum(low <= value <= high for value in values)))
        low = high + 1
    bins.append((f"{low}+", sum(value >= low for value in values)))
    return Spread(
        bins=tuple(bins),
        functions=len(values),
        middle=median(values) if values else 0,
        simple=sum(value <= 10 for value in values) / len(values) if values else 0,
    )


def pick_outstanding(modules: Sequence[Module], number: int) -> Outstanding:
    places = [Place(module=module.name, function=function) for module in modules for function in module.functions]
    # Sorting is stable: of equal functions the one that comes first by module name stays first.
    places.sort(key=lambda place: (place.module, place.function.line))
    return Outstanding(
        most_complex=tuple(sorted(places, key=attrgetter("function.complexity"), reverse=True)[:number]),
        longest=tuple(sorted(places, key=attrgetter("function.length"), reverse=True)[:number]),
    )
