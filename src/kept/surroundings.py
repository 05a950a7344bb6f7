"""What a run finds around it and a key may depend on: files, variables of the environment, installed distributions."""

from __future__ import annotations

import glob
import os
import re
from functools import lru_cache
from pathlib import Path

from kept.exceptions import ConfigurationError, HashError
from kept.files import digest_now
from kept.fingerprint import fingerprint
from kept.fingerprint.canonical import NoContent
from kept.utilities.nearest import nearest

ABSENT = "absent"
"""The part of what need not be there and is not."""


def file_parts(patterns: tuple[str, ...], missing_ok: bool) -> dict[str, str]:
    """`files.PATH` for each file that matches: the digest of its content.

    Raises:
        ConfigurationError: a pattern matches nothing, or names a folder.
        HashError: a file can't be read.
    """
    parts: dict[str, str] = {}
    for pattern in patterns:
        found = _matching(pattern)
        if not found and not missing_ok:
            raise ConfigurationError(_matches_nothing(pattern))
        parts.update({f"files.{path}": _digest(path) for path in found} or {f"files.{pattern}": ABSENT})
    return parts


def variable_parts(names: tuple[str, ...], missing_ok: bool) -> dict[str, str]:
    """`env.NAME` for each variable: the digest of its value, which may be a secret.

    Raises:
        ConfigurationError: one is not set.
    """
    for name in names:
        if name not in os.environ and not missing_ok:
            near = nearest(name, os.environ)
            hint = f"Did you mean {near!r}? Else set" if near else "Set"
            raise ConfigurationError(
                f"The cache policy ENV({name!r}) names a variable of the environment that is not set. {hint} it before "
                f"the run, or say ENV({name!r}, missing_ok=True) if being unset is a state like others."
            )
    return {f"env.{name}": fingerprint(os.environ[name]) if name in os.environ else ABSENT for name in names}


def package_parts(names: tuple[str, ...]) -> dict[str, str]:
    """`dist.NAME` for each distribution: its version."""
    return {f"dist.{_normal(name)}": _version(name) or ABSENT for name in names}


def check_packages(names: tuple[str, ...]) -> None:
    """Raise `ConfigurationError` for a distribution that is not installed."""
    for name in names:
        if _version(name) is None:
            raise ConfigurationError(
                f"The cache policy PACKAGES({name!r}) names a distribution that is not installed here. "
                f"{_other_name(name)}nstall it, or say PACKAGES({name!r}, missing_ok=True)."
            )


def _matching(pattern: str) -> list[str]:
    pattern = os.path.expanduser(pattern)  # noqa: PTH111 - a pattern, not a path
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - which keeps paths as they are written
    files = [path for path in found if not os.path.isdir(path)]  # noqa: PTH112 - as above
    if found and not files and not glob.has_magic(pattern):
        raise ConfigurationError(
            f"The cache policy FILES({pattern!r}) names a folder. Say which files in it count: "
            f"FILES({os.path.join(pattern, '**')!r}) for all of them."  # noqa: PTH118 - as above
        )
    return files


def _matches_nothing(pattern: str) -> str:
    return (
        f"The cache policy FILES({pattern!r}) matches no file; relative patterns begin at the working directory, "
        f"{Path.cwd()}. Correct it, or say FILES({pattern!r}, missing_ok=True) if there may be none."
    )


def _digest(path: str) -> str:
    try:
        return digest_now(path)
    except NoContent as error:
        raise HashError(f"{error}. The cache policy names it by FILES(...).") from error


def _normal(name: str) -> str:
    """The name of a distribution as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1024)  # what is imported stays what it is until the process ends
def _version(name: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415  # 15 ms, which few policies need

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _other_name(name: str) -> str:
    """What the distribution may be called that the user means, and how the sentence goes on."""
    from importlib import metadata  # noqa: PLC0415  # as above

    of_module = metadata.packages_distributions().get(name)
    installed = {_normal(found) for one in metadata.distributions() if (found := one.metadata["Name"])}
    near = of_module[0] if of_module else nearest(_normal(name), installed)
    return f"Did you mean {near!r}? Else i" if near else "I"
