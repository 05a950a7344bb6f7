"""Whom a store believes: signed entries, accepted serializers, stores that are only read.

Each is a wrapper of any `Entries`; `guarded` puts those around a store that its `Terms` ask for.

**A signature** is `v1:<key id>:<64 hex digits>`: HMAC-SHA256 (RFC 2104, https://www.rfc-editor.org/rfc/rfc2104)
under the key, over all fields of the entry but the signature itself. The key id, 8 hex digits, is the start of
HMAC-SHA256 under the key over `kept-key-id`: it tells which of several accepted keys to try, so that keys can be
changed one after the other. What is signed, version 1: `kept-entry-1`, a zero byte, then these fields in this order,
each as one letter and a content:

    key, created, expires, serializer, fingerprint, size, payload, blob, parts, task, run, flow_run, seconds, files

    n   None: nothing follows
    t   text: its length in bytes, 8 bytes, then its UTF-8 (a lone surrogate as `surrogatepass` writes it)
    d   a number of seconds: an IEEE 754 double, 8 bytes
    i   a whole number: 8 bytes, signed
    p   the payload: the 32 bytes of its BLAKE3 digest

Numbers are big-endian; `files` is left out where it is empty. A blob is covered by its digest, which is a field. What
is not signed: which store the entry is in, and that it is the newest at its key. So who can write to the store, and has
no key, can put back an older entry of the same key, or delete it; no more.
"""

from __future__ import annotations

import hmac
import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from kept.exceptions import SerializationError, StoreError
from kept.store.digests import PREFIX, digest_of, size_of
from kept.store.entry import Entry, Miss
from kept.store.opening import Store
from kept.store.protocols import Blobs, Entries

security = logging.getLogger("kept.security")

_VERSION = "v1"
_LONGEST_CLAIM = 200
SIGNED: tuple[tuple[str, str], ...] = (
    ("key", "t"),
    ("created", "d"),
    ("expires", "d"),
    ("serializer", "t"),
    ("fingerprint", "t"),
    ("size", "i"),
    ("payload", "p"),
    ("blob", "t"),
    ("parts", "t"),
    ("task", "t"),
    ("run", "t"),
    ("flow_run", "t"),
    ("seconds", "d"),
    ("files", "t"),
)
"""The fields that are signed, in their order, each with the letter of its encoding."""


class SigningKey:
    """A key that entries are signed with; what it shows of itself is its id.

    >>> SigningKey("a long text that nobody guesses")
    SigningKey('e9c286a9')
    """

    __slots__ = ("_secret", "id")

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.id = self.mac(b"kept-key-id")[:8]

    def mac(self, message: bytes) -> str:
        """The authentication code of the message, in 64 hex digits."""
        return hmac.digest(self._secret, message, "sha256").hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self._secret)

    def __reduce__(self) -> Any:
        raise TypeError("a signing key is not pickled, so that it does not travel by accident")

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r})"


class Terms(NamedTuple):
    """On which terms a store that others can write to is used."""

    keys: tuple[SigningKey, ...] = ()
    """What entries are signed with: the first signs, any of them is believed. Empty: nothing is signed."""
    read_only: bool = False
    """Whether nothing is ever written."""
    accepts: tuple[str, ...] = ()
    """The names of the only serializers whose payloads are read and written; empty: all."""


@lru_cache(maxsize=256)  # one object for one store and its terms: transactions put together what goes to one object
def guarded(store: Store, terms: Terms) -> Store:
    """The store, used on these terms."""
    entries, blobs = store.entries, store.blobs
    if terms.read_only:
        entries, blobs = ReadOnlyEntries(entries), ReadOnlyBlobs(blobs)
    if terms.keys:
        entries = SignedEntries(entries, terms.keys, store.location)
    if terms.accepts:
        entries = AcceptingEntries(entries, terms.accepts)
    return store._replace(entries=entries, blobs=blobs, accepts=terms.accepts, read_only=terms.read_only)


class Wrapper:
    """Entries that pass on what they don't change."""

    def __init__(self, entries: Entries) -> None:
        self.inside = entries

    def checked(self, entry: Entry) -> Entry | Miss:
        """The entry, or why it can't be used on the terms of this wrapper."""
        return entry

    def judged(self, entry: Entry) -> Entry | Miss:
        """The entry, or why it can't be used on these terms and those of the wrappers inside."""
        found = self.inside.judged(entry) if isinstance(self.inside, Wrapper) else entry
        return found if isinstance(found, Miss) else self.checked(found)

    def get(self, key: str) -> Entry | Miss:
        found = self.inside.get(key)
        return found if isinstance(found, Miss) else self.checked(found)

    def put(self, entries: Sequence[Entry]) -> None:
        self.inside.put(entries)

    def delete(self, keys: Iterable[str]) -> None:
        self.inside.delete(keys)

    def scan(self) -> Iterator[Entry]:
        return (entry for entry in self.inside.scan() if isinstance(self.checked(entry), Entry))

    def close(self) -> None:
        self.inside.close()


