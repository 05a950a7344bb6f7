"""Python's data types as JSON: `{"__class__": "module.Class", "data": ...}`.

Apart from `kept.serializers` because the imports below cost a program that never writes JSON some 10 ms.
"""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID


def encode(obj: Any) -> dict[str, Any]:
    """The object as `{"__class__": ..., "data": ...}`; raises TypeError for types that are not known here."""
    cls = type(obj)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if codec := _CODECS.get(name):
        return {"__class__": name, "data": codec[0](obj)}
    if isinstance(obj, PurePath):
        return {"__class__": "pathlib.Path", "data": str(obj)}
    if isinstance(obj, Enum):
        return {"__class__": name, "data": obj.value}
    if isinstance(obj, BaseException):
        return {"__class__": name, "data": list(obj.args)}
    if dataclasses.is_dataclass(obj):
        return {"__class__": name, "data": {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj)}}
    if callable(getattr(cls, "model_validate", None)):
        return {"__class__": name, "data": obj.model_dump(mode="json")}
    raise TypeError(f"cannot write {name!r} as JSON")


def decode(name: str, data: Any, import_dotted: Callable[[str], Any]) -> Any:
    """The object that `encode` was given; raises TypeError for types that are not known here."""
    if codec := _CODECS.get(name):
        return codec[1](data)
    cls = import_dotted(name)
    if callable(getattr(cls, "model_validate", None)):
        return cls.model_validate(data)
    if dataclasses.is_dataclass(cls):
        return _rebuild_dataclass(cls, data)
    if isinstance(cls, type) and issubclass(cls, Enum):
        return cls(data)
    if isinstance(cls, type) and issubclass(cls, BaseException):
        return cls(*data)
    raise TypeError(f"{name!r} is not a type that kept reads from JSON")


def _rebuild_dataclass(cls: Any, data: dict[str, Any]) -> Any:
    # Not through __init__, which may take other arguments or count, log and validate a second time.
    obj = cls.__new__(cls)
    for name, value in data.items():
        object.__setattr__(obj, name, value)
    return obj


_CODECS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime.datetime": (datetime.isoformat, datetime.fromisoformat),
    "datetime.date": (date.isoformat, date.fromisoformat),
    "datetime.time": (time.isoformat, time.fromisoformat),
    "datetime.timedelta": (lambda d: [d.days, d.seconds, d.microseconds], lambda v: timedelta(*v)),
    "decimal.Decimal": (str, Decimal),
    "uuid.UUID": (str, UUID),
    "pathlib.Path": (str, Path),
    "builtins.bytes": (lambda b: b64encode(b).decode(), b64decode),
    "builtins.bytearray": (lambda b: b64encode(b).decode(), lambda v: bytearray(b64decode(v))),
    "builtins.complex": (lambda c: [c.real, c.imag], lambda v: complex(*v)),
    "builtins.set": (list, set),
    "builtins.frozenset": (list, frozenset),
    "collections.deque": (list, deque),
}
