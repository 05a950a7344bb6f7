"""Every setting of kept, and the value that each has now.

`Settings` is a frozen snapshot of all values. Each setting is declared once, as a `Setting` in the section
that it belongs to; its name in the environment and its place in a file follow from there: `refresh_cache` in
the section `tasks` is KEPT_TASKS_REFRESH_CACHE, and `[tasks] refresh_cache = true` in kept.toml.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar, overload

from kept.exceptions import ConfigurationError
from kept.settings.files import SettingsFile, find_settings_file
from kept.settings.kinds import (
    BOOLEAN,
    DELAYS,
    NAMES,
    PATH,
    POSITIVE_NUMBER,
    TEXT,
    WHOLE_NUMBER,
    Kind,
    expand_path,
    one_of,
    optional,
)

T = TypeVar("T")

PREFIX = "KEPT_"

# By every name that a setting answers to: KEPT_..., aliases, dotted path. The sections below fill it.
_REGISTRY: dict[str, Setting[Any]] = {}


class Setting(Generic[T]):
    """One setting: what it is called, what it may hold, and what it holds now.

    A key of `temporary_settings({...})`.

    >>> KEPT_TASKS_DEFAULT_RETRIES.path, KEPT_TASKS_DEFAULT_RETRIES.default
    ('tasks.default_retries', 0)
    """

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
        self.path = f"{owner.section}.{name}" if owner.section else name
        self.name = PREFIX + self.path.upper().replace(".", "_")
        _REGISTRY.update(dict.fromkeys((self.name, self.path, *self.aliases), self))

    # For type checkers: a snapshot holds plain values, see `_plain_attributes`.
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
        value: T = get_current_settings()._values[self]
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

    def refusal(self, value: object, source: str) -> ConfigurationError:
        """The error that says why `value`, from `source`, can't be."""
        shown = str(value) if isinstance(value, Path) else value
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


class Settings(Section):
    """All settings as they were when it was taken: `settings.home`, `settings.tasks.refresh_cache`."""

    home = Setting(PATH, "~/.kept", "The folder in which kept keeps everything that it keeps.")
    debug_mode = Setting(BOOLEAN, False, "Log more: the level is DEBUG where it isn't set.")

    results: ResultsSettings
    tasks: TasksSettings
    flows: FlowsSettings
    logging: LoggingSettings
    history: HistorySettings

    sources: Mapping[Setting[Any], str]
    """Where each value that isn't a default comes from, in words."""
    _values: Mapping[Setting[Any], Any]

    def __init__(self, values: Mapping[Setting[Any], Any], sources: Mapping[Setting[Any], str]) -> None:
        super().__init__(values)
        self.__dict__.update(
            results=ResultsSettings(values),
            tasks=TasksSettings(values),
            flows=FlowsSettings(values),
            logging=LoggingSettings(values),
            history=HistorySettings(values),
            sources=sources,
            _values=values,
        )

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{s.path}={self._values[s]!r}' for s in self.sources)})"


class ResultsSettings(Section):
    """Where and how results are kept."""

    section = "results"
    local_storage_path = Setting(
        PATH, "${KEPT_HOME}/storage", "The folder of the embedded store.", alias="KEPT_LOCAL_STORAGE_PATH"
    )
    persist_by_default = Setting(
        BOOLEAN, False, "Keep the results of all flows and tasks that don't say otherwise."
    )
    default_serializer = Setting(
        TEXT, "pickle", "The serializer of results that name none: pickle, json, compressed/pickle, ..."
    )
    default_storage_block = Setting(
        optional(TEXT),
        None,
        "The saved block, as type/name, that keeps results instead of the embedded store.",
        alias="KEPT_DEFAULT_RESULT_STORAGE_BLOCK",
    )
    store_layout = Setting(
        one_of("auto", "embedded", "directory"),
        "auto",
        "How the store lies on disk: embedded (SQLite), directory (for network disks), or what a test shows.",
    )


