"""A proxy in front of a real S3 server that counts requests, and does to them what networks and servers do.

It passes requests on as they came, with their Host header, so that their signatures stay right.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tests.servers.s3 import S3, Reply, sent

READ, WRITE, LIST, DELETE = "read", "write", "list", "delete"
FAULTS = {
    "reset": "the connection is reset before the request gets through",
    "lose": "the request gets through, then the connection is reset instead of a reply",
    "hang": "the request gets through, and no reply comes until the fault is over",
    "stall": "the request does not get through, and no reply comes until the fault is over",
    "slow": "the reply comes in ten pieces, 0.01 seconds apart",
    "deny": "403 AccessDenied",
    "busy": "503 SlowDown",
    "broken": "500 InternalError",
    "flip": "one bit in the middle of the reply's body is changed",
    "truncate": "the connection ends after half of the reply's body",
}
_ERRORS = {"deny": (403, "AccessDenied"), "busy": (503, "SlowDown"), "broken": (500, "InternalError")}


class Request(NamedTuple):
    """What a client asked for: "read", "write", "list" or "delete", of which object ("" for a bucket)."""

    kind: str
    bucket: str
    key: str


@dataclass(eq=False, kw_only=True)
class _Fault:
    what: str
    kinds: tuple[str, ...]
    key: str
    skip: int
    left: int | None
    over: threading.Event = field(default_factory=threading.Event)
    met: threading.Event = field(default_factory=threading.Event)


class FaultProxy(S3):
    """A server at its own `endpoint` that is `server` with faults; use it with `with`.

    Arguments:
        server: the server behind it.
        address: where it listens, such as the address of this side for hosts.
        atomic: whether conditional writes are made atomic, as on S3 itself: one write to an object after the other,
            and what the server behind does not know (a write if the tag is unchanged) is done here.
    """

    def __init__(self, server: S3, address: str = "127.0.0.1", *, atomic: bool = False) -> None:
        self.server = server
        self.atomic = atomic
        self.requests: list[Request] = []
        self._faults: list[_Fault] = []
        self._guard = threading.Lock()
        self._writing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._listener = _Listener((address, 0), _Handler)
        self._listener.proxy = self
        endpoint = f"http://{address}:{self._listener.server_port}"
        super().__init__(endpoint, server.access_key, server.secret_key, server.region)

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for fault in self._faults:
            fault.over.set()
        self._listener.shutdown()
        self._listener.server_close()

    @contextmanager
    def fault(
        self, what: str, *kinds: str, key: str = "", skip: int = 0, times: int | None = None
    ) -> Iterator[threading.Event]:
        """Do `what` (one of FAULTS) to requests of these kinds, all if none, while the block lasts.

        Arguments:
            key: only for objects whose key has this in it.
            skip: not for the first so many of these requests.
            times: only for so many.

        Gives an event that is set when the first request has met with it.
        """
        fault = _Fault(what={name: name for name in FAULTS}[what], kinds=kinds, key=key, skip=skip, left=times)
        self._faults.append(fault)
        try:
            yield fault.met
        finally:
            self._faults.remove(fault)
            fault.over.set()

    def count(self, *kinds: str) -> int:
        """How many requests of these kinds there were, all if none; `requests.clear()` begins anew."""
        return sum(not kinds or request.kind in kinds for request in list(self.requests))

    def _fault_of(self, request: Request) -> _Fault | None:
        with self._guard:
            for fault in self._faults:
                if (not fault.kinds or request.kind in fault.kinds) and fault.key in request.key and fault.left != 0:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.left = fault.left and fault.left - 1
                    fault.met.set()
                    return fault
        return None

    def _passed_on(self, verb: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        if not self.atomic or verb not in ("PUT", "DELETE"):
            return sent(self.server.endpoint, verb, target, headers, body)
        with self._guard:
            turn = self._writing[target]
        with turn:
            tag = headers.pop("if-match", None)
            if tag is not None:
                path, _, query = target.partition("?")
                present = self.server.request("HEAD", path)
                if present.status == 404:
                    return _refused(404, "NoSuchKey")
                if present.headers["etag"].strip('"') != tag.strip('"'):
                    return _refused(412, "PreconditionFailed")
                content = headers["x-amz-content-sha256"]
                headers = self.server.signed(verb, path, query, headers, content)
            return sent(self.server.endpoint, verb, target, headers, body)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go; what they make of it is what the test looks at."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_any(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _understood(self.command, self.path)
        proxy.requests.append(request)
        fault = proxy._fault_of(request)
        what = fault.what if fault else ""
        if what in _ERRORS:
            return self._answer(_refused(*_ERRORS[what]))
        if what == "reset":
            return self._reset()
        if fault and what == "stall":
            fault.over.wait()
            return self._reset()
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            reply = proxy._passed_on(self.command, self.path, headers, body)
        except OSError:  # the server is down: clients see what they would see without a proxy
            return self._reset()
        if fault and what == "hang":
            fault.over.wait()
        if what in ("lose", "hang"):
            return self._reset()
        return self._answer(reply, what, fault.over if fault else None)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def _answer(self, reply: Reply, what: str = "", over: threading.Event | None = None) -> None:
        body, half = reply.body, len(reply.body) // 2
        if what == "flip" and body:
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        self.send_response_only(reply.status)
        length = reply.headers.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        for name, value in {**reply.headers, "content-length": length}.items():
            if name not in ("connection", "transfer-encoding") and not (reply.status == 204 and "content-l" in name):
                self.send_header(name, value)
        self.end_headers()
        if what == "truncate":
            self.wfile.write(body[:half])
            self.close_connection = True
        elif what == "slow" and over:
            step = len(body) // 10 + 1
            for start in range(0, len(body) or 1, step):
                over.wait(0.01)
                self.wfile.write(body[start : start + step])
        else:
            self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the console of the tests."""


def _understood(verb: str, target: str) -> Request:
    place = urlsplit(target)
    bucket, _, key = unquote(place.path).lstrip("/").partition("/")
    if verb == "DELETE" or (verb == "POST" and re.search(r"(^|&)delete(=|&|$)", place.query)):
        kind = DELETE
    elif verb in ("PUT", "POST"):
        kind = WRITE
    else:
        kind = READ if key else LIST
    return Request(kind, bucket, key)


def _refused(status: int, code: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>By the proxy.</Message></Error>'
    return Reply(status, {"content-type": "application/xml"}, body.encode())
