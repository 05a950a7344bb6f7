from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kept.exceptions import ConfigurationError, StoreError, StoreUnreachable, StoreUnsupported
from kept.filesystems import PathNotFoundError
from kept.storage import store_in
from kept.store.addresses import Address
from kept.store.bucket import PART, Bucket, bucket_at
from kept.testing import check_blobs, check_entries
from tests.servers.needs import free_ports
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3

LARGE = os.urandom(2 * PART + 12345)


def bucket_of(server: S3, name: str, folder: str = "folder", **said: str) -> Bucket:
    options = {
        "endpoint_url": server.endpoint,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "region_name": server.region,
    }
    return bucket_at(Address.of(f"s3://{name}/{folder}", {**options, **said}))


@pytest.fixture(params=["s3", "quick_s3"])
def server(request: pytest.FixtureRequest) -> S3:
    """The slow server that knows authentication, and the quick one."""
    found: S3 = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def files(server: S3) -> Iterator[Bucket]:
    name = server.bucket()
    yield bucket_of(server, name)
    server.drop(name)


def test_what_is_written_is_read_where_it_was_written(files: Bucket, server: S3) -> None:
    files.write_path("a/hello.txt", b"hello")
    assert files.read_path("a/hello.txt") == b"hello"
    assert server.get(files.address.bucket, "folder/a/hello.txt") == b"hello"
    files.write_path("a/hello.txt", b"")
    assert files.read_path("a/hello.txt") == b""


def test_what_is_not_there_is_said_not_to_be_there(files: Bucket) -> None:
    for read in (files.read_path, files.view_path, files.tagged_path):
        with pytest.raises(PathNotFoundError, match="a/missing"):
            read("a/missing")
    files.delete_path("a/missing")


def test_what_is_viewed_may_be_changed_and_the_object_stays(files: Bucket) -> None:
    for content in (b"hello", LARGE):
        files.write_path("x", content)
        view = files.view_path("x")
        view[:1] = b"j"
        assert files.read_path("x") == content


def test_all_below_a_folder_is_listed_with_its_size_and_nothing_else(files: Bucket, server: S3) -> None:
    for path in ("a/one", "a/b/two", "ab/three", "a/ä %20 +?#"):
        files.write_path(path, b"12345")
    server.put(files.address.bucket, "folder-beside/x", b"")
    listed = list(files.list_files("a/"))
    assert {(found.path, found.size) for found in listed} == {("a/one", 5), ("a/b/two", 5), ("a/ä %20 +?#", 5)}
    assert all(abs(found.modified - time.time()) < 60 for found in listed)
    assert files.stat_path("a/one") in listed
    assert files.stat_path("a/missing") is None
    assert set(files.list_paths()) == {"a/one", "a/b/two", "ab/three", "a/ä %20 +?#"}
    files.delete_path("a/ä %20 +?#")
    assert set(files.list_paths("a")) == {"a/one", "a/b/two"}


def test_large_content_travels_in_parts_and_arrives_whole(files: Bucket, tmp_path: Path) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    up.write_bytes(LARGE)
    files.upload_path("file", up)
    files.write_chunks("chunks", [LARGE[:3], memoryview(LARGE)[3 : PART + 5], LARGE[PART + 5 :]])
    for path in ("file", "chunks"):
        files.download_path(path, down)
        assert down.read_bytes() == LARGE
        assert files.read_path(path) == LARGE


