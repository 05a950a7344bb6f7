from __future__ import annotations

import asyncio
import io
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from kept import flow, task
from kept.blocks.core import Block
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError
from kept.filesystems import PathNotFoundError, WritableFileSystem
from kept.task_runners import ProcessPoolTaskRunner
from kept_aws import AwsClientParameters, AwsCredentials, MinIOCredentials, S3Bucket
from tests.conftest import Lines
from tests.servers.s3 import S3


def credentials_of(server: S3) -> AwsCredentials:
    return AwsCredentials(
        aws_access_key_id=server.access_key,
        aws_secret_access_key=SecretStr(server.secret_key),
        region_name=server.region,
        aws_client_parameters=AwsClientParameters(endpoint_url=server.endpoint),
    )


@pytest.fixture
def bucket(quick_s3: S3) -> Iterator[S3Bucket]:
    name = quick_s3.bucket()
    yield S3Bucket(bucket_name=name, bucket_folder="folder", credentials=credentials_of(quick_s3))
    quick_s3.drop(name)


def test_what_a_method_returns_another_one_takes(bucket: S3Bucket, quick_s3: S3) -> None:
    whole = bucket.write_path("a/hello.txt", b"hello")
    assert whole == "folder/a/hello.txt"
    assert quick_s3.get(bucket.bucket_name, whole) == b"hello"
    assert bucket.read_path(whole) == bucket.read_path("a/hello.txt") == b"hello"
    with pytest.raises(PathNotFoundError, match="missing"):
        bucket.read_path("missing")
    assert isinstance(bucket, WritableFileSystem)


