"""How a run goes: what is decided, as pure functions, and what is done, as one generator for both colours.

    spec.py      what a decorator's options say, frozen
    plan.py      what applies to a run, and whether it hits or runs, each with its reason
    steps.py     a task run as a generator of effects;  flows.py  a flow run
    effects.py   what such a generator may ask for;  sync.py, aio.py  who does it

The engine knows no `Task` and no `Flow`: it takes specs, and hands the user's objects through unseen.
"""

from __future__ import annotations
