"""The right name that a wrong one may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of these names that `name` is most like, where it is at least `cutoff` like it, of 1 for the same."""
    # Imported here: only misspelt names need it, and it costs as much as all settings.
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(name, list(known), 1, cutoff)), None)
