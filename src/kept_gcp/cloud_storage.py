"""A bucket of Google Cloud Storage."""

from __future__ import annotations

from pydantic import Field

from kept.blocks.buckets import BucketBlock
from kept.store.addresses import Address
from kept_gcp.credentials import GcpCredentials

__all__ = ["GcsBucket"]


class GcsBucket(BucketBlock):
    """A bucket of Google Cloud Storage: a place for results, and for files.

    >>> GcsBucket(bucket="my-bucket", bucket_folder="results").address()
    Address('gs://my-bucket/results')
    """

    _block_type_name = "GCS Bucket"
    _block_type_slug = "gcs-bucket"

    bucket: str
    """The name of the bucket, which has to be there."""
    gcp_credentials: GcpCredentials = Field(default_factory=GcpCredentials)
    """Who one is; by default what the environment says."""
    bucket_folder: str = ""
    """The folder that all paths are relative to; empty for the bucket itself."""

    def address(self) -> Address:
        return Address.of(f"gs://{self.bucket}/{self.bucket_folder}", self.gcp_credentials.options())
