"""Colours for log lines on a terminal: of the level, the name of the run and the state it ended in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from kept.exceptions import ConfigurationError
from kept.settings import Settings

# By the names that the documentation gives to styles: the numbers of ANSI's "select graphic rendition".
STYLES: dict[str, str] = {
    "log.debug_level": "2",
    "log.info_level": "36",
    "log.warning_level": "33",
    "log.error_level": "31",
    "log.critical_level": "1;31",
    "log.flow_run_name": "35",
    "log.task_run_name": "35",
    "log.completed_state": "32",
    "log.cached_state": "32",
    "log.cancelled_state": "33",
    "log.failed_state": "31",
    "log.crashed_state": "1;31",
    "log.web_url": "94",
    "log.local_url": "94",
}

_MARKS = re.compile(
    r"(?<=\| )(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"
    r"|(?<=Flow run ')(?P<flow_run>[^']+)|(?<=Task run ')(?P<task_run>[^']+)"
    r"|(?<=state )(?P<state>Completed|Cached|Cancelled|Failed|Crashed)\b"
)


def wanted(settings: Settings) -> bool:
    """Whether lines may have colours where they go to a terminal; see https://no-color.org."""
    return settings.logging.colors and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, styles: Mapping[str, str] = STYLES) -> str:
    """A log line with its marks in colour; the traceback that may follow it stays as it is."""
    line, newline, rest = text.partition("\n")
    return _MARKS.sub(lambda found: _in_style(found, styles), line) + newline + rest


def parsed(styles: Mapping[str, str]) -> dict[str, str]:
    """The user's styles, words such as "bold red" or "bright_blue", in front of ours. Raises `ConfigurationError`."""
    # Imported here: 40 ms that only styles of the user's own need.
    from rich.color import ColorSystem  # noqa: PLC0415
    from rich.errors import StyleSyntaxError  # noqa: PLC0415
    from rich.style import Style  # noqa: PLC0415

    codes = {}
    for name, words in styles.items():
        if name not in STYLES:
            raise ConfigurationError(f"styles: {name} is no style of a log line; there is {', '.join(STYLES)}.")
        try:
            shown = Style.parse(str(words)).render("-", color_system=ColorSystem.EIGHT_BIT)
        except StyleSyntaxError as error:
            raise ConfigurationError(f"styles: {name} can't be {words!r}: {error}.") from None
        codes[name] = shown.partition("m")[0].removeprefix("\033[").removeprefix("-")
    return {**STYLES, **codes}


def _in_style(found: re.Match[str], styles: Mapping[str, str]) -> str:
    kind, text = found.lastgroup or "", found[0]
    code = styles[f"log.{kind}_name" if kind.endswith("_run") else f"log.{text.lower()}_{kind}"]
    return f"\033[{code}m{text}\033[0m" if code else text
