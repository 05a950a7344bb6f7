"""A setting: its names, what it may hold, how it is read; and the sections of a snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, overload

from kept.exceptions import ConfigurationError
from kept.settings.kinds import SECRET, TEXT, Kind, text_of
from kept.utilities.nearest import nearest

T = TypeVar("T")

PREFIX = "KEPT_"
THEIR_PREFIX = "PREFECT_"

_HIDDEN = "********"

# What can be changed in the logging configuration, by its address there: as many settings as that has places.
_IN_LOGGING = re.compile(r"(?i)(?:KEPT_LOGGING_|logging\.)((?:FORMATTERS|FILTERS|HANDLERS|LOGGERS|ROOT)_\w+)")

# By every name that a setting answers to: KEPT_..., aliases, dotted path. The sections below fill it.
REGISTRY: dict[str, Setting[Any]] = {}


class Setting(Generic[T]):
    """One setting: what it is called, what it may hold, and what it holds now.

    A key of `temporary_settings({...})`.

    >>> from kept.settings import KEPT_TASKS_DEFAULT_RETRIES
    >>> KEPT_TASKS_DEFAULT_RETRIES.path, KEPT_TASKS_DEFAULT_RETRIES.default
    ('tasks.default_retries', 0)
    """

    values_now: ClassVar[Callable[[], Mapping[Setting[Any], Any]]]
    """Gives the values of all settings now. `current` puts it here, as it stands above: it knows them all."""

    def __init__(
        self, kind: Kind[T], default: T | str, help: str, *, alias: str = "", in_debug_mode: T | None = None
    ) -> None:
        self.kind = kind
        """What it may hold, and how its text is read."""
        self.default = default
        """Its value where nothing sets it; a path may still hold `~` and `${KEPT_HOME}`."""
        self.help = help
        """What it does, in one sentence."""
        self.aliases: tuple[str, ...] = (alias,) if alias else ()
        """The other names that Prefect's documentation gives it."""
        self.in_debug_mode = in_debug_mode
        """Its default when `debug_mode` is on, if that differs."""
        self.name = ""
        """Its name in the environment: KEPT_TASKS_REFRESH_CACHE."""
        self.path = ""
        """Its dotted path in files and snapshots: tasks.refresh_cache."""

    def __set_name__(self, owner: type[Section], name: str) -> None:
        self.call(f"{owner.section}.{name}" if owner.section else name)

    def call(self, path: str) -> None:
        """Give it its dotted path, from which its name follows, and let it be found by them."""
        self.path = path
        self.name = PREFIX + self.path.upper().replace(".", "_")
        REGISTRY.update(dict.fromkeys((self.name, self.path, *self.aliases), self))

    # For type checkers: a snapshot holds plain values, see `drop_declarations`.
    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Section, owner: type) -> T: ...
    def __get__(self, instance: Section | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        raise AttributeError(self.path)

    @property
    def type(self) -> str:
        """What it holds, in a word or two."""
        return self.kind.name

    def value(self) -> T:
        """Its value now, here: in this thread, this task, this block of `temporary_settings`."""
        value: T = Setting.values_now().get(self, self.default)
        return value

    def read(self, value: object, source: str) -> T:
        """The checked value that `value`, a text or a Python object, stands for.

        Raises:
            ConfigurationError: it is not allowed; `source` says in the message where it came from.
        """
        try:
            return self.kind.read(value)
        except (ValueError, OverflowError):
            raise self.refusal(value, source) from None

    @property
    def is_secret(self) -> bool:
        """Whether its value is not to be shown."""
        return self.kind.name.startswith(SECRET.name)

    def shown(self, value: object) -> str:
        """The text of a value for people to read, which of a secret is that there is one."""
        return _HIDDEN if value is not None and self.is_secret else text_of(value)

    def refusal(self, value: object, source: str) -> ConfigurationError:
        """The error that says why `value`, from `source`, can't be."""
        shown = _HIDDEN if self.is_secret else str(value) if isinstance(value, Path) else value
        return ConfigurationError(
            f"{self.name} can't be {shown!r}, as {source} has it; allowed is {self.kind.allowed}."
        )

    def __repr__(self) -> str:
        return f"<Setting {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return find_setting, (self.name,)


class Section:
    """A part of a snapshot: its settings are attributes, and can't be changed."""

    section: ClassVar[str] = ""

    def __init__(self, values: Mapping[Setting[Any], object]) -> None:
        for setting, value in values.items():
            table, _, key = setting.path.rpartition(".")
            if table == self.section:
                self.__dict__[key] = value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"Settings are a snapshot and can't be changed ({name}): use `with temporary_settings(...)`, "
            "an environment variable, or kept.toml."
        )

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)


def drop_declarations() -> None:
    """Take the declarations off their classes, so that a snapshot's attributes are nothing but attributes.

    A descriptor on the class, even one that never applies, makes each read of the attribute three times as
    slow (40 ns instead of 12), and every task call reads half a dozen of them.
    """
    for section in Section.__subclasses__():
        for name in [name for name, value in vars(section).items() if isinstance(value, Setting)]:
            delattr(section, name)


def find_setting(name: str) -> Setting[Any]:
    """The setting of that name, alias or dotted path.

    Raises:
        ConfigurationError: there is none; the message names the nearest.
    """
    setting = known_setting(name)
    if setting is None:
        raise ConfigurationError(f"{name} is not a setting{did_you_mean(name)}")
    return setting


def known_setting(name: str) -> Setting[Any] | None:
    """The setting of that name, alias or dotted path; None if there is none."""
    found = REGISTRY.get(name)
    place = None if found else _IN_LOGGING.fullmatch(name)
    if place is None:
        return found
    setting = Setting(TEXT, "", "What stands at this place of the logging configuration.")
    setting.call(f"logging.{place[1].lower()}")
    return setting


def in_logging(setting: Setting[Any]) -> bool:
    """Whether it changes a place of the logging configuration."""
    return _IN_LOGGING.fullmatch(setting.name) is not None


def did_you_mean(name: str) -> str:
    """The end of a sentence that says that `name` is unknown, naming the nearest right one if one is near."""
    nearest = nearest_name(name, cutoff=0.6)
    return f"; did you mean {nearest}?" if nearest else "; `kept config view --show-defaults` lists all settings."


def nearest_name(name: str, cutoff: float) -> str | None:
    """The name that `name` is most like, where it is at least `cutoff` like it, of 1 for the same."""
    if name.startswith(THEIR_PREFIX):
        ours = PREFIX + name.removeprefix(THEIR_PREFIX)
        return REGISTRY[ours].name if ours in REGISTRY else nearest_name(ours, cutoff)
    if name in REGISTRY:
        return REGISTRY[name].path if name.startswith(PREFIX) else REGISTRY[name].name
    in_environment = name.startswith(PREFIX)
    # The prefix is left out: it would make any two names alike.
    known = {known.removeprefix(PREFIX): known for known in REGISTRY if known.startswith(PREFIX) == in_environment}
    return known.get(nearest(name.removeprefix(PREFIX), known, cutoff) or "")
