"""Key -> entry, digest -> blob: where kept results live. Knows nothing of tasks, keys or settings.

entry.py       the record of one kept result, and its absence
protocols.py   the two seams, Entries and Blobs, with their contract
opening.py     which implementation serves a folder
database.py    a SQLite file that outlives damage, forks and deletion;  sqlite.py  entries in it
disk.py        blobs as files, loaded by memory map
objects.py     both, over any file system or object store with `read_path` and `write_path`
bucket.py      the verbs of a file system on S3, Google Cloud Storage and Azure;  troubles.py  refusals, in words
addresses.py   where a bucket is, and how its server is spoken with;  aws.py  what AWS's variables and files say
selftest.py    which promises the server of a bucket keeps;  checkup.py  what a place can do, step by step
format.py      an entry as one object
memory.py      both, in memory
tier.py        copies of both, within a bound;  tiered.py  these in front of what is far away;  behind.py  write-behind
reach.py       what is remembered of a store that is away, or takes nothing
trust.py       signed entries, accepted serializers, stores that are only read
promotion.py   entries copied from one store to another
upkeep.py      what those left who were killed, collected
guard.py       one process at a time;  digests.py  how payloads are addressed;  stamps.py  digests of files, remembered
"""

from __future__ import annotations

from kept.store.entry import Entry, Miss
from kept.store.memory import MemoryBlobs, MemoryEntries
from kept.store.objects import ObjectBlobs, ObjectEntries
from kept.store.opening import Store, close_stores, open_store
from kept.store.protocols import Blobs, Entries

__all__ = [
    "Blobs",
    "Entries",
    "Entry",
    "MemoryBlobs",
    "MemoryEntries",
    "Miss",
    "ObjectBlobs",
    "ObjectEntries",
    "Store",
    "close_stores",
    "open_store",
]
