"""`kept block`: the blocks that are saved, and their types."""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from kept.blocks import documents, types
from kept.exceptions import ConfigurationError

app = typer.Typer(help="See and delete saved blocks, and register types.", no_args_is_help=True, rich_markup_mode=None)
type_app = typer.Typer(help="See and forget types of blocks.", rich_markup_mode=None)
app.add_typer(type_app, name="type")
app.add_typer(type_app, name="types")

_HIDDEN = "********"
_MODULES = ("kept.blocks.system", "kept.blocks.storage", "kept.filesystems", "kept_aws", "kept_gcp", "kept_azure")
"""Where the types are that come with kept."""

Reference = Annotated[str | None, typer.Argument(metavar="TYPE/NAME", show_default=False)]
Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="The id of the block, instead of its name.")]
Slug = Annotated[str, typer.Argument(metavar="TYPE", show_default=False)]
Output = Annotated[str | None, typer.Option("--output", "-o", help="The format: json.")]


@app.command()
def ls(output: Output = None) -> None:
    """List the saved blocks."""
    rows = [_row(slug, name) for slug, name in documents.all_saved()]
    if _as_json(output, rows):
        return
    _print_table([[row["block"], row["id"], row["saved"]] for row in rows])
    if not rows:
        typer.echo(f"No blocks are saved in {documents.folder()}.", err=True)


@app.command()
def inspect(reference: Reference = None, id: Id = None, output: Output = None) -> None:
    """Show a saved block, but for its secrets."""
    slug, name = _chosen(reference, id)
    document = documents.read(slug, name)
    fields = _without_secrets(document["fields"])
    facts = {"block": f"{slug}/{name}", **{fact: document.get(fact) for fact in ("id", "class", "saved")}}
    if _as_json(output, {**facts, "fields": fields}):
        return
    _print_table([[fact, str(value)] for fact, value in facts.items()])
    _print_table([[f"  {field}", _text(value)] for field, value in fields.items()])


@app.command()
def delete(reference: Reference = None, id: Id = None) -> None:
    """Delete a saved block."""
    slug, name = _chosen(reference, id)
    documents.remove(slug, name)
    typer.echo(f"Deleted the block {slug}/{name}.")


@app.command()
def register(
    module: Annotated[str | None, typer.Option("--module", "-m", help="A module that defines types.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A Python file that defines types.")] = None,
) -> None:
    """Note the types of blocks that a module or a file defines."""
    if (module is None) == (file is None):
        raise ConfigurationError("Say where the types are: `kept block register -m MODULE` or `... -f FILE.py`.")
    found = _of_module(module) if module else _of_file(file or Path())
    for cls in found:
        types.register(cls)
        typer.echo(f"Registered the block type {cls.get_block_type_slug()} ({cls.get_block_type_name()}).")
    if not found:
        raise ConfigurationError(f"{module or file} defines no types of blocks: classes that inherit from Block.")


@type_app.callback(invoke_without_command=True)
def list_by_default(context: typer.Context) -> None:
    """List the types if nothing else is asked for."""
    if context.invoked_subcommand is None:
        type_ls()


@type_app.command("ls")
def type_ls(output: Output = None) -> None:
    """List the types of blocks that are registered, saved, or come with kept."""
    found = {slug: _type(slug) for slug in [*types.known(), *_built_in()]}
    rows = [{"type": slug, **found[slug]} for slug in sorted(found)]
    if not _as_json(output, rows):
        _print_table([[row["type"], row.get("description") or ""] for row in rows])


@type_app.command("inspect")
def type_inspect(slug: Slug, output: Output = None) -> None:
    """Show a type of block and its fields."""
    if slug not in types.known() and slug not in _built_in():
        raise ConfigurationError(f"There is no block type {slug}; `kept block types` lists those there are.")
    noted = {"type": slug, **_type(slug)}
    if _as_json(output, noted):
        return
    fields = noted.pop("fields", {})
    noted.pop("kept_block_type", None)
    _print_table([[fact, str(value)] for fact, value in noted.items() if value])
    _print_table([[f"  {name}", kind] for name, kind in fields.items()])


@type_app.command("delete")
def type_delete(slug: Slug) -> None:
    """Forget a type of block; its class stays what it is."""
    types.forget(slug)
    typer.echo(f"Forgot the block type {slug}.")


def _row(slug: str, name: str) -> dict[str, Any]:
    try:
        document = documents.read(slug, name)
    except ConfigurationError as error:
        return {"block": f"{slug}/{name}", "id": "?", "saved": str(error)}
    return {"block": f"{slug}/{name}", "id": document["id"], "saved": document.get("saved")}


def _chosen(reference: str | None, id: str | None) -> tuple[str, str]:
    if (reference is None) == (id is None):
        raise ConfigurationError("Say which block: `TYPE/NAME`, or `--id ID`; `kept block ls` lists them.")
    if reference is not None:
        slug, name = documents.split(reference)
        return documents.find(slug, name), name
    return documents.with_id(str(id))


def _type(slug: str) -> dict[str, Any]:
    if slug in _built_in():
        return types.description(_built_in()[slug])
    return types.find(slug) or {}


@cache
def _built_in() -> dict[str, Any]:
    found = (cls for module in _MODULES for cls in types.defined_in(importlib.import_module(module)))
    return {cls.get_block_type_slug(): cls for cls in found}


def _of_module(name: str) -> list[Any]:
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        return types.defined_in(importlib.import_module(name))
    except Exception as error:  # a module of the user's may raise anything
        raise ConfigurationError(f"{name} can't be imported: {type(error).__name__}: {error}") from error


def _of_file(path: Path) -> list[Any]:
    """The types that a file defines, run as `import` would run it, with its folder to import from."""
    if not path.is_file() or path.suffix != ".py":
        raise ConfigurationError(f"{path} is no Python file.")
    sys.path.insert(0, str(path.absolute().parent))
    return _of_module(path.stem)


def _as_json(output: str | None, value: Any) -> bool:
    if output not in (None, "json"):
        raise ConfigurationError(f"--output can't be {output!r}; allowed is json.")
    if output:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    return bool(output)


def _without_secrets(value: Any) -> Any:
    """What was written of a block, as people read it: secrets hidden, blocks within it as their fields."""
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$secret" in value:
        return _HIDDEN
    if "$block" in value:
        return _without_secrets(value["$block"]["fields"])
    return value.get("$ref") or {name: _without_secrets(each) for name, each in value.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_table(rows: list[list[str]]) -> None:
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
