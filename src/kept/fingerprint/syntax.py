"""Source of code that runs: its text, its syntax in one normal form, and the names that it uses.

Source counts only if it is that of the code that runs: a file that was edited after its import says something
else. It is told by compiling the text again, which must give an equal code object.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import dis
import functools
import linecache
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from kept.utilities.forks import not_while_forking

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
# Fields of syntax nodes that say where, how or for whom, not what.
_NOT_CODE = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation"})
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
# Features that code gets by `from __future__ import`, or from what compiled it: cells of a notebook share theirs.
INHERITED = functools.reduce(
    lambda flags, name: flags | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
) & ~(__future__.nested_scopes.compiler_flag | __future__.generators.compiler_flag)
_silence = not_while_forking(threading.Lock())


class Definition(NamedTuple):
    """A function, class or lambda as its source has it, and as it was compiled."""

    node: Any
    code: types.CodeType
    file: File


class File:
    """The text of one file, parsed and compiled once."""

    def __init__(self, text: str, filename: str, flags: int) -> None:
        self.text = text
        self.filename = filename
        self.tree: ast.Module | None = None
        self._by_place: dict[tuple[int, str], list[types.CodeType]] = {}
        try:
            with _without_warnings():
                # Cells of a notebook may wait at their top level; to other text the flag is nothing.
                flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                self.tree = ast.parse(text, filename)
                found: list[types.CodeType] = [compile(self.tree, filename, "exec", flags, dont_inherit=True)]
        except _UNREADABLE:
            return
        for code in found:
            found.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
            self._by_place.setdefault((code.co_firstlineno, code.co_name), []).append(code)

    def has(self, code: types.CodeType) -> bool:
        """Whether some code is what the text was compiled to."""
        return code in self._by_place.get((code.co_firstlineno, code.co_name), ())

    def nodes_at(self, line: int, lambdas: bool = False) -> list[Any]:
        """The definitions that start on a line, decorators included."""
        return (self._lambdas if lambdas else self._statements).get(line, [])

    def classes_of(self, name: str) -> list[ast.ClassDef]:
        """The classes of this name, at any depth."""
        nodes = [node for nodes in self._statements.values() for node in nodes]
        return [node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name]

    @functools.cached_property
    def _statements(self) -> dict[int, list[Any]]:
        return _by_line(_definitions_in(self.tree.body if self.tree else []))

    @functools.cached_property
    def _lambdas(self) -> dict[int, list[Any]]:
        nodes = ast.walk(self.tree) if self.tree else ()
        return _by_line(node for node in nodes if isinstance(node, ast.Lambda))

    def code_of(self, node: Any) -> types.CodeType | None:
        """The code that a definition was compiled to, if it is the only one of its name on its line."""
        found = self._by_place.get((first_line(node), getattr(node, "name", "<lambda>")), [])
        return found[0] if len(found) == 1 else None

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.splitlines()

    @functools.cached_property
    def bindings(self) -> dict[str, list[ast.stmt]]:
        """The statements at the top of the file, also inside of conditions and the like, by the names they bind."""
        bound: dict[str, list[ast.stmt]] = {}
        for statement in _top_statements(self.tree.body if self.tree else []):
            for name in bound_by(statement):
                bound.setdefault(name, []).append(statement)
        return bound


def _definitions_in(body: list[ast.stmt]) -> Iterator[Any]:
    for statement in body:
        if isinstance(statement, DEFINITIONS):
            yield statement
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _definitions_in(getattr(statement, name, []))


def _by_line(nodes: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for node in nodes:
        found.setdefault(first_line(node), []).append(node)
    return found


def first_line(node: Any) -> int:
    """The line on which a definition starts, decorators included."""
    return min(  # type: ignore[no-any-return]
        node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ())), 10**9
    )


@lru_cache(maxsize=256)
def file_of_text(text: str, filename: str, flags: int = 0) -> File:
    """A file that holds this text."""
    return File(text, filename, flags)


def text_of(filename: str, module_globals: dict[str, Any] | None = None) -> str:
    """The text of a file, or of what is no file, such as a cell of a notebook or a part of an archive."""
    linecache.checkcache(filename)
    return "".join(linecache.getlines(filename, module_globals))


def source_file(code: types.CodeType, module_globals: dict[str, Any] | None = None) -> File | None:
    """The file that some code is from, or None if it is not what the code was compiled from."""
    text = text_of(code.co_filename, module_globals)
    file = file_of_text(text, code.co_filename, code.co_flags & INHERITED) if text else None
    return file if file is not None and file.has(code) else None


def running_source(code: types.CodeType) -> str | None:
    """The text of the file that some code is from, or None if it is not what the code was compiled from."""
    file = source_file(code)
    return None if file is None else file.text


def is_running_source(code: types.CodeType, text: str) -> bool:
    """Whether code that runs was compiled from this text of its whole file, and not from an earlier one.

    Code is equal if it does the same, under the same names, at the same places in its file. What a tool
    rewrote before it was compiled, such as asserts under pytest, is equal to no text.
    """
    return file_of_text(text, code.co_filename, code.co_flags & INHERITED).has(code)


def definition_of(code: types.CodeType, module_globals: dict[str, Any] | None = None) -> Definition | None:
    """The definition of a function, if its source is known for sure."""
    file = source_file(code, module_globals)
    if file is None:
        return None
    is_lambda = code.co_name == "<lambda>"
    found = [
        node
        for node in file.nodes_at(code.co_firstlineno, is_lambda)
        if is_lambda or (isinstance(node, FUNCTIONS) and node.name == code.co_name)
    ]
    if _differ(found):
        found = [node for node in found if _starts_at(node, code)]
    return Definition(found[0], code, file) if found and not _differ(found) else None


def _differ(nodes: list[Any]) -> bool:
    return len(nodes) > 1 and len(set(map(normalised, nodes))) > 1


def _starts_at(node: Any, code: types.CodeType) -> bool:
    """Tell lambdas on one line apart by their columns, which code knows since Python 3.11."""
    positions = getattr(code, "co_positions", lambda: ())()
    columns = {(line, column) for line, _, column, _ in positions if column}
    return (node.body.lineno, node.body.col_offset) in columns


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Read source without repeating what Python said of it when it was imported."""
    # Filters are the whole process's: two threads that silence and restore them in turn would leave them silent.
    with _silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- what a file binds -----------------------------------------------------------------------------


