"""The outermost layer of a backup: a head in clear, then pieces that only the passphrase opens, in order, to the end.

The head is a line of JSON and a line with its MAC. Each piece has 64 KiB but for the last one; its nonce is its number
and whether it is the last. So a piece that is changed, left out, doubled or moved does not open, and neither does a
file that is cut off, or grows.
"""

from __future__ import annotations

import base64
import hmac
import os
import unicodedata
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway_project.backup.errors import BackupError

FORMAT: Final = 1
MAGIC: Final = "lingma-gateway-backup"
PIECE: Final = 64 << 10
TAG: Final = 16
LONGEST_LINE: Final = 4096
COST: Final = 1 << 17
"""Of scrypt: with blocks of 8 it takes 128 MiB, and some tenths of a second."""
MOST_COST: Final = 1 << 20
"""What a head may ask for, which comes before anybody knows who wrote it."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Head(msgspec.Struct, frozen=True):
    """What anybody can read of a backup."""

    magic: str
    format: int
    gateway: str
    """The version that wrote it."""
    made_at: str
    salt: bytes
    cost: int = COST

    def keys(self, passphrase: str) -> tuple[ChaCha20Poly1305, bytes]:
        """The cipher of the pieces, and the key of the head's MAC."""
        # One spelling: an accent may be typed as a letter of its own on another keyboard.
        secret = unicodedata.normalize("NFC", passphrase).encode()
        derived = Scrypt(salt=self.salt, length=64, n=self.cost, r=8, p=1).derive(secret)
        return ChaCha20Poly1305(derived[:32]), derived[32:]


class Sealer:
    """Writes a backup. What is not closed is no backup."""

    def __init__(self, file: Writable, passphrase: str, gateway: str, made_at: str, cost: int = COST) -> None:
        head = Head(MAGIC, FORMAT, gateway, made_at, os.urandom(16), cost)
        self._file = file
        self._cipher, key = head.keys(passphrase)
        self._buffer = bytearray()
        self._number = 0
        line = msgspec.json.encode(head)
        file.write(line + b"\n" + _mac(key, line) + b"\n")

    def write(self, data: bytes) -> None:
        self._buffer += data
        # One byte more than a piece: what may be the last one waits for the end.
        while len(self._buffer) > PIECE:
            self._emit(bytes(self._buffer[:PIECE]), last=False)
            del self._buffer[:PIECE]

    def close(self) -> None:
        self._emit(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _emit(self, piece: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        self._number += 1


def read_head(file: Readable) -> tuple[Head, bytes, bytes]:
    """The head, as it was written, and its MAC. Raise BackupError."""
    line, mac = (file.readline(LONGEST_LINE).removesuffix(b"\n") for _ in range(2))
    try:
        head = msgspec.json.decode(line, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BackupError("This is no backup of the gateway, or its beginning is damaged.") from None
    if head.magic != MAGIC:
        raise BackupError("This is no backup of the gateway.")
    if head.format > FORMAT:
        raise BackupError(
            f"The backup was written by version {head.gateway[:20]} in format {head.format}; this one reads formats up "
            f"to {FORMAT}. Restore it with that version."
        )
    if not 2 <= head.cost <= MOST_COST or head.cost & (head.cost - 1):
        raise BackupError("The beginning of the backup is damaged.")
    return head, line, mac


def opened(file: Readable, passphrase: str) -> Iterator[bytes]:
    """What is in a backup, piece by piece. Raise BackupError; until the end has come nothing is certain."""
    head, line, mac = read_head(file)
    cipher, key = head.keys(passphrase)
    if not hmac.compare_digest(mac, _mac(key, line)):
        raise BackupError("The passphrase is not that of the backup, or the beginning of the file is damaged.")
    return _pieces(file, cipher)


def _pieces(file: Readable, cipher: ChaCha20Poly1305) -> Iterator[bytes]:
    number, sealed = 0, _read(file, PIECE + TAG)
    while True:
        following = _read(file, PIECE + TAG) if len(sealed) == PIECE + TAG else b""
        try:
            yield cipher.decrypt(_nonce(number, last=not following), sealed, None)
        except InvalidTag:
            raise BackupError("The backup is damaged, or its end is missing.") from None
        if not following:
            return
        number, sealed = number + 1, following


def _read(file: Readable, size: int) -> bytes:
    """So many bytes, fewer at the end only: a pipe gives what it has."""
    parts = bytearray()
    while len(parts) < size and (part := file.read(size - len(parts))):
        parts += part
    return bytes(parts)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + (b"\1" if last else b"\0")


def _mac(key: bytes, line: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, line, "sha256"))
