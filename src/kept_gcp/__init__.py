"""Google Cloud Storage as blocks: `pip install 'kept[gcp]'`."""

from __future__ import annotations

from kept_gcp.cloud_storage import GcsBucket
from kept_gcp.credentials import GcpCredentials

__all__ = ["GcpCredentials", "GcsBucket"]
