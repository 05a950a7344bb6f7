from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from kept import task
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError, StoreError
from kept.filesystems import PathNotFoundError
from kept.store.bucket import PART
from kept.store.selftest import examine
from kept_azure import AzureBlobStorageContainer, AzureBlobStorageCredentials
from tests.servers.azurite import ACCOUNT, KEY, Azurite, azurite_program


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    program = azurite_program()
    if program is None:
        pytest.skip("needs azurite, see tests/servers/azurite.py")
    server = Azurite(program, tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()


def container_of(server: Azurite, name: str, key: str = KEY) -> AzureBlobStorageContainer:
    said = f"AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={server.endpoint}"
    credentials = AzureBlobStorageCredentials(connection_string=SecretStr(said))
    return AzureBlobStorageContainer(container_name=name, base_folder="folder", credentials=credentials)


def test_a_container_has_all_the_verbs(azurite: Azurite, tmp_path: Path) -> None:
    container = container_of(azurite, azurite.container())
    files = container.in_bucket()
    assert container.write_path("a/x", b"hello") == "folder/a/x"
    assert container.read_path("a/x") == b"hello"
    assert [(found.path, found.size) for found in files.list_files("a")] == [("a/x", 5)]
    container.delete_path("a/x")
    container.delete_path("a/x")
    assert files.stat_path("a/x") is None
    with pytest.raises(PathNotFoundError):
        container.read_path("a/x")
    large = os.urandom(PART * 2 + 1)
    (tmp_path / "up").write_bytes(large)
    files.upload_path("large", tmp_path / "up")
    files.download_path("large", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == files.read_path("large") == large


def test_its_conditional_writes_are_atomic(azurite: Azurite) -> None:
    assert all(examine(container_of(azurite, azurite.container()).in_bucket()))


def test_results_are_kept_there(azurite: Azurite) -> None:
    container = container_of(azurite, azurite.container())
    container.save("results")

    @task(cache_policy=INPUTS, result_storage="azure-blob-storage-container/results")
    def one(x: int) -> int:
        return x

    assert [one(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]


def test_what_is_wrong_is_said_without_secrets(azurite: Azurite) -> None:
    wrong = "AAAA" + KEY[4:]
    for container, sentence in (
        (container_of(azurite, "never-made"), "there is no container 'never-made'"),
        (container_of(azurite, azurite.container(), wrong), "the secret key does not fit the access key"),
    ):
        with pytest.raises(StoreError, match=sentence) as caught:
            container.write_path("x", b"")
        assert not any(secret in str(caught.value) for secret in (KEY, wrong, "SharedKey"))


@pytest.mark.parametrize("text", ["", "AccountName=x", "nonsense", "AccountKey=secret"])
def test_a_connection_string_that_can_not_be_is_told(text: str) -> None:
    container = AzureBlobStorageContainer(
        container_name="c", credentials=AzureBlobStorageCredentials(connection_string=SecretStr(text))
    )
    with pytest.raises(ConfigurationError, match="copy it from the account's access keys") as caught:
        container.in_bucket()
    assert "secret" not in str(caught.value)


def test_an_account_url_names_the_account_and_a_server_of_ones_own() -> None:
    def options(url: str) -> object:
        return AzureBlobStorageCredentials(account_url=url).options()

    assert options("https://mine.blob.core.windows.net/") == {"account_name": "mine", "endpoint": None}
    assert options("http://host:10000/mine") == {"account_name": "host", "endpoint": "http://host:10000/mine"}
    assert AzureBlobStorageCredentials().options() == {}
