"""Tasks and flows as pickles: by reference where another process can import them, else by value.

At the name of a function that was decorated stands the task, so pickle can't refer to the function; it can to the
task. What is defined in a script, a notebook or a function exists in no other process: cloudpickle writes it out.
"""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import pickle
import sys
from typing import Any

# Other processes have other modules of these names.
_SCRIPTS = ("__main__", "__mp_main__")


def reduced(whole: Any) -> tuple[Any, ...]:
    """What `__reduce__` of a task or flow returns."""
    fn = whole.spec.fn
    found = _found(fn)
    if found is None or fn.__module__ in _SCRIPTS:
        # The definition is the state, so that what refers to itself can be written.
        return copyreg.__newobj__, (type(whole),), _Definition(whole)  # type: ignore[attr-defined]
    if found is whole:
        return _imported, (fn.__module__, fn.__qualname__)
    return _twin, (found, whole.spec.name, whole.spec.options)


def _imported(module: str, qualname: str) -> Any:
    __import__(module)
    found = functools.reduce(getattr, qualname.split("."), sys.modules[module])
    return getattr(found, "__func__", found)  # a class gives its class methods bound


def _found(fn: Any) -> Any:
    """The task or flow over `fn` that stands where `fn` says that it was defined; None if there is none."""
    try:
        found = _imported(fn.__module__, fn.__qualname__)
    except (AttributeError, ImportError, KeyError, TypeError, ValueError):
        return None
    return found if getattr(getattr(found, "spec", None), "fn", None) is fn else None


def _twin(found: Any, name: str, options: Any) -> Any:
    """What `with_options` made of `found`."""
    twin = object.__new__(type(found))
    twin.__dict__.update(vars(found), spec=dataclasses.replace(found.spec, name=name, options=options, memo={}))
    return twin


class _Definition:
    """What a task or flow consists of, for who can write functions: cloudpickle, which has a table to look types up
    in, and not pickle, which asks the object itself."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        cloudpickle = sys.modules.get("cloudpickle")
        if cloudpickle is not None:
            cloudpickle.Pickler.dispatch_table[_Definition] = _by_value

    def __reduce__(self) -> tuple[Any, ...]:
        fn = self.whole.spec.fn
        if _found(fn) is self.whole:
            return _imported, (fn.__module__, fn.__qualname__)
        raise pickle.PicklingError(
            f"{type(self.whole).__name__} {self.whole.name!r} can't be pickled by reference, since importing "
            f"{self.whole.spec.key} does not lead to it. Define it at the top of a module, or use cloudpickle.dumps."
        )


def _by_value(definition: _Definition) -> tuple[Any, ...]:
    return dict, (vars(definition.whole),)
