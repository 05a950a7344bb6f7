"""Queries live in `.sql` files, each under a line `-- name: ...`."""

from __future__ import annotations

from pathlib import Path


def named_queries(path: Path) -> dict[str, str]:
    """The queries of a file by name."""
    queries: dict[str, str] = {}
    for block in path.read_text(encoding="utf-8").split("-- name:")[1:]:
        name, _, query = block.partition("\n")
        queries[name.strip()] = query.strip()
    return queries