class TasksSettings(Section):
    """How tasks run that don't say otherwise."""

    section = "tasks"
    refresh_cache = Setting(BOOLEAN, False, "Run every task again and overwrite what is kept.")
    default_no_cache = Setting(BOOLEAN, False, "Use the policy NO_CACHE for tasks that name none.")
    disable_caching = Setting(BOOLEAN, False, "Use no cache at all, whatever a task's policy is.")
    default_persist_result = Setting(
        optional(BOOLEAN),
        None,
        "Keep, or don't, the results of tasks that don't say; none leaves it to the flow.",
    )
    default_retries = Setting(
        WHOLE_NUMBER, 0, "How often a failed task is tried again.", alias="KEPT_TASK_DEFAULT_RETRIES"
    )
    default_retry_delay_seconds = Setting(
        DELAYS,
        0,
        "How long to wait before a task is tried again; a list gives each retry its own.",
        alias="KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS",
    )

    runner: TasksRunnerSettings

    def __init__(self, values: Mapping[Setting[Any], object]) -> None:
        super().__init__(values)
        self.__dict__["runner"] = TasksRunnerSettings(values)


class TasksRunnerSettings(Section):
    """How submitted tasks are spread over workers."""

    section = "tasks.runner"
    thread_pool_max_workers = Setting(
        optional(POSITIVE_NUMBER),
        None,
        "How many threads a ThreadPoolTaskRunner starts at most; none leaves it to the runner.",
        alias="KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS",
    )


class FlowsSettings(Section):
    """How flows run that don't say otherwise."""

    section = "flows"
    default_retries = Setting(
        WHOLE_NUMBER, 0, "How often a failed flow is tried again.", alias="KEPT_FLOW_DEFAULT_RETRIES"
    )
    default_retry_delay_seconds = Setting(
        DELAYS,
        0,
        "How long to wait before a flow is tried again; a list gives each retry its own.",
        alias="KEPT_FLOW_DEFAULT_RETRY_DELAY_SECONDS",
    )


class LoggingSettings(Section):
    """What is logged, and how it looks."""

    section = "logging"
    level = Setting(
        one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", fold=str.upper),
        "INFO",
        "The level of kept's loggers.",
        in_debug_mode="DEBUG",
    )
    log_prints = Setting(BOOLEAN, False, "Log what flows and tasks print.")
    colors = Setting(BOOLEAN, True, "Colour log lines on a terminal.")
    extra_loggers: Setting[list[str]] = Setting(
        NAMES, [], "Other loggers whose records runs log as their own."
    )


class HistorySettings(Section):
    """What is remembered of runs."""

    section = "history"
    enabled = Setting(BOOLEAN, True, "Record each run in the history below KEPT_HOME.")


KEPT_HOME = Settings.home
KEPT_DEBUG_MODE = Settings.debug_mode
KEPT_RESULTS_LOCAL_STORAGE_PATH = KEPT_LOCAL_STORAGE_PATH = ResultsSettings.local_storage_path
KEPT_RESULTS_PERSIST_BY_DEFAULT = ResultsSettings.persist_by_default
KEPT_RESULTS_DEFAULT_SERIALIZER = ResultsSettings.default_serializer
KEPT_RESULTS_DEFAULT_STORAGE_BLOCK = KEPT_DEFAULT_RESULT_STORAGE_BLOCK = ResultsSettings.default_storage_block
KEPT_RESULTS_STORE_LAYOUT = ResultsSettings.store_layout
KEPT_TASKS_REFRESH_CACHE = TasksSettings.refresh_cache
KEPT_TASKS_DEFAULT_NO_CACHE = TasksSettings.default_no_cache
KEPT_TASKS_DISABLE_CACHING = TasksSettings.disable_caching
KEPT_TASKS_DEFAULT_PERSIST_RESULT = TasksSettings.default_persist_result
KEPT_TASKS_DEFAULT_RETRIES = KEPT_TASK_DEFAULT_RETRIES = TasksSettings.default_retries
KEPT_TASKS_DEFAULT_RETRY_DELAY_SECONDS = TasksSettings.default_retry_delay_seconds
KEPT_TASK_DEFAULT_RETRY_DELAY_SECONDS = TasksSettings.default_retry_delay_seconds
KEPT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS = TasksRunnerSettings.thread_pool_max_workers
KEPT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS = TasksRunnerSettings.thread_pool_max_workers
KEPT_FLOWS_DEFAULT_RETRIES = KEPT_FLOW_DEFAULT_RETRIES = FlowsSettings.default_retries
KEPT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS = FlowsSettings.default_retry_delay_seconds
KEPT_FLOW_DEFAULT_RETRY_DELAY_SECONDS = FlowsSettings.default_retry_delay_seconds
KEPT_LOGGING_LEVEL = LoggingSettings.level
KEPT_LOGGING_LOG_PRINTS = LoggingSettings.log_prints
KEPT_LOGGING_COLORS = LoggingSettings.colors
KEPT_LOGGING_EXTRA_LOGGERS = LoggingSettings.extra_loggers
KEPT_HISTORY_ENABLED = HistorySettings.enabled

