from __future__ import annotations

import gc
import logging
import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
from blake3 import blake3

from kept.exceptions import StoreError, StoreVersionError
from kept.store import Entry, Miss
from kept.store.sqlite import SCHEMA_VERSION, SqliteEntries, record_of
from kept.testing import an_entry
from tests.store.conftest import in_child, python, start


@pytest.fixture
def entries(tmp_path: Path) -> SqliteEntries:
    return SqliteEntries(tmp_path / "s" / "entries.sqlite")


def examined(entries: SqliteEntries) -> None:
    """The file is a sound database, as SQLite itself judges it, and each entry in it is whole."""
    entries.close()
    connection = sqlite3.connect(entries.path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    finally:
        connection.close()
    assert len(list(entries.scan())) == count


def damaged_files(entries: SqliteEntries) -> list[str]:
    return sorted(path.name for path in entries.path.parent.glob("*.damaged-*"))


def test_reading_creates_nothing(entries: SqliteEntries) -> None:
    assert entries.get("key") == Miss("not kept yet")
    assert list(entries.scan()) == []
    entries.delete(["key"])
    entries.close()
    assert not entries.path.parent.exists()


def test_only_the_user_can_read_the_store_whatever_the_umask(entries: SqliteEntries) -> None:
    old = os.umask(0)
    try:
        entries.put([an_entry()])
    finally:
        os.umask(old)
    assert entries.path.parent.stat().st_mode & 0o777 == 0o700
    files = list(entries.path.parent.iterdir())
    assert {"entries.sqlite", "entries.sqlite-wal"} <= {file.name for file in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_record_is_the_same_on_every_python() -> None:
    record = record_of(an_entry(payload=b"\x00\xff", expires=2.5))
    assert blake3(record).hexdigest()[:16] == "dcb944f9cd20833b"


def test_a_store_of_an_early_version_is_moved_aside_with_one_warning(
    entries: SqliteEntries, caplog: pytest.LogCaptureFixture
) -> None:
    entries.put([an_entry("old")])
    entries.close()
    connection = sqlite3.connect(entries.path)
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with caplog.at_level(logging.WARNING, "kept.store"):
        assert entries.get("old") == Miss("not kept yet")
        entries.put([an_entry()])
        assert entries.get("key") == an_entry()
    (warning,) = caplog.messages
    assert "was written by an early version of kept (its schema is 1" in warning
    assert "a fresh one is begun" in warning and damaged_files(entries)[0] in warning


def test_an_entry_under_the_hash_of_another_key_is_no_hit(entries: SqliteEntries) -> None:
    entries.put([an_entry("a"), an_entry("b")])
    connection = sqlite3.connect(entries.path, isolation_level=None)
    connection.execute("UPDATE entry SET record = (SELECT record FROM entry WHERE id = 1) WHERE id = 2")
    connection.close()
    assert entries.get("a") == an_entry("a")
    assert "damaged" in entries.get("b").reason  # type: ignore[union-attr]


def test_a_record_that_became_something_else_is_a_miss(entries: SqliteEntries) -> None:
    for wrong in ("CAST(record AS TEXT)", "5", "x''", "CAST(x'ff' AS TEXT)"):
        entries.put([an_entry()])
        connection = sqlite3.connect(entries.path, isolation_level=None)
        connection.execute(f"UPDATE entry SET record = {wrong}")
        connection.close()
        assert entries.get("key") in (an_entry(), Miss("damaged: the entry does not hold what was kept")), wrong
        assert len(list(entries.scan())) <= 1


def test_the_schemas_version_is_in_the_file(entries: SqliteEntries) -> None:
    entries.put([an_entry()])
    connection = sqlite3.connect(entries.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_store_of_a_newer_version_is_refused_with_what_to_do(entries: SqliteEntries) -> None:
    entries.put([an_entry()])
    entries.close()
    connection = sqlite3.connect(entries.path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreVersionError, match=r"newer version of kept .*schema is 99.*Upgrade"):
        entries.get("key")
    with pytest.raises(StoreVersionError):
        entries.put([an_entry()])
    assert damaged_files(entries) == []


def test_subclasses_of_plain_types_come_back_as_plain_types(entries: SqliteEntries) -> None:
    import numpy as np

    class Text(str):
        pass

    entry = an_entry()._replace(task=Text("t"), created=5, seconds=np.float64(2.5), expires=np.int64(9))  # type: ignore[arg-type]
    entries.put([entry])
    back = entries.get("key")
    assert isinstance(back, Entry)
    assert (back.task, back.created, back.seconds, back.expires) == ("t", 5.0, 2.5, 9.0)
    assert {type(back.task), type(back.created), type(back.seconds)} == {str, float}


def test_text_that_is_not_unicode_is_a_miss_and_an_error_with_a_sentence(entries: SqliteEntries) -> None:
    entries.put([an_entry()])
    assert isinstance(entries.get("\ud800"), Miss)
    with pytest.raises(StoreError, match="not valid Unicode"):
        entries.put([an_entry("\ud800")])


def test_a_put_of_many_is_all_or_nothing(entries: SqliteEntries) -> None:
    entries.put([an_entry("before")])
    with pytest.raises(StoreError):
        entries.put([an_entry("a"), an_entry("b"), an_entry("\ud800")])
    assert [entry.key for entry in entries.scan()] == ["before"]


# --- damage


GARBAGE = b"this was a database once " * 1000


@pytest.mark.parametrize("content", [GARBAGE, b"SQLite format 3\x00" + GARBAGE])
def test_a_database_of_garbage_is_moved_aside_with_one_warning(
    entries: SqliteEntries, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    entries.path.parent.mkdir()
    entries.path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "kept.store"):
        assert isinstance(entries.get("key"), Miss)
        entries.put([an_entry()])
        assert entries.get("key") == an_entry()
    assert len(caplog.records) == 1
    assert "is damaged" in caplog.text and "entries.sqlite.damaged-1" in caplog.text
    assert damaged_files(entries) == ["entries.sqlite.damaged-1"]
    assert (entries.path.parent / "entries.sqlite.damaged-1").read_bytes() == content
    examined(entries)


@pytest.mark.parametrize("while_open", [True, False])
@pytest.mark.parametrize("kind", ["truncated", "scribbled over", "emptied"])
def test_a_database_damaged_under_our_feet_never_crashes_and_never_lies(
    entries: SqliteEntries, kind: str, while_open: bool
) -> None:
    many = [an_entry(f"k{number}", payload=os.urandom(500)) for number in range(500)]
    entries.put(many)
    entries.close()
    if while_open:
        assert entries.get("k0") == many[0]
    size = entries.path.stat().st_size
    with entries.path.open("r+b") as file:
        if kind == "truncated":
            file.truncate(size // 2 // 4096 * 4096)
        elif kind == "emptied":
            file.truncate(0)
        else:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
    for entry in many:
        assert entries.get(entry.key) in (entry, Miss("not kept yet")) or isinstance(entries.get(entry.key), Miss)
    entries.put(many)
    for entry in many:
        assert entries.get(entry.key) == entry
    examined(entries)


def test_a_flipped_bit_in_an_entry_is_a_miss_that_says_so(entries: SqliteEntries) -> None:
    entries.put([an_entry("good"), an_entry("bad", payload=b"a" * 64 + b"needle" + b"a" * 64)])
    entries.close()
    content = entries.path.read_bytes()
    entries.path.write_bytes(content.replace(b"needle", b"noodle"))
    assert isinstance(entries.get("bad"), Miss)
    assert "damaged" in entries.get("bad").reason  # type: ignore[union-attr]
    assert entries.get("good") == an_entry("good")
    assert [entry.key for entry in entries.scan()] == ["good"]
    entries.put([an_entry("bad")])
    assert entries.get("bad") == an_entry("bad")


def test_bytes_that_are_no_longer_text_are_a_miss_and_are_passed_over(entries: SqliteEntries) -> None:
    good = [an_entry(f"good-{number}") for number in range(1100)]
    entries.put([*good[:700], an_entry("bad")._replace(task="needle"), *good[700:]])
    entries.close()
    content = entries.path.read_bytes()
    entries.path.write_bytes(content.replace(b"needle", b"\xff\xfe\xfd\xfc\xfb\xfa"))
    found = entries.get("bad")
    assert isinstance(found, Miss) and found.reason.startswith("damaged")
    assert sorted(entries.scan()) == sorted(good)
    entries.put([an_entry("bad")])
    assert entries.get("bad") == an_entry("bad")


def test_eight_processes_that_find_the_damage_together_make_one_fresh_store(entries: SqliteEntries) -> None:
    entries.path.parent.mkdir()
    entries.path.write_bytes(GARBAGE)
    script = """
        store = open_store(sys.argv[1])
        store.entries.put([an_entry("from-" + sys.argv[2])])
        assert isinstance(store.entries.get("from-" + sys.argv[2]), Entry)
    """
    children = [start(script, entries.path.parent, number) for number in range(8)]
    assert [child.wait() for child in children] == [0] * 8
    for child in children:
        child.communicate()
    assert damaged_files(entries) == ["entries.sqlite.damaged-1"]
    assert {entry.key for entry in entries.scan()} == {f"from-{number}" for number in range(8)}
    examined(entries)


@pytest.mark.parametrize("suffix", ["-shm", "-wal"])
def test_a_missing_companion_file_is_no_trouble(entries: SqliteEntries, suffix: str) -> None:
    entries.put([an_entry()])
    entries.close()
    child = start(
        """
        store = open_store(sys.argv[1])
        store.entries.put([an_entry("killed")])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        entries.path.parent,
    )
    child.communicate()
    Path(f"{entries.path}{suffix}").unlink()
    assert entries.get("key") == an_entry()
    assert entries.get("killed") == (an_entry("killed") if suffix == "-shm" else Miss("not kept yet"))
    entries.put([an_entry("more")])
    examined(entries)


def test_a_file_deleted_while_open_is_begun_again(entries: SqliteEntries) -> None:
    entries.put([an_entry()])
    for path in entries.path.parent.iterdir():
        path.unlink()
    assert isinstance(entries.get("other"), Miss)
    entries.put([an_entry("new")])
    assert [entry.key for entry in SqliteEntries(entries.path).scan()] == ["new"]
    examined(entries)


def test_a_folder_deleted_while_open_is_made_again(entries: SqliteEntries) -> None:
    import shutil

    entries.put([an_entry()])
    shutil.rmtree(entries.path.parent)
    entries.put([an_entry("new")])
    assert entries.get("key") == Miss("not kept yet")
    assert entries.get("new") == an_entry("new")


# --- no space, no permission


def test_a_full_disk_is_an_error_with_a_sentence_and_loses_nothing(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(500_000))
    entries = SqliteEntries(small_disk / "entries.sqlite")
    kept: list[Entry] = []
    with pytest.raises(StoreError, match="full: free some space"):
        for number in range(100):
            entry = an_entry(f"k{number}", payload=os.urandom(100_000))
            entries.put([entry])
            kept.append(entry)
    assert kept
    for entry in kept:
        assert entries.get(entry.key) == entry
    (small_disk / "ballast").unlink()
    entries.put([an_entry("fits")])
    assert entries.get("fits") == an_entry("fits")


def test_a_read_only_store_gives_hits_and_refuses_puts_with_a_sentence(small_disk: Path) -> None:
    entries = SqliteEntries(small_disk / "s" / "entries.sqlite")
    entries.put([an_entry()])
    entries.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert entries.get("key") == an_entry()
    assert entries.get("other") == Miss("not kept yet")
    assert [entry.key for entry in entries.scan()] == ["key"]
    with pytest.raises(StoreError, match="read-only"):
        entries.put([an_entry("new")])
    assert entries.get("key") == an_entry()
    entries.close()
    nowhere = SqliteEntries(small_disk / "elsewhere" / "entries.sqlite")
    assert nowhere.get("key") == Miss("not kept yet")
    with pytest.raises(StoreError, match="nothing can be kept in"):
        nowhere.put([an_entry()])


def test_another_users_folder_gives_hits_and_refuses_puts(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("becoming another user needs root")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    entries = SqliteEntries(tmp_path / "s" / "entries.sqlite")
    entries.put([an_entry()])
    entries.close()
    entries.path.parent.chmod(0o755)
    entries.path.chmod(0o644)

    def as_nobody() -> None:
        os.setuid(65534)
        assert entries.get("key") == an_entry()
        with pytest.raises(StoreError, match="read-only"):
            entries.put([an_entry("new")])

        with pytest.raises(StoreError):
            SqliteEntries(tmp_path / "t" / "entries.sqlite").put([an_entry()])

    in_child(as_nobody)
    entries.path.chmod(0o600)

    def as_a_stranger() -> None:
        os.setuid(65534)
        with pytest.raises(StoreError, match="look at the permissions"):
            entries.get("key")

    in_child(as_a_stranger)


# --- threads, processes, forks


def test_a_dead_thread_leaves_no_handle_behind(entries: SqliteEntries, tmp_path: Path) -> None:
    entries.put([an_entry()])

    def handles() -> int:
        return len([file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))])

    before = handles()
    for _ in range(20):
        thread = threading.Thread(target=lambda: entries.get("key"))
        thread.start()
        thread.join()
    assert handles() == before > 0


def test_a_store_that_is_dropped_closes_its_file(tmp_path: Path) -> None:
    entries = SqliteEntries(tmp_path / "entries.sqlite")
    entries.put([an_entry()])
    del entries
    gc.collect()
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []


def test_parent_and_forked_child_both_go_on_and_lose_nothing(entries: SqliteEntries) -> None:
    entries.put([an_entry("before")])

    def child() -> None:
        assert entries.get("before") == an_entry("before")
        for number in range(50):
            entries.put([an_entry(f"child-{number}")])
        entries.close()

    threads = [threading.Thread(target=lambda: [entries.get("before") for _ in range(2000)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        in_child(child)
        entries.put([an_entry("parent")])
    for thread in threads:
        thread.join()
    keys = {entry.key for entry in entries.scan()}
    assert keys == {"before", "parent", *(f"child-{number}" for number in range(50))}
    examined(entries)


def test_threads_that_fork_together_dont_wait_for_each_other(tmp_path: Path) -> None:
    several = [SqliteEntries(tmp_path / str(number) / "entries.sqlite") for number in range(5)]
    for entries in several:
        entries.put([an_entry()])

    def fork() -> None:
        for _ in range(5):
            in_child(lambda: [entries.put([an_entry()]) for entries in several])

    threads = [threading.Thread(target=fork) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for entries in several:
        examined(entries)


def test_eight_processes_put_and_get_on_one_store_without_an_error(entries: SqliteEntries) -> None:
    script = """
        store, me = open_store(sys.argv[1]), sys.argv[2]
        for step in range(150):
            key = f"{me}-{step}"
            store.entries.put([an_entry(key), an_entry("shared", payload=me.encode() * 1000)])
            assert store.entries.get(key) == an_entry(key)
            shared = store.entries.get("shared")
            assert len(set(shared.payload)) == 1, shared
            store.entries.put([an_entry(f"{key}-{n}") for n in range(3)])
            digest = store.blobs.put([b"%d" % (step % 10) * 300_000])
            assert bytes(store.blobs.open(digest)[:1]) == b"%d" % (step % 10)
    """
    children = [start(script, entries.path.parent, number) for number in range(8)]
    assert [child.wait() for child in children] == [0] * 8
    for child in children:
        child.communicate()
    assert len(list(entries.scan())) == 8 * 150 * 4 + 1
    examined(entries)


def test_a_process_that_only_reads_leaves_with_no_warning(entries: SqliteEntries) -> None:
    entries.put([an_entry()])
    python("assert open_store(sys.argv[1]).entries.get('key') == an_entry()", entries.path.parent)
