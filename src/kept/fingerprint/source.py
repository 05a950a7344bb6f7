"""The source text of a callable, to the letter, as one digest: what the policy TASK_SOURCE looks at.

Only the text of the code that runs counts. Where there is none, because the file was edited since it was imported or
because there never was one, the bytecode stands for it: a needless miss at worst, never the old code's result under
the new code's name. What a function closes over does not count, as Prefect's documentation has it; a partial's
arguments and the state of a callable object do, since there is no text that tells two of them apart.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import types
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from kept.exceptions import HashError
from kept.fingerprint.rules import fingerprint
from kept.fingerprint.syntax import is_running_source

_digests: WeakKeyDictionary[types.FunctionType, str] = WeakKeyDictionary()


def source_digest(function: Callable[..., Any]) -> str:
    """The digest of the source of a function, of what it wraps, and of the state of a callable that is none."""
    if not isinstance(function, types.FunctionType):
        return fingerprint(list(_layers(function)))
    digest = _digests.get(function)
    if digest is None:
        digest = _digests[function] = fingerprint(list(_layers(function)))
    return digest


def _layers(function: Any) -> Iterator[Any]:
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if isinstance(function, types.FunctionType):
            yield _source(function)
            function = getattr(function, "__wrapped__", None)
        elif isinstance(function, functools.partial):
            yield ("partial", [_content(value) for value in function.args], _contents(function.keywords))
            function = function.func
        elif isinstance(function, types.MethodType):
            yield ("method", _content(function.__self__))
            function = function.__func__
        else:
            yield ("object", getattr(function, "__qualname__", type(function).__qualname__), _content(function))
            call = getattr(type(function), "__call__", None)  # noqa: B004 - it is called here
            function = getattr(function, "__wrapped__", call if isinstance(call, types.FunctionType) else None)


def _source(function: types.FunctionType) -> tuple[Any, ...]:
    text = _text(function)
    if text is None:
        return ("bytecode", *_bytecode(function))
    if function.__name__ == "<lambda>":
        # What is read of a lambda is its whole line, on which there may be another one.
        return ("source", text, *_bytecode(function))
    return ("source", text)


def _text(function: types.FunctionType) -> str | None:
    code = function.__code__
    try:
        linecache.checkcache(code.co_filename)
        lines = linecache.getlines(code.co_filename, function.__globals__)
        if not is_running_source(code, "".join(lines)):
            return None
        return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :]))
    except (OSError, TypeError, SyntaxError, IndexError):
        return None


def _bytecode(function: types.FunctionType) -> tuple[Any, ...]:
    defaults = [_content(value) for value in function.__defaults__ or ()]
    return (_code(function.__code__), defaults, _contents(function.__kwdefaults__ or {}))


def _code(code: types.CodeType) -> tuple[Any, ...]:
    constants = [_code(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    handlers = getattr(code, "co_exceptiontable", b"")  # part of the bytecode before Python 3.11
    return (code.co_name, code.co_code, handlers, constants, code.co_names, code.co_varnames, code.co_freevars)


def _contents(values: dict[str, Any]) -> dict[str, str]:
    return {name: _content(value) for name, value in values.items()}


def _content(value: Any) -> str:
    """The fingerprint of a value; the name of its type where it has none, which is all that there is to say."""
    try:
        return fingerprint(value)
    except HashError:
        return type(value).__qualname__