def test_small_and_empty_files_travel_too(files: Bucket, tmp_path: Path) -> None:
    for content in (b"", b"hello"):
        (tmp_path / "up").write_bytes(content)
        files.upload_path("file", tmp_path / "up")
        files.download_path("file", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == content


def test_a_download_that_fails_leaves_no_file(files: Bucket, tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError):
        files.download_path("missing", tmp_path / "down")
    assert list(tmp_path.iterdir()) == []


def test_an_object_is_created_once(files: Bucket) -> None:
    assert files.create_path("x", b"mine")
    assert not files.create_path("x", b"theirs")
    assert files.read_path("x") == b"mine"


def test_an_object_is_replaced_only_if_it_is_as_it_was(quick_s3: S3) -> None:
    with FaultProxy(quick_s3, atomic=True) as proxy:
        files = bucket_of(proxy, quick_s3.bucket())
        files.write_path("x", b"one")
        content, tag = files.tagged_path("x")
        assert content == b"one"
        assert files.replace_path("x", b"two", tag)
        assert not files.replace_path("x", b"three", tag)
        assert not files.replace_path("missing", b"three", tag)
        assert files.read_path("x") == b"two"


def test_a_server_that_replaces_nothing_conditionally_says_so(s3: S3) -> None:
    files = bucket_of(s3, s3.bucket())
    files.write_path("x", b"one")
    with pytest.raises(StoreUnsupported, match="does not support it"):
        files.replace_path("x", b"two", files.tagged_path("x")[1])


def test_a_create_whose_reply_was_lost_is_known_as_ones_own(fault_proxy: FaultProxy, s3: S3) -> None:
    files = bucket_of(fault_proxy, s3.bucket())
    with fault_proxy.fault("lose", "write", times=1):
        assert files.create_path("x", b"mine")
    with fault_proxy.fault("lose", "write", times=1):
        assert not files.create_path("x", b"theirs")
    assert files.read_path("x") == b"mine"


def test_a_replacement_whose_reply_was_lost_is_known_as_ones_own(quick_s3: S3) -> None:
    with FaultProxy(quick_s3, atomic=True) as proxy:
        files = bucket_of(proxy, quick_s3.bucket())
        files.write_path("x", b"one")
        tag = files.tagged_path("x")[1]
        with proxy.fault("lose", "write", times=1):
            assert files.replace_path("x", b"two", tag)


@pytest.mark.slow
def test_a_store_in_a_bucket_keeps_the_contracts(quick_s3: S3) -> None:
    def store() -> Any:
        return store_in(bucket_of(quick_s3, quick_s3.bucket()))

    check_entries(lambda: store().entries)
    check_blobs(lambda: store().blobs)


@pytest.mark.parametrize("fault", ["busy", "broken", "reset"])
def test_a_server_that_falters_is_asked_again(fault_proxy: FaultProxy, s3: S3, fault: str) -> None:
    files = bucket_of(fault_proxy, s3.bucket())
    with fault_proxy.fault(fault, times=2):
        files.write_path("x", b"hello")
    with fault_proxy.fault(fault, times=2):
        assert files.read_path("x") == b"hello"


def test_a_server_that_is_gone_costs_seconds_and_is_told_from_a_missing_object(quick_s3: S3) -> None:
    (port,) = free_ports(1)
    files = bucket_of(quick_s3, "bucket", endpoint_url=f"http://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=rf"no server listens at http://127.0.0.1:{port}"):
        files.read_path("x")
    assert time.monotonic() - began < 60  # the client's own limit is 180


def _refusals(server: S3, name: str) -> dict[str, Bucket]:
    return {
        "the secret key does not fit": bucket_of(server, name, aws_secret_access_key="wrong-secret"),
        "the secret key does not fit the access": bucket_of(server, name, aws_access_key_id="WRONG:x"),
        r"the region 'eu-west-1' is wrong: the bucket is in 'us-east-1'": bucket_of(
            server, name, region_name="eu-west-1"
        ),
        "there is no bucket 'never-made'": bucket_of(server, "never-made"),
        "'No_Bucket!' can't be the name": bucket_of(server, "No_Bucket!"),
        "does not speak https": bucket_of(server, name, endpoint_url=server.endpoint.replace("http", "https")),
    }


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_sentence_without_secrets(s3: S3, tmp_path: Path) -> None:
    for sentence, files in _refusals(s3, s3.bucket()).items():
        asked = {
            "read": lambda files=files: files.read_path("x"),
            "written": lambda files=files: files.write_path("x", b"content"),
            "created": lambda files=files: files.create_path("x", b"content"),
            "large": lambda files=files: files.write_chunks("x", [LARGE]),
            "deleted": lambda files=files: files.delete_path("x"),
            "listed": lambda files=files: list(files.list_paths()),
        }
        for ask in asked.values():
            with pytest.raises(StoreError, match=sentence) as caught:
                ask()
            said = str(caught.value)
            assert "\n" not in said
            assert not isinstance(caught.value, PathNotFoundError)
            assert not any(secret in said for secret in (s3.secret_key, "wrong-secret", "WRONG:x", "Signature"))
            assert caught.value.__suppress_context__


def test_a_permission_that_is_missing_is_said(fault_proxy: FaultProxy, s3: S3) -> None:
    files = bucket_of(fault_proxy, s3.bucket())
    with fault_proxy.fault("deny"), pytest.raises(StoreError, match="these credentials do not allow it"):
        files.write_path("x", b"")


def test_what_is_no_object_store_is_not_taken_for_an_empty_one(quick_s3: S3) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>nothing here</html>")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        files = bucket_of(quick_s3, "bucket", endpoint_url=f"http://127.0.0.1:{web.server_port}")
        with pytest.raises(StoreError, match="is no object store"):
            files.read_path("x")
        web.shutdown()


def test_a_server_without_ranges_and_parts_is_asked_for_all_in_one(quick_s3: S3, tmp_path: Path) -> None:
    name = quick_s3.bucket()

    class Plain(FaultProxy):
        def _passed_on(self, verb: str, target: str, headers: dict[str, str], body: bytes) -> Any:
            from tests.servers.s3 import Reply

            if "uploads" in target:
                return Reply(501, {}, b"<Error><Code>NotImplemented</Code><Message>No parts.</Message></Error>")
            return super()._passed_on(verb, target, {k: v for k, v in headers.items() if k.lower() != "range"}, body)

    with Plain(quick_s3) as proxy:
        files = bucket_of(proxy, name)
        files.write_path("x", LARGE)
        (tmp_path / "up").write_bytes(LARGE)
        files.upload_path("y", tmp_path / "up")
        for path in ("x", "y"):
            assert files.read_path(path) == LARGE
            files.download_path(path, tmp_path / "down")
            assert (tmp_path / "down").read_bytes() == LARGE


def _in_child(files: Bucket, answers: Any) -> None:
    try:
        answers.put(files.read_path("x"))
    except StoreError as error:
        answers.put(str(error))


@pytest.mark.parametrize(("method", "answer"), [("fork", "get_context('spawn')"), ("spawn", b"hello")])
def test_a_forked_child_is_told_and_a_spawned_one_reads(quick_s3: S3, method: str, answer: Any) -> None:
    files = bucket_of(quick_s3, quick_s3.bucket())
    files.write_path("x", b"hello")
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(files, answers))
    child.start()
    assert answer in answers.get()
    child.join()


def test_equal_addresses_are_one_bucket_until_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "two-secret")
    first = bucket_at(Address.of("s3://bucket/a/b"))
    assert bucket_at(Address.of("s3://bucket//a/b/")) is first
    assert b"two-secret" not in pickle.dumps(first)
    assert pickle.loads(pickle.dumps(first)) is first
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert bucket_at(Address.of("s3://bucket/a/b")) is not first


