"""`kept version`: what a bug report needs to say."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import typer

from kept.exceptions import ConfigurationError
from kept.settings import active_profile, get_current_settings, settings_file

# What kept is built on, and the libraries whose values it knows. Their metadata is read, nothing imported.
DISTRIBUTIONS = ("blake3", "cloudpickle", "pydantic", "numpy", "pandas", "polars", "pyarrow", "torch")


def show() -> None:
    """Show the versions and places that a bug report needs to name."""
    facts = {
        "kept": version_of("kept"),
        "Python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "platform": f"{platform.platform()}, {os.cpu_count()} CPUs",
        "SQLite": sqlite3.sqlite_version,
        **{name: version_of(name) for name in DISTRIBUTIONS},
        **_places(),
    }
    for name, fact in facts.items():
        typer.echo(f"{name:<12}{fact}")


def version_of(distribution: str) -> str:
    """The version of a distribution, or that it is not installed; from its metadata, importing nothing."""
    try:
        return installed_version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _places() -> dict[str, str]:
    # Wrong settings are a likely reason for the report: they must not keep it from being written.
    try:
        settings, file, profile = get_current_settings(), settings_file(), active_profile()
    except ConfigurationError as error:
        return {"settings": f"wrong: {error}"}
    store = settings.results.local_storage_path
    return {
        "home": str(settings.home),
        "store": f"{store} ({settings.results.store_layout}{'' if store.exists() else ', not there yet'})",
        "settings": str(file.path) if file else "no file",
        "profile": profile.name,
    }
