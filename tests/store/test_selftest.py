from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from kept.exceptions import StoreError
from kept.filesystems import LocalFileSystem
from kept.store.selftest import Guarantees, examine, known_guarantees
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3
from tests.store.test_bucket import bucket_of


class Careful(LocalFileSystem):
    """Files that are written conditionally, one after the other; unless it is careless."""

    careless: bool = False
    _turn = threading.Lock()

    def tagged_path(self, path: str) -> tuple[bytes, str]:
        content = self.read_path(path)
        return content, content.decode()

    def create_path(self, path: str, content: bytes) -> bool:
        return self._written_if(path, content, "")

    def replace_path(self, path: str, content: bytes, tag: str) -> bool:
        return self._written_if(path, content, tag)

    def _written_if(self, path: str, content: bytes, tag: str) -> bool:
        with self._turn:
            found = self.read_path(path).decode() if path in set(self.list_paths()) else ""
            if found != tag and not type(self).careless:
                return False
            self.write_path(path, content)
            return True


class Careless(Careful):
    """Files that take a condition and look at none."""

    careless: bool = True


def test_what_keeps_its_promises_is_found_to(tmp_path: Path) -> None:
    assert examine(Careful(tmp_path), rounds=3) == Guarantees(True, True, True)
    assert list(Careful(tmp_path).list_paths()) == []


def test_what_takes_conditions_and_looks_at_none_is_found_out(tmp_path: Path) -> None:
    assert examine(Careless(tmp_path), rounds=1) == Guarantees(False, False, True)


def test_a_server_whose_create_races_is_found_out(s3: S3) -> None:
    found = examine(bucket_of(s3, s3.bucket()))
    assert found == Guarantees(conditional_create=False, conditional_replace=False, read_after_write=True)
    assert not found.leases
    assert found.transactions


@pytest.mark.slow
def test_a_server_made_atomic_is_trusted_and_not_asked_again_within_a_week(quick_s3: S3, tmp_path: Path) -> None:
    memory = tmp_path / "home" / "guarantees.json"
    with FaultProxy(quick_s3, atomic=True) as proxy:
        bucket = bucket_of(proxy, quick_s3.bucket())
        assert known_guarantees(bucket, memory).leases
        proxy.requests.clear()
        assert known_guarantees(bucket, memory).leases
        assert proxy.count() == 0
        noted = json.loads(memory.read_text())
        (place,) = noted
        assert proxy.endpoint in place
        noted[place]["asked"] -= 8 * 24 * 3600
        memory.write_text(json.dumps(noted))
        assert known_guarantees(bucket, memory).leases
        assert proxy.count() > 0


@pytest.mark.slow
def test_a_damaged_memory_is_no_trouble(quick_s3: S3, tmp_path: Path) -> None:
    memory = tmp_path / "guarantees.json"
    for damage in ("{", '{"s3://x": 1}'):
        memory.write_text(damage)
        assert known_guarantees(bucket_of(quick_s3, quick_s3.bucket()), memory).read_after_write
        assert len(json.loads(memory.read_text())) == 1


def test_a_server_that_can_not_be_asked_is_not_remembered(quick_s3: S3, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no bucket"):
        known_guarantees(bucket_of(quick_s3, "never-made"), tmp_path / "guarantees.json")
    assert list(tmp_path.iterdir()) == []
