"""Who one is at Google Cloud."""

from __future__ import annotations

import json
from pathlib import Path

from kept.blocks.core import Block
from kept.blocks.fields import SecretDict

__all__ = ["GcpCredentials"]


class GcpCredentials(Block):
    """A service account, as a file or as what is in it, or nothing: then the environment says who one is.

    That is GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT, or the machine's own account on Google Cloud.
    """

    _block_type_name = "GCP Credentials"
    _block_type_slug = "gcp-credentials"

    service_account_file: Path | None = None
    """The file with the service account, `~` allowed."""
    service_account_info: SecretDict | None = None
    """What is in such a file."""
    project: str | None = None
    """The project; buckets are found without it."""

    def options(self) -> dict[str, str | None]:
        """What obstore takes; None where the environment says it."""
        file, info = self.service_account_file, self.service_account_info
        return {
            "service_account": str(file.expanduser()) if file and not info else None,
            "service_account_key": json.dumps(info.get_secret_value()) if info else None,
        }
