"""Whose code it is: Python's own, an installed distribution's in some version, or the user's.

The user's code is whatever nobody else's is: scripts, packages, notebooks, and what is installed for editing, whose
files lie outside of the folders of distributions.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

OURS = frozenset({"kept", "kept_aws", "kept_azure", "kept_dask", "kept_gcp", "kept_ray", "kept_redis"})
"""Packages of ours: what they do for a task is no part of what the task computes."""


class Distribution(NamedTuple):
    """What was installed together, under one version."""

    name: str
    version: str


@functools.lru_cache(maxsize=4096)
def is_of_python(module: str, filename: str | None) -> bool:
    """Say whether a module comes with Python."""
    top = module.partition(".")[0]
    if top in sys.builtin_module_names or (filename or "").startswith("<frozen"):
        return True
    if filename is None:
        return top in sys.stdlib_module_names
    return filename.startswith(_places_of_python()) and _site_of(filename) is None


@functools.lru_cache(maxsize=1)
def _places_of_python() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[name] + os.sep for name in ("stdlib", "platstdlib")})


@functools.lru_cache(maxsize=4096)
def distribution_of(module: str, filename: str | None) -> Distribution | None:
    """Return the distribution that a module was installed with; None if it is Python's or the user's own.

    Args:
        module: The dotted name of the module.
        filename: Its file; None where it has none, as a part of a program that is frozen.
    """
    if is_of_python(module, filename):
        return None
    root = _root_of(module, filename)
    if root is None:
        return None
    return _owner(root, module.partition(".")[0], filename)


def is_users(module: str, filename: str | None) -> bool:
    """Say whether a module is the user's own code."""
    if module.partition(".")[0] in OURS or is_of_python(module, filename):
        return False
    return distribution_of(module, filename) is None


def file_of(module: str) -> str | None:
    """Return the file of a module that is loaded, if it has one."""
    found = getattr(sys.modules.get(module), "__file__", None)
    return found if isinstance(found, str) else None


def name_of(module: str) -> str:
    """Return the name that a module has when it is imported: a script that runs is `__main__` to itself only."""
    if module != "__main__":
        return module
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name = str(spec.name)
        return name[: -len(".__main__")] if name.endswith(".__main__") else name
    filename = getattr(main, "__file__", None)
    return Path(filename).stem if isinstance(filename, str) else module


def source_of_module(name: str) -> str | None:
    """Return the file of a module that need not be loaded, as an import would find it, without importing anything."""
    loaded = sys.modules.get(name)
    if getattr(loaded, "__file__", None) is not None:
        return file_of(name)
    package = name.rpartition(".")[0]
    places = None if not package else _places_of(package)
    if package and places is None:
        return None
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, places)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return spec.origin or (str(Path(folders[0], "__init__.py")) if folders else None)


def _places_of(package: str) -> list[str] | None:
    """Return the folders of a package that need not be loaded."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        return list(getattr(loaded, "__path__", ())) or None
    filename = source_of_module(package)
    return [str(Path(filename).parent)] if filename and Path(filename).stem == "__init__" else None


# --- distributions ---------------------------------------------------------------------------------


def _site_of(filename: str) -> str | None:
    """Return the folder of installed packages that a file is in."""
    for name in ("site-packages", "dist-packages"):
        before, found, _ = filename.partition(f"{os.sep}{name}{os.sep}")
        if found:
            return f"{before}{os.sep}{name}"
    return None


def _root_of(module: str, filename: str | None) -> str | None:
    """Return the folder on the path in which a module was found, if any distribution may own what is there."""
    if filename is None:
        return None
    site = _site_of(filename)
    if site is not None:
        return site
    path = Path(filename)
    levels = module.count(".") + (path.stem == "__init__")
    root = path.parents[levels] if levels < len(path.parents) else path.parent
    return str(root) if _installed_in(str(root)) else None


@functools.lru_cache(maxsize=256)
def _installed_in(root: str) -> dict[str, str]:
    """Return the folders of metadata of the distributions in a folder by their names as file names are made of them."""
    try:
        names = [path.name for path in Path(root).iterdir()]
    except OSError:
        return {}
    kinds = (".dist-info", ".egg-info") if _site_of(f"{root}{os.sep}") else (".dist-info",)
    return {_plain(name.partition("-")[0].removesuffix(".egg")): name for name in sorted(names) if name.endswith(kinds)}


def _owner(root: str, top: str, filename: str | None) -> Distribution | None:
    metadata = _installed_in(root).get(_plain(top))
    if metadata is not None and _has(root, metadata, top, filename):
        return _read(root, metadata)
    claims = _claims(root).get(top, [])
    # Several distributions may share a name; what none of them lists was made by one of them later.
    owners = [each for each in claims if _has(root, each, top, filename)] or claims
    return _read(root, owners[0]) if owners else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _has(root: str, metadata: str, top: str, filename: str | None) -> bool:
    """Say whether a distribution has a file; a top-level name, where nothing is known of files."""
    record = _record(root, metadata)
    if filename is None or not record:
        return top in _tops(root, metadata)
    return os.path.relpath(filename, root).replace(os.sep, "/") in record


@functools.lru_cache(maxsize=256)
def _claims(root: str) -> dict[str, list[str]]:
    """Return who has each top-level name; hundreds of files are read for it, so only for names that tell nothing."""
    claims: dict[str, list[str]] = {}
    for metadata in _installed_in(root).values():
        for top in _tops(root, metadata):
            claims.setdefault(top, []).append(metadata)
    return claims


@functools.lru_cache(maxsize=4096)
def _tops(root: str, metadata: str) -> frozenset[str]:
    files = _record(root, metadata)
    tops = {name.partition("/")[0].partition(".")[0] for name in files}
    told = _text(root, metadata, "top_level.txt").split()
    return frozenset({*tops, *told} or {_plain(metadata.partition("-")[0])})


@functools.lru_cache(maxsize=64)
def _record(root: str, metadata: str) -> frozenset[str]:
    lines = _text(root, metadata, "RECORD").splitlines()
    return frozenset(line.rsplit(",", 2)[0].strip('"') for line in lines)


def _text(root: str, metadata: str, name: str) -> str:
    try:
        return Path(root, metadata, name).read_text("utf-8", "replace")
    except OSError:
        return ""


@functools.lru_cache(maxsize=1024)
def _read(root: str, metadata: str) -> Distribution:
    name, _, version = metadata.rpartition(".")[0].partition("-")
    if metadata.endswith(".egg-info"):
        head = _text(root, metadata, "PKG-INFO") or _text(root, "", metadata)
        fields: dict[str, Any] = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        name, version = fields.get("Name", name), fields.get("Version", version)
    return Distribution(name.replace("_", "-").lower(), version)