def test_files_and_folders_go_there_and_come_back(bucket: S3Bucket, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deeper").mkdir(parents=True)
    (source / "one.txt").write_text("1")
    (source / "deeper" / "two.txt").write_text("2")
    (source / "left.out").write_text("3")
    (tmp_path / "ignore").write_text("*.out\n")
    assert bucket.put_directory(str(source), "data", str(tmp_path / "ignore")) == 2
    assert bucket.list_objects("data") == [
        {"Key": "folder/data/deeper/two.txt", "Size": 1},
        {"Key": "folder/data/one.txt", "Size": 1},
    ]
    assert [found["Key"] for found in bucket.list_objects("data", delimiter="/")] == ["folder/data/one.txt"]
    assert len(bucket.list_objects(max_items=1)) == 1
    written = bucket.get_directory("data", str(tmp_path / "copy"))
    assert {path.relative_to(tmp_path / "copy").as_posix() for path in written} == {"one.txt", "deeper/two.txt"}
    assert (tmp_path / "copy" / "deeper" / "two.txt").read_text() == "2"
    assert bucket.download_folder_to_path("data", tmp_path / "again") == tmp_path / "again"
    assert bucket.upload_from_folder(source / "deeper", "more") == "folder/more"
    assert bucket.upload_from_path(source / "one.txt") == "folder/one.txt"
    assert bucket.download_object_to_path("one.txt", tmp_path / "down.txt").read_text() == "1"
    assert bucket.upload_from_file_object(io.BytesIO(b"open"), "open") == "folder/open"
    assert bucket.download_object_to_file_object("open", io.BytesIO()).getvalue() == b"open"
    assert bucket.copy_object("open", "copied") == "folder/copied"
    assert bucket.move_object("copied", "moved") == "folder/moved"
    assert bucket.stream_from(bucket, "moved", "streamed") == "folder/streamed"
    assert bucket.read_path("streamed") == b"open"
    with pytest.raises(PathNotFoundError):
        bucket.read_path("copied")


def test_the_async_forms_do_the_same(bucket: S3Bucket, tmp_path: Path) -> None:
    async def work() -> bytes:
        await bucket.awrite_path("x", b"hello")
        await bucket.aget_directory(local_path=str(tmp_path / "copy"))
        await bucket.aput_directory(str(tmp_path / "copy"), "again")
        await bucket.aupload_from_path(tmp_path / "copy" / "x", "third")
        await bucket.adownload_object_to_path("third", tmp_path / "down")
        return await bucket.aread_path("again/x")

    assert asyncio.run(work()) == b"hello"
    assert (tmp_path / "down").read_bytes() == b"hello"


def test_an_object_whose_name_leaves_the_folder_is_not_written_beside_it(
    bucket: S3Bucket, quick_s3: S3, tmp_path: Path
) -> None:
    quick_s3.put(bucket.bucket_name, "folder/a/ok", b"")
    from kept.blocks.buckets import _relative
    from kept.exceptions import StoreError

    with pytest.raises(StoreError, match="its name leaves it"):
        _relative("a/../../evil", "a")


def test_saved_and_loaded_it_is_the_same_and_its_secrets_are_nowhere_to_be_read(bucket: S3Bucket, home: Path) -> None:
    bucket.save("results")
    secret = credentials_secret(bucket)
    for loaded in (S3Bucket.load("results"), Block.load("s3-bucket/results")):
        assert loaded == bucket
    for shown in (repr(bucket), str(bucket), repr(bucket.in_bucket()), pickle.dumps(bucket).decode("latin1")):
        assert secret not in shown
    assert secret.encode() not in pickle.dumps(bucket.in_bucket())
    assert pickle.loads(pickle.dumps(bucket.in_bucket())) is bucket.in_bucket()
    assert not any(secret.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())


def credentials_secret(bucket: S3Bucket) -> str:
    assert isinstance(bucket.credentials, AwsCredentials)
    assert bucket.credentials.aws_secret_access_key
    return bucket.credentials.aws_secret_access_key.get_secret_value()


def test_what_was_changed_since_it_was_saved_travels_as_it_is(bucket: S3Bucket) -> None:
    bucket.save("results")
    bucket.bucket_folder = "elsewhere"
    assert pickle.loads(pickle.dumps(bucket)) == bucket
    assert pickle.loads(pickle.dumps(bucket.in_bucket())).address.folder == "elsewhere"


def test_the_slugs_are_those_that_references_are_written_with() -> None:
    slugs = [each.get_block_type_slug() for each in (S3Bucket, AwsCredentials, MinIOCredentials)]
    assert slugs == ["s3-bucket", "aws-credentials", "minio-credentials"]


def test_the_environment_is_enough(quick_s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in quick_s3.environment.items():
        monkeypatch.setenv(name, value)
    name = quick_s3.bucket()
    S3Bucket(bucket_name=name).write_path("x", b"hello")
    assert quick_s3.get(name, "x") == b"hello"


def test_what_is_said_wins_over_the_environment(quick_s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "wrong")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    name = quick_s3.bucket()
    S3Bucket(bucket_name=name, credentials=credentials_of(quick_s3)).write_path("x", b"hello")
    assert quick_s3.get(name, "x") == b"hello"


def test_minio_has_a_user_and_a_password(s3: S3) -> None:
    credentials = MinIOCredentials(
        minio_root_user=s3.access_key,
        minio_root_password=SecretStr(s3.secret_key),
        aws_client_parameters=AwsClientParameters(endpoint_url=s3.endpoint),
    )
    bucket = S3Bucket(bucket_name=s3.bucket(), credentials=credentials)
    bucket.save("minio")
    bucket.write_path("x", b"hello")
    loaded = S3Bucket.load("minio")
    assert isinstance(loaded.credentials, MinIOCredentials)
    assert loaded.read_path("x") == b"hello"


def test_a_boto3_client_is_made_of_the_same_credentials(quick_s3: S3) -> None:
    pytest.importorskip("boto3")
    name = quick_s3.bucket()
    client = credentials_of(quick_s3).get_s3_client()
    client.put_object(Bucket=name, Key="x", Body=b"hello")
    assert quick_s3.get(name, "x") == b"hello"


def test_results_of_worker_processes_are_kept_in_a_saved_bucket(quick_s3: S3, bucket: S3Bucket) -> None:
    bucket.save("results")

    @task(cache_policy=INPUTS, result_storage=bucket)
    def double(x: int) -> bytes:
        return bytes(x) * 2

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def doubled() -> list[str]:
        return [double.submit(x, return_state=True).name for x in (1, 100_000, 100_000)]

    assert doubled() == ["Completed", "Completed", "Cached"]
    assert len(quick_s3.keys(bucket.bucket_name, "folder/blobs/")) == 1


def test_wrong_credentials_cost_the_result_and_not_the_run(s3: S3, log: Lines) -> None:
    credentials = credentials_of(s3).model_copy(update={"aws_secret_access_key": SecretStr("wrong-secret")})
    bucket = S3Bucket(bucket_name=s3.bucket(), credentials=credentials)

    @task(cache_policy=INPUTS, result_storage=bucket)
    def one(x: int) -> int:
        return x

    assert one(1) == 1
    assert "the secret key does not fit the access key" in log
    assert not any(secret in str(log) for secret in ("wrong-secret", s3.secret_key, s3.access_key, "Signature"))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"credentials": {"aws_client_parameters": {"endpoint_url": "127.0.0.1:9"}}}, "Write it as http://host:port"),
        ({"credentials": {"aws_access_key_id": "x"}}, "has no aws_secret_access_key"),
        ({"credentials": {"profile_name": "nobody"}}, "no AWS profile 'nobody'"),
    ],
)
def test_a_bucket_that_cannot_be_reached_is_told_before_the_task_runs(fields: dict[str, object], sentence: str) -> None:
    bucket = S3Bucket.model_validate({"bucket_name": "my-bucket", **fields})
    ran = []

    @task(cache_policy=INPUTS, result_storage=bucket)
    def one() -> None:
        ran.append(1)

    with pytest.raises(ConfigurationError, match=sentence):
        one()
    assert not ran


def test_without_obstore_one_sentence_says_what_to_install() -> None:
    program = """
import sys
sys.modules["obstore"] = None
from kept_aws import S3Bucket
from kept_gcp import GcsBucket
from kept_azure import AzureBlobStorageContainer
for block in S3Bucket(bucket_name="b"), GcsBucket(bucket="b"), AzureBlobStorageContainer(container_name="b"):
    try:
        block.read_path("x")
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == [
        f"{place} needs obstore: pip install 'kept[{extra}]'"
        for place, extra in (("s3://b", "aws"), ("gs://b", "gcp"), ("az://b", "azure"))
    ]


def test_credentials_that_are_saved_again_are_taken_by_the_next_run(s3: S3, log: Lines) -> None:
    name, good = s3.bucket(), credentials_of(s3)
    wrong = good.model_copy(update={"aws_secret_access_key": SecretStr("not-the-secret")})
    wrong.save("team")
    S3Bucket(bucket_name=name, credentials=wrong).save("results")
    ran: list[int] = []

    @task(cache_policy=INPUTS, result_storage="s3-bucket/results")
    def step(x: int) -> int:
        ran.append(x)
        return x

    step(1)
    assert "the secret key does not fit the access key" in log and "not-the-secret" not in log
    good.save("team", overwrite=True)
    assert (step(2), step(2), ran) == (2, 2, [1, 2])
    assert any(key.startswith("entries/") for key in s3.keys(name))
    s3.drop(name)
