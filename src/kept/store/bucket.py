"""The objects of a bucket of S3, Google Cloud Storage or Azure, as files with verbs.

`obstore` speaks with the servers. It is optional, imported when the first request is made, and does not work in a
forked child of a process that has used it: it would hang there, so such a child is told.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from kept.exceptions import ConfigurationError, StoreError
from kept.filesystems import Listed, PathNotFoundError
from kept.store.addresses import EXTRAS, Address, Connection
from kept.store.digests import size_of
from kept.store.troubles import Trouble, trouble_of
from kept.utilities.forks import in_forked_child

PART = 8 * 1024 * 1024
"""Content of more bytes than this travels in parts, of this size or larger."""
# Each part costs a server some work: of large content they are larger, as far as memory allows. What is sent is held in
# memory, part by part; what is fetched is not.
_LARGEST_SENT = 2 * PART
_LARGEST_FETCHED = 8 * PART
_PIECE = 1024 * 1024
_AT_ONCE = 8
_MOST_PARTS = 9000  # S3 takes 10,000
_SMALL = 1024 * 1024

# A dead server costs a few seconds, not the client's three minutes; one that is being restarted is waited for as long.
_RETRIES = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=4),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
}
_LIMITS = {
    False: {"connect_timeout": timedelta(seconds=2), "timeout": timedelta(seconds=8)},
    # A part may take its time on a slow line.
    True: {"connect_timeout": timedelta(seconds=2), "timeout": timedelta(minutes=5)},
}

Take = Callable[[int, Any], object]
"""Takes the bytes that begin at an offset."""

_used = False
_forked = False
_buckets: dict[tuple[str, bool, Connection], Bucket] = {}


def bucket_at(address: Address, travels: tuple[Callable[..., Any], tuple[Any, ...]] | None = None) -> Bucket:
    """The bucket at an address as the environment is now: the same object for the same one.

    Arguments:
        travels: the function and its arguments that give this bucket in another process, where what is said in the
            address must not be sent there.

    Raises `ConfigurationError` for an address, credentials or a profile that can't be, and without obstore.
    """
    key = (address.url, travels is None, address.connection())
    if (found := _buckets.get(key)) is None:
        if find_spec("obstore") is None:
            extra = EXTRAS[address.scheme]
            raise ConfigurationError(f"{address.url} needs obstore: pip install 'kept[{extra}]'")
        found = _buckets.setdefault(key, Bucket(address, travels))
    return found


class Bucket:
    """The objects in one folder of a bucket; made by `bucket_at`. Safe to use from any number of threads.

    All verbs raise `StoreError` with a sentence that says what to do and holds no secrets: `StoreUnreachable` if the
    server does not answer. Those that read raise `PathNotFoundError` where there is no object.
    """

    def __init__(self, address: Address, travels: tuple[Callable[..., Any], tuple[Any, ...]] | None = None) -> None:
        self.address = address
        self._travels = travels
        self._connection = address.connection()
        self._prefix = address.folder + "/" if address.folder else ""
        self._clients: dict[bool, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Bucket({self.address.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._travels or (bucket_at, (self.address,))

    @property
    def server(self) -> str:
        """The address of the server."""
        return self._connection.place.server

    def knock(self) -> Trouble:
        """What the server says when an object is asked for that is not there: "missing", unless something is wrong."""
        try:
            self._client().get(self._key(f"selftest/{uuid4().hex}"))
        except StoreError:
            raise
        except Exception as error:
            return self._trouble(error)
        return Trouble("other", f"{self.server} answers with an object that was never written")

    # --- whole objects

    def read_path(self, path: str) -> bytes:
        """The content of the object at `path`."""
        return bytes(self._content(path)[0])

    def view_path(self, path: str) -> memoryview:
        """The content of the object at `path` in memory of its own, which may be written to."""
        content = self._content(path)[0]
        return memoryview(content if isinstance(content, bytearray) else bytearray(content))

    def tagged_path(self, path: str) -> tuple[bytes, str]:
        """The content of the object at `path`, and the tag that `replace_path` takes."""
        content, tag = self._content(path)
        return bytes(content), tag

    def write_path(self, path: str, content: bytes) -> str:
        """Make `content` the content of the object at `path`; returns its URL."""
        self.write_chunks(path, [content])
        return f"{self.address.url}/{path}"

    def write_chunks(self, path: str, chunks: Sequence[bytes | memoryview]) -> None:
        """Make the concatenation of the chunks the content of the object at `path`; what is large is not copied."""
        size = size_of(chunks)
        with self._asking(path, "can't be written"):
            if not self._sent_in_parts(path, _pieces(chunks), size):
                whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._client(size > _SMALL).put(self._key(path), whole, use_multipart=False)

    def create_path(self, path: str, content: bytes) -> bool:
        """Write the object at `path` unless there is one; whether this did.

        `content` has to hold something that nobody else writes: when the reply to a request is lost, what is there
        is compared with it.
        """
        return self._write_if(path, content, "create")

    def replace_path(self, path: str, content: bytes, tag: str) -> bool:
        """Write the object at `path` if it still has the tag that `tagged_path` gave; whether this did.

        `content` has to hold something that nobody else writes, as for `create_path`. Raises `StoreUnsupported` for a
        server that has no such operation.
        """
        version, _, e_tag = tag.partition(" ")
        return self._write_if(path, content, {k: v for k, v in (("e_tag", e_tag), ("version", version)) if v})

    def delete_path(self, path: str) -> None:
        """Remove the object at `path`, if there is one."""
        with contextlib.suppress(PathNotFoundError), self._asking(path, "can't be deleted"):
            self._client().delete(self._key(path))

    def list_paths(self, prefix: str = "") -> Iterator[str]:
        """The paths of all objects in the folder `prefix` and its folders."""
        return (found.path for found in self.list_files(prefix))

    def list_files(self, prefix: str = "") -> Iterator[Listed]:
        """All objects in the folder `prefix` and its folders, with their sizes and times."""
        folder = self._key(prefix)
        with self._asking(prefix, "can't be listed"):
            for batch in self._client().list(folder + "/" if folder else None):
                yield from [self._listed(found) for found in batch]

    def stat_path(self, path: str) -> Listed | None:
        """What is known of the object at `path`; None if there is none."""
        try:
            with self._asking(path, "can't be read"):
                return self._listed(self._client().head(self._key(path)))
        except PathNotFoundError:
            return None

    def _listed(self, found: Any) -> Listed:
        return Listed(found["path"][len(self._prefix) :], found["size"], found["last_modified"].timestamp())

    # --- whole local files

    def upload_path(self, path: str, file: str | os.PathLike[str]) -> None:
        """Make the content of a local file that of the object at `path`, its parts sent side by side.

        Raises OSError if the file can't be read.
        """
        source = Path(file)
        size = source.stat().st_size
        with self._asking(path, "can't be written"):
            if not self._sent_in_parts(path, source, size):
                self._client(size > _SMALL).put(self._key(path), source.read_bytes(), use_multipart=False)

    def download_path(self, path: str, file: str | os.PathLike[str]) -> None:
        """Make the content of the object at `path` that of a local file, its parts fetched side by side.

        Raises OSError if the file can't be written. A file that is not whole is removed.
        """
        descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:

            def begin(size: int) -> Take:
                os.ftruncate(descriptor, size)
                return lambda offset, piece: _write_at(descriptor, offset, piece)

            _, small = self._receive(path, begin)
            if small is not None:
                _write_at(descriptor, 0, small)
        except BaseException:
            os.unlink(file)  # noqa: PTH108 - as above
            raise
        finally:
            os.close(descriptor)

    # --- how

    def _content(self, path: str) -> tuple[Any, str]:
        """What is there, in a bytearray if it is large; and its tag."""
        large = bytearray()

        def begin(size: int) -> Take:
            nonlocal large
            large = bytearray(size)
            view = memoryview(large)
            return lambda offset, piece: view.__setitem__(slice(offset, offset + len(piece)), piece)

        meta, small = self._receive(path, begin)
        tag = f"{meta['version'] or ''} {meta['e_tag'] or ''}"
        return (large if small is None else memoryview(small)), tag

    def _receive(self, path: str, begin: Callable[[int], Take]) -> tuple[Any, Any]:
        """What is known of an object, and its content; large content goes in parts to what `begin` gives instead."""
        key = self._key(path)
        with self._asking(path, "can't be read"):
            found = self._client().get(key)
            meta = found.meta
            if meta["size"] <= PART:
                return meta, found.bytes()
            del found  # of its content next to nothing has come
            self._receive_parts(key, meta, begin(meta["size"]))
            return meta, None

    def _receive_parts(self, key: str, meta: Any, take: Take) -> None:
        client, size = self._client(True), meta["size"]
        part = max(PART, min(-(-size // _AT_ONCE), _LARGEST_FETCHED))

        def fetch(offset: int) -> None:
            wanted = {"range": (offset, min(offset + part, size)), "if_match": meta["e_tag"]}
            _take_all(client.get(key, options=wanted), offset, take)

        try:
            with ThreadPoolExecutor(_AT_ONCE, "kept-parts") as pool:
                for _ in pool.map(fetch, range(0, size, part)):
                    pass
        except Exception as error:
            if self._trouble(error).kind != "unsupported":
                raise
            _take_all(self._client(True).get(key), 0, take)

    def _sent_in_parts(self, path: str, source: Any, size: int) -> bool:
        """Whether it was sent: not if it is small, nor if the server takes no parts."""
        if size <= PART:
            return False
        part = max(PART, min(size // 64, _LARGEST_SENT), -(-size // _MOST_PARTS))
        try:
            self._client(True).put(
                self._key(path), source, use_multipart=True, chunk_size=part, max_concurrency=_AT_ONCE
            )
            return True
        except Exception as error:
            if self._trouble(error).kind != "unsupported":
                raise
            return False

    def _write_if(self, path: str, content: bytes, mode: Any) -> bool:
        what = f"{self.address.url}/{path} can't be written"
        try:
            self._client().put(self._key(path), content, mode=mode, use_multipart=False)
            return True
        except StoreError:
            raise
        except Exception as error:
            trouble = self._trouble(error)
            if trouble.kind not in ("exists", "changed", "missing", "unreachable"):
                raise trouble.error(what) from None
        # A request whose reply was lost may have been carried out; if the client repeated it, it met its own write.
        found = self._held(path)
        if found == content:
            return True
        if trouble.kind == "unreachable" and (found is None or mode != "create"):
            raise trouble.error(what)
        return False

    def _held(self, path: str) -> bytes | None:
        try:
            return self.read_path(path)
        except PathNotFoundError:
            return None

    def _key(self, path: str) -> str:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ConfigurationError(f"the path {path!r} leaves {self.address.url}")
        return self._prefix + "/".join(parts) if parts else self.address.folder

    @contextlib.contextmanager
    def _asking(self, path: str, what: str) -> Iterator[None]:
        """Say in our own words what the client raises inside."""
        try:
            yield
        except Exception as error:
            if not _is_of_client(error):
                raise
            trouble = self._trouble(error)
            if trouble.kind == "missing":
                raise PathNotFoundError(path) from None
            # Not chained: the client's text holds keys and signatures, and a traceback would show it.
            raise trouble.error(f"{self.address.url}/{path} {what}".replace("/ ", " ")) from None

    def _trouble(self, error: Exception) -> Trouble:
        return trouble_of(error, self._connection.place, self._connection.secrets)

    def _client(self, bulk: bool = False) -> Any:
        if _forked:
            raise StoreError(
                f"{self.address.url} can't be used in this process, which was forked from one that had used it: the "
                "client of object stores would hang. Start processes by multiprocessing.get_context('spawn')."
            )
        with self._lock:
            if (client := self._clients.get(bulk)) is None:
                client = self._clients[bulk] = _client(self.address, self._connection, _LIMITS[bulk])
        return client


def _client(address: Address, connection: Connection, limits: dict[str, timedelta]) -> Any:
    global _used
    _used = True
    # Optional, 20 ms, and threads are started by it: imported when used.
    from obstore import store  # noqa: PLC0415

    options = {**dict(connection.client), **limits}
    options.pop("environment", None)
    kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    return kinds[address.scheme](
        address.bucket,
        config=dict(connection.config),
        client_options=options,
        retry_config=_RETRIES,
        credential_provider=_provider(connection),
    )


def _provider(connection: Connection) -> Any:
    """Who gives the keys of S3: a function even for those that never change, or variables would be mixed with them."""
    if connection.keys is not None:
        access, secret, token = connection.keys
        given = {"access_key_id": access, "secret_access_key": secret, "token": token, "expires_at": None}
        return lambda: given
    if connection.profile is not None:
        import boto3  # noqa: PLC0415 - optional, and only profiles of single sign-on or roles need it
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - as above

        return Boto3CredentialProvider(boto3.Session(profile_name=connection.profile))
    return None


def _is_of_client(error: Exception) -> bool:
    if isinstance(error, (PathNotFoundError, StoreError, ConfigurationError)):
        return False
    ours = isinstance(error, FileNotFoundError) and error.errno is None
    return ours or type(error).__module__.startswith("obstore") or isinstance(error, ValueError)


def _pieces(chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """The chunks, cut so that the client copies no more than it is about to send."""
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        for offset in range(0, len(view), PART):
            yield view[offset : offset + PART]


def _take_all(found: Any, offset: int, take: Take) -> None:
    for piece in found.stream(min_chunk_size=_PIECE):
        take(offset, piece)
        offset += len(piece)


def _write_at(descriptor: int, offset: int, piece: Any) -> None:
    view = memoryview(piece)
    while len(view):
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


@in_forked_child
def _note_fork() -> None:
    global _forked
    _forked = _used
