"""From the project of a case to files on disk, and to what came of running it."""

from __future__ import annotations

import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.invalidation.reading import Version

HERE = Path(__file__).parent
TAIL = '\nif __name__ == "__main__":\n    import probe\n\n    probe.tell()\n'


class Dress(NamedTuple):
    """What makes a function of a case a step that is kept, by one system."""

    head: str
    """The lines at the top of each file that has tasks."""
    without_arguments: str = "@task"
    with_arguments: str = "@task"

    def dressed(self, text: str) -> str:
        """The text of a file with its tasks as this system has them."""
        if not re.search(r"@task|@flow|\btask\(", text):
            return text
        text = re.sub(r"@task\n(?=\s*(async )?def \w+\(\))", f"{self.without_arguments}\n", text)
        text = re.sub(r"@task\n", f"{self.with_arguments}\n", text)
        future = re.match(r"(#.*\n|\n)*from __future__ .*\n", text)
        return (future[0] if future else "") + self.head + text[future.end() if future else 0 :]


KEPT = Dress(
    "from kept import flow, task\nfrom kept.cache_policies import CODE, PURE\n",
    "@task(cache_policy=CODE)",
    "@task(cache_policy=PURE)",
)


class Call(NamedTuple):
    """What came of one call of the step."""

    ran: bool
    value: str


class Failed(Exception):
    """A project could not be run; the message is the traceback."""


