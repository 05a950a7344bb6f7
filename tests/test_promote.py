"""`kept promote` and `kept cache collect`, as their users run them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kept.blocks.storage import ResultStorage
from kept.results import ResultStore
from kept.store import Entry, Miss, open_store
from kept.testing import an_entry
from tests.test_cli import Done, kept


@pytest.fixture
def places(tmp_path: Path, home: Path) -> tuple[Any, Any]:
    """A laptop's store with results of three tasks, and a team's, which is signed."""
    laptop = open_store(tmp_path / "laptop")
    for number, name in enumerate(("etl.clean", "etl.load", "other.step")):
        blob = laptop.blobs.put([b"%d" % number * 100_000])
        laptop.entries.put([an_entry(f"k-{name}", payload=None, blob=blob)._replace(task=name, size=100_000)])
    laptop.entries.put([an_entry("small")._replace(task="etl.small")])
    ResultStorage(storage=tmp_path / "laptop").save("laptop")
    ResultStorage(storage=tmp_path / "team", signing_key="a text", read_only=False).save("team")
    return laptop, ResultStore("result-storage/team")


def run(*arguments: str, home: Path) -> Done:
    return kept(*arguments, cwd=home.parent, KEPT_HOME=str(home))


def test_chosen_results_are_copied_with_their_blobs_and_signed(places: Any, home: Path) -> None:
    laptop, team = places
    done = run("promote", "--from", "laptop", "--to", "team", "--task", "etl.*", "--dry-run", home=home)
    assert "3 would be copied" in done.out
    assert isinstance(team.lookup("small"), Miss)
    done = run("promote", "--from", "laptop", "--to", "result-storage/team", "--task", "etl.*", home=home)
    assert (done.code, done.err) == (0, "")
    assert "copied  etl.load  k-etl.load  (100000 bytes)" in done.out
    assert "3 copied from" in done.out.splitlines()[-1]
    entry = team.lookup("k-etl.load")
    assert isinstance(entry, Entry) and entry.signature
    assert bytes(team.blobs.open(entry.blob)) == b"1" * 100_000
    assert isinstance(team.lookup("k-other.step"), Miss)
    assert entry._replace(signature=None) == laptop.entries.get("k-etl.load")
    again = run("promote", "--from", "laptop", "--to", "team", "--task", "etl.*", home=home)
    assert again.out.count("(there already)") == 3


def test_what_is_damaged_unsigned_or_not_accepted_is_skipped_and_told(places: Any, home: Path, tmp_path: Path) -> None:
    laptop, _ = places
    laptop.blobs.delete([laptop.entries.get("k-etl.clean").blob])
    done = run("promote", "--from", "laptop", "--to", "team", "--key", "k-*", home=home)
    assert "skipped  etl.clean  k-etl.clean  (missing: there is no blob" in done.out
    assert "2 copied" in done.out
    open_store(tmp_path / "team").entries.put([an_entry("forged")])
    ResultStorage(storage=tmp_path / "json", accept_serializers=["json"]).save("json")
    done = run("promote", "--from", "team", "--to", "json", home=home)
    assert "forged  (not trusted: it is not signed)" in done.out
    assert "(not accepted: " in done.out
    assert done.out.splitlines()[-1].startswith("0 copied")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "nobody"), "No block is saved under the name 'nobody'"),
        (("--to", "reader"), "it is read-only by its settings"),
        (("--to", "laptop"), "can't be copied to itself"),
        (("--to", "team", "--since", "tomorrow"), "'tomorrow' is no length of time: write 90s, 15m, 12h, 1d or 2w."),
    ],
)
def test_what_cannot_be_copied_is_one_sentence(
    places: Any, home: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ResultStorage(storage=tmp_path / "reader", read_only=True).save("reader")
    done = run("promote", "--from", "laptop", *arguments, home=home)
    assert done.code == 1
    assert said in done.err
    assert done.err.count("\n") == 1


def test_results_kept_since_a_time(places: Any, home: Path) -> None:
    assert (
        "0 would be" in run("promote", "--from", "laptop", "--to", "team", "--since", "7d", "--dry-run", home=home).out
    )


def test_garbage_is_collected(places: Any, home: Path, tmp_path: Path) -> None:
    laptop, _ = places
    laptop.blobs.put([b"lost"])
    os.utime(tmp_path)
    arguments = ("cache", "collect", "laptop", "--older-than", "0s")
    assert "would remove 1 blobs (4 bytes)." in run(*arguments, "--dry-run", home=home).out
    assert "removed nothing." in run("cache", "collect", "laptop", home=home).out
    assert "removed 1 blobs (4 bytes)." in run(*arguments, home=home).out
    assert len(list(laptop.blobs.scan())) == 3


def test_the_blobs_of_entries_elsewhere_are_left_alone_until_that_place_is_named(home: Path, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "blobs", tmp_path / "keys")
    store.write(b"x" * 100, "k")
    arguments = ("cache", "collect", str(tmp_path / "blobs"), "--older-than", "0s")
    assert "Blobs were left alone: no entry points to any" in run(*arguments, home=home).out
    assert "removed nothing" in run(*arguments, "--keys-in", str(tmp_path / "keys"), home=home).out
    assert store.read("k").result == b"x" * 100


def test_nothing_is_removed_where_nothing_is_to_be_written(home: Path, tmp_path: Path) -> None:
    ResultStorage(storage=tmp_path / "reader", read_only=True).save("reader")
    done = run("cache", "collect", "reader", home=home)
    assert (done.code, "is read-only by its settings" in done.err) == (1, True)
