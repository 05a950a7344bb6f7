"""What a thing is: values -> digests. Pure functions, no store, no settings, nothing written anywhere.

    plain.py        bytes of plain values, at C speed; digests of buffers
    canonical.py    the one tagged, versioned encoding, and the walk over structured values
    rules.py        which rule describes a value; the functions that others call
    builtins.py stdlib.py objects.py functions.py    rules for Python itself
    numpy.py pandas.py polars.py arrow.py torch.py   rules of libraries, each loaded once its library is

Never here: what goes into a key (cache policies), what is remembered about it (the store).
"""

from __future__ import annotations

from kept.fingerprint.canonical import NoContent, Node
from kept.fingerprint.rules import data_fingerprint, digest, fingerprint, register_fingerprint

__all__ = ["NoContent", "Node", "data_fingerprint", "digest", "fingerprint", "register_fingerprint"]
