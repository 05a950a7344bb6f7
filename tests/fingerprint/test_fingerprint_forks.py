"""Fingerprints in a forked child."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, warnings
from kept.fingerprint import fingerprint
from kept.utilities.hashing import file_hash
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here

large = bytes(5_000_000)
here = fingerprint(large), file_hash(os.environ["LARGE"])
child = os.fork()
if child == 0:
    os._exit(0 if (fingerprint(large), file_hash(os.environ["LARGE"])) == here else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_hashes_what_its_parent_hashed_on_several_threads(tmp_path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(5_000_000))
    subprocess.run([sys.executable, "-c", PROGRAM], env={"LARGE": str(large)}, timeout=60, check=True)
