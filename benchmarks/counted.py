"""A filter of the S3 server's pipeline: it counts the requests, and answers `/.requests` with their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def factory(_: dict[str, str], **__: str) -> Callable[[Application], Application]:
    """What paste.deploy calls for a filter."""
    return _counted


def _counted(application: Application) -> Application:
    served: Counter[str] = Counter()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/.requests":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(served).encode()]
        served[environ["REQUEST_METHOD"]] += 1
        return application(environ, start_response)

    return answer