class SignedEntries(Wrapper):
    """Entries of which each is signed when it is put, and none is believed that is not.

    A pickle of it has no keys: in the other process it believes nothing and signs nothing.
    """

    def __init__(self, entries: Entries, keys: Sequence[SigningKey], location: str) -> None:
        super().__init__(entries)
        self._keys = {key.id: key for key in keys}
        self._location = location

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.inside, (), self._location))

    def put(self, entries: Sequence[Entry]) -> None:
        key = next(iter(self._keys.values()), None)
        if key is None:
            raise StoreError("entries can't be signed in this process: signing keys are not sent to other processes")
        self.inside.put([entry._replace(signature=signature(entry, key)) for entry in entries])

    def checked(self, entry: Entry) -> Entry | Miss:
        wrong = why_not_signed(entry, self._keys)
        if wrong is None:
            return entry
        claims = ", ".join(f"{name} {_claim(getattr(entry, name))}" for name in ("task", "run", "flow_run"))
        security.warning(
            "The entry %s in %s is not used: %s. It claims to be computed by %s.",
            _claim(entry.key),
            self._location,
            wrong,
            claims,
        )
        return Miss(f"not trusted: {wrong}")


class AcceptingEntries(Wrapper):
    """Entries whose payloads are of some serializers only; others are as good as not there."""

    def __init__(self, entries: Entries, accepts: Sequence[str]) -> None:
        super().__init__(entries)
        self._accepts = tuple(accepts)

    def checked(self, entry: Entry) -> Entry | Miss:
        if entry.serializer in self._accepts:
            return entry
        return Miss(f"not accepted: its serializer is {_claim(entry.serializer)}, {_only(self._accepts)}")

    def put(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.serializer not in self._accepts:
                raise SerializationError(
                    f"the entry {entry.key!r} keeps {entry.serializer}, {_only(self._accepts)}. "
                    "Use another result_serializer, or another store."
                )
        super().put(entries)


class ReadOnlyEntries(Wrapper):
    """Entries that are read, while nothing is put or deleted: neither an attempt nor an error."""

    def put(self, entries: Sequence[Entry]) -> None:
        """Do nothing."""

    def delete(self, keys: Iterable[str]) -> None:
        """Do nothing."""


class ReadOnlyBlobs:
    """Blobs that are read, while nothing is put or deleted: neither an attempt nor an error."""

    def __init__(self, blobs: Blobs) -> None:
        self.inside = blobs

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        return digest_of(chunks, size_of(chunks))

    def open(self, digest: str) -> memoryview | Miss:
        return self.inside.open(digest)

    def delete(self, digests: Iterable[str]) -> None:
        """Do nothing."""

    def scan(self) -> Iterator[tuple[str, int]]:
        return self.inside.scan()

    def __getattr__(self, name: str) -> Any:
        if name == "download":  # what else the blobs inside may have writes
            return getattr(self.inside, name)
        raise AttributeError(name)


# --- signatures


def signature(entry: Entry, key: SigningKey) -> str:
    """What the entry is signed with under this key. Raises `StoreError` if it holds what no entry can."""
    try:
        return f"{_VERSION}:{key.id}:{key.mac(_message(entry))}"
    except (TypeError, ValueError, AttributeError, struct.error) as error:
        raise StoreError(f"the entry {entry.key!r} can't be signed: {error}") from error


def why_not_signed(entry: Entry, keys: dict[str, SigningKey]) -> str | None:
    """Why an entry is not to be believed by who accepts these keys, by their ids; None if it is."""
    if entry.signature is None:
        return "it is not signed"
    version, _, rest = str(entry.signature).partition(":")
    identifier, _, mac = rest.partition(":")
    if version != _VERSION:
        return f"its signature is of an unknown version, {_claim(version)}"
    key = keys.get(identifier)
    if key is None:
        return f"it is signed with a key that is not accepted, {_claim(identifier)}"
    try:
        right = hmac.compare_digest(mac.encode(), key.mac(_message(entry)).encode())
    except (TypeError, ValueError, AttributeError, struct.error):  # fields of types that no entry has
        right = False
    return None if right else "its signature is wrong"


def _message(entry: Entry) -> bytes:
    fields = SIGNED if entry.files != "" else SIGNED[:-1]
    return b"".join((b"kept-entry-1\0", *(_encoded(getattr(entry, name), kind) for name, kind in fields)))


def _encoded(value: Any, kind: str) -> bytes:
    return b"n" if value is None else kind.encode() + _ENCODINGS[kind](value)


def _text(value: str) -> bytes:
    content = str.encode(value, "utf-8", "surrogatepass")
    return struct.pack(">q", len(content)) + content


_ENCODINGS: dict[str, Callable[[Any], bytes]] = {
    "t": _text,
    "d": struct.Struct(">d").pack,
    "i": struct.Struct(">q").pack,
    "p": lambda payload: bytes.fromhex(digest_of([payload], len(payload))[len(PREFIX) :]),
}


def _claim(value: object) -> str:
    """What an entry says that is not believed, for a log line: on one line, and not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_CLAIM else text[:_LONGEST_CLAIM] + "..."


def _only(accepts: Sequence[str]) -> str:
    return f"and the store accepts {', '.join(accepts)} only"
