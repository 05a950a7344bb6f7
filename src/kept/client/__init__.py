"""Where Prefect's documentation imports the types of runs from. There is no client: a run needs no server."""

from __future__ import annotations
