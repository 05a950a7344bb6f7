"""The code identity of the step of each case, as pinned in `golden.txt` for all Pythons.

    python -m tests.invalidation.pinning         compares, and names the cases whose identity is another one
    python -m tests.invalidation.pinning --pin   writes what this Python finds

A changed line there empties the cache of everybody whose code is of that kind: it takes a new version of the scheme,
and a line in CHANGELOG.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.invalidation.reading import Case, all_cases
from tests.invalidation.writing import Prober, Workshop, prober_of_kept, runs

GOLDEN = Path(__file__).parent / "golden.txt"
_FIND = "__import__('kept.fingerprint.code', fromlist=['_']).code_identity({}.fn).digest"


def pinned() -> dict[str, str]:
    lines = GOLDEN.read_text("utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def found(case: Case, prober: Prober, folder: Path, place: str = "project") -> str:
    """The digest of the step before the edit, shortened; in another place on the disk if that is said."""
    version = case.before._replace(options=(*case.before.options, ("in", place)))
    step = version.option("call", "step()").partition("(")[0]
    work = Workshop(folder).write(version)
    work |= {"call": _FIND.format(step if step != "main" else "step"), "command": []}
    (call,) = prober.calls(runs(work, folder / "home", ["call"]))
    return call.value.strip("'").removeprefix("b3:")[:16]


def is_pinned(case: Case) -> bool:
    """Whether the code of a case is known by its source, not by bytecode, on each Python."""
    text = "\n".join([*case.before.files, *case.before.files.values()])
    return not any(
        sign in text for sign in (".pyc\n", "typed ", "exec(", "eval(", "cloudpickle", "double, other = lambda")
    )


def all_found(prober: Prober) -> dict[str, str]:
    digests = {}
    for case in filter(is_pinned, all_cases()):
        with tempfile.TemporaryDirectory() as folder:
            digests[str(case)] = found(case, prober, Path(folder))
    return digests


def main() -> int:
    prober = prober_of_kept(PYTHONHASHSEED="5")
    digests = all_found(prober)
    prober.close()
    if "--pin" in sys.argv:
        GOLDEN.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), "utf-8")
        return 0
    wrong = {name for name in digests.keys() | pinned().keys() if digests.get(name) != pinned().get(name)}
    print(
        "".join(f"{name}: {pinned().get(name)} is pinned, {digests.get(name)} found\n" for name in sorted(wrong)),
        end="",
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
