"""Measure one Python source file: its lines, its functions and what it imports."""

from __future__ import annotations

import ast
import io
import sys
import time
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)
ScopeNode = (*FunctionNode, ast.ClassDef)
BlockNode = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
if sys.version_info >= (3, 11):
    BlockNode = (*BlockNode, ast.TryStar)  # type: ignore[assignment]
DecisionNode = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)

# Tokens that put no code on their line.
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Physical lines by what they hold; each line counts once."""

    code: int = 0
    docstrings: int = 0
    comments: int = 0
    """Lines with a comment and nothing else."""
    blank: int = 0

    @property
    def total(self) -> int:
        return self.code + self.docstrings + self.comments + self.blank

    def __add__(self, other: Lines) -> Lines:
        return Lines(
            code=self.code + other.code,
            docstrings=self.docstrings + other.docstrings,
            comments=self.comments + other.comments,
            blank=self.blank + other.blank,
        )


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function or method, without those defined inside it."""

    name: str
    """Qualified within its module: `Class.method`, `outer.inner`."""
    line: int
    """Where its `def` is, from 1."""
    length: int
    """Lines from `def` to its last statement."""
    complexity: int
    """Cyclomatic: 1 for the straight line and 1 for each decision on the way."""
    nesting: int
    """The most blocks (`if`, `for`, `with`, ...) around one statement."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """One source file, measured."""

    name: str
    """As `import` writes it."""
    path: str
    """Relative to the folder that was measured, with forward slashes."""
    lines: Lines
    classes: int = 0
    functions: tuple[Function, ...] = ()
    imports: tuple[str, ...] = ()
    """Absolute dotted names that are imported as soon as the module is; `from a import b` is `a.b`."""
    deferred_imports: tuple[str, ...] = ()
    """The same for imports inside functions or in a script's own part, without those above."""
    error: str = ""
    """Why the file can't be parsed; empty when it can."""
    seconds: float
    """Processor time that measuring it took, which is what the next run saves."""

    @property
    def complexity(self) -> int:
        """That of its most complex function; 0 without functions."""
        return max((function.complexity for function in self.functions), default=0)

    @property
    def nesting(self) -> int:
        """That of its most deeply nested function; 0 without functions."""
        return max((function.nesting for function in self.functions), default=0)


@dataclass(frozen=True)
class Scope:
    """The module, a class, a function or a script's own part, without the scopes inside it."""

    node: ast.AST
    name: str
    deferred: bool
    """Whether its statements do not run when the module is imported."""
    own: tuple[tuple[ast.AST, int], ...]
    """Each node with the number of blocks around it."""


def measure_module(path: str, source: bytes) -> Module:
    """Measure a file from its bytes; one that can't be read as Python is a result too, with its `error`."""
    # Not the wall clock: threads that share an interpreter would count each other's time.
    started = time.thread_time()
    try:
        text = _decode(source)
        # The bytes, not the text: a text that declares another encoding than its own would be misread.
        tree = ast.parse(source)
        lines = _count_lines(text, tree)
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        return Module(
            name=module_name(path),
            path=path,
            lines=Lines(code=len(source.splitlines())),
            error=f"{type(error).__name__}: {error}",
            seconds=time.thread_time() - started,
        )
    scopes = list(_scopes(tree))
    imports, deferred = _imports(scopes, _package(path))
    return Module(
        name=module_name(path),
        path=path,
        lines=lines,
        classes=sum(isinstance(scope.node, ast.ClassDef) for scope in scopes),
        functions=tuple(_measure_function(scope) for scope in scopes if isinstance(scope.node, FunctionNode)),
        imports=imports,
        deferred_imports=deferred,
        seconds=time.thread_time() - started,
    )


def module_name(path: str) -> str:
    """The dotted name of a source file: `json/decoder.py` is `json.decoder`, `json/__init__.py` is `json`."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _package(path: str) -> str:
    """The dotted name from which the file's relative imports start."""
    return ".".join(PurePosixPath(path).parent.parts)


