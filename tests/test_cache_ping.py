"""`kept cache ping`, as its users run it, on real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kept.store.checkup import Step, examined_files
from kept_aws import S3Bucket
from tests.clouds.test_aws_blocks import credentials_of
from tests.servers.needs import free_ports
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3
from tests.test_cli import Done, kept

# Servers and processes of the command line: another Python tells nothing new of them.
pytestmark = pytest.mark.slow

STEPS = ["server", "credentials", "bucket", "read", "write", "read back", "list", "delete"]
GUARANTEES = ["create once", "replace once", "read at once", "transactions", "single flight"]


def ping(tmp_path: Path, *arguments: str, **environment: str) -> tuple[Done, dict[str, str]]:
    """What the command prints, and the answer of each step."""
    done = kept("cache", "ping", *arguments, cwd=tmp_path, KEPT_HOME=str(tmp_path / "kept-home"), **environment)
    lines = [line for line in done.out.splitlines() if line.startswith("  ")]
    return done, {line[2:16].strip(): line[16:].strip() for line in lines}


def test_a_bucket_is_tried_from_end_to_end_and_left_as_it_was(s3: S3, tmp_path: Path) -> None:
    name = s3.bucket()
    done, steps = ping(tmp_path, f"s3://{name}/results", **s3.environment)
    assert done.code == 0, done.err
    assert done.out.startswith(f"s3://{name}/results\n")
    assert list(steps) == [*STEPS, *GUARANTEES]
    assert all(steps[step].startswith("ok") for step in STEPS)
    assert s3.keys(name) == []


def test_a_server_whose_create_races_is_told_to_need_redis(s3: S3, tmp_path: Path) -> None:
    _, steps = ping(tmp_path, f"s3://{s3.bucket()}", **s3.environment)
    assert steps["create once"] == "no      of many at once, several create"
    assert "KEPT_LOCKING_REDIS_URL" in steps["single flight"]
    assert steps["transactions"].startswith("ok")
    (known,) = json.loads((tmp_path / "kept-home" / "guarantees.json").read_text()).values()
    assert known["guarantees"]["conditional_create"] is False


def test_where_redis_is_named_it_is_said_to_have_the_locks(quick_s3: S3, tmp_path: Path) -> None:
    named = {**quick_s3.environment, "KEPT_LOCKING_REDIS_URL": "redis://:secret@127.0.0.1:1/0"}
    done, steps = ping(tmp_path, f"s3://{quick_s3.bucket()}", **named)
    assert steps["single flight"].startswith("ok      between machines, by the Redis server of KEPT_LOCKING_REDIS_URL")
    assert "secret" not in done.out + done.err


def test_a_server_that_keeps_its_promises_is_told_to_hold_leases(quick_s3: S3, tmp_path: Path) -> None:
    with FaultProxy(quick_s3, atomic=True) as proxy:
        done, steps = ping(tmp_path, f"s3://{quick_s3.bucket()}", **proxy.environment)
    assert all(steps[step].startswith("ok") for step in GUARANTEES), done.out


@pytest.mark.parametrize("name", ["s3-bucket/results", "results"])
def test_a_saved_block_is_known_by_its_name(quick_s3: S3, tmp_path: Path, name: str) -> None:
    S3Bucket(bucket_name=quick_s3.bucket(), credentials=credentials_of(quick_s3)).save("results")
    done, steps = ping(tmp_path, name)
    assert done.code == 0, done.err
    assert steps["write"] == "ok"


def test_the_default_is_what_the_settings_say(quick_s3: S3, tmp_path: Path) -> None:
    url = f"s3://{quick_s3.bucket()}"
    done, _ = ping(tmp_path, KEPT_RESULTS_DEFAULT_STORAGE=url, **quick_s3.environment)
    assert done.out.startswith(f"{url}\n")
    done, steps = ping(tmp_path)
    assert done.out.startswith(f"{tmp_path / 'kept-home' / 'storage'}\n")
    assert steps == {"write": "ok", "read": "ok", "delete": "ok"}


def test_what_is_wrong_is_said_where_it_is_wrong_with_what_to_do(s3: S3, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    name = s3.bucket()
    for changed, bucket, step, sentence in (
        ({"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}, name, "server", "Check AWS_ENDPOINT_URL"),
        ({"AWS_REGION": "eu-west-1"}, name, "server", "the bucket is in 'us-east-1'. Set AWS_REGION"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, name, "credentials", "Check AWS_ACCESS_KEY_ID"),
        ({}, "never-made", "bucket", "there is no bucket 'never-made'"),
    ):
        done, steps = ping(tmp_path, f"s3://{bucket}", **{**s3.environment, **changed})
        assert done.code == 1
        assert list(steps)[-1] == step
        assert steps[step].startswith("FAILED")
        assert sentence in steps[step]
        assert not any(secret in done.out + done.err for secret in ("wrong-secret", s3.secret_key, s3.access_key))


@pytest.mark.parametrize(
    ("kind", "step"), [("read", "read"), ("write", "write"), ("list", "list"), ("delete", "delete")]
)
def test_a_permission_that_is_missing_is_said_of_its_step(
    fault_proxy: FaultProxy, s3: S3, tmp_path: Path, kind: str, step: str
) -> None:
    with fault_proxy.fault("deny", kind):
        done, steps = ping(tmp_path, f"s3://{s3.bucket()}", **fault_proxy.environment)
    assert done.code == 1
    assert steps[step].startswith("FAILED")
    assert "do not allow it" in steps[step]


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nobody", "No block is saved under the name 'nobody'"),
        ("s3-bucket/nobody", "nobody"),
        ("s3://", "needs a bucket"),
        ("./file.txt/x/", ""),
    ],
)
def test_a_place_that_is_none_is_one_sentence(tmp_path: Path, place: str, sentence: str) -> None:
    (tmp_path / "file.txt").write_text("")
    done, _ = ping(tmp_path, place)
    assert done.code == 1
    assert sentence in done.err
    assert "Traceback" not in done.err


def test_a_name_that_two_blocks_have_is_asked_back(quick_s3: S3, tmp_path: Path) -> None:
    credentials_of(quick_s3).save("results")
    S3Bucket(bucket_name="bucket").save("results")
    done, _ = ping(tmp_path, "results")
    assert "say which, aws-credentials/results or s3-bucket/results" in done.err


def test_a_file_system_of_ones_own_is_asked_for_what_it_has() -> None:
    class Files:
        def __init__(self) -> None:
            self.held: dict[str, bytes] = {}

        async def read_path(self, path: str) -> bytes:
            return self.held[path]

        def write_path(self, path: str, content: bytes) -> None:
            self.held[path] = content

    found = list(examined_files(Files()))
    assert [(step.name, step.ok) for step in found] == [
        ("write", True),
        ("read back", True),
        ("list", None),
        ("delete", None),
    ]

    class Broken(Files):
        def write_path(self, path: str, content: bytes) -> None:
            raise OSError("no disk")

    assert list(examined_files(Broken())) == [Step("write", False, "OSError: no disk")]


def test_wrong_settings_are_said_before_anything_is_asked(tmp_path: Path) -> None:
    done, steps = ping(tmp_path, KEPT_RESULTS_DEFAULT_STORAGE="ftps:/x")
    assert not steps
    assert "KEPT_RESULTS_DEFAULT_STORAGE" in done.err
