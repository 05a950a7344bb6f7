"""What can be said of Google's blocks without Google: no emulator of it that runs here takes obstore's requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kept.blocks.fields import SecretDict
from kept_gcp import GcpCredentials, GcsBucket

ACCOUNT = {"type": "service_account", "client_email": "me@project", "private_key": "very-private"}


def test_a_service_account_is_handed_on_as_it_is_said(tmp_path: Path) -> None:
    info = GcpCredentials(service_account_info=SecretDict(ACCOUNT)).options()
    assert json.loads(info["service_account_key"] or "") == ACCOUNT
    file = tmp_path / "account.json"
    assert GcpCredentials(service_account_file=file).options()["service_account"] == str(file)
    assert not any(GcpCredentials().options().values())


def test_a_bucket_is_saved_with_its_secrets_encrypted(home: Path) -> None:
    bucket = GcsBucket(
        bucket="my-bucket",
        bucket_folder="results",
        gcp_credentials=GcpCredentials(service_account_info=SecretDict(ACCOUNT)),
    )
    bucket.save("results")
    assert GcsBucket.load("results") == bucket
    assert repr(bucket.in_bucket()) == "Bucket('gs://my-bucket/results')"
    assert "very-private" not in repr(bucket) + repr(bucket.address().connection())
    assert not any(b"very-private" in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_the_slugs_are_those_that_references_are_written_with() -> None:
    assert GcsBucket.get_block_type_slug() == "gcs-bucket"
    assert GcpCredentials.get_block_type_slug() == "gcp-credentials"


def test_a_server_of_ones_own_is_one_more_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://127.0.0.1:4443")
    assert GcsBucket(bucket="my-bucket").in_bucket().server == "http://127.0.0.1:4443"
