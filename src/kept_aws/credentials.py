"""Who one is at AWS, or at a server that speaks its language."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr

from kept.blocks.core import Block
from kept.exceptions import ConfigurationError
from kept_aws.client_parameters import AwsClientParameters

__all__ = ["AwsCredentials", "MinIOCredentials"]


class _Credentials(Block):
    """What keys of S3 have in common."""

    _is_block_base: ClassVar[bool] = True

    def options(self) -> dict[str, str | None]:
        """What `kept.store.aws.aws_settings` takes; None where the environment says it."""
        raise NotImplementedError

    def get_boto3_session(self) -> Any:
        """A boto3 session with these credentials. Raises `ConfigurationError` without boto3."""
        try:
            import boto3  # noqa: PLC0415 - optional, and kept itself speaks with S3 by obstore
        except ImportError:
            raise ConfigurationError("A boto3 session needs pip install boto3.") from None
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "profile_name", "region_name")
        said = self.options()
        return boto3.Session(**{name: said.get(name) for name in names})

    def get_client(self, client_type: str) -> Any:
        """A boto3 client of a service of AWS, such as "s3". Raises `ConfigurationError` without boto3."""
        parameters: AwsClientParameters = getattr(self, "aws_client_parameters", AwsClientParameters())
        return self.get_boto3_session().client(str(client_type), **parameters.for_boto3())

    def get_s3_client(self) -> Any:
        """A boto3 client of S3. Raises `ConfigurationError` without boto3."""
        return self.get_client("s3")


class AwsCredentials(_Credentials):
    """Keys of AWS, a profile, or nothing: then the environment says who one is, as for all of AWS's tools.

    Read are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_DEFAULT_REGION,
    AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AWS_CA_BUNDLE, and the files ~/.aws/config and ~/.aws/credentials.

    >>> AwsCredentials(aws_access_key_id="my-key", aws_secret_access_key="my-secret").aws_secret_access_key
    SecretStr('**********')
    """

    _block_type_name = "AWS Credentials"
    _block_type_slug = "aws-credentials"

    region_name: str | None = None
    """The region of the bucket, by default that of the environment, or else us-east-1."""
    profile_name: str | None = None
    """The profile in the files ~/.aws/config and ~/.aws/credentials."""
    aws_access_key_id: str | None = None
    """The access key."""
    aws_session_token: SecretStr | None = None
    """The token that goes with keys that are valid for a while."""
    aws_secret_access_key: SecretStr | None = None
    """The secret key."""
    aws_client_parameters: AwsClientParameters = Field(default_factory=AwsClientParameters)
    """Where the server is, if it is not AWS's."""

    def options(self) -> dict[str, str | None]:
        return {
            "aws_access_key_id": self.aws_access_key_id or None,
            "aws_secret_access_key": _plain(self.aws_secret_access_key),
            "aws_session_token": _plain(self.aws_session_token),
            "profile_name": self.profile_name or None,
            "region_name": self.region_name or None,
            **self.aws_client_parameters.options(),
        }


class MinIOCredentials(_Credentials):
    """The user and the password of a MinIO server; its address is the `endpoint_url` of the parameters."""

    _block_type_name = "MinIO Credentials"
    _block_type_slug = "minio-credentials"

    minio_root_user: str
    """The user, or an access key."""
    minio_root_password: SecretStr
    """The password, or the secret key."""
    region_name: str | None = None
    """The region of the bucket, by default that of the environment, or else us-east-1."""
    aws_client_parameters: AwsClientParameters = Field(default_factory=AwsClientParameters)
    """Where the server is."""

    def options(self) -> dict[str, str | None]:
        return {
            "aws_access_key_id": self.minio_root_user,
            "aws_secret_access_key": self.minio_root_password.get_secret_value(),
            "region_name": self.region_name or None,
            **self.aws_client_parameters.options(),
        }


def _plain(secret: SecretStr | None) -> str | None:
    return (secret.get_secret_value() or None) if secret is not None else None