def _top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(statement, DEFINITIONS):
                yield from _top_statements(getattr(statement, name, []))
        for handler in [*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]:
            yield from _top_statements(handler.body)


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement itself binds, not those inside of it."""
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or (alias.name.partition(".")[0] if isinstance(statement, ast.Import) else alias.name)
    else:
        for node in _shallow(statement):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id


def _shallow(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement without those of the statements inside of it."""
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.stmt, ast.ExceptHandler, *DEFINITIONS))
            and type(child).__name__ != "match_case"
        )


# --- one normal form -------------------------------------------------------------------------------


class Form(NamedTuple):
    """What of a definition is left out of its normal form, besides what never counts."""

    ours: frozenset[str] = frozenset()
    """Names of decorators that say how something runs, not what it does."""
    fields: str = ""
    """How the outermost class reads the annotations in its body: "plain", "names", "full"; by its looks if empty."""
    valued: frozenset[str] = frozenset()
    """Names that the outermost class binds to constants, which count by their values."""
    decorated: bool = False
    """Whether the decorators and the defaults of the outermost function count."""


@lru_cache(maxsize=16384)
def normalised(root: ast.AST, form: Form = Form()) -> str:  # noqa: B008 - it is frozen
    """The source of a syntax tree as one text that is the same on every supported Python."""
    writer = _Writer(root, form)
    writer.write(root)
    return "".join(writer.out)


