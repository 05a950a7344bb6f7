"""How the server is spoken with, apart from the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

__all__ = ["AwsClientParameters"]


class AwsClientParameters(BaseModel):
    """Where the server is, and whether it is believed who it is."""

    api_version: str | None = None
    """For boto3 only."""
    use_ssl: bool = True
    """False speaks http with AWS itself; with an endpoint of your own its URL says so."""
    verify: bool | Path | None = True
    """Whether the server's certificate is checked, or the file with the one to check it by."""
    verify_cert_path: Path | None = None
    """The file with the certificate to check the server's by, in PEM format."""
    endpoint_url: str | None = None
    """The URL of a server other than AWS's, such as http://127.0.0.1:9000; the bucket is then part of the path."""
    config: dict[str, Any] | None = Field(default=None)
    """More options of the client, for boto3 only."""

    def options(self) -> dict[str, str | None]:
        """What `kept.store.aws.aws_settings` takes."""
        certificate = self.verify if isinstance(self.verify, Path) else self.verify_cert_path
        return {
            "endpoint_url": self.endpoint_url or None,
            "use_ssl": None if self.use_ssl else "False",
            "verify": "False" if self.verify is False else None,
            "verify_cert_path": str(certificate) if certificate else None,
        }

    def for_boto3(self) -> dict[str, Any]:
        """The arguments of a boto3 client."""
        said = self.model_dump(exclude={"verify_cert_path", "config"}, exclude_none=True)
        said["verify"] = str(self.verify_cert_path) if self.verify_cert_path else said.get("verify", True)
        return said