def _decode(source: bytes) -> str:
    """The text of a source file as the compiler reads it: declared encoding, any kind of line end."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return io.TextIOWrapper(io.BytesIO(source), encoding).read()


def _count_lines(text: str, tree: ast.Module) -> Lines:
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in SILENT:
            code.update(range(token.start[0], token.end[0] + 1))
    docstrings = {number for node in ast.walk(tree) for number in _docstring_lines(node)}
    # Not splitlines(): it also splits at form feeds, which are within a line to the tokenizer.
    total = text.count("\n") + (not text.endswith("\n") and text != "")
    comments -= code
    return Lines(
        code=len(code - docstrings),
        docstrings=len(docstrings),
        comments=len(comments),
        blank=total - len(code | docstrings | comments),
    )


def _docstring_lines(node: ast.AST) -> range:
    if isinstance(node, (ast.Module, *ScopeNode)) and ast.get_docstring(node, clean=False) is not None:
        return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    return range(0)


def _scopes(tree: ast.Module) -> Iterator[Scope]:
    """The module and every scope in it, in no particular order."""
    pending: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
    while pending:
        node, name, deferred = pending.pop()
        deferred = deferred or isinstance(node, (*FunctionNode, ast.If))
        own = tuple(_own_nodes(node))
        yield Scope(node, name, deferred, own)
        for inner, _ in own:
            if isinstance(inner, ScopeNode):
                pending.append((inner, f"{name}.{inner.name}" if name else inner.name, deferred))
            elif _is_script_part(inner):
                pending.append((inner, name, deferred))


def _own_nodes(scope: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Every node below a scope with the blocks around it; an inner scope is given, what is in it is not.

    A stack and no recursion: generated tables hold expressions deeper than Python's recursion limit.
    """
    pending = [(child, 0) for child in ast.iter_child_nodes(scope)]
    while pending:
        node, depth = pending.pop()
        yield node, depth
        if isinstance(node, ScopeNode) or _is_script_part(node):
            continue
        for child in ast.iter_child_nodes(node):
            opens = isinstance(node, BlockNode) and not _is_elif(node, child)
            pending.append((child, depth + opens))


def _is_script_part(node: ast.AST) -> bool:
    """Whether it is `if __name__ == "__main__"`."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
    )


def _is_elif(node: ast.AST, child: ast.AST) -> bool:
    """The tree has an `elif` inside the `else` of its `if`; on the page they stand in one column."""
    return (
        isinstance(node, ast.If)
        and isinstance(child, ast.If)
        and node.orelse == [child]
        and node.col_offset == child.col_offset
    )


def _measure_function(scope: Scope) -> Function:
    node = scope.node
    assert isinstance(node, FunctionNode)
    return Function(
        name=scope.name,
        line=node.lineno,
        length=(node.end_lineno or node.lineno) - node.lineno + 1,
        complexity=1 + sum(_decisions(inner) for inner, _ in scope.own),
        nesting=max(depth for _, depth in scope.own),
    )


def _decisions(node: ast.AST) -> int:
    """How many ways a node adds (T. J. McCabe, "A Complexity Measure", 1976); `and` and `or` branch too."""
    if isinstance(node, DecisionNode):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return 0


def _imports(scopes: list[Scope], package: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    now: set[str] = set()
    later: set[str] = set()
    for scope in scopes:
        names = later if scope.deferred else now
        for node, _ in scope.own:
            names.update(_imported_names(node, package))
    return tuple(sorted(now)), tuple(sorted(later - now))


def _imported_names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node.module or "", node.level, package)
        for alias in node.names:
            yield ".".join(part for part in (base, alias.name) if part not in ("", "*"))


def _absolute(name: str, level: int, package: str) -> str:
    """`..name` (level 2) seen from a package, as a name from the top."""
    if level == 0:
        return name
    parts = package.split(".")
    return ".".join(part for part in (*parts[: len(parts) - level + 1], name) if part)