class _Writer:
    """Writes what counts of the nodes of one tree, each field after its name."""

    def __init__(self, root: ast.AST, form: Form) -> None:
        self.root = root
        self.form = form
        self.out: list[str] = []
        # The defaults of a function count by their values, if those are known.
        self.bare = None if form.decorated else getattr(root, "args", None)
        self.kept_annotations: dict[int, bool] = {}

    def write(self, node: ast.AST) -> None:
        kind = type(node)
        out = self.out
        if kind is ast.AnnAssign:
            self._write_annotated(node)  # type: ignore[arg-type]
            return
        out.append(f"({kind.__name__}")
        for name in _fields_of(kind):  # type: ignore[arg-type]
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                out.append(f" {name}=")
                self.write(value)
            elif type(value) is list:
                if name in _DEFAULTS and node is self.bare:
                    continue
                if name == "body":
                    value = self._body(node, value)
                elif name == "decorator_list":
                    value = self._decorators(node, value)
                if value:
                    self._write_list(name, value)
            elif value is not None or name == "value":
                out.append(f" {name}={_constant(value)}")
        out.append(")")

    def _write_list(self, name: str, values: list[Any]) -> None:
        self.out.append(f" {name}=[")
        for value in values:
            if isinstance(value, ast.AST):
                self.write(value)
            else:
                self.out.append(_constant(value))
        self.out.append("]")

    def _write_annotated(self, node: ast.AnnAssign) -> None:
        # `x: int = 1` is `x = 1` to a reader that does not look at annotations.
        in_full = self.kept_annotations.get(id(node))
        self.out.append("(Assign targets=[" if in_full is None else "(AnnAssign target=")
        self.write(node.target)
        self.out.append("]" if in_full is None else "")
        for name, value in (("annotation", node.annotation if in_full else None), ("value", node.value)):
            if value is not None:
                self.out.append(f" {name}=")
                self.write(value)
        self.out.append(")")

    def _decorators(self, node: ast.AST, decorators: list[ast.expr]) -> list[ast.expr]:
        if node is self.root and isinstance(node, FUNCTIONS) and not self.form.decorated:
            return []
        return [each for each in decorators if ".".join(map(str, _chain(_called(each)))) not in self.form.ours]

    def _body(self, node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
        body = [each for each in body if not _does_nothing(each)]
        if isinstance(node, ast.ClassDef):
            return self._class_body(node, body)
        left = [each for each in body if type(each) is not ast.AnnAssign or each.value is not None]
        return left or [ast.Pass()]

    def _class_body(self, node: ast.ClassDef, body: list[ast.stmt]) -> list[ast.stmt]:
        is_root = node is self.root
        reading = (is_root and self.form.fields) or _reads_annotations(node)
        left: list[ast.stmt] = []
        for statement in body:
            if is_root and _is_assignment(statement) and self.form.valued.intersection(bound_by(statement)):
                continue
            if isinstance(statement, ast.AnnAssign):
                full = reading == "full" or (reading == "names" and _is_special(statement.annotation))
                if reading != "plain":
                    self.kept_annotations[id(statement)] = full
                elif statement.value is None:
                    continue
            left.append(statement)
        # In which order the methods stand is nothing to Python, unless their decorators take note of it.
        methods: list[Any] = [each for each in left if _is_method(each)]
        if len({each.name for each in methods}) < len(methods):  # one takes the place of another
            return left
        methods.sort(key=lambda each: each.name)
        return [*(each for each in left if not _is_method(each)), *methods] or [ast.Pass()]


_DEFAULTS = frozenset({"defaults", "kw_defaults"})
_OF_METHODS = frozenset(
    "property setter getter deleter staticmethod classmethod cached_property abstractmethod overload".split()
)


def _is_method(node: ast.stmt) -> bool:
    if not isinstance(node, FUNCTIONS):
        return False
    return all(_chain(each)[-1:] and _chain(each)[-1] in _OF_METHODS for each in node.decorator_list)


@lru_cache(maxsize=512)
def _fields_of(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in _NOT_CODE and name != "simple")


def _is_assignment(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Assign, ast.AnnAssign))


def _reads_annotations(node: ast.ClassDef) -> str:
    """How a class of which nothing but its source is known reads the annotations in its body."""
    decorators = {_chain(_called(decorator))[-1:] for decorator in node.decorator_list}
    bases = {_chain(base.value if isinstance(base, ast.Subscript) else base)[-1:] for base in node.bases}
    if ("dataclass",) in decorators or (bases and bases <= _FIELD_BASES and not decorators):
        return "names"
    return "full" if bases or decorators or node.keywords else "plain"


_FIELD_BASES = {("NamedTuple",), ("TypedDict",), ("Protocol",), ("Generic",), ("ABC",), ("object",)}


def _is_special(annotation: ast.expr) -> bool:
    """Whether dataclasses treat a field by its annotation."""
    text = ast.dump(annotation)
    return any(name in text for name in ("ClassVar", "InitVar", "KW_ONLY"))


