"""Files and folders as arguments and results: what they count by, what is kept of them, and what comes back."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kept import Dir, File, flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import HashError, ParameterTypeError, SerializationError
from kept.fingerprint import fingerprint
from kept.fingerprint.files import Stamp, content_digest
from kept.results import ResultStore
from kept.settings import KEPT_CACHE_CHECK, temporary_settings
from kept.store import Entry, open_store
from kept.store.promotion import promote
from kept.store.stamps import FileDigests
from kept.store.upkeep import collect
from kept.task_runners import ProcessPoolTaskRunner


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(path: str, text: str = "content") -> File:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return File(path)


def aged(path: str | os.PathLike[str]) -> None:
    """Make a file so old, by its modification time, that nobody takes it for one being written."""
    os.utime(path, ns=(1_500_000_000_123_456_789,) * 2)


def refused(value: object) -> str:
    with pytest.raises(HashError) as caught:
        fingerprint(value, where="argument 'data'")
    return str(caught.value)


# --- what they are


def test_a_file_is_a_path() -> None:
    file = File(Path("data") / "raw.csv")
    assert os.fspath(file) == str(file) == "data/raw.csv"
    assert file.path == Path("data/raw.csv")
    assert repr(file) == "File('data/raw.csv')"
    assert Dir("data") / "raw.csv" == Path("data/raw.csv")


def test_files_and_folders_are_equal_by_kind_and_path_and_sort_by_path() -> None:
    assert File("a") == File(Path("a"))
    assert len({File("a"), File("a"), File("b"), Dir("a")}) == 3
    assert File("a") != Dir("a") and File("a") != "a"
    assert sorted([File("b"), File("a")]) == [File("a"), File("b")]


def test_files_are_copied_and_pickled_as_paths() -> None:
    for value in (File("not/there"), Dir("not/there")):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


@pytest.mark.parametrize("wrong", [3, None, b"bytes", ["a"]])
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterTypeError, match=r"File\(\) got .*; it takes a path, as text or as a Path"):
        File(wrong)


@pytest.mark.parametrize("wrong", ["", "a\0b"])
def test_the_path_of_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(ParameterTypeError, match="which is the path of nothing"):
        Dir(wrong)


# --- as arguments


def test_a_file_counts_by_its_content_wherever_it_lies_and_whenever_it_was_written() -> None:
    first = fingerprint(written("a.csv", "1,2"))
    aged("a.csv")
    assert fingerprint(File("a.csv")) == fingerprint(written("deep/b.csv", "1,2")) == first
    assert fingerprint(written("a.csv", "1,3")) != first
    assert fingerprint([File("deep/b.csv")]) != fingerprint(["deep/b.csv"])


def test_a_path_stays_a_name() -> None:
    before = fingerprint(Path("a.csv"))
    written("a.csv")
    assert fingerprint(Path("a.csv")) == before


def test_a_task_runs_again_when_its_file_has_changed() -> None:
    ran = []

    @task(cache_policy=INPUTS)
    def count(file: File) -> int:
        ran.append(file)
        return len(file.path.read_text())

    assert [count(written("a", "1")), count(written("b", "1")), count(written("a", "12")), count(File("b"))] == [
        1,
        1,
        2,
        1,
    ]
    assert ran == [File("a"), File("a")]


def test_a_folder_counts_by_names_and_content_at_any_depth() -> None:
    def made(folder: str, *paths: str) -> str:
        shutil.rmtree(folder, ignore_errors=True)
        for path in paths:
            written(f"{folder}/{path}", f"in {path}")
        return fingerprint(Dir(folder))

    base = made("one", "a", "b/c", "b/d/e")
    assert made("two", "b/d/e", "b/c", "a") == base
    assert len({base, made("one", "a", "b/c"), made("one", "a", "b/c", "b/d/f"), made("one", "a", "c", "b/d/e")}) == 4
    Path("two/b/empty").mkdir()
    assert fingerprint(Dir("two")) != base
    Path("two/b/empty").rmdir()
    written("two/b/c", "changed")
    assert fingerprint(Dir("two")) != base


def test_links_in_a_folder_count_by_what_they_lead_to() -> None:
    written("elsewhere/big.bin", "1")
    written("data/small.bin", "2")
    os.symlink("../elsewhere/big.bin", "data/big.bin")
    os.symlink("../elsewhere", "data/more")
    first = fingerprint(Dir("data"))
    written("elsewhere/big.bin", "3")
    assert fingerprint(Dir("data")) != first


def test_links_that_lead_nowhere_or_around_count_by_their_text() -> None:
    Path("data").mkdir()
    os.symlink("gone", "data/dangling")
    os.symlink(".", "data/around")
    first = fingerprint(Dir("data"))
    os.unlink("data/dangling")
    os.symlink("gone too", "data/dangling")
    assert fingerprint(Dir("data")) != first


def test_names_that_are_no_unicode_are_names() -> None:
    Path("data").mkdir()
    Path(os.fsdecode(b"data/\xff\xfe")).write_text("x")
    first = fingerprint(Dir("data"))
    os.rename(os.fsdecode(b"data/\xff\xfe"), os.fsdecode(b"data/\xff\xfd"))
    assert fingerprint(Dir("data")) != first


def test_what_is_not_there_or_no_file_is_told_with_its_place_and_the_cure(work: Path) -> None:
    os.symlink("nowhere", "link")
    os.mkfifo("pipe")
    written("file")
    written("folder/file")
    where = f"argument 'data': the file {work}/gone does not exist: make it first, or correct the path. Leave it out"
    assert refused(File("gone")).startswith(where)
    assert f"the file {work}/file/below does not exist" in refused(File("file/below"))
    assert f"the folder {work}/gone does not exist" in refused(Dir("gone"))
    assert f"the link {work}/link leads to nowhere, which does not exist: correct the link" in refused(File("link"))
    assert f"{work}/folder is a folder: pass Dir(...) instead of File(...)" in refused(File("folder"))
    assert f"{work}/file is a file: pass File(...) instead of Dir(...)" in refused(Dir("file"))
    assert f"{work}/pipe is a pipe, a socket or a device" in refused(File("pipe"))
    shutil.move("pipe", "folder/pipe")
    assert f"{work}/folder/pipe is a pipe, a socket or a device" in refused([Dir("folder")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told() -> None:
    written("secret")
    os.chmod("secret", 0)
    assert "can't be read, for want of permission: let this user read it" in refused(File("secret"))


def test_a_run_without_its_file_is_told_and_fails_as_it_would_alone(log: Any, work: Path) -> None:
    @task(cache_policy=INPUTS)
    def read(file: File) -> str:
        return file.path.read_text()

    with pytest.raises(FileNotFoundError):
        read(File("gone.csv"))
    assert f"argument 'file': the file {work}/gone.csv does not exist" in log


def test_a_file_that_code_names_counts_by_its_content_wherever_the_code_lies(home: Path) -> None:
    text = """
    from pathlib import Path
    from kept import File, task
    from kept.cache_policies import CODE

    TABLE = File(Path(__file__).parent / "table.csv")

    @task(cache_policy=CODE)
    def count():
        print("counting")
        return len(TABLE.path.read_text())

    print(count(), count())
    TABLE.path.write_text("changed")
    print(count())
    """
    for folder in ("one", "two"):
        written(f"{folder}/table.csv", "abc")
        written(f"{folder}/count.py", textwrap.dedent(text))
    printed = [
        subprocess.run(
            [sys.executable, f"{folder}/count.py"],
            env={**os.environ, "KEPT_HOME": str(home)},
            capture_output=True,
            text=True,
        ).stdout
        for folder in ("one", "two")
    ]
    assert printed == ["counting\n3 3\ncounting\n7\n", "3 3\n7\n"]


def test_a_result_is_not_kept_if_a_file_that_it_is_made_from_changes_meanwhile(log: Any) -> None:
    ran = []

    @task(cache_policy=INPUTS)
    def read(file: File) -> str:
        ran.append(1)
        if len(ran) == 1:
            written("data.csv", "new")
        return file.path.read_text()

    assert read(written("data.csv", "old")) == "new"
    assert "data.csv changed while it ran" in log
    assert read(written("data.csv", "old")) == "old"
    assert read(File("data.csv"), return_state=True).name == "Cached"


def test_a_task_may_use_up_its_file_or_return_it_changed() -> None:
    @task(cache_policy=INPUTS)
    def move(file: File) -> File:
        shutil.move(file, "moved")
        return File("moved")

    @task(cache_policy=INPUTS)
    def sort(file: File) -> File:
        return written(os.fspath(file), "".join(sorted(file.path.read_text())))

    for step, path, text in ((move, "a", "ab"), (sort, "b", "ba")):
        step(written(path, text))
        assert step(written(path, text), return_state=True).name == "Cached"
    assert Path("b").read_text() == "ab"


# --- what is remembered


class Counting:
    """A memo that counts what is read, over one that works."""

    def __init__(self, path: Path) -> None:
        self.inside = FileDigests(path)
        self.read = 0

    def get(self, path: str, stamp: Stamp) -> str | None:
        return self.inside.get(path, stamp)

    def put(self, path: str, stamp: Stamp, digest: str) -> None:
        self.read += 1
        self.inside.put(path, stamp, digest)


def settled(path: str, text: bytes = b"x" * 100_000) -> str:
    """A file whose last change is long enough ago for its stamp to be worth something."""
    Path(path).write_bytes(text)
    while Stamp.of(os.stat(path)).settles_at() >= _now(path):
        pass
    return path


def _now(path: str) -> int:
    """The time by the clock of the file system."""
    probe = Path(path + ".probe")
    probe.write_bytes(b"")
    return probe.stat().st_mtime_ns


def test_an_unchanged_file_is_read_once_and_by_one_process(tmp_path: Path) -> None:
    path = settled("big")
    for reads in (1, 0):
        memo = Counting(tmp_path / "files.sqlite")
        digests = {content_digest(path, memo) for _ in range(3)}
        assert len(digests) == 1 and memo.read == reads


def test_an_edit_that_leaves_size_and_time_is_noticed(tmp_path: Path) -> None:
    memo = Counting(tmp_path / "files.sqlite")
    path = settled("big")
    first, status = content_digest(path, memo), os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == status.st_mtime_ns
    assert content_digest(path, memo) != first


def test_another_file_put_in_the_place_is_noticed(tmp_path: Path) -> None:
    memo = Counting(tmp_path / "files.sqlite")
    path, other = settled("big"), settled("other", b"y" * 100_000)
    for each in (path, other):
        aged(each)
    first = content_digest(path, memo)
    os.replace(other, path)
    assert content_digest(path, memo) != first


def test_a_file_that_has_just_been_written_is_not_remembered(tmp_path: Path) -> None:
    memo = Counting(tmp_path / "files.sqlite")
    for _ in range(50):
        Path("fresh").write_bytes(os.urandom(100_000))
        status = os.stat("fresh")
        assert Stamp.of(status).settles_at() > status.st_ctime_ns
        first = content_digest("fresh", memo)
        Path("fresh").write_bytes(os.urandom(100_000))
        assert content_digest("fresh", memo) != first


def test_a_clock_that_counts_seconds_is_not_trusted_for_seconds() -> None:
    coarse, fine = Stamp(1, 5, 7_000_000_000, 1, 1), Stamp(1, 5, 7_000_000_001, 1, 1)
    assert coarse.settles_at() - coarse.changed >= 2_000_000_000
    assert fine.settles_at() - fine.changed < 100_000_000


def test_a_memo_that_can_not_be_written_costs_reading_the_file_again(tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("")
    path = settled("big")
    digests = {content_digest(path, FileDigests(tmp_path / "no-folder" / "files.sqlite")) for _ in range(2)}
    assert len(digests) == 1


# --- as results


@dataclasses.dataclass
class Report:
    title: str
    pages: list[File]


class Plain:
    def __init__(self, file: File) -> None:
        self.file = file


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda file: file,
        lambda file: [file],
        lambda file: {"a": (file,)},
        lambda file: Report("r", [file]),
        lambda file: Plain(file),
    ],
)
def test_a_file_that_was_deleted_comes_back_with_the_result_that_holds_it(wrapped: Callable[[File], Any]) -> None:
    ran = []

    @task(cache_policy=INPUTS)
    def make(n: int) -> Any:
        ran.append(n)
        return wrapped(written("out/made.txt", "made"))

    make(1)
    shutil.rmtree("out")
    make(1)
    assert ran == [1]
    assert Path("out/made.txt").read_text() == "made"


@task(cache_policy=INPUTS)
def make(text: str, path: str = "out/made.txt") -> File:
    return written(path, text)


def again(text: str, path: str = "out/made.txt") -> str:
    """What is in the file that a hit returns."""
    state = make(text, path, return_state=True)
    assert state.name == "Cached"
    return state.result().path.read_text()  # type: ignore[no-any-return]


def test_a_file_that_differs_is_given_back_and_one_that_does_not_is_left_alone() -> None:
    make("made")
    written("out/made.txt", "edit")
    assert again("made") == "made"
    status = os.stat("out/made.txt")
    assert again("made") == "made"
    assert os.stat("out/made.txt") == status


def test_what_becomes_of_a_file_that_was_given_back_never_reaches_the_store() -> None:
    make("made" * 100_000)
    for _ in range(2):
        os.unlink("out/made.txt")
        assert again("made" * 100_000) == "made" * 100_000
        with open("out/made.txt", "r+") as file:
            file.write("edit")


def test_a_file_that_a_task_deletes_later_still_hits_in_another_process(home: Path) -> None:
    Path("flow.py").write_text(
        textwrap.dedent("""
        from kept import File, flow, task
        from kept.cache_policies import INPUTS

        @task(cache_policy=INPUTS)
        def make(n):
            print("making")
            with open("made.txt", "w") as file:
                file.write("made")
            return File("made.txt")

        @task
        def clean(file):
            file.path.unlink()

        @flow
        def all():
            file = make(1)
            print(file.path.read_text())
            clean(file)

        all()
        """)
    )
    printed = [
        subprocess.run(
            [sys.executable, "flow.py"], env={**os.environ, "KEPT_HOME": str(home)}, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert printed == ["making\nmade\n", "made\n"]


def test_the_mode_of_a_file_and_a_link_to_it_stay() -> None:
    written("far/away.txt")
    Path("out").mkdir()
    os.symlink("../far/away.txt", "out/made.txt")

    @task(cache_policy=INPUTS)
    def script(n: int) -> File:
        written("out/made.txt", "#!/bin/sh")
        os.chmod("out/made.txt", 0o750)
        return File("out/made.txt")

    script(1)
    os.unlink("far/away.txt")
    script(1)
    assert os.path.islink("out/made.txt")
    assert os.stat("far/away.txt").st_mode & 0o777 == 0o750


def test_a_folder_comes_back_as_it_was() -> None:
    @task(cache_policy=INPUTS)
    def build(n: int) -> Dir:
        written("site/index.html", "home")
        written("site/a/b/page.html", "page")
        written("site/a/empty.html", "")
        os.makedirs("site/none")
        os.symlink("gone", "site/dangling")
        return Dir("site")

    before = fingerprint(build(1))
    for damage in (
        lambda: shutil.rmtree("site"),
        lambda: os.unlink("site/a/b/page.html"),
        lambda: written("site/index.html", "edit"),
        lambda: os.rmdir("site/none"),
    ):
        damage()
        assert build(1, return_state=True).name == "Cached"
        assert fingerprint(Dir("site")) == before
    assert os.readlink("site/dangling") == "gone"


def test_an_empty_folder_comes_back() -> None:
    @task(cache_policy=INPUTS)
    def build(n: int) -> Dir:
        os.makedirs("empty")
        return Dir("empty")

    build(1)
    os.rmdir("empty")
    assert build(1, return_state=True).name == "Cached"
    assert Path("empty").is_dir()


def test_what_has_come_into_a_folder_is_never_removed_and_makes_the_hit_a_miss(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def build(n: int) -> Dir:
        written("site/index.html", "home")
        return Dir("site")

    build(1)
    written("site/notes.txt", "mine")
    assert build(1, return_state=True).name == "Completed"
    assert "site holds what is not of the result, and kept removes nothing: notes.txt. Running instead" in log
    assert Path("site/notes.txt").read_text() == "mine"
    assert build(1, return_state=True).name == "Cached"


def test_the_fingerprint_of_a_kept_result_is_that_of_the_file_so_that_reruns_stop_there() -> None:
    ran = []

    @task(cache_policy=INPUTS)
    def count(file: File) -> int:
        ran.append(1)
        return len(file.path.read_text())

    @task(cache_policy=INPUTS)
    def even(n: int) -> File:
        return written("even.txt", str(n % 2))

    @flow
    def chain(n: int) -> int:
        return count.submit(even.submit(n)).result()

    assert [chain(1), chain(3), count(written("other.txt", "1"))] == [1, 1, 1]
    assert len(ran) == 1


def test_a_kept_folder_has_the_fingerprint_of_the_folder(tmp_path: Path) -> None:
    written("site/a/b/page.html")
    os.makedirs("site/none")
    os.symlink("gone", "site/dangling")
    entry = ResultStore(tmp_path / "store").pack([Dir("site")], "k")
    assert entry.fingerprint == fingerprint([Dir("site")])


def test_a_result_that_names_a_file_which_is_not_there_is_not_kept_and_told_with_the_way(log: Any, work: Path) -> None:
    @task(cache_policy=INPUTS)
    def make(n: int) -> Any:
        return {"report": [File("gone.txt")]}

    assert make(1) == {"report": [File("gone.txt")]}
    assert f"result -> ['report'] -> [0]: the file {work}/gone.txt does not exist" in log
    assert make(1, return_state=True).name == "Completed"


def test_json_does_not_keep_files_and_says_what_does(log: Any) -> None:
    @task(cache_policy=INPUTS, result_serializer="json")
    def make(n: int) -> File:
        return written("a.txt")

    make(1)
    assert 'use result_serializer="pickle"' in log


def test_a_place_that_can_not_be_written_is_a_miss_that_is_told(log: Any, work: Path) -> None:
    make("made", "out/a/made.txt")
    shutil.rmtree("out")
    written("out")
    with pytest.raises(NotADirectoryError):
        make("made", "out/a/made.txt")
    assert f"{work}/out/a/made.txt can't be given back as it was kept: " in log


def test_lost_and_damaged_content_is_a_miss(home: Path, log: Any) -> None:
    make("made")
    (blob,) = (home / "storage").rglob("b3-*")
    os.unlink("out/made.txt")
    os.chmod(blob, 0o600)
    blob.write_text("edit")
    assert make("made", return_state=True).name == "Completed"
    assert "does not hold what was kept" in log
    assert Path("out/made.txt").read_text() == "made"


@pytest.mark.parametrize("serializer", ["pickle", "compressed/pickle"])
@pytest.mark.parametrize("layout", ["embedded", "directory", "memory"])
def test_each_layout_gives_files_back(
    layout: str, serializer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KEPT_RESULTS_STORE_LAYOUT", layout)
    store = ResultStore(tmp_path / layout, serializer=serializer)
    large = "x" * 5_000_000
    store.write([written("small", "s"), written("large", large), written("none", "")], key="k")
    for path in ("small", "large", "none"):
        os.unlink(path)
    assert store.read("k").result == [File("small"), File("large"), File("none")]
    assert [Path(path).read_text() for path in ("small", "large", "none")] == ["s", large, ""]


def test_files_go_through_a_file_system_of_the_users_own() -> None:
    class Shelf:
        def __init__(self) -> None:
            self.content: dict[str, bytes] = {}

        def read_path(self, path: str) -> bytes:
            return self.content[path]

        def write_path(self, path: str, content: bytes) -> None:
            self.content[path] = bytes(content)

    store = ResultStore(Shelf())
    store.write(written("a", "shelved"), key="k")
    os.unlink("a")
    assert store.read("k").result.path.read_text() == "shelved"


def test_a_worker_process_keeps_the_files_that_its_task_made() -> None:
    @flow(task_runner=ProcessPoolTaskRunner(1))
    def build() -> str:
        return make.submit("made by a worker", "out/w.txt").result().path.read_text()

    assert build() == "made by a worker"
    os.unlink("out/w.txt")
    assert build() == "made by a worker"


def test_a_generator_keeps_files_of_different_names_and_refuses_one_that_it_writes_again(log: Any) -> None:
    @task(cache_policy=INPUTS)
    def pages(names: list[str]) -> Any:
        for number, name in enumerate(names):
            yield [written(name, f"page {number}")]

    def texts(names: list[str]) -> list[str]:
        return [page[0].path.read_text() for page in pages(names)]

    for _ in range(2):
        assert texts(["a", "b"]) == ["page 0", "page 1"]
        assert texts(["c", "c"]) == ["page 0", "page 1"]
        os.unlink("a")
    assert len(log.having("c is not what it was when it was yielded: let a generator give each file")) == 2
    assert len(log.having("Cached")) == 1


def test_many_files_come_back_at_once_and_in_async_code() -> None:
    @flow
    def all() -> list[str]:
        futures = [make.submit(f"text {n}", f"out/{n}.txt") for n in range(40)]
        return [future.result().path.read_text() for future in futures]

    @task(cache_policy=INPUTS)
    async def amake(n: int) -> File:
        return written(f"async/{n}.txt", str(n))

    @flow
    async def both() -> list[str]:
        return [file.path.read_text() for file in await asyncio.gather(*map(amake, range(10)))]

    first = all(), asyncio.run(both())
    shutil.rmtree("out")
    shutil.rmtree("async")
    assert (all(), asyncio.run(both())) == first


def test_a_pickle_of_files_outside_of_a_store_holds_no_content_and_gives_nothing_back() -> None:
    file = pickle.loads(pickle.dumps(written("a")))
    os.unlink("a")
    assert file == File("a")
    assert not os.path.exists("a")


def test_files_that_change_while_they_are_kept_are_refused(tmp_path: Path) -> None:
    class Restless:
        """Blobs into which a file goes that somebody is writing to."""

        def put(self, chunks: Any) -> str:
            with open("a", "a") as file:
                file.write("more")
            return "b3:" + "0" * 64

    store = ResultStore(tmp_path / "store")
    store.blobs = Restless()  # type: ignore[assignment]
    with pytest.raises(SerializationError, match="changes while it is read: wait until whatever writes it is done"):
        store.pack(written("a"), "k")


# --- stores that are far away, and upkeep


@pytest.mark.parametrize("tier", ["10GB", "0"])
@pytest.mark.parametrize("behind", ["false", "true"])
def test_a_bucket_gives_files_back_with_and_without_a_tier(
    quick_s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tier: str, behind: str
) -> None:
    settings = {"KEPT_RESULTS_LOCAL_TIER_SIZE": tier, "KEPT_RESULTS_WRITE_BEHIND": behind}
    for name, value in {**quick_s3.environment, **settings}.items():
        monkeypatch.setenv(name, value)
    place = f"s3://{quick_s3.bucket()}/files"
    written("folder/in", "in")
    store = ResultStore(place)
    store.write([written("small", "s"), written("large", "x" * 400_000), Dir("folder")], key="k")
    store.flush()
    for machine in ("one", "another"):
        monkeypatch.setenv("KEPT_HOME", str(tmp_path / machine))
        for path in ("small", "large", "folder/in"):
            os.unlink(path)
        there = ResultStore(place)
        entry = there.lookup("k")
        assert isinstance(entry, Entry) and not there.is_near(entry)
        there.read("k")
        assert there.is_near(entry) == (tier != "0")
        assert [len(Path(path).read_text()) for path in ("small", "large", "folder/in")] == [1, 400_000, 2]


def test_the_blobs_of_files_are_no_garbage(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "store")
    store.write([written("a", "kept")], key="k")
    store.write([written("b", "let go")], key="gone")
    store.entries.delete(["gone"])
    collected = collect(open_store(tmp_path / "store"), older_than=-1.0)
    assert (collected.blobs, collected.blob_bytes) == (1, 6)
    os.unlink("a")
    assert store.read("k").result[0].path.read_text() == "kept"


def test_files_are_promoted_with_the_result(tmp_path: Path) -> None:
    here, there = open_store(tmp_path / "here"), open_store(tmp_path / "there")
    ResultStore(here).write([written("a", "promoted"), "x" * 100_000], key="k")
    assert [done.skipped for done in promote(here, there, lambda entry: True)] == [""]
    os.unlink("a")
    assert ResultStore(there).read("k").result[0].path.read_text() == "promoted"


def test_what_writes_files_is_not_computed_again_under_the_eyes_of_who_reads_them(tmp_path: Path) -> None:
    @task(cache_policy=INPUTS, persist_result=True)
    def write(n: int) -> File:
        (tmp_path / "out.txt").write_text(str(time.time_ns()))
        return File(tmp_path / "out.txt")

    kept = write(1).path.read_text()
    with temporary_settings({KEPT_CACHE_CHECK: 1}):
        assert write(1, return_state=True).name == "Cached"
    assert (tmp_path / "out.txt").read_text() == kept


def test_a_file_that_is_too_old_is_written_at_once_and_not_in_the_background(tmp_path: Path) -> None:
    @task(cache_policy=INPUTS, cache_expiration=timedelta(0), refresh="background")
    def write(n: int) -> File:
        (tmp_path / "out.txt").write_text(str(time.time_ns()))
        return File(tmp_path / "out.txt")

    write(1)
    assert write(1, return_state=True).name == "Completed"


def test_to_explain_a_run_gives_no_file_back(tmp_path: Path) -> None:
    @task(cache_policy=INPUTS)
    def write(n: int) -> File:
        (tmp_path / "out.txt").write_text("kept")
        return File(tmp_path / "out.txt")

    write(1)
    (tmp_path / "out.txt").write_text("mine")
    assert write.explain(1).decision == "HIT"
    assert (tmp_path / "out.txt").read_text() == "mine"