def test_secrets_show_nowhere() -> None:
    said = {"aws_access_key_id": "the-key", "aws_secret_access_key": "the-secret", "endpoint_url": "http://host"}
    address = Address.of("s3://bucket/folder", said)
    for shown in (address, address.connection(), bucket_at(address)):
        assert "the-" not in repr(shown) + str(shown)


@pytest.mark.parametrize(
    ("url", "said", "sentence"),
    [
        ("s3://", {}, "needs a bucket"),
        ("s3://bucket/../other", {}, "no '..'"),
        ("s3://key:secret@bucket", {}, "credentials and options belong in the environment"),
        ("ftp://bucket", {}, "begins with s3://"),
        ("s3://bucket", {"endpoint_url": "127.0.0.1:9000"}, "Write it as http://host:port"),
        ("s3://bucket", {"aws_access_key_id": "x"}, "has no aws_secret_access_key"),
        ("s3://bucket", {"profile_name": "nobody"}, "There is no AWS profile 'nobody'"),
        ("s3://bucket", {"verify_cert_path": "/nowhere.pem"}, "can't be read: No such file"),
    ],
)
def test_an_address_that_cannot_be_is_refused_before_anything_is_asked(
    url: str, said: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        bucket_at(Address.of(url, said))
    assert "secret@" not in str(caught.value)


def test_a_path_does_not_leave_the_folder() -> None:
    files = bucket_at(Address.of("s3://bucket/folder"))
    with pytest.raises(ConfigurationError, match="leaves s3://bucket/folder"):
        files.read_path("a/../../b")
