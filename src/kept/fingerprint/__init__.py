"""What a thing is: values -> digests. Pure functions, no store, no settings, nothing written anywhere.

    plain.py        bytes of plain values, at C speed; digests of buffers
    canonical.py    the one tagged, versioned encoding, and the walk over structured values
    rules.py        which rule describes a value; the functions that others call
    differences.py  where two values differ
    builtins.py stdlib.py objects.py functions.py    rules for Python itself
    code.py        functions, classes and modules: what they reach, as one digest and as named parts
    reading.py standins.py kinds.py definitions.py watching.py parts.py    how code.py finds that out
    syntax.py      source: texts, one normal form, the names that it uses
    modules.py     whose code it is: Python's, a distribution's of some version, the user's
    ignored.py      clients and loggers, of which little or nothing counts;  files.py  what files hold
    numpy.py pandas.py polars.py arrow.py torch.py   rules of libraries, each loaded once its library is

Never here: what goes into a key (cache policies), what is remembered about it (the store).
"""

from __future__ import annotations

from kept.fingerprint.canonical import NoContent, Node
from kept.fingerprint.code import classes_among, code_identity
from kept.fingerprint.parts import CodeIdentity, CodePart
from kept.fingerprint.rules import data_fingerprint, digest, fingerprint, ignore_type, register_fingerprint

__all__ = [
    "CodeIdentity",
    "CodePart",
    "NoContent",
    "Node",
    "classes_among",
    "code_identity",
    "data_fingerprint",
    "digest",
    "fingerprint",
    "ignore_type",
    "register_fingerprint",
]
