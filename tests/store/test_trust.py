"""Entries that are signed, or of accepted serializers only, and stores that are only read."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from kept.exceptions import SerializationError, StoreError
from kept.store import Entry, MemoryBlobs, MemoryEntries, Miss, ObjectEntries, Store
from kept.store.trust import SIGNED, AcceptingEntries, SignedEntries, SigningKey, Terms, guarded, signature
from kept.testing import an_entry, check_blobs, check_entries
from tests.store.test_contracts import AsyncDictFileSystem

KEY = SigningKey("a text that nobody guesses")
OTHER = SigningKey("another text that nobody guesses")


def signed(inside: Any = None, *keys: SigningKey) -> SignedEntries:
    return SignedEntries(MemoryEntries() if inside is None else inside, keys or (KEY,), "a store")


class Unsigned:
    """Signed entries whose signatures are not shown, for the examination compares with what was put."""

    def __init__(self, inside: Any) -> None:
        self.inside = signed(inside)
        self.put, self.delete, self.close = self.inside.put, self.inside.delete, self.inside.close

    def get(self, key: str) -> Entry | Miss:
        found = self.inside.get(key)
        return found if isinstance(found, Miss) else found._replace(signature=None)

    def scan(self) -> Any:
        return (entry._replace(signature=None) for entry in self.inside.scan())


def test_signed_entries_keep_the_contract() -> None:
    check_entries(lambda: Unsigned(MemoryEntries()))
    check_entries(lambda: Unsigned(ObjectEntries(AsyncDictFileSystem())))


def test_accepting_entries_keep_the_contract() -> None:
    check_entries(lambda: AcceptingEntries(MemoryEntries(), ["pickle"]))


def test_the_signature_of_an_entry_is_what_it_always_was() -> None:
    """Another one would make all that was ever signed untrusted."""
    assert signature(an_entry(), KEY) == "v1:127f6fa1:023e8d8105cceb5f3a773e4488aeaacd7beee06a44467ca655c924ea1c0df319"
    assert (
        signature(an_entry(payload=None, blob="b3:" + "0" * 64, expires=1.5), KEY)
        == "v1:127f6fa1:dea4594e1723c10c699f36d7fd09e40c6e2decd2d32a2674f9f1fbdfe0eb712e"
    )


def test_every_field_but_the_signature_is_signed() -> None:
    assert tuple(name for name, _ in SIGNED) == Entry._fields[:-1]
    assert Entry._fields[-1] == "signature"


@pytest.mark.parametrize("field", Entry._fields[:-1])
def test_a_changed_field_makes_an_entry_untrusted(field: str, caplog: Any) -> None:
    inside = MemoryEntries()
    signed(inside).put([an_entry("k", blob="b3:" + "1" * 64, expires=5.0)])
    entry = inside.get("k")
    assert isinstance(entry, Entry)
    value = getattr(entry, field)
    changed = value + (b"!" if isinstance(value, bytes) else "!" if isinstance(value, str) else 1)
    for wrong in (changed, None, [], {"a": 1}):
        inside._entries["k"] = entry._replace(**{field: wrong})
        assert signed(inside).get("k") == Miss("not trusted: its signature is wrong")


def test_fields_that_run_into_each_other_are_told_apart() -> None:
    one, other = an_entry()._replace(task="ab", run="c"), an_entry()._replace(task="a", run="bc")
    assert signature(one, KEY) != signature(other, KEY)
    assert signature(an_entry()._replace(flow_run=""), KEY) != signature(an_entry()._replace(flow_run=None), KEY)  # type: ignore[arg-type]


def test_an_unsigned_entry_is_a_miss_and_a_security_event(caplog: Any) -> None:
    inside = MemoryEntries()
    inside.put([an_entry("k")._replace(task="evil\nINFO all is well", run="r" * 5000)])
    with caplog.at_level(logging.WARNING, "kept.security"):
        assert signed(inside).get("k") == Miss("not trusted: it is not signed")
    (record,) = caplog.records
    line = record.getMessage()
    assert (record.name, record.levelname) == ("kept.security", "WARNING")
    assert "'k' in a store is not used: it is not signed. It claims to be computed by task 'evil\\nINFO" in line
    assert "\n" not in line
    assert len(line) < 700
    assert list(signed(inside).scan()) == []


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("v1:{id}:" + "0" * 64, "its signature is wrong"),
        ("v1:{id}:", "its signature is wrong"),
        ("v1:{id}:\u00e9", "its signature is wrong"),
        ("v2:{id}:{mac}", "its signature is of an unknown version, 'v2'"),
        ("", "its signature is of an unknown version, ''"),
        ("v1:00000000:{mac}", "it is signed with a key that is not accepted, '00000000'"),
    ],
)
def test_what_is_wrong_with_a_signature_is_said(signature: str, reason: str) -> None:
    inside = MemoryEntries()
    signed(inside).put([an_entry("k")])
    entry = inside.get("k")
    assert isinstance(entry, Entry) and entry.signature
    forged = signature.format(id=KEY.id, mac=entry.signature.rsplit(":", 1)[1])
    inside.put([entry._replace(signature=forged)])
    assert signed(inside).get("k") == Miss(f"not trusted: {reason}")


def test_keys_are_changed_one_after_the_other() -> None:
    inside = MemoryEntries()
    signed(inside, KEY).put([an_entry("old")])
    both = signed(inside, OTHER, KEY)
    both.put([an_entry("new")])
    assert isinstance(both.get("old"), Entry)
    assert isinstance(signed(inside, OTHER).get("new"), Entry)
    assert signed(inside, OTHER).get("old") == Miss(
        f"not trusted: it is signed with a key that is not accepted, '{KEY.id}'"
    )


def test_a_key_shows_itself_nowhere_and_stays_in_its_process() -> None:
    entries = signed()
    shown = repr((KEY, Terms((KEY,)), entries, entries.__dict__))
    assert "nobody guesses" not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KEY)
    entries.put([an_entry("k")])
    elsewhere = pickle.loads(pickle.dumps(signed(ObjectEntries(AsyncDictFileSystem()))))
    assert b"nobody guesses" not in pickle.dumps(entries)
    with pytest.raises(StoreError, match="not sent to other processes"):
        elsewhere.put([an_entry("k")])


def test_a_serializer_that_is_not_accepted_is_neither_read_nor_written() -> None:
    inside = MemoryEntries()
    inside.put([an_entry("k")])
    entries = AcceptingEntries(inside, ["json"])
    assert entries.get("k") == Miss("not accepted: its serializer is 'pickle', and the store accepts json only")
    assert list(entries.scan()) == []
    with pytest.raises(SerializationError, match="'k' keeps pickle, and the store accepts json only"):
        entries.put([an_entry("k")])


def test_to_a_store_that_is_only_read_nothing_is_written() -> None:
    raw = Store(MemoryEntries(), MemoryBlobs(), "a store")
    store = guarded(raw, Terms(read_only=True))
    raw.entries.put([an_entry("k")])
    digest = raw.blobs.put([b"blob"])
    store.entries.put([an_entry("other")])
    store.entries.delete(["k"])
    store.blobs.delete([digest])
    assert [entry.key for entry in raw.entries.scan()] == ["k"]
    assert store.entries.get("k") == an_entry("k")
    assert store.blobs.open(digest) == b"blob"
    assert store.blobs.put([b"new", memoryview(b"er")]) == MemoryBlobs().put([b"newer"])
    assert dict(raw.blobs.scan()) == {digest: 4}
    assert store.read_only


def test_one_store_on_the_same_terms_is_one_object() -> None:
    """Transactions put together what goes to one object."""
    raw = Store(MemoryEntries(), MemoryBlobs(), "a store")
    terms = Terms((SigningKey("a text"),), accepts=("json",))
    assert guarded(raw, terms).entries is guarded(raw, Terms((SigningKey("a text"),), accepts=("json",))).entries
    assert guarded(raw, terms).entries is not guarded(raw, Terms((KEY,), accepts=("json",))).entries


def test_blobs_of_a_guarded_store_keep_the_contract() -> None:
    check_blobs(lambda: guarded(Store(MemoryEntries(), MemoryBlobs(), "a store"), Terms((KEY,))).blobs)