# In the order of declaration, which is the order of values in files and listings; `home` is the first.
ALL_SETTINGS: tuple[Setting[Any], ...] = tuple(dict.fromkeys(_REGISTRY.values()))


def _plain_attributes() -> None:
    """Take the declarations off their classes, so that a snapshot's attributes are nothing but attributes.

    A descriptor on the class, even one that never applies, makes each read of the attribute three times as
    slow (40 ns instead of 12), and every task call reads half a dozen of them.
    """
    for section in (Settings, *Section.__subclasses__()):
        for name in [name for name, value in vars(section).items() if isinstance(value, Setting)]:
            delattr(section, name)


_plain_attributes()


def find_setting(name: str) -> Setting[Any]:
    """The setting of that name, alias or dotted path.

    Raises:
        ConfigurationError: there is none; the message names the nearest.
    """
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ConfigurationError(f"{name} is not a setting{did_you_mean(name)}") from None


def did_you_mean(name: str) -> str:
    """The end of a sentence that says that `name` is unknown, naming the nearest right one if one is near."""
    nearest = _nearest(name, cutoff=0.6)
    return (
        f"; did you mean {nearest}?"
        if nearest
        else "; `kept config view --show-defaults` lists all settings."
    )


def _nearest(name: str, cutoff: float) -> str | None:
    # Imported here: only misspelt names need it, and it costs as much as this whole package.
    from difflib import get_close_matches  # noqa: PLC0415

    if name in _REGISTRY:
        return _REGISTRY[name].path if name.startswith(PREFIX) else _REGISTRY[name].name
    in_environment = name.startswith(PREFIX)
    # The prefix is left out: it would make any two names alike.
    known = {
        known.removeprefix(PREFIX): known for known in _REGISTRY if known.startswith(PREFIX) == in_environment
    }
    return next(
        (known[found] for found in get_close_matches(name.removeprefix(PREFIX), known, 1, cutoff)), None
    )


class _Given(NamedTuple):
    """A value that something sets."""

    value: object
    source: str
    folder: Path | None = None
    """What a relative path is relative to; None for the current directory."""


class _Snapshot(NamedTuple):
    """What environment and file say, and the environment for which that is true."""

    environment: Mapping[Any, Any]
    ours: Mapping[str, str]
    given: Mapping[Setting[Any], _Given]
    settings: Settings


class _Overlay:
    """What the blocks of `temporary_settings` that are open here add up to."""

    def __init__(
        self,
        given: Mapping[Setting[Any], _Given],
        defaults: Mapping[Setting[Any], object],
        restored: frozenset[Setting[Any]],
    ) -> None:
        self.given = given
        self.defaults = defaults
        self.restored = restored
        self._made: tuple[Settings | None, Settings | None] = (None, None)

    def over(self, below: _Snapshot) -> Settings:
        """The settings that result when this lies over what environment and file say."""
        basis, made = self._made
        if made is None or basis is not below.settings:
            kept = {setting: given for setting, given in below.given.items() if setting not in self.restored}
            made = _resolve({**kept, **self.given}, self.defaults)
            self._made = (below.settings, made)
        return made


# The dict below os.environ: comparing it with a copy takes 10 ns a variable, as both hold the same objects.
# Where Python has none, os.environ itself answers the same questions, slowly.
_ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)

