"""Azure Blob Storage as blocks: `pip install 'kept[azure]'`."""

from __future__ import annotations

from kept_azure.blob_storage import AzureBlobStorageContainer
from kept_azure.credentials import AzureBlobStorageCredentials

__all__ = ["AzureBlobStorageContainer", "AzureBlobStorageCredentials"]
