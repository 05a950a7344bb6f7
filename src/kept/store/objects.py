"""Entries and blobs on anything that has `read_path` and `write_path`.

An entry is one object (`format.py`), a blob is one object: its bytes. A put of one entry is one write, a plain read is
one read.

**Several entries become visible together**, as the embedded store does it, where the file system can delete:

1. each is written with a mark, which holds what was there before: readers see that;
2. one object is written, the manifest: that is the commit, for readers who meet a mark look whether it is there;
3. each is written again without the mark, and the manifest is deleted.

If 1 or 2 fails, what was there before is put back. If the process is killed before 2, nothing of it is ever visible;
if later, all is; what it leaves behind is removed by `kept cache collect`. A reader that meets a mark and no manifest
reads once more, for step 3 may have ended in between.

Two transactions may put the same keys at the same time: then each holds what the other had written as what was there
before, none takes off a mark that is not its own, and each key has the entry of one of them in the end. Where the
file system has `tagged_path`, `create_path` and `replace_path` no write comes between a look and the write that
follows from it. On others two such transactions within milliseconds may lose the entry of one of them at one key.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from kept.exceptions import ConfigurationError, LockLostError, StoreError, StoreUnsupported
from kept.filesystems import Listed, LocalFileSystem
from kept.store.bucket import Bucket
from kept.store.completing import completed
from kept.store.digests import PREFIX, digest_of, hex_of, is_digest, name_for, size_of
from kept.store.entry import Entry, Miss
from kept.store.format import DELETED, manifest, parsed, written

logger = logging.getLogger("kept.store")

_LOOKS = 20
"""How often an object is looked at again that others change meanwhile."""
_DEEPEST = 50
"""How many transactions may wait for each other at one key: each was killed or is still running."""
_AT_ONCE = 16
_OF_TODAY = 43_200.0
"""Half of the time after which `upkeep.collect` takes an object for left: clocks may differ by the other half."""
_NOT_KEPT = Miss("not kept yet")
_expected = threading.local()


class ObjectEntries:
    """Entries as objects of a file system, each at `prefix` and its key.

    Arguments:
        filesystem: has `read_path(path) -> bytes` and `write_path(path, content)`, plain or coroutine functions.
            `delete_path(path)` is used where there is one; without it a deleted entry leaves an empty object.
            `list_paths(prefix)` likewise; without it `scan` raises StoreError.
        prefix: what all paths begin with, such as "entries/".
        verbatim: whether a key is used as a path as it stands ("a/hello.json"). Otherwise it is quoted, and sorted
            into 256 folders, so that any text can be a key.
    """

    def __init__(self, filesystem: Any, prefix: str = "", *, verbatim: bool = True) -> None:
        self.filesystem = filesystem
        self.prefix = prefix
        self.verbatim = verbatim
        self.manifests = prefix.removesuffix("entries/") + "manifests/"
        """What the paths of manifests begin with."""

    def get(self, key: str) -> Entry | Miss:
        entry = self._seen(self._path(key))
        if isinstance(entry, Entry) and entry.key != key:
            return Miss(f"damaged: the entry at this path is of another key, {entry.key!r}")
        return entry

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep the entries: all become visible at once, on a file system that can delete; else one by one."""
        latest = {self._path(entry.key): entry for entry in entries}
        if len(latest) > 1 and hasattr(self.filesystem, "delete_path"):
            Publication(self, latest).publish()
        else:
            for path, entry in latest.items():
                self._put_one(path, entry)

    def tag_of(self, key: str) -> str | None:
        """The tag of what is at a key, of a file system that has such; None if there is nothing."""
        return _tagged(self.filesystem, self._path(key))[1]

    def _put_one(self, path: str, entry: Entry) -> None:
        files, content, expected = self.filesystem, written(entry), getattr(_expected, "tags", {})
        if entry.key not in expected:
            _write(files, path, content)
        elif not _write_over(files, path, content, tag := expected[entry.key]):
            present, there = _tagged(files, path) if tag is None else (b"", None)
            # What a killed transaction left is as good as nothing.
            left = there is not None and not isinstance(self.counting(present)[0], Entry)
            if not (left and _write_over(files, path, content, there)):
                raise _lost(entry.key)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            _delete(self.filesystem, self._path(key))

    def scan(self) -> Iterator[Entry]:
        for path in _list(self.filesystem, self.prefix):
            entry = self._seen(path)
            if isinstance(entry, Entry):
                yield entry

    def close(self) -> None:
        """Nothing to give back: the file system is the caller's."""

    def _seen(self, path: str) -> Entry | Miss:
        """The entry that counts at a path."""
        before: bytes | Miss = _NOT_KEPT
        for _ in range(_LOOKS):
            content = _read(self.filesystem.read_path, path)
            if isinstance(content, Miss):
                return content
            entry, waits = self.counting(content)
            if not waits or content == before:
                return entry
            before = content  # its transaction may have ended since, with the mark gone before the manifest
        return Miss("missing: it is changed by others faster than it can be read")

    def counting(self, content: bytes) -> tuple[Entry | Miss, bool]:
        """The entry of an object that counts now, and whether one was passed over that waits for its transaction."""
        waits = False
        for _ in range(_DEEPEST):
            if waits and not content:
                return _NOT_KEPT, True
            entry, txn, before = parsed(content)
            if not txn or self.is_committed(txn):
                return entry, waits
            content, waits = before, True
        return Miss("damaged: too many transactions wait for each other on it"), False

    def raw(self, path: str) -> bytes:
        """The object at a path as it is; empty if there is none."""
        content = _read(self.filesystem.read_path, path)
        return b"" if isinstance(content, Miss) else bytes(content)

    def is_committed(self, txn: str) -> bool:
        """Whether the manifest of a transaction is there."""
        return not isinstance(_read(self.filesystem.read_path, self.manifests + txn), Miss)

    def _path(self, key: str) -> str:
        if self.verbatim:
            return self.prefix + key
        return f"{self.prefix}{hex_of(key)[:2]}/{name_for(key)}"


