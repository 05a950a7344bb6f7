"""What the command line calls a place for results, and a length of time."""

from __future__ import annotations

import re

from kept.blocks import documents
from kept.exceptions import ConfigurationError
from kept.settings import Settings
from kept.storage import Wishes, bare_store, guarded_store
from kept.store import Store

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def named_place(place: str | None) -> str | None:
    """What the user means: the bare name of a saved block is its reference; None, for `default`, what settings say."""
    if place is None or place == "default":
        return None
    if not place.replace("-", "").isalnum():
        return place
    found = [f"{slug}/{name}" for slug, name in documents.all_saved() if name == place]
    if len(found) > 1:
        raise ConfigurationError(f"Several blocks have the name {place!r}: say which, {' or '.join(found)}.")
    if not found:
        raise ConfigurationError(f"No block is saved under the name {place!r}: `kept block ls` lists those that are.")
    return found[0]


def bare_place(place: str | None, settings: Settings, *, on_terms: bool = False) -> tuple[Store, Wishes]:
    """The store that a user names, without a tier, and how it is to be used; used so if `on_terms`."""
    store, wishes = bare_store(named_place(place), settings)
    return (guarded_store(store, wishes) if on_terms else store), wishes


def seconds_of(text: str) -> float:
    """A length of time: `90`, `90s`, `15m`, `12h`, `1d`, `2w`. Raises `ConfigurationError` for another text.

    >>> seconds_of("1.5h")
    5400.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", text.strip().lower())
    if match is None:
        raise ConfigurationError(f"{text!r} is no length of time: write 90s, 15m, 12h, 1d or 2w.")
    return float(match[1]) * _UNITS[match[2]]
