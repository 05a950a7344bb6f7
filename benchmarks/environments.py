"""One virtual environment per peer, made once; kept is installed anew when its source has changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from catalogue import EXTRAS, PEERS, SWIFT, VERSIONS_SHOWN

CHECKOUT = Path(__file__).resolve().parent.parent


def default_folder() -> Path:
    """Where the environments are kept: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "kept-benchmarks"


def python_of(folder: Path, peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return folder / peer / "bin" / "python"


def prepare(folder: Path, peer: str) -> None:
    """Make the environment of a peer, or of the S3 server, unless it is there with what it needs."""
    mark = folder / peer / "benchmark.json"
    packages = SWIFT if peer == "swift" else PEERS[peer]
    wanted = {
        "python": sys.version,
        "packages": list(packages),
        "source": _source_digest() if peer == "kept" else None,
    }
    if mark.exists() and json.loads(mark.read_text()) == wanted:
        return
    print(f"setting up the environment of {peer} in {folder / peer}", file=sys.stderr)
    known = json.loads(mark.read_text()) if mark.exists() else {}
    if known.get("python") != sys.version or known.get("packages") != wanted["packages"]:
        venv.create(folder / peer, clear=True, with_pip=True)
        _pip(folder, peer, *packages)
    if peer == "kept":
        # A wheel, as users get it: an editable install finds its modules in another way.
        _pip(folder, peer, f"{CHECKOUT}[{EXTRAS}]")
        _pip(folder, peer, "--force-reinstall", "--no-deps", str(CHECKOUT))
    mark.write_text(json.dumps(wanted))


def versions(folder: Path, peers: list[str]) -> dict[str, str]:
    """The versions of the packages that matter, as installed."""
    code = (
        "import importlib.metadata as m, json\n"
        "have = {d.name.lower(): d.version for d in m.distributions()}\n"
        f"print(json.dumps({{n: have[n] for n in {VERSIONS_SHOWN!r} if n in have}}))"
    )
    found: dict[str, str] = {}
    for peer in peers:
        command = [str(python_of(folder, peer)), "-c", code]
        found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _pip(folder: Path, peer: str, *arguments: str) -> None:
    command = [str(python_of(folder, peer)), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"pip could not set up the environment of {peer}:\n{done.stderr}")


def _source_digest() -> str:
    digest = hashlib.sha256()
    files = [path for path in (CHECKOUT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in [CHECKOUT / "pyproject.toml", *sorted(files)]:
        digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