_overlay: ContextVar[_Overlay | None] = ContextVar("kept_temporary_settings", default=None)
_snapshot: _Snapshot | None = None
_file: tuple[SettingsFile | None] | None = None
_warned: set[str] = set()


def get_current_settings() -> Settings:
    """The settings as they are now: temporary ones, then the environment, then the file, then defaults.

    The file is read once per process, the environment whenever it has changed.

    Raises:
        ConfigurationError: a value is not allowed, a name is misspelt, or the file can't be read.
    """
    snapshot = _snapshot
    if snapshot is None or snapshot.environment != _ENVIRONMENT:
        snapshot = _take_snapshot()
    overlay = _overlay.get()
    return snapshot.settings if overlay is None else overlay.over(snapshot)


@contextmanager
def temporary_settings(
    updates: Mapping[Setting[Any] | str, Any] | None = None,
    set_defaults: Mapping[Setting[Any] | str, Any] | None = None,
    restore_defaults: Iterable[Setting[Any] | str] | None = None,
) -> Iterator[Settings]:
    """Change settings for the time of a `with` block, in this thread and what inherits its context.

    Args:
        updates: settings, or their names, and their values; they win over everything else.
        set_defaults: values for settings that nothing else sets.
        restore_defaults: settings that get their defaults back, whatever sets them.

    Raises:
        ConfigurationError: a key is no setting, or its value is not allowed.

    >>> with temporary_settings({KEPT_TASKS_DEFAULT_RETRIES: 3}) as settings:
    ...     settings.tasks.default_retries, KEPT_TASKS_DEFAULT_RETRIES.value()
    (3, 3)
    """
    outer = _overlay.get() or _Overlay({}, {}, frozenset())
    restored = frozenset(_as_setting(key) for key in restore_defaults or ())
    given = {setting: given for setting, given in outer.given.items() if setting not in restored}
    given.update({setting: _Given(value, _TEMPORARY) for setting, value in _checked(updates)})
    defaults = {setting: value for setting, value in outer.defaults.items() if setting not in restored}
    defaults.update(_checked(set_defaults))
    token = _overlay.set(_Overlay(given, defaults, outer.restored | restored))
    try:
        yield get_current_settings()
    finally:
        _overlay.reset(token)


_TEMPORARY = "temporary_settings"


def _checked(values: Mapping[Setting[Any] | str, Any] | None) -> Iterator[tuple[Setting[Any], object]]:
    if values is not None and not isinstance(values, Mapping):
        raise ConfigurationError(f"temporary_settings takes a dict of settings and values, not {values!r}.")
    for key, value in (values or {}).items():
        setting = _as_setting(key)
        yield setting, setting.read(value, _TEMPORARY)


def _as_setting(key: Setting[Any] | str) -> Setting[Any]:
    if isinstance(key, Setting):
        return key
    if isinstance(key, str):
        return find_setting(key)
    raise ConfigurationError(
        f"temporary_settings takes settings as keys, such as KEPT_TASKS_REFRESH_CACHE, not {key!r}."
    )


def settings_file() -> SettingsFile | None:
    """The settings file of this process: found from the current directory at first use, and read once."""
    global _file
    if _file is None:
        _file = (find_settings_file(_current_directory()),)
    return _file[0]


def problems() -> list[str]:
    """Everything that is wrong with the file and the environment, a sentence each; empty if all is right."""
    found = [sentence for check in _checks() if (sentence := _failure(check))]
    # What only shows when everything is put together, and would repeat what has been found.
    last = None if found else _failure(get_current_settings)
    return [last] if last else found


def _checks() -> Iterator[Callable[[], object]]:
    """One check for each key of the file, and for each variable that is named like ours."""
    if _failure(settings_file):
        yield settings_file
        return
    file = settings_file()
    for dotted, value in file.values.items() if file else ():
        yield partial(_read_key, file, dotted, value)
    for name, text in sorted(_our_variables(_ENVIRONMENT).items()):
        if name.startswith(PREFIX) and (text.strip() or name not in _REGISTRY):
            yield partial(_read_variable, name, text)