def _lost(key: str) -> LockLostError:
    return LockLostError(f"another run has kept something under the key {key!r} meanwhile, which is left as it is")


@contextlib.contextmanager
def put_over(tags: Mapping[str, str | None]) -> Iterator[None]:
    """Inside, in this thread, an entry at one of these keys is put only over what has this tag; None: over nothing.

    Said aside, and not to `put`, as that goes through all that may stand around the entries: signatures, a local tier.

    Raises:
        LockLostError: by `put`, if it has another tag.
    """
    _expected.tags = tags
    try:
        yield
    finally:
        _expected.tags = {}


class Publication:
    """Several entries on their way to be visible together; the steps are those in the docstring of this module."""

    def __init__(self, store: ObjectEntries, entries: Mapping[str, Entry], txn: str = "") -> None:
        self._store, self._entries = store, entries
        self._files = store.filesystem
        self._txn = txn or os.urandom(12).hex()
        self._expected: Mapping[str, str | None] = getattr(_expected, "tags", {})  # of this thread; others do the work
        self._conditional = all(hasattr(self._files, verb) for verb in ("tagged_path", "create_path", "replace_path"))

    def publish(self) -> None:
        """Make all visible. Raises `StoreError` if that can't be done; then none is."""
        try:
            self._each(self._mark)
        except BaseException:
            self._undo()
            raise
        try:
            _write(self._files, self._manifest, manifest(self._txn, self._entries))
        except BaseException:
            self._withdraw()
            raise
        try:
            self.tidy()
        except StoreError as error:
            logger.info("what was kept together is visible, and its marks stay for the next collection: %s", error)

    def tidy(self) -> None:
        """Take the marks off what is committed, and delete the manifest if nobody needs it any more."""
        if all(self._each(self.settle)):
            _delete(self._files, self._manifest)

    def settle(self, path: str) -> bool:
        """Take the mark off at a path, for this transaction is committed; whether nobody there needs its manifest."""
        return self._settle(path, commit=True)

    def drop(self, path: str) -> bool:
        """Put back what was at a path before, if it waits for this transaction, which will never be committed."""
        return self._settle(path, commit=False)

    @property
    def _manifest(self) -> str:
        return self._store.manifests + self._txn

    def _each(self, act: Callable[[str], bool]) -> list[bool]:
        if not self._conditional:  # a file system of the user's own: as few surprises as possible
            return [act(path) for path in self._entries]
        with ThreadPoolExecutor(min(_AT_ONCE, len(self._entries)), "kept-publish") as pool:
            return list(pool.map(act, self._entries))

    def _mark(self, path: str) -> bool:
        """Write the entry so that it counts with the transaction only."""
        entry = self._entries[path]
        if self._conditional and self._replaced(path, written(entry, self._txn), None):
            return True  # as a rule there is nothing there

        def marked(before: bytes, tag: str | None) -> bytes:
            if tag != self._expected.get(entry.key, tag) and isinstance(self._store.counting(before)[0], Entry):
                raise _lost(entry.key)
            found = parsed(before)
            if found.txn and isinstance(found.entry, Entry) and self._store.is_committed(found.txn):
                before = written(found.entry)
            return written(entry, self._txn, before)

        return self._change(path, marked)

    def _settle(self, path: str, *, commit: bool) -> bool:
        """Take our mark off the object at a path; whether no trace of this transaction is left there."""
        clean = True

        def settled(content: bytes, _: str | None) -> bytes | None:
            nonlocal clean
            entry, txn, before = parsed(content)
            if txn != self._txn:
                # Another transaction holds ours as what was there before: readers who pass it over need the manifest.
                clean = self._txn.encode() not in content
                return None
            return written(entry) if commit and isinstance(entry, Entry) else before

        self._change(path, settled)
        return clean

    def _change(self, path: str, changed: Callable[[bytes, str | None], bytes | None]) -> bool:
        """Let an object be what `changed` makes of its content (empty: there is none) and tag; None leaves it."""
        for _ in range(_LOOKS):
            content, tag = self._look(path)
            new = changed(content, tag)
            if new is None or new == content:
                return True
            if not new:
                _delete(self._files, path)
                return True
            if self._replaced(path, new, tag):
                return True
        raise StoreError(f"{path!r} can't be written: it is changed by others all the time")

    def _look(self, path: str) -> tuple[bytes, str | None]:
        """What is at a path, and its tag; nothing if there is none."""
        return _tagged(self._files, path) if self._conditional else (self._store.raw(path), None)

    def _replaced(self, path: str, content: bytes, tag: str | None) -> bool:
        if self._conditional:
            try:
                return _write_over(self._files, path, content, tag)
            except StoreError as error:
                if not isinstance(error.__cause__ or error, StoreUnsupported):
                    raise
                self._conditional = False
                return False
        _write(self._files, path, content)
        return True

    def _undo(self) -> None:
        try:
            self._each(self.drop)
        except StoreError as error:
            logger.info("what could not be kept together stays, unseen, for the next collection: %s", error)

    def _withdraw(self) -> None:
        """Undo it after the commit failed. Whether the manifest came there is not known: it must be gone first."""
        try:
            _delete(self._files, self._manifest)
        except StoreError:
            return  # all or nothing of it will be visible, by whether the manifest is there
        self._undo()


