from __future__ import annotations

from pathlib import Path

import pytest

from kept.exceptions import ConfigurationError
from kept.store.addresses import Address
from kept.store.aws import AwsSettings, aws_settings

CONFIG = """
[default]
region = eu-central-1
[profile work]
region = eu-west-1
endpoint_url = http://work:9000
aws_access_key_id = config-key
aws_secret_access_key = config-secret
[profile single]
sso_session = mine
region = us-west-2
[sso-session mine]
sso_region = us-west-2
"""
CREDENTIALS = """
[default]
aws_access_key_id = default-key
aws_secret_access_key = default%secret
[work]
aws_access_key_id = work-key
aws_secret_access_key = work-secret
aws_session_token = work-token
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }


def test_the_files_of_aws_are_read(files: dict[str, str]) -> None:
    assert aws_settings({}, files) == AwsSettings(("default-key", "default%secret", None), "eu-central-1")
    work = AwsSettings(("work-key", "work-secret", "work-token"), "eu-west-1", "http://work:9000")
    assert aws_settings({}, {**files, "AWS_PROFILE": "work"}) == work
    assert aws_settings({"profile_name": "work"}, files) == work


def test_variables_win_over_the_profile_and_what_is_said_over_both(files: dict[str, str]) -> None:
    around = {
        **files,
        "AWS_ACCESS_KEY_ID": "env-key",
        "AWS_SECRET_ACCESS_KEY": "env-secret",
        "AWS_SESSION_TOKEN": "env-token",
        "AWS_DEFAULT_REGION": "second",
        "AWS_REGION": "first",
        "AWS_ENDPOINT_URL": "http://general",
        "AWS_ENDPOINT_URL_S3": "http://special/",
    }
    assert aws_settings({}, around) == AwsSettings(("env-key", "env-secret", "env-token"), "first", "http://special")
    said = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "here",
        "endpoint_url": "http://mine",
    }
    assert aws_settings(said, around) == AwsSettings(("key", "secret", None), "here", "http://mine")
    named = aws_settings({"profile_name": "work"}, around)
    assert named.keys == ("work-key", "work-secret", "work-token")


def test_a_profile_that_is_not_there_is_said_with_those_that_are(files: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="no AWS profile 'wrok'.* have default, single, work\\."):
        aws_settings({}, {**files, "AWS_PROFILE": "wrok"})


def test_a_profile_of_single_sign_on_is_left_to_boto3(files: dict[str, str]) -> None:
    found = aws_settings({}, {**files, "AWS_PROFILE": "single"})
    assert found.keys is None
    assert found.boto3_profile == "single"


def test_a_damaged_file_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("my-secret-is-here")
    with pytest.raises(ConfigurationError, match="credentials can't be read") as caught:
        aws_settings({}, {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")})
    assert "my-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme", "bucket", "folder", "options"),
    [
        ("s3://bucket", "s3", "bucket", "", ()),
        ("S3A://bucket/a/b/", "s3", "bucket", "a/b", ()),
        ("gcs://bucket/a", "gs", "bucket", "a", ()),
        ("az://container/a", "az", "container", "a", ()),
        ("abfss://container@acc.dfs.core.windows.net/a", "az", "container", "a", (("account_name", "acc"),)),
    ],
)
def test_the_usual_urls_are_understood(url: str, scheme: str, bucket: str, folder: str, options: object) -> None:
    assert Address.of(url) == (scheme, bucket, folder, options)
