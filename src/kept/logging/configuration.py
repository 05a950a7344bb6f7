"""The logging configuration of the user's own: logging.yml, and what settings change in it or in ours.

The format is that of https://docs.python.org/3/library/logging.config.html#dictionary-schema-details.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kept.exceptions import ConfigurationError
from kept.settings import Settings
from kept.settings.kinds import text_of
from kept.settings.setting import did_you_mean, in_logging, known_setting
from kept.utilities.nearest import nearest

_START = "%(asctime)s.%(msecs)03d | %(levelname)-7s | "
OURS: dict[str, Any] = {
    "version": 1,
    "formatters": {
        "standard": {
            "()": "kept.logging.formatters.KeptFormatter",
            "format": _START + "%(name)s - %(message)s",
            "flow_run_fmt": _START + "Flow run %(flow_run_name)r - %(message)s",
            "task_run_fmt": _START + "Task run %(task_run_name)r - %(message)s",
            "datefmt": "%H:%M:%S",
        },
    },
    "handlers": {"console": {"level": 0, "class": "kept.logging.handlers.KeptConsoleHandler", "formatter": "standard"}},
    "loggers": {
        "kept": {"level": "${KEPT_LOGGING_LEVEL}", "handlers": ["console"]},
        "kept.flow_runs": {"level": "NOTSET"},
        "kept.task_runs": {"level": "NOTSET"},
    },
}
"""What is in force without a file, written as one."""

_applied: dict[str, Any] | None = None


def custom_config(settings: Settings) -> dict[str, Any] | None:
    """The configuration that the user asks for; None where nothing is asked for, and ours, without a file, holds.

    Raises:
        ConfigurationError: the file can't be read, or a setting names a place that is not in it.
    """
    path = Path(settings.logging.config_path)
    changes = {setting.name: settings.values[setting] for setting in settings.sources if in_logging(setting)}
    there = path.is_file()
    if not (there or changes):
        return None
    config: dict[str, Any] = _filled(_read(path) if there else _ours(changes), str(path), settings)
    config.setdefault("version", 1)
    config.setdefault("disable_existing_loggers", False)
    places = dict(_places(config, "KEPT_LOGGING"))
    for name, text in changes.items():
        table, key = _place(name, places, path if there else None)
        table[key] = _like(table[key], text)
    _add_extra_loggers(config, settings)
    _add_run_attributes(config)
    return config


def apply(config: dict[str, Any] | None, settings: Settings) -> None:
    """Let a configuration hold from now on; None takes back the one before. Raises `ConfigurationError`."""
    global _applied
    if config == _applied:
        return
    # Imported here: 15 ms that only a configuration of the user's own needs.
    from logging.config import dictConfig  # noqa: PLC0415

    if config is None:
        _take_back(_applied or {})
    else:
        # Levels alone are changed in place: all else would open files anew, and empty those with the mode "w".
        incremental = _applied is not None and _without_levels(config) == _without_levels(_applied)
        try:
            dictConfig({**copy.deepcopy(config), "incremental": incremental})
        except (ValueError, TypeError, AttributeError, ImportError) as error:
            reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            raise ConfigurationError(
                f"{settings.logging.config_path} can't configure logging: {reason.rstrip('.')}."
            ) from error
    _applied = config


def _read(path: Path) -> dict[str, Any]:
    # Imported here: only those who write such a file need it.
    import yaml  # noqa: PLC0415

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    tables = ("formatters", "filters", "handlers", "loggers")
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path} is no logging configuration: it has to be a mapping with {tables[3]}, ...")
    for table in tables:
        entries = config.setdefault(table, {})
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ConfigurationError(f"{path}: {table} has to be a mapping of names to mappings.")
    return config


def _ours(changes: dict[str, str]) -> dict[str, Any]:
    config = copy.deepcopy(OURS)
    if any(name.startswith("KEPT_LOGGING_ROOT_") for name in changes):
        # The root logger is the program's own, unless the user asks for it to be ours too.
        config["root"] = {"level": "WARNING", "handlers": ["console"]}
        config["loggers"]["kept"]["propagate"] = False
    return config


def _filled(value: Any, source: str, settings: Settings) -> Any:
    """The configuration with the values of settings in place of ${KEPT_...}."""
    if isinstance(value, dict):
        return {key: _filled(item, f"{source}, {key}", settings) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, source, settings) for item in value]
    if not isinstance(value, str):
        return value

    def of_setting(found: re.Match[str]) -> str:
        setting = known_setting(found[1])
        if setting is None:
            raise ConfigurationError(f"{source}: {found[1]} is not a setting{did_you_mean(found[1])}")
        return text_of(settings.values.get(setting, setting.default))

    return re.sub(r"\$\{?(KEPT_[A-Z_]+)\}?", of_setting, value)


def _places(table: dict[str, Any], name: str) -> Iterator[tuple[str, tuple[dict[str, Any], str]]]:
    """Each value of the configuration by the name of the setting that changes it."""
    for key, value in table.items():
        below = f"{name}_{key}".upper().replace(".", "_")
        if isinstance(value, dict):
            yield from _places(value, below)
        else:
            yield below, (table, key)


def _place(name: str, places: dict[str, tuple[dict[str, Any], str]], path: Path | None) -> tuple[dict[str, Any], str]:
    if name in places:
        return places[name]
    near = nearest(name, places)
    hint = f"did you mean {near}?" if near else f"what can be changed is {', '.join(sorted(places))}."
    raise ConfigurationError(f"{name} names no place in {path or 'the logging configuration'}; {hint}")


def _like(old: Any, text: str) -> Any:
    """What a text stands for where `old` stood."""
    if isinstance(old, list):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(old, bool):
        return text.strip().lower() in ("true", "1", "yes", "on")
    return int(text) if isinstance(old, int) and text.strip().isdigit() else text


def _add_extra_loggers(config: dict[str, Any], settings: Settings) -> None:
    kept = config["loggers"].get("kept", {})
    model = config["loggers"].get("kept.extra") or {key: kept[key] for key in ("level", "handlers") if key in kept}
    for name in settings.logging.extra_loggers:
        config["loggers"].setdefault(name, model)


def _add_run_attributes(config: dict[str, Any]) -> None:
    config.setdefault("filters", {})["kept_run"] = {"()": "kept.logging.filters.RunAttributes"}
    for handler in config.get("handlers", {}).values():
        handler["filters"] = [*handler.get("filters", ()), "kept_run"]


def _without_levels(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_levels(item) for key, item in value.items() if key != "level"}


def _take_back(config: dict[str, Any]) -> None:
    for name in (*config.get("loggers", ()), *(("",) if "root" in config else ())):
        logger = logging.getLogger(name)
        for handler in [handler for handler in logger.handlers if handler.name in config.get("handlers", ())]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(logging.NOTSET if name else logging.WARNING)
        logger.propagate = True
