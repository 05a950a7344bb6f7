"""S3 and what speaks its language, such as MinIO, as blocks: `pip install 'kept[aws]'`."""

from __future__ import annotations

from kept_aws.client_parameters import AwsClientParameters
from kept_aws.credentials import AwsCredentials, MinIOCredentials
from kept_aws.s3 import S3Bucket

__all__ = ["AwsClientParameters", "AwsCredentials", "MinIOCredentials", "S3Bucket"]
