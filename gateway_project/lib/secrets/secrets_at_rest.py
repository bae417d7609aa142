"""Secrets at rest: encrypted with the first of SECRET_KEYS, read with any of them."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

PURPOSE: Final = b"secrets at rest"


class SecretUnreadableError(Exception):
    """None of the keys fits. The message says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "This secret was encrypted with a key that is not among SECRET_KEYS, or it is damaged. "
            "Add the key behind the others, and run `manage.py rotate_secrets`."
        )


class SecretBox:
    """Encrypts with the first key (Fernet: AES and an HMAC), decrypts with any. A key is any text that is long."""

    def __init__(self, keys: Sequence[str]) -> None:
        # Derived, so that a key need not have the form that Fernet wants.
        fernets = [Fernet(base64.urlsafe_b64encode(hmac.digest(key.encode(), PURPOSE, "sha256"))) for key in keys]
        self._first = fernets[0]
        self._all = MultiFernet(fernets)

    def encrypt(self, data: bytes) -> bytes:
        return self._first.encrypt(data)

    def decrypt(self, token: bytes) -> bytes:
        """Raise SecretUnreadableError."""
        try:
            return self._all.decrypt(token)
        except InvalidToken:
            raise SecretUnreadableError from None

    def renewed(self, token: bytes) -> bytes | None:
        """The same under the first key; None when it is under it already. Raise SecretUnreadableError."""
        try:
            self._first.decrypt(token)
        except InvalidToken:
            return self._first.encrypt(self.decrypt(token))
        return None


def box() -> SecretBox:
    """That of this gateway."""
    return _box_of(tuple(settings.SECRET_KEYS))


@lru_cache(4)
def _box_of(keys: tuple[str, ...]) -> SecretBox:
    return SecretBox(keys)


class Secret:
    """An encrypted value. Only `read` decrypts it, so a list of rows needs no key and shows nothing."""

    __slots__ = ("token",)

    def __init__(self, token: bytes) -> None:
        self.token = token

    @classmethod
    def of(cls, data: bytes) -> Secret:
        return cls(box().encrypt(data))

    def read(self) -> bytes:
        """The value in clear. Raise SecretUnreadableError."""
        return box().decrypt(self.token)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return "***"


class SecretField(models.BinaryField):  # type: ignore[type-arg]  # generic for checkers only
    """A column with encrypted bytes: a `Secret`. `rotate_secrets` finds every one."""

    def from_db_value(self, value: Any, *_: Any) -> Secret | None:
        return None if value is None else Secret(bytes(value))

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> bytes | None:
        # Nothing gets into the column in clear, by whatever mistake.
        if value is not None and not isinstance(value, Secret):
            raise TypeError(f"{self.name} takes a Secret")
        return None if value is None else value.token
