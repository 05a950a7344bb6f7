"""The shape of the code, proved: who may import whom, and what `import kept` may cost.

The lists below are the design. When a module appears or moves, say here where it belongs; when an import
inside a function is right, say here why.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "kept"

# The units of kept, lowest first: a folder, a module, or one module of a folder (the longest match counts).
# A module imports from its own unit and from those before it.
UNITS = (
    # 0 words
    "exceptions",
    "utilities",
    "states",
    "utilities.annotations",
    # 1 identity
    "fingerprint",
    "utilities.hashing",
    "settings",  # so low for blocks, saved where they say, and for leases; nothing else below context reads them
    # 2 bytes
    "serializers",
    "blocks",
    "types",
    "filesystems",
    "store",
    "blocks.buckets",
    "locking",
    # 3 records
    "files",
    "history",
    "run_notes",
    "context",
    "storage",
    "results",
    # 4 rules
    "transactions",
    "surroundings",
    "cache_policies",
    # 5 runs
    "logging",
    "runtime",
    "futures",
    "engine",
    "task_runners",
    # 6 users
    "tasks",
    "flows",
    "assets",
    "client",
    "artifacts",
    "variables",
    "concurrency",
    "",  # the facade, src/kept/__init__.py
    # 7 surfaces
    "cli",
    "server",
    "testing",
    "__main__",
)

# Nothing imports these but themselves and the script that starts them.
SURFACES = {"cli": {"__main__"}, "server": {"cli"}, "testing": set[str]()}

# Libraries that any module may import inside a function, and why.
LAZY_LIBRARIES = {
    "asyncio": "20 ms, which programs without a loop never need",
    "cloudpickle": "15 ms, and few values need it",
    "pydantic": "60 ms, and only validated parameters and blocks need it",
}

# Other imports inside functions: the module, what it imports there, and why not at the top.
LAZY_IMPORTS = {
    ("cli.profile", "kept.cli.edit"): "tomlkit costs as much as typer; only the commands that write need it",
    ("cli.config", "kept.cli.edit"): "tomlkit costs as much as typer; only the commands that write need it",
    ("engine.code_changes", "difflib"): "5 ms, which only explanations of changed code need",
    ("engine.sync", "kept.engine.aio"): "it imports asyncio, 30 ms that only async functions need",
    ("engine.drivers", "kept.engine.aio"): "it imports asyncio, 30 ms that only async runs need",
    ("blocks.documents", "uuid"): "3 ms, which only saved blocks need",
    ("blocks.keys", "cryptography.fernet"): "25 ms, which only secrets need",
    ("blocks.values", "pydantic_core"): "comes with pydantic; only values beyond plain JSON need it",
    ("surroundings", "importlib"): "importlib.metadata takes 15 ms, which only PACKAGES needs",
    ("filesystems", "fsspec"): "an optional library",
    ("locking.picking", "kept.store.selftest"): "few stores need it",
    ("locking.picking", "kept_redis"): "an optional library",
    ("serializers", "kept.utilities.json_types"): "only values beyond plain JSON need it",
    ("settings.files", "tomli"): "the parser costs milliseconds; most machines have no settings file",
    ("settings.files", "tomllib"): "the parser costs milliseconds; most machines have no settings file",
    ("utilities.nearest", "difflib"): "only misspelt names need it; it costs as much as all settings",
    ("settings.sources", "logging"): "only an unknown variable needs it; it costs as much as all settings",
    ("storage", "kept.store.trust"): "it imports hashlib, 4 ms that only stores which others can write to need",
    ("testing.pytest_plugin", "kept.testing.utilities"): "pytest loads the plugin at each start, wanted or not",
    ("task_runners", "kept.task_runners.processes"): "it imports multiprocessing, which other runners don't need",
    ("logging.colors", "rich.color"): "40 ms, which only styles of the user's own need",
    ("logging.colors", "rich.errors"): "40 ms, which only styles of the user's own need",
    ("logging.colors", "rich.style"): "40 ms, which only styles of the user's own need",
    ("logging.configuration", "logging.config"): "15 ms, which only a configuration of the user's own needs",
    ("logging.configuration", "yaml"): "15 ms, which only a logging.yml needs",
    ("store.aws", "configparser"): "2 ms, which only those with AWS files need",
    ("store.bucket", "obstore"): "an optional library, and it starts threads",
    ("store.bucket", "obstore.auth.boto3"): "an optional library, for single sign-on and roles only",
    ("store.bucket", "boto3"): "an optional library, for single sign-on and roles only",
    ("storage", "kept.store.tiered"): "milliseconds, which only stores that are far away need",
    ("store.mapping", "ctypes"): "only large results are mapped",
}

# What a program may have loaded after a statement is anything but these.
HEAVY = {
    "import kept": "asyncio blake3 cloudpickle kept.settings multiprocessing numpy pandas polars pyarrow "
    "pydantic rich sqlite3 tomlkit torch typer",
    "from kept import flow, task": "asyncio cloudpickle cryptography logging.config multiprocessing numpy pandas "
    "polars pyarrow pydantic rich tomlkit torch typer yaml",
    "import kept.testing.pytest_plugin": "blake3 kept.settings kept.store logging.config pydantic sqlite3 typer yaml",
    "import kept.settings": "asyncio cloudpickle difflib logging pydantic rich tomli tomlkit tomllib typer",
}


class Module(NamedTuple):
    """One file of the package, parsed."""

    name: str
    """Dotted, below kept: `store.sqlite`; a folder's `__init__` has the name of the folder."""
    path: Path
    tree: ast.Module


