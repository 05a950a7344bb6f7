"""Who one is at Azure."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

from kept.blocks.core import Block
from kept.exceptions import ConfigurationError

__all__ = ["AzureBlobStorageCredentials"]

# Known to everybody: what Azure's emulator documents.
_DEVELOPMENT = (
    "AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
    "K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)


class AzureBlobStorageCredentials(Block):
    """A connection string, or the URL of an account whose credentials the environment has.

    That is AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY, AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and
    AZURE_TENANT_ID, or the machine's own identity on Azure.
    """

    _block_type_name = "Azure Blob Storage Credentials"
    _block_type_slug = "azure-blob-storage-credentials"

    account_url: str | None = None
    """The URL of the account, such as https://myaccount.blob.core.windows.net."""
    connection_string: SecretStr | None = None
    """The connection string of the account; it wins over the URL."""

    def options(self) -> dict[str, str | None]:
        """What obstore takes; None where the environment says it. Raises `ConfigurationError`."""
        if self.connection_string is not None:
            return _of_connection_string(self.connection_string.get_secret_value())
        if not self.account_url:
            return {}
        host = urlsplit(self.account_url).hostname or ""
        endpoint = None if host.endswith(".windows.net") else self.account_url.rstrip("/")
        return {"account_name": host.partition(".")[0] or None, "endpoint": endpoint}


def _of_connection_string(text: str) -> dict[str, str | None]:
    said = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    if said.get("UseDevelopmentStorage") == "true":
        return _of_connection_string(_DEVELOPMENT)
    if not (said.keys() & {"AccountName", "BlobEndpoint"}) or not (
        said.keys() & {"AccountKey", "SharedAccessSignature"}
    ):
        raise ConfigurationError(
            "The connection string of Azure needs AccountName=...;AccountKey=..., or BlobEndpoint=...;"
            "SharedAccessSignature=...: copy it from the account's access keys."
        )
    suffix, protocol = said.get("EndpointSuffix"), said.get("DefaultEndpointsProtocol", "https")
    endpoint = said.get("BlobEndpoint") or (suffix and f"{protocol}://{said['AccountName']}.blob.{suffix}")
    account = said.get("AccountName") or (urlsplit(endpoint or "").hostname or "").partition(".")[0]
    return {
        "account_name": account,
        "account_key": said.get("AccountKey"),
        "sas_key": said.get("SharedAccessSignature"),
        "endpoint": endpoint.rstrip("/") if endpoint else None,
    }
