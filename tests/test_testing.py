"""What kept gives to the tests of its users: the harness, the store in memory, the pytest plugin."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.filesystems import LocalFileSystem
from kept.results import ResultStore, get_result_store
from kept.settings import KEPT_HOME, get_current_settings, temporary_settings
from kept.store import MemoryEntries
from kept.task_runners import ProcessPoolTaskRunner
from kept.testing.utilities import kept_test_harness, memory_store

PROJECT = Path(__file__).parents[1]


@task(cache_policy=INPUTS, persist_result=True)
def double(x: int) -> int:
    return 2 * x


@task(cache_policy=INPUTS)
def large(size: int) -> bytes:
    return bytes(size)


@flow
def twice() -> list[str]:
    return [double(21, return_state=True).name for _ in range(2)]


def kept_in() -> Path:
    return Path(get_current_settings().home)


class TestTheHarness:
    def test_keeps_everything_in_a_folder_that_is_gone_afterwards(self, home: Path) -> None:
        with kept_test_harness():
            assert twice() == ["Completed", "Cached"]
            inside = kept_in()
            assert (inside / "storage" / "entries.sqlite").exists()
        assert not inside.exists()
        assert not home.exists()
        assert kept_in() == home

    def test_starts_empty_each_time(self) -> None:
        for _ in range(2):
            with kept_test_harness():
                assert twice() == ["Completed", "Cached"]

    def test_leaves_no_thread_and_no_open_file_behind(self) -> None:
        def open_files() -> list[str]:
            links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
            return sorted(os.readlink(link) for link in links if os.path.exists(link) or os.path.islink(link))

        before = threading.active_count()
        for _ in range(5):
            with kept_test_harness():
                twice()
                inside = kept_in()
            assert not any(str(inside) in path for path in open_files())
        assert threading.active_count() <= before

    def test_can_be_nested(self) -> None:
        with kept_test_harness():
            outer = kept_in()
            assert twice() == ["Completed", "Cached"]
            with kept_test_harness():
                assert kept_in() != outer
                assert twice() == ["Completed", "Cached"]
            assert kept_in() == outer
            assert twice() == ["Cached", "Cached"]

    def test_cleans_up_after_an_error(self, home: Path) -> None:
        with pytest.raises(ZeroDivisionError), kept_test_harness():
            inside = kept_in()
            1 / 0
        assert (kept_in(), inside.exists()) == (home, False)

    def test_holds_in_threads_and_processes_that_are_started_inside(self) -> None:
        seen: list[Path] = []
        with kept_test_harness():
            thread = threading.Thread(target=lambda: seen.append(kept_in()))
            thread.start()
            thread.join()
            program = "from kept.settings import KEPT_HOME; print(KEPT_HOME.value())"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
            assert seen == [Path(done.stdout.strip())] == [kept_in()]

    def test_wins_over_what_is_set_around_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_LOCAL_STORAGE_PATH", str(tmp_path / "a"))
        monkeypatch.setenv("KEPT_PROFILE", "of-my-machine")
        with kept_test_harness():
            assert ResultStore().location == str(kept_in() / "storage")
            outer = kept_in()
            with temporary_settings({KEPT_HOME: tmp_path / "b"}), kept_test_harness():
                assert kept_in() not in (tmp_path / "b", outer)
        assert os.environ["KEPT_LOCAL_STORAGE_PATH"] == str(tmp_path / "a")
        assert os.environ["KEPT_PROFILE"] == "of-my-machine"

    def test_neither_finds_nor_changes_the_blocks_around_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEPT_BLOCKS_PATH", str(tmp_path / "mine"))
        monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE", "local-file-system/mine")
        LocalFileSystem(basepath=str(tmp_path / "there")).save("mine")
        with kept_test_harness():
            LocalFileSystem(basepath="/other").save("mine")
            assert ResultStore().location.startswith(str(kept_in()))
        assert LocalFileSystem.load("mine").basepath == str(tmp_path / "there")

    def test_lets_a_test_change_settings_inside(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with kept_test_harness():
            monkeypatch.setenv("KEPT_HOME", str(tmp_path / "mine"))
            assert kept_in() == tmp_path / "mine"
            monkeypatch.undo()

    def test_takes_the_documented_argument(self) -> None:
        with kept_test_harness(server_startup_timeout=None):
            assert twice() == ["Completed", "Cached"]


class TestTheStoreInMemory:
    def test_takes_the_results_of_tasks_and_nothing_touches_the_disk(self, home: Path) -> None:
        with memory_store() as store:
            assert isinstance(store.entries, MemoryEntries)
            assert twice() == ["Completed", "Cached"]
            assert [entry.task for entry in store.entries.scan()] == ["tests.test_testing.double"]
            assert not kept_in().exists()
        assert not home.exists()

    def test_is_forgotten_at_the_end(self) -> None:
        for _ in range(2):
            with memory_store() as store:
                assert list(store.entries.scan()) == []
                twice()

    def test_is_that_of_tasks_with_a_folder_of_their_own_too(self, tmp_path: Path) -> None:
        own = double.with_options(result_storage=tmp_path / "own")
        with memory_store():
            assert [own(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]
        assert not (tmp_path / "own").exists()

    def test_serves_threads_and_async_tasks(self) -> None:
        @task(persist_result=True, cache_policy=INPUTS)
        async def later(y: int) -> int:
            return y

        @flow
        async def both() -> list[str]:
            states = [await later(1, return_state=True), await later(1, return_state=True)]
            return [state.name for state in states]

        @flow
        def threads() -> list[int]:
            return double.map([1, 2, 3]).result()

        with memory_store() as store:
            assert asyncio.run(both()) == ["Completed", "Cached"]
            assert threads() == [2, 4, 6]
            assert len(list(store.entries.scan())) == 4

    def test_takes_what_worker_processes_compute(self) -> None:
        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def elsewhere() -> list[int]:
            return [len(large.submit(size).result()) for size in (10, 1_000_000, 10)]

        with memory_store() as store:
            assert elsewhere() == [10, 1_000_000, 10]
            assert len(list(store.entries.scan())) == 2

    def test_keeps_large_results_as_copies(self) -> None:
        @task(persist_result=True, cache_policy=INPUTS)
        def buffer(size: int) -> bytearray:
            return bytearray(size)

        with memory_store():
            buffer(1_000_000)[0] = 1
            kept = buffer(1_000_000, return_state=True)
            assert kept.name == "Cached"
            assert kept.result()[0] == 0

    def test_can_be_chosen_by_a_setting(self, home: Path) -> None:
        with temporary_settings({"KEPT_RESULTS_STORE_LAYOUT": "memory", "KEPT_HISTORY_ENABLED": False}):
            assert twice() == ["Completed", "Cached"]
            assert get_result_store().location.startswith("memory:")
        assert not home.exists()


def run_pytest(folder: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    """pytest on a file with this text, in a process of its own, with our plugin as an installed one would be."""
    (folder / "test_theirs.py").write_text(textwrap.dedent(text))
    # Where it is installed, under the name "kept", pytest would refuse to take it a second time.
    off = ["-p", "no:cacheprovider", "-p", "no:kept"]
    command = [sys.executable, "-m", "pytest", "-q", *off, *arguments, "test_theirs.py"]
    environment = {**os.environ, "HOME": str(folder), "KEPT_HOME": "", "PYTEST_PLUGINS": "kept.testing.pytest_plugin"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


THEIRS = """
    import asyncio
    import pytest
    from kept import flow, task
    from kept.cache_policies import INPUTS

    @task(cache_policy=INPUTS)
    def double(x):
        return 2 * x

    @flow
    def pipeline():
        return double(21, return_state=True).name

    @pytest.mark.parametrize("n", range(3))
    def test_each_test_has_a_store_of_its_own(kept_store, n):
        assert pipeline() == "Completed"
        assert pipeline() == "Cached"
        assert len(list(kept_store.entries.scan())) == 1

    def test_async(kept_store):
        @flow
        async def f():
            return [double(1, return_state=True).name for _ in range(2)]
        assert asyncio.run(f()) == ["Completed", "Cached"]
