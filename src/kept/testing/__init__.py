"""What users of kept need to test their own code, and their own stores."""

from __future__ import annotations

from kept.testing.contracts import an_entry, check_blobs, check_entries

__all__ = ["an_entry", "check_blobs", "check_entries"]
