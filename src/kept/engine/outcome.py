"""What a function returned, as the final state of its run."""

from __future__ import annotations

from typing import Any

from kept.engine.effects import Steps, Wait
from kept.engine.inputs import unfinished
from kept.futures import KeptFuture, resolve_futures_to_states
from kept.states import State, worst
from kept.utilities.handles import find_handles


def is_outcome(value: Any) -> bool:
    """Whether a returned value decides the state itself: a state, a future, or a collection of nothing else."""
    if isinstance(value, (State, KeptFuture)):
        return True
    if isinstance(value, (list, tuple, set, frozenset)):
        return bool(value) and all(isinstance(item, (State, KeptFuture)) for item in value)
    return False


def settled(value: Any) -> Steps[Any]:
    """A returned value in which some futures stand among other things: each replaced by its final state."""
    futures = [handle for handle in find_handles(value) if isinstance(handle, KeptFuture)]
    if not futures:
        return value
    waiting = unfinished(futures)
    if waiting:
        yield Wait(waiting)
    return resolve_futures_to_states(value)


def final_state(value: Any) -> Steps[State[Any]]:
    """The state that a returned state, future, or collection of them stands for; the worst of several."""
    if isinstance(value, State):
        return value
    items = [value] if isinstance(value, KeptFuture) else list(value)
    waiting = unfinished(items)
    if waiting:
        yield Wait(waiting)
    states = [item.state if isinstance(item, KeptFuture) else item for item in items]
    return states[0] if isinstance(value, KeptFuture) else worst(states)
