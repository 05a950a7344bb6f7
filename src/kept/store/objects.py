"""Entries and blobs on anything that has `read_path` and `write_path`.

An entry is one object: a line of JSON, then the payload. The line, version 1, in UTF-8 with sorted keys:

    {"digest": "b3:...", "entry": {"created": ..., "key": ..., ...}, "kept": 1}

"entry" holds the fields of `Entry` but the payload, and "inline" says whether the payload follows; "digest"
is the BLAKE3 digest of "entry" (as JSON without spaces, sorted keys) and the payload. A blob is one object:
its bytes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from kept.exceptions import ConfigurationError, StoreError
from kept.filesystems import LocalFileSystem
from kept.store.bucket import Bucket
from kept.store.completing import completed
from kept.store.digests import PREFIX, digest_of, is_digest
from kept.store.entry import Entry, Miss

logger = logging.getLogger("kept.store")

_VERSION = 1
_LONGEST_NAME = 180
_NOT_KEPT = Miss("not kept yet")
_DELETED = Miss("deleted")


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

    def get(self, key: str) -> Entry | Miss:
        content = _read(self.filesystem.read_path, self._path(key))
        if isinstance(content, Miss):
            return content
        entry = _parsed(content)
        if isinstance(entry, Entry) and entry.key != key:
            return Miss(f"damaged: the entry at this path is of another key, {entry.key!r}")
        return entry

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep the entries. A file system has no transactions: readers see them one by one, in the given
        order."""
        for entry in entries:
            _write(self.filesystem, self._path(entry.key), _written(entry))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            _delete(self.filesystem, self._path(key))

    def scan(self) -> Iterator[Entry]:
        for path in _list(self.filesystem, self.prefix):
            content = _read(self.filesystem.read_path, path)
            entry = content if isinstance(content, Miss) else _parsed(content)
            if isinstance(entry, Entry):
                yield entry

    def close(self) -> None:
        """Nothing to give back: the file system is the caller's."""

    def _path(self, key: str) -> str:
        if self.verbatim:
            return self.prefix + key
        name = quote(key, safe="", errors="surrogatepass")
        digest = digest_of([key.encode("utf-8", "surrogatepass")], 0)[len(PREFIX) :]
        if len(name) > _LONGEST_NAME or not name.strip("."):
            name = "b3-" + digest
        return f"{self.prefix}{digest[:2]}/{name}"


class ObjectBlobs:
    """Blobs as objects of a file system, each at `prefix` and its digest; see `ObjectEntries`."""

    def __init__(self, filesystem: Any, prefix: str = "blobs/") -> None:
        self.filesystem = filesystem
        self.prefix = prefix

    def put(self, chunks: Sequence[bytes | memoryview]) -> str:
        digest = digest_of(chunks, sum(memoryview(chunk).nbytes for chunk in chunks))
        if write := getattr(self.filesystem, "write_chunks", None):
            write(self._path(digest), chunks)
        else:
            _write(self.filesystem, self._path(digest), b"".join(chunks))
        return digest

    def open(self, digest: str) -> memoryview | Miss:
        view = self._view(self._path(digest))
        if isinstance(view, Miss):
            return Miss(f"missing: there is no blob {digest}")
        if digest_of([view], len(view)) == digest:
            return view
        return Miss(f"damaged: the blob {digest} does not hold what was kept") if len(view) else _DELETED

    def delete(self, digests: Iterable[str]) -> None:
        for digest in digests:
            _delete(self.filesystem, self._path(digest))

    def scan(self) -> Iterator[tuple[str, int]]:
        for path, size in self._sizes():
            digest = PREFIX + path.rsplit("/", 1)[-1].removeprefix("b3-")
            if is_digest(digest) and (size or digest_of([], 0) == digest):
                yield digest, size

    def _sizes(self) -> Iterator[tuple[str, int]]:
        if list_sizes := getattr(self.filesystem, "list_sizes", None):
            yield from list_sizes(self.prefix)
            return
        for path in _list(self.filesystem, self.prefix):
            content = _read(self.filesystem.read_path, path)
            if not isinstance(content, Miss):
                yield path, len(content)

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
        """How many bytes are kept as this blob; None if there are none, or it can't be told without reading them."""
        verb = getattr(self.filesystem, "size_of_path", None)
        path = self._path(digest)
        return None if verb is None else _attempt(f"{path!r} can't be looked for", lambda: verb(path))

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


# --- the format


def _written(entry: Entry) -> bytes:
    fields = {name: value for name, value in entry._asdict().items() if name != "payload"}
    fields["inline"] = entry.payload is not None
    payload = entry.payload or b""
    try:
        header = {"kept": _VERSION, "digest": _digest(fields, payload), "entry": fields}
        return _json(header) + b"\n" + payload
    except (TypeError, ValueError) as error:
        raise StoreError(f"the entry {entry.key!r} can't be written: {error}") from error


def _parsed(content: bytes) -> Entry | Miss:
    if not content:
        return _DELETED
    line, _, payload = bytes(content).partition(b"\n")
    try:
        header = json.loads(line)
        version, fields = header["kept"], header["entry"]
        if version > _VERSION:
            return Miss(f"written by a newer version of kept (format {version})")
        if header["digest"] != _digest(fields, payload):
            return Miss("damaged: the entry does not hold what was kept")
        inline = fields.pop("inline")
        return Entry(payload=payload if inline else None, **fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Miss("damaged: this is not an entry of kept")


def _digest(fields: dict[str, Any], payload: bytes) -> str:
    return digest_of([_json(fields), payload], len(payload))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


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