class ObjectBlobs:
    """Blobs as objects of a file system, each at `prefix` and its digest; see `ObjectEntries`."""

    def __init__(self, filesystem: Any, prefix: str = "blobs/") -> None:
        self.filesystem = filesystem
        self.prefix = prefix

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        digest = digest_of(chunks, size_of(chunks))
        self.write(digest, chunks)
        return digest

    def write(self, digest: str, chunks: Sequence[bytes | memoryview]) -> None:
        """Keep the concatenation of the chunks as this blob, without looking whether it is. Raises `StoreError`."""
        if write := getattr(self.filesystem, "write_chunks", None):
            write(self._path(digest), chunks)
        else:
            _write(self.filesystem, self._path(digest), b"".join(chunks))

    def open(self, digest: str) -> memoryview | Miss:
        view = self._view(self._path(digest))
        if isinstance(view, Miss):
            return Miss(f"missing: there is no blob {digest}")
        if digest_of([view], len(view)) == digest:
            return view
        return Miss(f"damaged: the blob {digest} does not hold what was kept") if len(view) else DELETED

    def delete(self, digests: Iterable[str]) -> None:
        for digest in digests:
            _delete(self.filesystem, self._path(digest))

    def scan(self) -> Iterator[tuple[str, int]]:
        for digest, found in self.aged():
            if found.size or digest == digest_of([], 0):  # else deleted where nothing can be
                yield digest, found.size

    def download(self, digest: str, file: str) -> bool:
        """Write the blob, unverified, to a local file; whether there is one. In parallel parts where the file system
        has `download_path`. Raises `StoreError`."""
        path = self._path(digest)
        verb = getattr(self.filesystem, "download_path", None)
        if verb is not None:
            # What it returns besides is no matter.
            return not isinstance(_asked(lambda: (completed(verb(path, file)), b"")[1], path), Miss)
        content = _read(self.filesystem.read_path, path)
        if isinstance(content, Miss):
            return False
        Path(file).write_bytes(content)
        return True

    def upload(self, digest: str, file: str) -> None:
        """Keep the content of a local file as this blob, in parallel parts where the file system has `upload_path`.

        Raises `StoreError`.
        """
        path = self._path(digest)
        verb = getattr(self.filesystem, "upload_path", None)
        if verb is None:
            _write(self.filesystem, path, Path(file).read_bytes())
        else:
            _attempt(f"{path!r} can't be written to {_name(self.filesystem)}", lambda: verb(path, file))

    def size_of(self, digest: str) -> int | None:
        """How many bytes are kept as this blob; None if there are none, or it can't be told without reading them.

        None as well if it is not of today: who is about to refer to it writes it again, so that it is not taken for
        garbage meanwhile.
        """
        verb, path = getattr(self.filesystem, "stat_path", None), self._path(digest)
        found = None if verb is None else _attempt(f"{path!r} can't be looked for", lambda: verb(path))
        return found.size if found is not None and abs(time.time() - found.modified) < _OF_TODAY else None

    def aged(self) -> Iterator[tuple[str, Listed]]:
        """The digest of every blob, with its file, as young as can be where nobody tells its age."""
        for found in self._files():
            digest = PREFIX + found.path.rsplit("/", 1)[-1].removeprefix("b3-")
            if is_digest(digest):
                yield digest, found

    def _files(self) -> Iterator[Listed]:
        if list_files := getattr(self.filesystem, "list_files", None):
            yield from list_files(self.prefix)
            return
        for path in _list(self.filesystem, self.prefix):
            content = _read(self.filesystem.read_path, path)
            if not isinstance(content, Miss):
                yield Listed(path, len(content), math.inf)

    def _view(self, path: str) -> memoryview | Miss:
        # Not for their subclasses: one that redefines `read_path` means blobs too.
        if type(self.filesystem) in (LocalFileSystem, Bucket):
            return _read(self.filesystem.view_path, path)
        content = _read(self.filesystem.read_path, path)
        return content if isinstance(content, Miss) else memoryview(bytearray(content))

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise StoreError(f"{digest!r} is not the digest of a blob")
        name = digest[len(PREFIX) :]
        return f"{self.prefix}{name[:2]}/b3-{name}"


