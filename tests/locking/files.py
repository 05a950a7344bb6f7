"""An object store in memory: files with conditional verbs, and a network that can fail."""

from __future__ import annotations

import hashlib
import threading

from kept.exceptions import StoreError


class TaggedFiles:
    """`create_path`, `replace_path` and `tagged_path` over a dict.

    With `lose_replies`, each write is done and then reported as refused by its own retry. With `down`, all fail.
    """

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.lose_replies = False
        self.down = False
        self.asked = 0
        self._lock = threading.Lock()

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise StoreError("the server does not answer")

    def read_path(self, path: str) -> bytes:
        self._ask()
        if path not in self.contents:
            raise FileNotFoundError(path)
        return self.contents[path]

    def write_path(self, path: str, content: bytes) -> None:
        self._ask()
        self.contents[path] = content

    def tagged_path(self, path: str) -> tuple[bytes, str]:
        content = self.read_path(path)
        return content, hashlib.md5(content).hexdigest()

    def create_path(self, path: str, content: bytes) -> bool:
        self._ask()
        with self._lock:
            created = self.contents.setdefault(path, content) is content
        return created and not self.lose_replies

    def replace_path(self, path: str, content: bytes, tag: str) -> bool:
        self._ask()
        with self._lock:
            present = self.contents.get(path)
            if present is None or hashlib.md5(present).hexdigest() != tag:
                return False
            self.contents[path] = content
            return not self.lose_replies

    def delete_path(self, path: str) -> None:
        self._ask()
        self.contents.pop(path, None)

    def list_paths(self, prefix: str = "") -> list[str]:
        return [path for path in self.contents if path.startswith(prefix)]
