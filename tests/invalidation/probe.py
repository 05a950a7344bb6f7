"""Runs the step of a project and sees whether its body ran. It knows nothing of kept, so others can be asked, too.

python probe.py kept numpy     imports these, then forks a process for each line of JSON that it reads, and
                               answers with a line
import probe; probe.tell()     at the end of a script, which runs as what it is
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import linecache
import os
import signal
import site
import sys
import threading
import traceback
import types
from typing import Any

SECONDS = 120


def main(modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        if not (child := os.fork()):
            _answer(json.loads(line))
        if os.waitpid(child, 0)[1]:
            print(json.dumps({"error": "the process was killed or hung"}), flush=True)


def _answer(work: dict[str, Any]) -> None:
    signal.alarm(SECONDS)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        answer: dict[str, Any] = {"calls": _calls(work, _load(work))}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    answers.write(json.dumps(answer) + "\n")
    answers.close()
    os._exit(0)


def _load(work: dict[str, Any]) -> dict[str, Any]:
    """The namespace of the project's job."""
    os.environ.update(work["environment"])
    os.chdir(work["cwd"])
    sys.path[:0] = work["path"]
    sys.dont_write_bytecode = not work["writes_bytecode"]
    for folder in work["site"]:
        site.addsitedir(folder)
    if work["cells"]:
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        for number, text in work["cells"]:
            _run_cell(number, text, vars(module))
    elif work["typed"]:
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        for text in work["typed"]:
            exec(compile(text, "<stdin>", "exec", dont_inherit=True), vars(module))
    else:
        module = importlib.import_module(work["module"])
    return vars(module)


def _run_cell(number: int, text: str, namespace: dict[str, Any]) -> None:
    """Run code as notebooks do: it is in no file, but `linecache` knows its lines."""
    name = f"/tmp/ipykernel_{os.getpid()}/{number}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec", dont_inherit=True), namespace)


def tell() -> None:
    """Print what came of the calls in a script, on a line of its own."""
    work = json.loads(os.environ["PROBE_WORK"])
    print("\n" + json.dumps({"calls": _calls(work, vars(sys.modules["__main__"]))}), flush=True)


def _calls(work: dict[str, Any], namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """Do the steps in turn: a call, or a cell that is run between calls."""
    answers = []
    for number, step in enumerate(work["steps"]):
        if step == "call":
            answers.append(_observed(work["call"], work["body"], namespace))
        else:
            _run_cell(1000 + number, step, namespace)
    return answers


def _observed(call: str, body: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """The value of a call as text, and whether the body ran in it, on whatever thread."""
    ran = []

    def watch(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == body and "site-packages" not in frame.f_code.co_filename:
            ran.append(frame.f_code.co_filename)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        value = eval(call, namespace)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        elif inspect.isgenerator(value):
            value = list(value)
        elif inspect.isasyncgen(value):
            value = asyncio.run(_collected(value))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {"ran": bool(ran), "value": repr(value)}


async def _awaited(value: Any) -> Any:
    return await value


async def _collected(value: Any) -> list[Any]:
    return [item async for item in value]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
