"""Starting the peers' processes, timing them from outside, and ending whatever they leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter

from environments import python_of
from servers import NotServed, Servers, free_ports

HERE = Path(__file__).resolve().parent
NAMES = {
    "kept": "from kept import flow, task",
    "prefect": "from prefect import flow, task",
    "joblib": "from joblib import Memory",
    "diskcache": "from diskcache import Cache",
}


class Trouble(Exception):
    """A worker failed; the message is for the report."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one turn of one peer gave."""

    figures: dict[str, list[float]]
    took: float
    """Seconds of the whole turn."""
    logged_bytes: int = 0
    """What it wrote to its log file."""


@dataclass(kw_only=True)
class Bench:
    """A folder for this run, and the processes started in it."""

    environments: Path
    folder: Path
    timeout: float
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @cached_property
    def servers(self) -> Servers:
        """Those of the far cases, started when the first turn needs them."""
        return Servers(folder=self.folder / "servers", home=self.environments / "swift")

    def turn(self, how: str, case: str, peer: str, sizes: dict[str, int]) -> Outcome:
        """One turn of one peer at one case, in a store of its own that is removed after it."""
        home = self.folder / f"{case}-{peer}"
        home.mkdir(parents=True)
        start = perf_counter()
        try:
            figures = self._figures(how, case, peer, sizes, home)
            log = home / "log"
            logged = log.stat().st_size if log.exists() else 0
            return Outcome(figures=figures, took=perf_counter() - start, logged_bytes=logged)
        except subprocess.TimeoutExpired as error:
            raise Trouble(f"not done after {error.timeout:.0f} s") from error
        except NotServed as error:
            raise Trouble(str(error)) from error
        finally:
            self.end_leftovers()
            shutil.rmtree(home, ignore_errors=True)

    def _figures(self, how: str, case: str, peer: str, sizes: dict[str, int], home: Path) -> dict[str, list[float]]:
        if how == "import":
            return self._imports(peer, sizes["repeats"], home)
        if how == "fresh":
            return self._fresh(peer, sizes["repeats"], home, {})
        if how == "fresh_served":
            with self._prefect_server(home) if peer == "prefect" else _nothing() as served:
                return self._fresh(peer, sizes["repeats"], home, served)
        if how == "far":
            return self._worker("far", peer, case, sizes, home, self.servers.settings())
        return self._worker("cases", peer, case, sizes, home, {})

    def _worker(
        self, worker: str, peer: str, case: str, sizes: dict[str, int], home: Path, settings: dict[str, str]
    ) -> dict[str, list[float]]:
        script = str(HERE / f"{worker}_{peer.replace('-', '_')}.py")
        command = [str(python_of(self.environments, peer)), script, case, json.dumps(sizes)]
        output = self._run(command, peer, home, settings)
        return dict(json.loads(output.splitlines()[-1])["figures"])

    def _fresh(self, peer: str, repeats: int, home: Path, settings: dict[str, str]) -> dict[str, list[float]]:
        """From the start of a process until its value is read here, and until it has ended."""
        command = [str(python_of(self.environments, peer)), str(HERE / f"fresh_{peer}.py")]
        if "ran" not in self._run(command, peer, home, settings):
            raise Trouble("the first run of the script did not run its step")
        values, exits = [], []
        for _ in range(repeats):
            with (home / "log").open("a") as log:
                start = perf_counter()
                process = subprocess.Popen(
                    command, env=self._environment(peer, home) | settings, cwd=home, text=True,
                    stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
                assert process.stdout is not None
                line = process.stdout.readline()
                values.append(perf_counter() - start)
                process.wait(self.timeout)
                exits.append(perf_counter() - start)
                process.stdout.close()
            if not line.startswith("value"):
                raise Trouble(f"the script printed {line!r} where a hit prints its value: {_last_line(home)}")
        return {"value": values, "exit": exits}

    def _imports(self, peer: str, repeats: int, home: Path) -> dict[str, list[float]]:
        python = str(python_of(self.environments, peer))
        codes = {"bare": "pass", "package": f"import {peer}", "names": NAMES[peer]}
        for code in codes.values():
            self._run([python, "-c", code], peer, home)  # the first import of an environment compiles
        took: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(repeats):
            for name, code in codes.items():
                start = perf_counter()
                self._run([python, "-c", code], peer, home)
                took[name].append(perf_counter() - start)
        over = {
            name: [with_it - bare for with_it, bare in zip(took[name], took["bare"], strict=True)]
            for name in ("package", "names")
        }
        return over | {"bare": took["bare"]}

    def _run(self, command: list[str], peer: str, home: Path, settings: dict[str, str] | None = None) -> str:
        with (home / "log").open("a") as log:
            done = subprocess.run(
                command, env=self._environment(peer, home) | (settings or {}), cwd=home, text=True,
                stdout=subprocess.PIPE, stderr=log, timeout=self.timeout,
            )  # fmt: skip
        if done.returncode:
            raise Trouble(_last_line(home))
        return done.stdout

    def _environment(self, peer: str, home: Path) -> dict[str, str]:
        """The machine's environment less anybody's settings, and the few that a private run needs."""
        theirs = ("KEPT_", "PREFECT_", "PYTHON", "JOBLIB_", "AWS_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        env |= {"BENCHMARK_RUN_ID": self.run_id, "BENCHMARK_STORE": str(home / "store"), "DO_NOT_TRACK": "1"}
        if peer == "kept":
            env["KEPT_HOME"] = str(home / "kept")
        if peer.startswith("prefect"):
            env |= {
                "PREFECT_HOME": str(self._prefect_home(peer, home)),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                # 20 s by default, which a busy machine may exceed.
                "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            }
        return env

    def _prefect_home(self, peer: str, home: Path) -> Path:
        """A home whose database exists already, as any user has from the second script on."""
        mine, template = home / "prefect", self.folder / f"{peer}-template"
        if home != template and not mine.exists():
            if not template.exists():
                template.mkdir()
                command = [str(python_of(self.environments, peer)), str(HERE / "fresh_prefect.py")]
                self._run(command, peer, template)
                self.end_leftovers()
                shutil.rmtree(template / "prefect" / "storage", ignore_errors=True)
            shutil.copytree(template / "prefect", mine)
        return mine

    @contextmanager
    def _prefect_server(self, home: Path) -> Iterator[dict[str, str]]:
        """Prefect's own server on loopback, and the setting that has scripts use it."""
        (port,) = free_ports(1)
        command = [
            str(python_of(self.environments, "prefect").with_name("prefect")),
            "server", "start", "--host", "127.0.0.1", "--port", str(port),
        ]  # fmt: skip
        with (home / "server-log").open("w") as log:
            server = subprocess.Popen(command, env=self._environment("prefect", home), cwd=home, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/api"
            _wait_until_served(url + "/health")
            yield {"PREFECT_API_URL": url}
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)

    def end(self) -> None:
        """End the servers and what else is left."""
        if "servers" in vars(self):
            self.servers.stop()
        self.end_leftovers()

    def end_leftovers(self) -> None:
        """End each process that carries the mark of this run: asked first, then killed, by its id."""
        for stop in (signal.SIGTERM, signal.SIGKILL):
            left = self._left()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, stop)
            deadline = time.monotonic() + 5
            while left and self._left() and time.monotonic() < deadline:
                time.sleep(0.05)

    def _left(self) -> list[int]:
        mark = f"BENCHMARK_RUN_ID={self.run_id}".encode()
        left = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    left.append(int(entry.name))
        return left


@contextmanager
def _nothing() -> Iterator[dict[str, str]]:
    yield {}


def _last_line(home: Path) -> str:
    lines = (home / "log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


def _wait_until_served(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise Trouble("Prefect's server did not answer within 120 s")
