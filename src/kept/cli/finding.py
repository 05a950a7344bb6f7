"""The task or flow that a command names: `module:name`, `path/to/file.py:name` or `module.name`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from kept.engine.drawing import refusing_runs
from kept.exceptions import ConfigurationError
from kept.flows import Flow
from kept.tasks import Task
from kept.utilities.nearest import nearest

WORD = "module:name, file.py:name or module.name"
"""How a task or flow is named."""


def find(word: str) -> Task[..., Any] | Flow[..., Any]:
    """The task or flow of this name, its module imported. Raises `ConfigurationError` if there is none."""
    place, separator, name = word.rpartition(":") if ":" in word else word.rpartition(".")
    if not (place and separator and name) or word.endswith(".py"):
        raise ConfigurationError(f"{word!r} names no task or flow: write {WORD}.")
    module = _imported(place, word)
    try:
        found = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        raise ConfigurationError(f"{place} has no task or flow {name!r}{_hint(module, name)}") from None
    if not isinstance(found, (Task, Flow)):
        raise ConfigurationError(
            f"{name!r} in {place} is a {type(found).__name__}, neither a task nor a flow{_hint(module, '')}"
        )
    return found


def _hint(module: Any, name: str) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, (Task, Flow))]
    near = nearest(name, names)
    return f". Did you mean {near!r}?" if near else f". It has: {', '.join(sorted(names)) or 'none'}."


def _imported(place: str, word: str) -> types.ModuleType:
    """The module at a place. What it prints goes to stderr: stdout is for the answer."""
    sys.path.insert(0, str(Path.cwd()))
    given, sys.argv = sys.argv, [place]  # a script may look for its own arguments, and must not find ours
    try:
        with contextlib.redirect_stdout(sys.stderr), refusing_runs(place):
            return _of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"{word!r} can't be found: there is no module {error.name!r} in {Path.cwd()} or among what is "
                f"installed. Write {WORD}."
            ) from None
        raise _broken(place, error) from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise _broken(place, error) from error
    finally:
        sys.argv = given


def _of_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path} in {Path.cwd()}.")
    path, name = path.resolve(), path.stem
    folder = path.parent
    while (folder / "__init__.py").is_file():
        name, folder = f"{folder.name}.{name}", folder.parent
    sys.path.insert(0, str(folder))
    module = importlib.import_module(name)
    if Path(module.__file__ or "").resolve() != path:
        raise ConfigurationError(f"{path} can't be imported as {name!r}: {module.__file__} has that name. Rename it.")
    return module


def _broken(place: str, error: BaseException) -> ConfigurationError:
    if isinstance(error, ConfigurationError):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return ConfigurationError(
        f"{place} can't be imported: {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno}). "
        "Correct that first."
    )
