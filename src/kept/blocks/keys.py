"""The key that secrets of blocks are encrypted by, kept apart from the blocks."""

from __future__ import annotations

import base64
from typing import Any

from blake3 import blake3

from kept.exceptions import ConfigurationError
from kept.settings import get_current_settings
from kept.utilities.files import write_whole


class Key:
    """Encrypts and decrypts texts by Fernet (https://github.com/fernet/spec: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, secret: bytes, place: str) -> None:
        self.place = place
        """Where the key is from, in words."""
        self.id = blake3(b"kept block key " + secret).hexdigest()[:16]
        """What tells it from others, and says nothing of it."""
        self._fernet = _fernet(secret, place)

    def seal(self, plain: bytes) -> str:
        """An encrypted text."""
        return self._fernet.encrypt(plain).decode()  # type: ignore[no-any-return]

    def open(self, sealed: str) -> bytes | None:
        """What was encrypted; None if it was not by this key, or is damaged."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - see LAZY_IMPORTS

        try:
            return self._fernet.decrypt(sealed.encode())  # type: ignore[no-any-return]
        except InvalidToken:
            return None


def current_key(make: bool = False) -> Key:
    """The key of the settings; with `make`, a new one is written to its file if there is none.

    Raises:
        ConfigurationError: there is none, it is no key, or it can't be read or written.
    """
    settings = get_current_settings().blocks
    if settings.key is not None:
        return Key(settings.key.encode(), "KEPT_BLOCKS_KEY")
    path = settings.key_path
    try:
        if make and not path.exists():
            write_whole(path, _new_secret() + b"\n", replace=False)
        return Key(path.read_bytes().strip(), str(path))
    except FileNotFoundError:
        raise ConfigurationError(
            f"The key that secrets of blocks are encrypted by is not at {path}: copy it there from where they were "
            "saved, or set KEPT_BLOCKS_KEY or KEPT_BLOCKS_KEY_PATH."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"The key of blocks at {path} can't be used: {error.strerror}.") from None


def _new_secret() -> bytes:
    from cryptography.fernet import Fernet  # noqa: PLC0415 - see LAZY_IMPORTS

    return Fernet.generate_key()


def _fernet(secret: bytes, place: str) -> Any:
    from cryptography.fernet import Fernet  # noqa: PLC0415 - see LAZY_IMPORTS

    try:
        valid = len(base64.urlsafe_b64decode(secret)) == 32
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(
            f"What {place} holds is no key for blocks: a key is 32 random bytes in URL-safe base64, as "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'` prints."
        )
    return Fernet(secret)