# --- the file system


T = TypeVar("T", bytes, memoryview)


def _read(verb: Callable[[str], T], path: str) -> T | Miss:
    return _asked(lambda: verb(path), path)


def _asked(action: Callable[[], T | None], path: str) -> T | Miss:
    try:
        content: T | None = completed(action())
    except ConfigurationError as error:
        raise StoreError(f"{path!r} can't be read: {error}") from error
    except (FileNotFoundError, KeyError):
        return _NOT_KEPT
    except StoreError:
        raise
    except Exception as error:
        if _says_not_found(error):
            return _NOT_KEPT
        raise StoreError(f"{path!r} can't be read: {_reason(error)}") from error
    if content is None:
        return _NOT_KEPT
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise StoreError(f"{path!r} can't be read: read_path gave {type(content).__name__} where bytes are expected")
    return content


def _write(filesystem: Any, path: str, content: bytes) -> None:
    _attempt(f"{path!r} can't be written to {_name(filesystem)}", lambda: filesystem.write_path(path, content))


def _write_over(filesystem: Any, path: str, content: bytes, tag: str | None) -> bool:
    """Write if what is there still has this tag, or, for None, if nothing is; whether that was done."""

    def write() -> Any:
        return filesystem.create_path(path, content) if tag is None else filesystem.replace_path(path, content, tag)

    return bool(_attempt(f"{path!r} can't be written to {_name(filesystem)}", write))


def _tagged(filesystem: Any, path: str) -> tuple[bytes, str | None]:
    """What is at a path, and its tag: nothing, and None, if there is none."""
    tag: str | None = None

    def read(path: str) -> bytes:
        nonlocal tag
        content, tag = completed(filesystem.tagged_path(path))
        return content  # type: ignore[no-any-return]

    found = _read(read, path)
    return (b"", None) if isinstance(found, Miss) else (bytes(found), tag)


def _delete(filesystem: Any, path: str) -> None:
    if delete := getattr(filesystem, "delete_path", None):
        try:
            _attempt(f"{path!r} can't be deleted from {_name(filesystem)}", lambda: delete(path))
        except StoreError as error:
            if not isinstance(error.__cause__, (FileNotFoundError, KeyError)):
                raise
    elif not isinstance(_read(filesystem.read_path, path), Miss):
        _write(filesystem, path, b"")


def _list(filesystem: Any, prefix: str) -> list[str]:
    verb = getattr(filesystem, "list_paths", None)
    if verb is None:
        raise StoreError(
            f"{_name(filesystem)} can't be listed: give it a method `list_paths(prefix)` that returns all paths "
            "which begin with the prefix"
        )
    paths = _attempt(f"{_name(filesystem)} can't be listed", lambda: verb(prefix))
    return [os.fspath(path) for path in paths]


def _attempt(what: str, action: Callable[[], Any]) -> Any:
    try:
        return completed(action())
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{what}: {_reason(error)}") from error


def _name(filesystem: Any) -> str:
    if type(filesystem) is LocalFileSystem:
        return f"the folder {filesystem.basepath or '.'}"
    # Not its repr: that may show keys and passwords.
    return type(filesystem).__name__


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _says_not_found(error: Exception) -> bool:
    """Whether an exception of a library that kept does not know means that there is no such object."""
    code = ""
    if isinstance(response := getattr(error, "response", None), dict):  # boto3's ClientError
        code = str(response.get("Error", {}).get("Code", ""))
    if isinstance(error, ValueError):  # as Prefect's file systems say it: "Path ... does not exist."
        return any(sign in str(error).lower() for sign in ("not exist", "not found", "no such"))
    return {code, type(error).__name__} & {"NoSuchKey", "404", "NotFound", "NotFoundError"} != set()
