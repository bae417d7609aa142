"""The secret of an ApiKey: how it is made, recognised offline, hinted at and digested."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX, BODY, CHECK = 8, 32, 6
LENGTH = len("lgw__") + PREFIX + BODY + CHECK
LETTERS = frozenset(ALPHABET + "_")
BLOCK = 64  # bytes that SHA-256 takes at once


def generate() -> str:
    """A new secret: `lgw_`, 8 letters that may be shown, `_`, 32 that may not (190 bits), a checksum of 6."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(PREFIX + BODY))
    stem = f"lgw_{letters[:PREFIX]}_{letters[PREFIX:]}"
    return stem + _checksum(stem)


def is_generated(text: str) -> bool:
    """Whether this has the form and the checksum of a secret of ours; needs no database, so scanners can use it."""
    stem, check = text[:-CHECK], text[-CHECK:]
    return text.startswith("lgw_") and len(stem) == len("lgw__") + PREFIX + BODY and check == _checksum(stem)


def is_mistyped(text: str) -> bool:
    """Whether this has the form of a secret of ours but a wrong checksum."""
    # The last condition spares imported keys: one that only begins like ours holds other signs or another length.
    return text.startswith("lgw_") and len(text) == LENGTH and not is_generated(text) and not set(text) - LETTERS


def hint_of(secret: str) -> str:
    """What may be shown of a secret. Of one that somebody else made up, little or nothing."""
    if is_generated(secret):
        return secret[: len("lgw_") + PREFIX]
    return f"{secret[:4]}…" if len(secret) >= 16 else "imported"


def digest_of(secret: str, pepper: bytes) -> str:
    """HMAC-SHA256 in hex: all that is stored. Without the pepper a stolen database cannot be tried against guesses."""
    return Digester(pepper)(secret).hex()


class Digester:
    """HMAC-SHA256 (RFC 2104) with one pepper, whose two blocks are hashed once.

    `hmac.digest` looks its algorithm up anew each time, in code that is never in the processor's cache.
    """

    def __init__(self, pepper: bytes) -> None:
        # As RFC 2104 has it: a long key is hashed, and a short one filled up with zeros.
        key = (pepper if len(pepper) <= BLOCK else hashlib.sha256(pepper).digest()).ljust(BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(each ^ 0x36 for each in key))
        self._outer = hashlib.sha256(bytes(each ^ 0x5C for each in key))

    def __call__(self, secret: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        # A header may hold bytes that are no UTF-8; they are digested as they came instead of raising.
        inner.update(secret.encode(errors="surrogateescape"))
        outer.update(inner.digest())
        return outer.digest()


def _checksum(stem: str) -> str:
    number, digits = zlib.crc32(stem.encode()), ""
    for _ in range(CHECK):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
