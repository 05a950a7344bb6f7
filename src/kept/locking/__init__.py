"""Who may work on a key: managers of locks that tasks of equal keys take turns with.

protocol.py   what every manager does
memory.py     within this process;  filesystem.py  between processes that share a folder
"""

from __future__ import annotations