"""


class TestThePlugin:
    def test_gives_each_test_a_store_of_its_own_in_parallel_processes_too(self, tmp_path: Path) -> None:
        folders = [tmp_path / str(number) for number in range(2)]
        for folder in folders:
            folder.mkdir()
        for folder, done in [(folder, run_pytest(folder, THEIRS)) for folder in folders]:
            output, _ = done.communicate()
            assert "4 passed" in output, output
            assert not (folder / ".kept").exists()

    def test_goes_with_the_harness_in_a_fixture_of_the_session(self, tmp_path: Path) -> None:
        theirs = """
            import pytest
            from kept import flow, task
            from kept.cache_policies import INPUTS
            from kept.testing.utilities import kept_test_harness

            @pytest.fixture(autouse=True, scope="session")
            def kept_test_fixture():
                with kept_test_harness():
                    yield

            @task(cache_policy=INPUTS)
            def one(x):
                return 1

            def test_first():
                assert one(1, return_state=True).name == "Completed"

            def test_second():
                assert one(1, return_state=True).name == "Cached"

            def test_alone(kept_store):
                assert one(1, return_state=True).name == "Completed"

            def test_third():
                assert one(1, return_state=True).name == "Cached"
        """
        output, _ = run_pytest(tmp_path, theirs).communicate()
        assert "4 passed" in output, output
        assert not (tmp_path / ".kept").exists()

    def test_is_named_to_pytest_by_the_distribution(self) -> None:
        text = (PROJECT / "pyproject.toml").read_text()
        assert '[project.entry-points.pytest11]\nkept = "kept.testing.pytest_plugin"\n' in text


def test_what_a_test_keeps_in_memory_under_the_name_of_a_folder_is_gone_with_it_too(tmp_path: Path) -> None:
    @task(cache_policy=INPUTS, result_storage=tmp_path / "reports")
    def report(day: int) -> int:
        return day

    def states() -> list[str]:
        return [report(1, return_state=True).name for _ in range(2)]

    with memory_store():
        assert states() == ["Completed", "Cached"]
        with memory_store():
            assert states() == ["Completed", "Cached"]
        assert states() == ["Cached", "Cached"]
    with memory_store():
        assert states() == ["Completed", "Cached"]
    assert not list(tmp_path.iterdir())