class Prober:
    """A process that has imported what all cases need, and nothing of theirs, and is forked for each run."""

    def __init__(self, python: str, *modules: str, **environment: str) -> None:
        self.python = python
        self.environment = {**os.environ, **environment}
        command = [python, str(HERE / "probe.py"), *modules]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment
        )

    def calls(self, work: dict[str, Any]) -> list[Call]:
        """What came of each call in a process of its own. Raises `Failed` if it raised."""
        answer = self._as_typed(work) if work["command"] else self._asked(work)
        if "error" in answer:
            raise Failed(answer["error"])
        return [Call(**call) for call in answer["calls"]]

    def _asked(self, work: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline() or '{"error": "the probe has ended"}')

    def _as_typed(self, work: dict[str, Any]) -> Any:
        environment = {**self.environment, **work["environment"], "PROBE_WORK": json.dumps(work)}
        paths = [str(HERE), *work["path"][1:], environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        environment["PYTHONDONTWRITEBYTECODE"] = "" if work["writes_bytecode"] else "1"
        done = subprocess.run(
            [self.python, *work["command"]],
            cwd=work["cwd"],
            env=environment,
            text=True,
            capture_output=True,
            timeout=300,
        )
        return {"error": done.stderr} if done.returncode else json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class Workshop:
    """A folder in which one case is written, run, edited and run again."""

    def __init__(self, folder: Path, dress: Dress = KEPT, writes_bytecode: bool = False) -> None:
        self.folder = folder
        self.dress = dress
        self.writes_bytecode = writes_bytecode
        self._edits = 0

    def write(self, version: Version) -> dict[str, Any]:
        """Make the files what this version has; what is equal stays untouched. Returns the work for a `Prober`."""
        self._edits += 1
        root = self.folder / version.option("in", "project")
        root.mkdir(parents=True, exist_ok=True)
        command = version.option("run", "import job").split()
        files = {name: self.dress.dressed(text) for name, text in _on_disk(version).items()}
        if command[0] == "python":
            files[_script(command)] += TAIL
        self._lay_out(root, files, version)
        cwd = root / version.option("cwd", ".")
        cwd.mkdir(parents=True, exist_ok=True)
        return {
            "command": command[1:] if command[0] == "python" else [],
            "module": _script(command).removesuffix(".py").replace("/", "."),
            "cwd": str(cwd),
            "path": [str(root), *(str(root / name) for name in sorted(_zips(files)))],
            "site": [str(root / "site-packages")] if (root / "site-packages").exists() else [],
            "cells": [[number, self.dress.dressed(text)] for number, text in _numbered(version, "cell")],
            "typed": [self.dress.dressed(text) for _, text in _numbered(version, "typed")],
            "call": version.option("call", "step()"),
            "body": version.option("body", "step"),
            "writes_bytecode": self.writes_bytecode,
        }

    def _lay_out(self, root: Path, files: dict[str, str], version: Version) -> None:
        wanted = {root / name for name in files} | {root / name for name in _zips(files)}
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path not in wanted:
                path.unlink()
        for name, text in files.items():
            if ".zip/" not in name:
                self._write_file(root, name, text)
        for name in _zips(files):
            inside = {path: text for path, text in files.items() if path.startswith(name + "/")}
            _write_zip(root / name, {path.removeprefix(name + "/"): text for path, text in inside.items()})
        for given in version.options_named("dist"):
            _install(root / "site-packages", *given.split())
        for given in version.options_named("editable"):
            _install_editable(root, *given.split())

    def _write_file(self, root: Path, name: str, text: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pyc":
            _write_bytecode(path, text)
        elif not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            # Python takes bytecode for current if the file was changed in the same second and is as long as it was.
            os.utime(path, (path.stat().st_mtime + 10 * self._edits,) * 2)


def runs(work: dict[str, Any], home: Path, steps: list[str], environment: Mapping[str, str] = {}) -> dict[str, Any]:
    """The work with what is to be done, and where results are kept."""
    settings = {"KEPT_HOME": str(home), "KEPT_HISTORY_ENABLED": "false", "KEPT_LOGGING_LEVEL": "CRITICAL"}
    return {**work, "steps": steps, "environment": {**settings, **environment}}


def _on_disk(version: Version) -> dict[str, str]:
    return {
        name: text for name, text in version.files.items() if name.split(" ")[0] not in ("between", "cell", "typed")
    }


def _numbered(version: Version, kind: str) -> list[tuple[int, str]]:
    """The texts of the cells, or of what was typed, by their numbers."""
    found = [(name.split(" "), text) for name, text in version.files.items()]
    return sorted((int(words[1]), text) for words, text in found if words[0] == kind)


def _zips(files: dict[str, str]) -> set[str]:
    return {name.partition(".zip/")[0] + ".zip" for name in files if ".zip/" in name}


def _script(command: list[str]) -> str:
    """The file that a command runs."""
    if command[0] == "import":
        return command[1].replace(".", "/") + ".py"
    return command[2].replace(".", "/") + ".py" if command[1] == "-m" else command[1].removeprefix("../")


def _write_zip(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _write_bytecode(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.py"
        source.write_text(text, "utf-8")
        py_compile.compile(str(source), str(path), dfile=str(path.with_suffix(".py")), doraise=True)


def _install(site_packages: Path, name: str, version: str, *contents: str) -> Path:
    """Note in site-packages that a distribution is installed, as pip does."""
    for old in site_packages.glob(f"{name.replace('-', '_')}-*.dist-info"):
        shutil.rmtree(old)
    info = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    (info / "INSTALLER").write_text("pip\n", "utf-8")
    found = [
        path for content in contents for path in [site_packages / content, *(site_packages / content).rglob("*.py")]
    ]
    listed = [str(path.relative_to(site_packages)) for path in found if path.is_file()]
    listed += [f"{info.name}/{path}" for path in ("METADATA", "INSTALLER", "RECORD")]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed), "utf-8")
    return info


def _install_editable(root: Path, name: str, version: str, folder: str) -> None:
    site_packages = root / "site-packages"
    site_packages.mkdir(exist_ok=True)
    (site_packages / f"__editable__.{name}.pth").write_text(f"{root / folder}\n", "utf-8")
    info = _install(site_packages, name, version, f"__editable__.{name}.pth")
    origin = {"url": (root / folder).as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin), "utf-8")


def prober_of_kept(**environment: str) -> Prober:
    """One in this very Python, with the libraries that cases import."""
    return Prober(sys.executable, "kept.flows", "kept.tasks", "kept.cache_policies", "numpy", "pydantic", **environment)
