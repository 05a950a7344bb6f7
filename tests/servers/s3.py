"""The address of an S3 server and a bare client of it: for tests to make buckets, look at them and damage them.

The client is our own thirty lines, so that a test says what is in a bucket without the code that it tests. Signatures:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import unescape


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class S3:
    """A server at `endpoint`, and the keys it knows."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, region: str = "us-east-1") -> None:
        self.endpoint = endpoint
        self.access_key = access_key
        self.secret_key = secret_key
        self.region = region

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{uuid4().hex[:12]}"
        self._expect(self.request("PUT", f"/{name}"), 200)
        return name

    def drop(self, bucket: str) -> None:
        """Delete a bucket with all that is in it."""
        for key in self.keys(bucket):
            self.delete(bucket, key)
        self._expect(self.request("DELETE", f"/{bucket}"), 204)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._expect(self.request("PUT", _path(bucket, key), body), 200)

    def get(self, bucket: str, key: str) -> bytes:
        reply = self.request("GET", _path(bucket, key))
        self._expect(reply, 200)
        return reply.body

    def delete(self, bucket: str, key: str) -> None:
        self._expect(self.request("DELETE", _path(bucket, key)), 204)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of all objects in a bucket (the first thousand)."""
        reply = self.request("GET", f"/{bucket}", query=f"list-type=2&prefix={quote(prefix, safe='')}")
        self._expect(reply, 200)
        return [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", reply.body.decode())]

    def request(
        self, verb: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Reply:
        """One signed request; `path` and `query` are quoted already."""
        host = urlsplit(self.endpoint).netloc
        signed = self.signed(verb, path, query, {**(headers or {}), "host": host}, hashlib.sha256(body).hexdigest())
        return sent(self.endpoint, verb, path + (f"?{query}" if query else ""), signed, body)

    def signed(self, verb: str, path: str, query: str, headers: Mapping[str, str], content: str) -> dict[str, str]:
        """The headers, with a signature over them; `content` is the digest of the body or "UNSIGNED-PAYLOAD"."""
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        kept = {name.lower(): value.strip() for name, value in headers.items() if name.lower() != "authorization"}
        kept |= {"x-amz-date": now, "x-amz-content-sha256": content}
        names = sorted(name for name in kept if name == "host" or name.startswith("x-amz-"))
        lines = [f"{name}:{kept[name]}\n" for name in names]
        queries = "&".join(sorted(part if "=" in part else part + "=" for part in query.split("&") if part))
        canonical = "\n".join([verb, path, queries, "".join(lines), ";".join(names), content])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + self.secret_key.encode()
        for part in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"]:
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"Credential={self.access_key}/{scope}, SignedHeaders={';'.join(names)}"
        return {**kept, "authorization": f"AWS4-HMAC-SHA256 {credential}, Signature={key.hex()}"}

    def _expect(self, reply: Reply, status: int) -> None:
        if reply.status != status:
            raise AssertionError(f"{self.endpoint} answered {reply.status}: {reply.body[:500]!r}")


def sent(endpoint: str, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """One request with exactly these headers, on a connection of its own. Raises OSError."""
    place = urlsplit(endpoint)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        connection.putrequest(verb, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "expect"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    except http.client.HTTPException as error:
        raise ConnectionResetError(f"{endpoint} did not answer: {error!r}") from error
    finally:
        connection.close()


def _path(bucket: str, key: str) -> str:
    return f"/{bucket}/{quote(key)}"
