"""The scheme is pinned: a digest that changes empties every user's cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fingerprint_samples
import pytest

from kept.fingerprint import fingerprint

PINNED = json.loads(fingerprint_samples.GOLDEN.read_text())
SAMPLES = fingerprint_samples.samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_digest_is_the_pinned_one(name: str) -> None:
    assert fingerprint(SAMPLES[name]()) == PINNED[name]


def test_each_sample_has_a_digest_of_its_own() -> None:
    assert len(set(PINNED.values())) == len(PINNED)


def test_every_sample_is_pinned() -> None:
    assert set(SAMPLES) <= set(PINNED)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_digests_are_the_same_in_another_process_under_another_hash_seed(seed: str) -> None:
    script = Path(fingerprint_samples.__file__)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == {name: PINNED[name] for name in SAMPLES}
