"""`kept.utilities.hashing`: hashes for users."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from kept.exceptions import HashError
from kept.utilities.hashing import file_hash, hash_objects, stable_hash


def test_hash_objects_counts_order_names_types_and_content() -> None:
    hashes = [hash_objects(1, 2), hash_objects(2, 1), hash_objects((1, 2)), hash_objects(1, b=2), hash_objects(1.0, 2)]
    assert len(set(hashes)) == len(hashes)
    assert hash_objects(a=1, b=2) == hash_objects(b=2, a=1)
    assert len(hash_objects(1) or "") == 64


def test_hash_objects_is_none_for_what_has_no_content_unless_told_to_raise() -> None:
    assert hash_objects(threading.Lock()) is None
    with pytest.raises(HashError, match="a lock"):
        hash_objects(threading.Lock(), raise_on_failure=True)


def test_stable_hash_keeps_its_arguments_apart() -> None:
    assert stable_hash("ab", "c") != stable_hash("a", "bc") != stable_hash("abc")
    assert stable_hash("a") != stable_hash(b"a")
    assert stable_hash("a") == stable_hash("".join(["a"]))


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_file_hash_is_blake3_of_its_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * size)
    assert file_hash(path) == file_hash(str(path)) == blake3(b"x" * size).hexdigest()


def test_another_algorithm_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert file_hash(path, hash_algo=hashlib.sha256) == hashlib.sha256(b"content").hexdigest()
    assert len(str(stable_hash("a", hash_algo=hashlib.md5))) == 32
    assert stable_hash("ab", "c", hash_algo=hashlib.md5) != stable_hash("a", "bc", hash_algo=hashlib.md5)
    assert hash_objects(1, hash_algo=hashlib.md5) == hash_objects(1, hash_algo=hashlib.md5) != hash_objects(1)