class Import(NamedTuple):
    """One import of one module."""

    importer: str
    line: int
    target: str
    """Dotted and absolute: `kept.store.entry`, `numpy`."""
    lazy: bool
    """Inside a function."""
    for_types: bool
    """Under `if TYPE_CHECKING:`, so never executed."""


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text(), str(path)))
    return found


@cache
def imports() -> tuple[Import, ...]:
    """Every import in the package."""
    return tuple(found for module in modules().values() for found in _walk(module, module.tree, False, False))


def _walk(module: Module, node: ast.AST, lazy: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            for target in _targets(module, child):
                yield Import(module.name, child.lineno, target, lazy, for_types)
        inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        guarded = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test))
        yield from _walk(module, child, inside, guarded)


def _targets(module: Module, statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    assert statement.level == 0 and statement.module, f"{module.name}:{statement.lineno}: a relative import"
    for alias in statement.names:
        # `from kept.store import entry` means the module of that name if there is one.
        longer = f"{statement.module}.{alias.name}"
        yield longer if _below_kept(longer) in modules() else statement.module


def _below_kept(target: str) -> str | None:
    if target == "kept":
        return ""
    return target.removeprefix("kept.") if target.startswith("kept.") else None


def unit_of(name: str) -> str:
    """The unit that a module belongs to: the longest that its name begins with."""
    parts = name.split(".")
    candidates = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    for candidate in candidates:
        if candidate in UNITS:
            return candidate
    raise AssertionError(f"kept.{name} belongs to no unit: say where it stands in UNITS")


def _inside() -> Iterator[tuple[Import, str]]:
    """The imports of kept by kept, with the name of the module imported."""
    for one in imports():
        target = _below_kept(one.target)
        if target is not None:
            yield one, target


def _shown(one: Import) -> str:
    return f"kept.{one.importer}:{one.line} imports {one.target}"


def test_each_module_imports_from_its_own_unit_or_from_a_lower_one() -> None:
    order = {unit: place for place, unit in enumerate(UNITS)}
    upward = {_shown(one) for one, target in _inside() if order[unit_of(target)] > order[unit_of(one.importer)]}
    assert not upward, "\n".join(sorted(upward))


def test_nothing_imports_a_surface() -> None:
    wrong = [
        _shown(one)
        for one, target in _inside()
        if (unit := unit_of(target)) in SURFACES and unit_of(one.importer) not in {unit, *SURFACES[unit]}
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_below_imports_the_facade() -> None:
    wrong = [_shown(one) for one, target in _inside() if target == "" and one.importer != ""]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for one, target in _inside():
        if not (one.lazy or one.for_types) and target != one.importer:
            graph[one.importer].add(target)
    done: set[str] = set()

    def circle_from(name: str, trail: tuple[str, ...]) -> tuple[str, ...] | None:
        if name in trail:
            return (*trail[trail.index(name) :], name)
        if name in done:
            return None
        found = (circle_from(target, (*trail, name)) for target in sorted(graph[name]))
        circle = next((one for one in found if one), None)
        done.add(name)
        return circle

    for name in graph:
        circle = circle_from(name, ())
        assert circle is None, " -> ".join(circle or ())


def test_imports_inside_functions_are_those_that_have_a_reason() -> None:
    lazy = {
        (one.importer, one.target): _shown(one) for one in imports() if one.lazy and one.target not in LAZY_LIBRARIES
    }
    unexplained = [shown for key, shown in lazy.items() if key not in LAZY_IMPORTS]
    assert not unexplained, "say why in LAZY_IMPORTS, or import at the top:\n" + "\n".join(unexplained)
    gone = LAZY_IMPORTS.keys() - lazy.keys()
    assert not gone, f"no longer there, take them off LAZY_IMPORTS: {sorted(gone)}"


def test_the_units_are_those_that_design_names_once_each() -> None:
    assert len(UNITS) == len(set(UNITS))
    for name in modules():
        unit_of(name)


@pytest.mark.parametrize("statement", HEAVY)
def test_a_statement_loads_nothing_heavy(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(HEAVY[statement].split()) & set(done.stdout.split()) == set()


def test_import_kept_starts_nothing() -> None:
    program = """
import logging, os, threading, warnings
def state():
    files = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    return threading.enumerate(), len(files), logging.root.handlers[:], warnings.filters[:], dict(os.environ)
before = state()
import kept
assert state() == before, (before, state())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", modules(), ids=lambda name: name or "kept")
def test_a_module_says_what_it_is(name: str) -> None:
    module = modules()[name]
    docstring = ast.get_docstring(module.tree, clean=False)
    assert docstring and docstring[0].strip(), f"{module.path} has no docstring that opens with a sentence"


@pytest.mark.parametrize("name", modules(), ids=lambda name: name or "kept")
def test_what_is_public_is_annotated_and_documented(name: str) -> None:
    missing = [problem for node, owner in _public(modules()[name].tree) for problem in _lacks(node, owner)]
    assert not missing, f"{modules()[name].path}:\n" + "\n".join(missing)


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[Definition, ast.ClassDef | None]]:
    owner = tree if isinstance(tree, ast.ClassDef) else None
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node, owner
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def _lacks(node: Definition, owner: ast.ClassDef | None) -> Iterator[str]:
    where = f"  line {node.lineno}: {f'{owner.name}.' if owner else ''}{node.name}"
    overload = any("overload" in ast.dump(decorator) for decorator in node.decorator_list)
    setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)
    documented = ast.get_docstring(node) or overload or setter or (owner and _inherits(owner, node.name))
    if not documented:
        yield f"{where} has no docstring"
    if not isinstance(node, ast.ClassDef) and not _annotated(node):
        yield f"{where} is not fully annotated"


def _annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    return function.returns is not None and all(
        argument.annotation is not None or argument.arg in ("self", "cls") for argument in named
    )


@cache
def _classes() -> dict[str, ast.ClassDef]:
    return {
        node.name: node
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }


@cache
def _contracts() -> frozenset[str]:
    """The methods that a protocol of ours documents: who satisfies it need not inherit from it."""
    return frozenset(
        node.name
        for owner in _classes().values()
        if any("Protocol" in ast.dump(base) for base in owner.bases)
        for node in owner.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node)
    )


def _inherits(owner: ast.ClassDef, method: str) -> bool:
    """A class or a protocol of ours documents the method: its contract is said there, once."""
    if method in _contracts():
        return True
    for base in owner.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base
        name = expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")
        above = _classes().get(name)
        if above is None or above is owner:
            continue
        methods = {node.name: node for node in above.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        if method in methods and ast.get_docstring(methods[method]):
            return True
        if _inherits(above, method):
            return True
    return False
