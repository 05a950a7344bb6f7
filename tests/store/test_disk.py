from __future__ import annotations

import gc
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kept.exceptions import StoreError
from kept.serializers import PickleSerializer
from kept.store import Miss, disk
from kept.store.disk import DiskBlobs
from tests.store.conftest import in_child, python

SMALL, LARGE = 1000, 1_000_000


@pytest.fixture
def blobs(tmp_path: Path) -> DiskBlobs:
    return DiskBlobs(tmp_path / "blobs")


def path_of(blobs: DiskBlobs, digest: str) -> Path:
    name = digest.removeprefix("b3:")
    return blobs.root / name[:2] / f"b3-{name}"


def content(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_reading_creates_nothing(blobs: DiskBlobs) -> None:
    assert isinstance(blobs.open("b3:" + "0" * 64), Miss)
    blobs.delete(["b3:" + "0" * 64])
    assert list(blobs.scan()) == []
    assert not blobs.root.exists()


def test_only_the_user_can_read_blobs_whatever_the_umask(blobs: DiskBlobs) -> None:
    old = os.umask(0)
    try:
        digest = blobs.put([content(SMALL)])
    finally:
        os.umask(old)
    assert stat.S_IMODE(path_of(blobs, digest).stat().st_mode) == 0o400
    for folder in (blobs.root, path_of(blobs, digest).parent, blobs.root / "tmp"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_blob_is_sealed_and_opened_without_being_read(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(LARGE)])
    status = path_of(blobs, digest).stat()
    assert 1973 <= time.gmtime(status.st_mtime).tm_year <= 1998
    assert disk._is_sealed(status, digest)
    assert not disk._is_sealed(status, "b3:" + "0" * 64)


def test_a_blob_that_is_here_is_not_written_again_but_its_age_is_renewed(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(SMALL)])
    before = path_of(blobs, digest).stat()
    assert blobs.put([content(SMALL)]) == digest
    after = path_of(blobs, digest).stat()
    assert after.st_ino == before.st_ino
    assert after.st_ctime_ns > before.st_ctime_ns
    assert files_in(blobs.root) == [path_of(blobs, digest).name]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ["flipped", "truncated", "emptied", "lengthened", "zeroed"])
def test_a_damaged_blob_is_a_miss_that_says_so_and_is_replaced_by_the_next_put(
    blobs: DiskBlobs, caplog: pytest.LogCaptureFixture, kind: str, size: int
) -> None:
    digest = blobs.put([content(size)])
    damage(path_of(blobs, digest), kind)
    with caplog.at_level(logging.WARNING, "kept.store"):
        found = blobs.open(digest)
    assert isinstance(found, Miss) and found.reason.startswith("damaged: ")
    assert len(caplog.records) == 1
    assert files_in(blobs.root) == []
    assert blobs.put([content(size)]) == digest
    assert bytes(blobs.open(digest)) == content(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["flipped", "truncated", "emptied", "zeroed"])
def test_a_put_over_a_damaged_blob_replaces_it(blobs: DiskBlobs, kind: str) -> None:
    digest = blobs.put([content(LARGE)])
    damage(path_of(blobs, digest), kind)
    assert blobs.put([content(LARGE)]) == digest
    assert bytes(blobs.open(digest)) == content(LARGE)  # type: ignore[arg-type]