def _failure(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ConfigurationError as error:
        return str(error)
    return None


def _take_snapshot() -> _Snapshot:
    global _snapshot
    environment = _ENVIRONMENT.copy()
    ours = _our_variables(environment)
    if _snapshot is not None and _snapshot.ours == ours:
        # Somebody else's variable changed: the settings stay the same object, and nothing is resolved anew.
        taken = _snapshot._replace(environment=environment)
    else:
        given = {**_given_by_file(settings_file()), **_given_by_environment(ours)}
        taken = _Snapshot(environment, ours, given, _resolve(given, {}))
    _snapshot = taken
    return taken


def _our_variables(environment: Mapping[Any, Any]) -> dict[str, str]:
    """The variables that matter to settings: our own, and HOME for the `~` in paths."""
    decoded = ((os.fsdecode(name), value) for name, value in environment.items())
    return {n: os.fsdecode(value) for n, value in decoded if n.startswith(PREFIX) or n == "HOME"}


def _given_by_file(file: SettingsFile | None) -> dict[Setting[Any], _Given]:
    return dict(_read_key(file, dotted, value) for dotted, value in file.values.items()) if file else {}


def _read_key(file: SettingsFile, dotted: str, value: object) -> tuple[Setting[Any], _Given]:
    setting = _REGISTRY.get(dotted)
    source = file.where(dotted)
    if setting is None or setting.path != dotted:
        raise ConfigurationError(f"{source} is not a setting{did_you_mean(dotted)}")
    return setting, _Given(setting.read(value, source), source, file.path.parent)


def _given_by_environment(ours: Mapping[str, str]) -> dict[Setting[Any], _Given]:
    given: dict[Setting[Any], _Given] = {}
    for name, text in ours.items():
        setting = _REGISTRY.get(name)
        if setting is None:
            _complain(name)
        elif text.strip():
            new = _read_variable(name, text)
            old = given.setdefault(setting, new)
            if old.value != new.value:
                raise ConfigurationError(
                    f"{setting.name} is set twice, to {old.value!r} by {old.source} and to {new.value!r} by "
                    f"{new.source}, which are two names of it: unset one."
                )
    return given


def _read_variable(name: str, text: str) -> _Given:
    source = f"the variable {name}"
    return _Given(find_setting(name).read(text, source), source)


def _complain(name: str) -> None:
    """Refuse a misspelt name; mention one that is unlike any setting: it may be another program's."""
    if not name.startswith(PREFIX):
        return
    nearest = _nearest(name, cutoff=0.8)
    if nearest:
        raise ConfigurationError(
            f"{name} is not a setting; did you mean {nearest}? Rename the variable or unset it."
        )
    if name not in _warned:
        # Imported here: it costs as much as this whole package, and a well-set environment never comes here.
        import logging  # noqa: PLC0415

        _warned.add(name)
        logging.getLogger("kept.settings").warning(
            "The variable %s is not a setting and is ignored%s", name, did_you_mean(name)
        )


def _resolve(given: Mapping[Setting[Any], _Given], defaults: Mapping[Setting[Any], object]) -> Settings:
    values: dict[Setting[Any], Any] = {}
    for setting in ALL_SETTINGS:
        one = given.get(setting) or _default(setting, defaults, values)
        values[setting] = _expanded(setting, one, values) if setting.kind is PATH else one.value
    return Settings(values, {setting: given[setting].source for setting in ALL_SETTINGS if setting in given})


def _default(
    setting: Setting[Any], defaults: Mapping[Setting[Any], object], values: Mapping[Setting[Any], object]
) -> _Given:
    if setting in defaults:
        return _Given(defaults[setting], _TEMPORARY)
    if setting.in_debug_mode is not None and values[KEPT_DEBUG_MODE]:
        return _Given(setting.in_debug_mode, "debug_mode")
    return _Given(setting.default, "the default")


def _expanded(setting: Setting[Any], given: _Given, values: Mapping[Setting[Any], Any]) -> Path:
    try:
        folder = given.folder or _current_directory()
        return expand_path(Path(str(given.value)), folder=folder, home=values.get(KEPT_HOME))
    except ValueError:
        raise setting.refusal(given.value, given.source) from None


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # deleted under our feet: then no file is there either
        return Path("/")
