"""How source code changed, as far as that counts: without comments, docstrings and annotations."""

from __future__ import annotations

import ast
from typing import Any

_OURS = ("task", "flow", "materialize")


def bare_source(text: str) -> str:
    """The source as the parser sees it, without what does not count; the text itself if it can't be parsed alone."""
    try:
        return ast.unparse(_Bare().visit(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return text


def diff_of(kept: str, now: str) -> str:
    """A unified diff of two sources; empty if they are equal."""
    import difflib  # noqa: PLC0415 - 5 ms that only explanations of changed code need

    return "\n".join(difflib.unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", lineterm=""))


class _Bare(ast.NodeTransformer):
    def visit_FunctionDef(self, node: Any) -> Any:
        node.returns = None
        return self._definition(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: Any) -> Any:
        return self._definition(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:  # of a dataclass it is a field
            return node
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def _definition(self, node: Any) -> Any:
        node.decorator_list = [one for one in node.decorator_list if not _is_ours(one)]
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _is_ours(decorator: ast.expr) -> bool:
    """Whether it is `@task` or the like, whose options say how a step runs and not what it does."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) in _OURS
