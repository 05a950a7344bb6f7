from __future__ import annotations

import logging
import os
import pickle
import subprocess
import threading
from pathlib import Path

import pytest

from kept.exceptions import ConfigurationError, StoreError
from kept.store import ObjectEntries, open_store, opening
from kept.store.disk import DiskBlobs
from kept.store.sqlite import SqliteEntries
from kept.testing import an_entry
from tests.store.conftest import in_child

MOUNTS = """\
21 1 259:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:25 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
31 30 0:26 / /home/me/fast rw - xfs /dev/vdb rw
32 21 0:27 / /mnt/with\\040space rw - cifs //nas/share rw
33 21 0:28 / /mnt/twice rw - ext4 /dev/vdc rw
34 21 0:29 / /mnt/twice rw - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/.kept", "nfs4"),
        ("/home/me/fast/.kept", "xfs"),
        ("/home/me/fastest", "nfs4"),
        ("/homeless", "ext4"),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/twice/x", "fuse.sshfs"),
    ],
)
def test_the_nearest_and_last_mounted_file_system_is_found(path: str, kind: str) -> None:
    assert opening.type_in_mountinfo(path, MOUNTS) == kind


def test_this_machines_file_systems_are_found(tmp_path: Path) -> None:
    answer = subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True, check=False)
    if answer.stdout.strip() != "tmpfs":
        pytest.skip("there is no tmpfs at /dev/shm")
    assert opening.file_system_type(Path("/dev/shm/not/there")) == "tmpfs"


def test_a_new_folder_on_a_local_disk_is_embedded_and_nothing_is_created_by_opening(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s")
    assert isinstance(store.entries, SqliteEntries) and isinstance(store.blobs, DiskBlobs)
    assert store.location == str(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_new_folder_on_a_network_disk_is_a_directory_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opening, "file_system_type", lambda path: "nfs4")
    with caplog.at_level(logging.INFO, "kept.store"):
        store = open_store(tmp_path / "s")
        open_store(tmp_path / "s").entries.put([an_entry()])
    assert isinstance(store.entries, ObjectEntries)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "because it is on a network disk (nfs4)" in caplog.text
    assert (tmp_path / "s" / "entries").is_dir()


def test_an_unknown_file_system_is_tried_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "file_system_type", lambda path: "marvelfs")
    assert isinstance(open_store(tmp_path / "s").entries, SqliteEntries)
    assert list((tmp_path / "s").iterdir()) == []


def test_an_unknown_file_system_without_locks_is_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(path: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(opening, "file_system_type", lambda path: None)
    monkeypatch.setattr(opening, "exclusive", no_locks)
    with caplog.at_level(logging.INFO, "kept.store"):
        assert isinstance(open_store(tmp_path / "s").entries, ObjectEntries)
    assert "locks don't work there (No locks available)" in caplog.text


def test_a_file_system_without_a_write_ahead_log_is_noticed(tmp_path: Path) -> None:
    # SQLite keeps no write-ahead log in memory: the one place here where it refuses.
    assert "it offers 'memory'" in str(opening._probe_log(":memory:"))


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_what_is_already_there_wins(tmp_path: Path, layout: str) -> None:
    first = open_store(tmp_path / "s", layout)
    first.entries.put([an_entry()])
    opening._stores.clear()
    again = open_store(tmp_path / "s")
    assert type(again.entries) is type(first.entries)
    assert again.entries.get("key") == an_entry()


def test_the_same_folder_is_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store(tmp_path / "s")
    for path in ("s", "./x/../s", tmp_path / "link", Path("~/s")):
        assert open_store(Path(path)) is store
    assert open_store(tmp_path / "s", "embedded") is store
    assert open_store(tmp_path / "s", "directory") is not store


def test_threads_that_open_together_get_the_same_store(tmp_path: Path) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(id(open_store(tmp_path / "s")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_forked_child_can_open_and_use_stores(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s")
    store.entries.put([an_entry()])

    def child() -> None:
        assert open_store(tmp_path / "s") is store
        assert store.entries.get("key") == an_entry()
        open_store(tmp_path / "t").entries.put([an_entry()])

    in_child(child)
    assert open_store(tmp_path / "t").entries.get("key") == an_entry()


@pytest.mark.parametrize("layout", ["embedded", "directory"])
def test_a_store_can_be_sent_to_another_process(tmp_path: Path, layout: str) -> None:
    store = open_store(tmp_path / "s", layout)
    store.entries.put([an_entry()])
    digest = store.blobs.put([b"content"])
    again = pickle.loads(pickle.dumps(store))
    assert again.location == store.location
    assert again.entries.get("key") == an_entry()
    assert bytes(again.blobs.open(digest)) == b"content"


def test_a_wrong_layout_is_an_error_that_lists_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no layout 'embeded': it is one of auto, embedded, directory"):
        open_store(tmp_path, "embeded")


def test_a_file_where_the_folder_should_be_is_a_miss_and_an_error_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for layout in ("embedded", "directory"):
        store = open_store(tmp_path / "file" / layout, layout)
        assert not hasattr(store.entries.get("key"), "payload")
        with pytest.raises(StoreError):
            store.entries.put([an_entry()])
        with pytest.raises(StoreError):
            store.blobs.put([b"x"])
    assert os.listdir(tmp_path) == ["file"]
