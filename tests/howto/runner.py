"""Runs a snippet of the page as a script, on a clock that moves when the snippet sleeps, so that nobody waits.

    python runner.py SNIPPET REPORT [AFTERWARDS]

The snippet is not touched. Its top-level statements run one by one as those of `__main__`; where a comment between
them says that seconds pass, the clock moves on by as many. REPORT is then a JSON list, for each statement its line
and the seconds that it slept. AFTERWARDS is code to run in the snippet's namespace at the end.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import time
from pathlib import Path

_real_time = time.time
_passed = 0.0


def _sleep(seconds: float) -> None:
    global _passed
    _passed += seconds


def _now() -> float:
    return _real_time() + _passed


def main(snippet: Path, report: Path, afterwards: str) -> None:
    time.sleep, time.time = _sleep, _now
    source = snippet.read_text(encoding="utf-8")
    lines = source.splitlines()
    namespace = {"__name__": "__main__", "__file__": str(snippet)}
    slept, end = [], 0
    for statement in ast.parse(source).body:
        for comment in lines[end : statement.lineno - 1]:
            if pause := re.search(r"(\d+) seconds pass", comment):
                _sleep(float(pause[1]))
        end = statement.end_lineno or end
        before = _passed
        exec(compile(ast.Module([statement], []), str(snippet), "exec"), namespace)
        slept.append((lines[end - 1], _passed - before))
    report.write_text(json.dumps(slept), encoding="utf-8")
    exec(afterwards, namespace)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
