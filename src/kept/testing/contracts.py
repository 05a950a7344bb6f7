"""The examination that every store of kept passes, and that a user's own should.

    def test_my_entries_keep_the_contract():
        check_entries(lambda: MyEntries(...))

Each function makes a fresh, empty store for every question, and raises AssertionError with the question that
was answered wrongly. No test framework is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from kept.store.digests import digest_of
from kept.store.entry import Entry, Miss
from kept.store.protocols import Blobs, Entries

_KEYS = (
    "simple",
    "b3:" + "5f" * 32,
    "folder/hello.json",
    "with space and ümlaut 漢字",
    "percent%2Fslash",
    "Case",
    "case",
    "k" * 150,
)
_ODD_KEYS = ("../up", "/absolute", ".", "..", "", "a/", "a", "a/b", "\n", "\x00nul", "k" * 5000, "*?[]")


def an_entry(
    key: str = "key",
    *,
    payload: bytes | None = b"payload",
    blob: str | None = None,
    expires: float | None = None,
) -> Entry:
    """An entry with something in each of its fields."""
    return Entry(
        key=key,
        created=1_700_000_000.123456,
        expires=expires,
        serializer="pickle",
        fingerprint="b3:" + "a1" * 32,
        size=len(payload or b""),
        payload=payload,
        blob=blob,
        parts='{"inputs.x":"b3:5f","code.etl.clean":"b3:77 \\u00fc"}',
        task="etl.clean",
        run="clean-a1b",
        flow_run="lazy-dög",
        seconds=0.25,
    )


def check_entries(make: Callable[[], Entries], *, any_key: bool = True, scans: bool = True) -> None:
    """Ask an implementation of Entries all that its contract promises.

    Arguments:
        make: gives a fresh, empty implementation at each call.
        any_key: whether any text can be a key; False where keys are used as paths as they stand.
        scans: whether `scan` works; False for file systems that can't be listed.
    """
    _check_reading_back(make())
    _check_keys(make, _KEYS)
    if any_key:
        _check_keys(make, _ODD_KEYS)
    _check_replacing(make())
    _check_deleting(make())
    _check_putting_many(make())
    if scans:
        _check_scanning(make())
    _check_closing(make())
    _check_threads(make())


def check_blobs(make: Callable[[], Blobs], *, scans: bool = True) -> None:
    """Ask an implementation of Blobs all that its contract promises; see `check_entries`."""
    _check_contents(make())
    _check_privacy(make())
    _check_missing(make())
    _check_deleted_blob(make())
    if scans:
        _check_scanned_blobs(make())
    _check_blob_threads(make())


# --- entries


def _check_reading_back(entries: Entries) -> None:
    _is_miss(entries.get("key"), "an empty store has no entry")
    variants = (
        an_entry("inline"),
        an_entry("empty", payload=b""),
        an_entry("blob", payload=None, blob="b3:" + "0" * 64),
        an_entry("expired", expires=1.5),
        an_entry("newlines", payload=b'\n{"kept":1}\n\x00\xff'),
        an_entry("files")._replace(files=f"b3:{'1' * 64} b3:{'2' * 64}"),
        an_entry("long", payload=bytes(range(256)) * 4096),
        an_entry("bare")._replace(fingerprint=None, parts="{}", task="", run="", flow_run="", seconds=0.0),
    )
    for entry in variants:
        entries.put([entry])
    for entry in variants:
        _same(entries.get(entry.key), entry, "an entry is read back as it was put, expired or not")


def _check_keys(make: Callable[[], Entries], keys: Sequence[str]) -> None:
    entries = make()
    for number, key in enumerate(keys):
        entries.put([an_entry(key, payload=str(number).encode())])
    for number, key in enumerate(keys):
        _same(entries.get(key), an_entry(key, payload=str(number).encode()), f"{key!r} can be a key")


def _check_replacing(entries: Entries) -> None:
    entries.put([an_entry(payload=b"old")])
    entries.put([an_entry(payload=None, blob="b3:" + "1" * 64)])
    _same(entries.get("key"), an_entry(payload=None, blob="b3:" + "1" * 64), "a put replaces the whole entry")
    entries.put([an_entry(payload=b"new"), an_entry(payload=b"newer")])
    _same(entries.get("key"), an_entry(payload=b"newer"), "of two entries at one key the later is kept")


def _check_deleting(entries: Entries) -> None:
    entries.delete(["never", "there"])
    entries.put([an_entry("stays"), an_entry("goes")])
    entries.delete(iter(["goes", "never"]))
    _is_miss(entries.get("goes"), "a deleted entry is a miss")
    _same(entries.get("stays"), an_entry("stays"), "other entries stay")
    entries.put([an_entry("goes")])
    _same(entries.get("goes"), an_entry("goes"), "a deleted entry can be put again")


def _check_putting_many(entries: Entries) -> None:
    entries.put([])
    many = [an_entry(f"k{number}") for number in range(300)]
    entries.put(many)
    for entry in many:
        _same(entries.get(entry.key), entry, "all entries of one put are kept")


def _check_scanning(entries: Entries) -> None:
    _true(list(entries.scan()) == [], "an empty store scans as nothing")
    # One more than servers list at once.
    many = [an_entry(f"k{number:04}") for number in range(1001)]
    entries.put(many)
    _true(sorted(entries.scan()) == many, "a scan gives each entry once")
    for entry in entries.scan():
        entries.delete([entry.key])
    _true(list(entries.scan()) == [], "what is scanned can be deleted meanwhile")


def _check_closing(entries: Entries) -> None:
    entries.close()
    entries.put([an_entry()])
    entries.close()
    entries.close()
    _same(entries.get("key"), an_entry(), "a closed store opens again, and has kept its entries")


def _check_threads(entries: Entries) -> None:
    def work(number: int) -> None:
        for step in range(20):
            own = an_entry(f"t{number}-{step}")
            entries.put([own, an_entry("shared", payload=b"%d" % number * 50)])
            _same(entries.get(own.key), own, "a thread sees its own entry at once")
            shared = entries.get("shared")
            _true(isinstance(shared, Entry) and len(set(shared.payload or b"")) == 1, "an entry is never torn")

    _run_threads(work)
    _true(
        all(isinstance(entries.get(f"t{n}-{step}"), Entry) for n in range(4) for step in range(20)),
        "what several threads put at the same time is all kept",
    )


# --- blobs


def _check_contents(blobs: Blobs) -> None:
    sizes = (0, 1, 63, 4096, 300_000, 3_000_000)
    for size in sizes:
        content = bytes(range(251)) * (size // 251 + 1)
        content = content[:size]
        pieces: list[bytes | memoryview] = [content[: size // 3], memoryview(content)[size // 3 :]]
        digest = blobs.put(pieces)
        _true(digest == digest_of([content], size), "a blob's digest is the BLAKE3 of its chunks in order")
        _true(blobs.put([content]) == digest, "a blob can be put again")
        _true(_opened(blobs, digest) == content, f"a blob of {size} bytes is read back as it was put")
    _true(blobs.put([]) == digest_of([], 0), "no chunks make the empty blob")


def _check_privacy(blobs: Blobs) -> None:
    for size in (100, 1_000_000):
        digest = blobs.put([b"a" * size])
        view = blobs.open(digest)
        if isinstance(view, Miss):
            raise AssertionError(f"a blob that was put is there, not {view}")
        _true(not view.readonly and view.ndim == 1 and view.format == "B", "a view is of writable plain bytes")
        view[:] = b"b" * size
        _true(_opened(blobs, digest) == b"a" * size, "what is written into a view never reaches the store")
        blobs.put([b"a" * size])
        _true(_opened(blobs, digest) == b"a" * size, "nor another put of the same bytes")


def _check_missing(blobs: Blobs) -> None:
    _is_miss(blobs.open("b3:" + "0" * 64), "a blob that was never put is a miss")


def _check_deleted_blob(blobs: Blobs) -> None:
    digest, other = blobs.put([b"x" * 500_000]), blobs.put([b"other"])
    view = blobs.open(digest)
    blobs.delete([digest, "b3:" + "0" * 64])
    _is_miss(blobs.open(digest), "a deleted blob is a miss")
    _true(bytes(view) == b"x" * 500_000, "a view outlives its blob")  # type: ignore[arg-type]
    _true(_opened(blobs, other) == b"other", "other blobs stay")
    _true(blobs.put([b"x" * 500_000]) == digest, "a deleted blob can be put again")
    _true(_opened(blobs, digest) == b"x" * 500_000, "and is read back")


def _check_scanned_blobs(blobs: Blobs) -> None:
    _true(list(blobs.scan()) == [], "an empty store scans as nothing")
    sizes = {blobs.put([b"%d" % number * number]): len(b"%d" % number * number) for number in range(40)}
    _true(dict(blobs.scan()) == sizes, "a scan gives each blob and its size")


def _check_blob_threads(blobs: Blobs) -> None:
    def work(number: int) -> None:
        for step in range(10):
            content = b"%d" % step * 70_000
            digest = blobs.put([content])
            _true(_opened(blobs, digest) == content, "threads that put the same blob all find it")

    _run_threads(work)


# --- asking


def _opened(blobs: Blobs, digest: str) -> bytes:
    view = blobs.open(digest)
    if isinstance(view, Miss):
        raise AssertionError(f"a blob that was put is there, not {view}")
    return bytes(view)


def _run_threads(work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _true(answer: bool, question: str) -> None:
    if not answer:
        raise AssertionError(f"not so: {question}")


def _same(found: Entry | Miss, expected: Entry, question: str) -> None:
    if found != expected:
        raise AssertionError(f"not so: {question}\n  put:   {expected!r:.500}\n  found: {found!r:.500}")


def _is_miss(found: object, question: str) -> None:
    if not (isinstance(found, Miss) and found.reason):
        raise AssertionError(f"not so: {question}; found {found!r:.500}")