def damage(path: Path, kind: str) -> None:
    path.chmod(0o600)
    size = path.stat().st_size
    with path.open("r+b") as file:
        if kind == "flipped":
            file.seek(size // 2)
            byte = file.read(1)[0]
            file.seek(size // 2)
            file.write(bytes([byte ^ 1]))
        elif kind == "zeroed":
            file.write(bytes(size))
        else:
            file.truncate({"truncated": size - 1, "emptied": 0, "lengthened": size + 1}[kind])


def test_a_blob_that_was_only_touched_is_hashed_and_sealed_again(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(LARGE)])
    os.utime(path_of(blobs, digest))
    assert bytes(blobs.open(digest)) == content(LARGE)  # type: ignore[arg-type]
    assert disk._is_sealed(path_of(blobs, digest).stat(), digest)


def test_a_seal_of_another_boot_is_not_believed(blobs: DiskBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = blobs.put([content(LARGE)])
    path = path_of(blobs, digest)
    sealed = path.stat()
    damage(path, "zeroed")
    os.utime(path, ns=(sealed.st_atime_ns, sealed.st_mtime_ns))  # as a crash of the machine may leave it
    monkeypatch.setattr(disk, "_BOOT", b"another boot")
    assert isinstance(blobs.open(digest), Miss)


def test_where_there_is_no_boot_id_the_seal_holds_too(blobs: DiskBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_BOOT", b"")
    digest = blobs.put([content(LARGE)])
    assert bytes(blobs.open(digest)) == content(LARGE)  # type: ignore[arg-type]


def test_a_deleted_blob_under_an_entry_is_a_miss_that_says_so(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(SMALL)])
    path_of(blobs, digest).unlink()
    assert blobs.open(digest) == Miss(f"missing: there is no blob {digest}")


def test_what_is_written_into_a_loaded_array_never_reaches_the_store(blobs: DiskBlobs) -> None:
    value = np.arange(LARGE)
    digest = blobs.put(PickleSerializer().chunks(value))
    first = PickleSerializer().loads(blobs.open(digest))
    second = PickleSerializer().loads(blobs.open(digest))
    first[:] = -1
    np.testing.assert_array_equal(second, value)
    np.testing.assert_array_equal(PickleSerializer().loads(blobs.open(digest)), value)
    assert disk._is_sealed(path_of(blobs, digest).stat(), digest)


def test_open_views_hold_no_file_handles_and_their_maps_go_with_them(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(LARGE)])
    name = path_of(blobs, digest).name
    blobs.open(digest)
    before = len(os.listdir("/proc/self/fd"))
    views = [blobs.open(digest) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert Path("/proc/self/maps").read_text().count(name) >= 1
    del views
    gc.collect()
    assert name not in Path("/proc/self/maps").read_text()


def test_a_value_that_changes_while_it_is_kept_is_kept_as_it_was_read(blobs: DiskBlobs) -> None:
    value = bytearray(200 << 20)
    stop = threading.Event()

    def scribble() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value[-1] = value[0] = number % 256

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        digest = blobs.put([memoryview(value)])
    finally:
        stop.set()
        thread.join()
    os.utime(path_of(blobs, digest))  # the seal is broken, so that the file is hashed in full
    assert not isinstance(blobs.open(digest), Miss)


def test_more_pieces_than_the_kernel_takes_at_once(blobs: DiskBlobs) -> None:
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]
    assert bytes(blobs.open(blobs.put(pieces))) == b"".join(pieces)  # type: ignore[arg-type]


def test_a_digest_that_is_none_is_refused_rather_than_made_a_path(blobs: DiskBlobs) -> None:
    for wrong in ("../../etc/passwd", "b3:xyz", "b3:" + "0" * 63, "md5:" + "0" * 64, "b3:" + "A" * 64):
        with pytest.raises(StoreError, match="not the digest of a blob"):
            blobs.open(wrong)


def test_what_killed_writers_left_is_removed_when_it_is_an_hour_old(
    blobs: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put([content(SMALL)])
    leftover = blobs.root / "tmp" / "123-abc"
    leftover.write_bytes(b"half a bl")
    os.utime(leftover, ns=(0, 0))
    DiskBlobs(blobs.root).put([content(SMALL, 1)])
    assert leftover.exists(), "it may belong to a writer that is alive"
    monkeypatch.setattr(disk, "_TEMPORARY_SECONDS", -1.0)
    DiskBlobs(blobs.root).put([content(SMALL, 2)])
    assert not leftover.exists()


def test_a_full_disk_is_an_error_with_a_sentence_and_leaves_nothing_behind(small_disk: Path) -> None:
    blobs = DiskBlobs(small_disk / "blobs")
    digest = blobs.put([content(LARGE)])
    with pytest.raises(StoreError, match="full: free some space"):
        blobs.put([content(3 * LARGE)])
    assert files_in(blobs.root) == [path_of(blobs, digest).name]
    assert bytes(blobs.open(digest)) == content(LARGE)  # type: ignore[arg-type]
    blobs.delete([digest])
    blobs.put([content(LARGE, 1)])


def test_a_read_only_store_gives_hits_and_refuses_puts_with_a_sentence(small_disk: Path) -> None:
    blobs = DiskBlobs(small_disk / "blobs")
    digest = blobs.put([content(LARGE)])
    touched = blobs.put([content(SMALL)])
    os.utime(path_of(blobs, touched))
    broken = blobs.put([content(SMALL, 1)])
    damage(path_of(blobs, broken), "flipped")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert bytes(blobs.open(digest)) == content(LARGE)  # type: ignore[arg-type]
    for _ in range(2):
        assert bytes(blobs.open(touched)) == content(SMALL)  # type: ignore[arg-type]
        assert isinstance(blobs.open(broken), Miss)
    with pytest.raises(StoreError, match="not writable"):
        blobs.put([content(LARGE, 1)])
    with pytest.raises(StoreError, match="not writable"):
        blobs.delete([digest])


def test_hashing_large_blobs_works_in_a_forked_child(blobs: DiskBlobs) -> None:
    digest = blobs.put([content(20 * LARGE)])

    def child() -> None:
        os.utime(path_of(blobs, digest))
        assert bytes(blobs.open(digest)[:100]) == content(20 * LARGE)[:100]  # type: ignore[index]
        blobs.put([content(20 * LARGE, 1)])

    in_child(child)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("layout", "most_to_keep"), [("embedded", 0.2), ("directory", 1.2)])
def test_keeping_and_loading_a_gigabyte_needs_little_more_than_the_gigabyte(
    tmp_path: Path, layout: str, most_to_keep: float
) -> None:
    answer = python(
        """
        import numpy as np, resource
        from kept.serializers import PickleSerializer
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        store, serializer = open_store(sys.argv[1], sys.argv[2]), PickleSerializer()
        value = np.ones(1_000_000_000 // 8)
        before = peak()
        digest = store.blobs.put(serializer.chunks(value))
        keeping = peak() - before
        back = serializer.loads(store.blobs.open(digest))
        back += value
        assert back[0] == back[-1] == 2.0
        print(keeping, peak() - before)
        """,
        tmp_path,
        layout,
    )
    keeping, both = map(float, answer.stdout.split())
    assert keeping < most_to_keep
    assert both < 1.2
