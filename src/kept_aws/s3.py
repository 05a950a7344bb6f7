"""A bucket of S3."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kept.blocks.buckets import BucketBlock
from kept.store.addresses import Address
from kept_aws.credentials import AwsCredentials, MinIOCredentials

__all__ = ["S3Bucket"]


class S3Bucket(BucketBlock):
    """A bucket of S3, or of a server that speaks its language: a place for results, and for files.

    >>> S3Bucket(bucket_name="my-bucket", bucket_folder="results").address()
    Address('s3://my-bucket/results')
    """

    _block_type_name = "S3 Bucket"
    _block_type_slug = "s3-bucket"

    bucket_name: str
    """The name of the bucket, which has to be there."""
    credentials: MinIOCredentials | AwsCredentials = Field(default_factory=AwsCredentials)
    """Who one is; by default what the environment says."""
    bucket_folder: str = ""
    """The folder that all paths are relative to; empty for the bucket itself."""

    def address(self) -> Address:
        return Address.of(f"s3://{self.bucket_name}/{self.bucket_folder}", self.credentials.options())

    def list_objects(
        self, folder: str = "", delimiter: str = "", page_size: int | None = None, max_items: int | None = None
    ) -> list[dict[str, Any]]:
        """The whole key and the size in bytes of each object in `folder` and its folders: [{"Key": ..., "Size": ...}].

        Arguments:
            folder: relative to the block's own.
            delimiter: "/" leaves out what is in folders of the folder.
            page_size: has no effect; pages have the size that the server gives.
            max_items: how many at most; None for all.
        """
        source = self._below(folder)
        found = [
            {"Key": self._whole(listed.path), "Size": listed.size}
            for listed in self._files().list_files(source)
            if not (delimiter and delimiter in listed.path.removeprefix(source).lstrip("/"))
        ]
        return found[:max_items]

    def copy_object(self, from_path: str, to_path: str, to_bucket: S3Bucket | str | None = None) -> str:
        """Copy an object to another path, in this bucket or another one; returns its whole key."""
        return self._beside(to_bucket).write_path(to_path, self.read_path(from_path))

    def move_object(self, from_path: str, to_path: str, to_bucket: S3Bucket | str | None = None) -> str:
        """`copy_object`, and then delete it here."""
        moved = self.copy_object(from_path, to_path, to_bucket)
        self.delete_path(from_path)
        return moved

    def stream_from(self, bucket: S3Bucket, from_path: str, to_path: str | None = None) -> str:
        """Copy an object of another bucket to this one, at the same path by default; returns its whole key."""
        return self.write_path(to_path or from_path, bucket.read_path(from_path))

    def _beside(self, bucket: S3Bucket | str | None) -> S3Bucket:
        if isinstance(bucket, str):
            return S3Bucket(bucket_name=bucket, credentials=self.credentials)
        return self if bucket is None else bucket