def _does_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is `pass`, a docstring, or another constant by itself."""
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass)


def _constant(value: object) -> str:
    """Write a constant so that none looks like another: a text with its length, others with their type."""
    shown = value if isinstance(value, str) else repr(value)
    return f"<{type(value).__name__} {len(shown)} {shown}>"


# --- names -----------------------------------------------------------------------------------------

Chain = tuple[Any, ...]
"""A name and how it goes on from there: `cfg.db["url"]` is `("cfg", "db", Key("url"))`."""


class Key(NamedTuple):
    """A constant in square brackets."""

    value: object


class Import(NamedTuple):
    """One name that an import inside of a function binds."""

    bound: str
    module: str
    level: int
    attribute: str | None
    """What of the module is bound; None for the module itself."""


class Uses(NamedTuple):
    """What code uses by name."""

    chains: tuple[Chain, ...]
    imports: tuple[Import, ...]
    changed: frozenset[Chain]
    """What it changes: it assigns to it, to a part of it, or calls what would change a container."""
    dynamic: bool
    """Whether it looks up names that are not known before it runs."""


_CHANGING = frozenset(
    "append extend insert add update clear setdefault pop popitem popleft appendleft extendleft remove discard sort "
    "reverse put put_nowait".split()
)
_DYNAMIC = frozenset({"globals", "eval", "exec"})


@lru_cache(maxsize=16384)
def uses_of(root: ast.AST, decorated: bool = True) -> Uses:
    """What the code of a syntax tree uses; whether a name is local is for the caller to know.

    Args:
        root: the tree.
        decorated: whether the decorators and the defaults of the root belong to it.
    """
    skipped: set[int] = set()
    if not decorated:
        arguments = root.args  # type: ignore[attr-defined]
        skipped.update(map(id, [*getattr(root, "decorator_list", ()), *arguments.defaults, *arguments.kw_defaults]))
    reader = _Reader(skipped)
    reader.visit(root)
    reader.changed.update((name,) for name in reader.declared & reader.stored)
    return Uses(
        tuple(dict.fromkeys(reader.chains)), tuple(reader.imports), frozenset(reader.changed), bool(reader.dynamic)
    )


class _Reader:
    """Collects names. A visitor of its own, as annotations, which do not count, are not entered."""

    def __init__(self, skipped: set[int]) -> None:
        self.skipped = skipped
        self.chains: list[Chain] = []
        self.imports: list[Import] = []
        self.changed: set[Chain] = set()
        self.dynamic = False
        self.declared: set[str] = set()
        self.stored: set[str] = set()

    def visit(self, root: ast.AST) -> None:
        stack: list[ast.AST] = [root]
        while stack:
            node = stack.pop()
            if id(node) in self.skipped:
                continue
            inner = self._read(node)
            stack.extend(reversed(_children(node) if inner is None else inner))

    def _read(self, node: ast.AST) -> list[ast.AST] | None:
        """Note what a node says; what is left to be visited of it, or None for all of it."""
        kind = type(node)
        if kind is ast.Name or kind is ast.Attribute or kind is ast.Subscript or kind is ast.Call:
            return self._read_chain(node)
        if kind is ast.Import:
            for alias in node.names:  # type: ignore[attr-defined]
                whole = alias.asname is not None or "." not in alias.name
                bound = alias.asname or alias.name.partition(".")[0]
                self.imports.append(Import(bound, alias.name, 0, None if whole else ""))
        elif kind is ast.ImportFrom:
            for alias in node.names:  # type: ignore[attr-defined]
                bound = alias.asname or alias.name
                self.imports.append(Import(bound, node.module or "", node.level, alias.name))  # type: ignore[attr-defined]
        elif kind is ast.Global or kind is ast.Nonlocal:
            self.declared.update(node.names)  # type: ignore[attr-defined]
        return None

    def _read_chain(self, node: Any) -> list[ast.AST] | None:
        chain = _chain(node)
        stored = isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))
        if not chain:
            if stored and isinstance(node, ast.Subscript):
                self.changed.add(_chain(node.value))
            elif stored and isinstance(node, ast.Attribute):
                self.changed.add(("", node.attr))
            if isinstance(node, ast.Call):
                called = _chain(node.func)
                if called[-1:] and called[-1] in _CHANGING and len(called) > 1:
                    self.changed.add((*called[:-1], FILLED))
                if called and (called[0] in _DYNAMIC or called[:2] == ("sys", "modules")):
                    self.dynamic = True
                self._read_import_call(called, node)
            return None
        if stored:
            if len(chain) > 1:
                self.changed.update((chain, chain[:-1]))
            self.stored.add(chain[0])
            return [] if isinstance(node, ast.Name) else None
        if chain[:2] == ("sys", "modules"):
            self.dynamic = True
        self.chains.append(chain)
        return _inside(node)

    def _read_import_call(self, called: Chain, node: ast.Call) -> None:
        if called[-1:] not in (("import_module",), ("__import__",)) or not node.args:
            return
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            self.imports.append(Import("", first.value, 0, None))
        else:
            self.dynamic = True


FILLED = "()"
"""Ends the chain to what a method is called of that fills or empties a container, if it is one."""


def _children(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in _fields_of(type(node)):  # type: ignore[arg-type]
        value = getattr(node, name, None)
        if type(value) is list:
            found.extend([item for item in value if isinstance(item, ast.AST)])
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _chain(node: Any) -> Chain:
    """The chain that an expression is; empty if it is none."""
    steps: list[Any] = []
    while True:
        if isinstance(node, ast.Attribute):
            steps.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            steps.append(Key(node.slice.value))
            node = node.value
        elif isinstance(node, ast.Call) and _is_getattr(node):
            steps.append(node.args[1].value)  # type: ignore[attr-defined]
            node = node.args[0]
        elif isinstance(node, ast.Name):
            return (node.id, *reversed(steps))
        else:
            return ()


def _is_getattr(node: ast.Call) -> bool:
    if not (isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) >= 2):
        return False
    name = node.args[1]
    return isinstance(name, ast.Constant) and isinstance(name.value, str)


def _inside(node: Any) -> list[ast.AST]:
    """What of a chain is still to be visited: the default of a `getattr`."""
    inner: list[ast.AST] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            inner.extend([*node.args[2:], *node.keywords])
            node = node.args[0]
        else:
            node = node.value
    return inner


def annotations_of(node: ast.ClassDef) -> list[ast.expr]:
    """The annotations in the body of a class, those that are written as texts, too."""
    found = [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
    for annotation in list(found):
        for inner in ast.walk(annotation):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                with contextlib.suppress(*_UNREADABLE):
                    found.append(ast.parse(inner.value, mode="eval").body)
    return found


def outer_names(node: Any) -> frozenset[str]:
    """The names by which a definition is decorated, derived and given defaults: they belong to what is around it."""
    around: list[ast.AST] = [*getattr(node, "decorator_list", ()), *getattr(node, "bases", ())]
    around.extend(keyword.value for keyword in getattr(node, "keywords", ()))
    arguments = getattr(node, "args", None)
    if isinstance(arguments, ast.arguments):
        around.extend([*arguments.defaults, *filter(None, arguments.kw_defaults)])
    return frozenset(chain[0] for each in around for chain in uses_of(each).chains)


_PLACES = frozenset("getcwd cwd abspath resolve absolute realpath home expanduser gettempdir mkdtemp".split())


def names_place(statement: ast.AST) -> bool:
    """Whether a statement mentions where its file lies, where the process was started, or whose machine it is."""
    nodes = list(ast.walk(statement))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return "__file__" in names or any(node.attr in _PLACES for node in nodes if isinstance(node, ast.Attribute))


def reads_environment(statement: ast.AST) -> bool:
    """Whether a statement looks at the environment or the command line of the process."""
    nodes = list(ast.walk(statement))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
    return not names.isdisjoint(("environ", "getenv", "argv"))


def names_within(statement: ast.AST) -> frozenset[str]:
    """The names that comprehensions and lambdas in a statement bind for themselves."""
    inner: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.comprehension):
            inner.update(each.id for each in ast.walk(node.target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.arg):
            inner.add(node.arg)
    return frozenset(inner)


def text_at(file: File, node: Any) -> str:
    """The source of a definition as it stands in its file, moved to the left edge."""
    lines = file.lines[first_line(node) - 1 : node.end_lineno]
    return "\n".join([line[node.col_offset :] if line[: node.col_offset].isspace() else line for line in lines])


@lru_cache(maxsize=16384)
def names_looked_up(code: types.CodeType) -> frozenset[str]:
    """The names that code and the code inside it may look up in their module, and some that are attributes only."""
    names = set(code.co_names).difference(code.co_varnames, code.co_cellvars, code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(names_looked_up(constant))
    return frozenset(names)


@lru_cache(maxsize=16384)
def uses_of_bytecode(code: types.CodeType) -> Uses:
    """What code without source uses: names with the attributes that follow at once, and imports."""
    chains: list[Chain] = []
    imports: list[Import] = []
    changed: set[Chain] = set()
    chain: Chain = ()
    for step in dis.get_instructions(code):
        if step.opname in _ATTRIBUTES and chain:
            chain = (*chain, step.argval)
            continue
        if chain:
            chains.append(chain)
            if chain[-1] in _CHANGING and len(chain) > 1:
                changed.add((*chain[:-1], FILLED))
            chain = ()
        if step.opname in _LOADS:
            chain = (step.argval,)
        elif step.opname in ("STORE_GLOBAL", "STORE_DEREF", "DELETE_GLOBAL"):
            changed.add((step.argval,))
        elif step.opname == "IMPORT_NAME":
            imports.append(Import("", step.argval, 0, None))
    chains.extend([chain] if chain else [])
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = uses_of_bytecode(constant)
            chains.extend(inner.chains)
            imports.extend(inner.imports)
            changed.update(inner.changed)
    return Uses(tuple(dict.fromkeys(chains)), tuple(imports), frozenset(changed), False)


_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
