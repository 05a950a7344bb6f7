"""A container of Azure Blob Storage."""

from __future__ import annotations

from pydantic import Field

from kept.blocks.buckets import BucketBlock
from kept.store.addresses import Address
from kept_azure.credentials import AzureBlobStorageCredentials

__all__ = ["AzureBlobStorageContainer"]


class AzureBlobStorageContainer(BucketBlock):
    """A container of Azure Blob Storage: a place for results, and for files.

    >>> AzureBlobStorageContainer(container_name="my-container", base_folder="results").address()
    Address('az://my-container/results')
    """

    _block_type_name = "Azure Blob Storage Container"
    _block_type_slug = "azure-blob-storage-container"

    container_name: str
    """The name of the container, which has to be there."""
    credentials: AzureBlobStorageCredentials = Field(default_factory=AzureBlobStorageCredentials)
    """Who one is; by default what the environment says."""
    base_folder: str | None = None
    """The folder that all paths are relative to; None for the container itself."""

    def address(self) -> Address:
        return Address.of(f"az://{self.container_name}/{self.base_folder or ''}", self.credentials.options())
