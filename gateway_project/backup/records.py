"""What is inside of the seal: compressed lines of JSON. An object begins something, what follows it is its content.

The first line is the `Manifest`, the last one the `End`. After a `Table` come its rows, each an array; after a `File`
its content, as texts in base64.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec

from gateway_project.backup.errors import BackupError

LEVEL: Final = 4
AT_ONCE: Final = 256 << 10
"""Bytes that are unpacked in one step."""
LONGEST_LINE: Final = 256 << 20
"""Of a row. The largest are files of logins and columns of days, of some MiB."""
PIECE: Final = 48 << 10
"""Bytes of a file in one line."""


class Manifest(msgspec.Struct, frozen=True, tag_field="is", tag="manifest"):
    """Where the backup comes from, and what a restore needs to know first."""

    gateway: str
    made_at: str
    database: str
    """`sqlite` or `postgresql`."""
    migrations: list[tuple[str, str]]
    """Those that were applied, by app and name."""
    secret_key: str
    """What sessions of the console are signed with."""
    secret_keys: Annotated[list[str], msgspec.Meta(min_length=1)]
    """What secrets in the database are encrypted with; the first encrypts."""
    key_pepper: str
    """What digests of keys that were imported are made with."""
    settings: dict[str, str] = {}
    """What the environment and `.env` had, but for what belongs to the machine."""


class Table(msgspec.Struct, frozen=True, tag_field="is", tag="table"):
    name: str
    columns: list[tuple[str, str]]
    """Names, and Django's names of their types."""
    sequence: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None = None
    """The largest id that was ever given, where the database counts them."""


class File(msgspec.Struct, frozen=True, tag_field="is", tag="file"):
    path: str
    """Below DATA_DIR."""
    mode: int


class End(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    """What there must have been before it."""

    tables: int
    rows: int


Beginning = Manifest | Table | File | End
_beginning: Final = msgspec.json.Decoder(Beginning)
_encoder: Final = msgspec.json.Encoder()
_row: Final = msgspec.json.Decoder(list[Any])
_text: Final = msgspec.json.Decoder(str)


class Writer:
    """Lines into anything that has `write`."""

    def __init__(self, sealer: Any) -> None:
        self._sealer = sealer
        self._packer = zlib.compressobj(LEVEL)

    def write(self, line: Beginning | Iterable[Any] | str) -> None:
        self._sealer.write(self._packer.compress(_encoder.encode(line) + b"\n"))

    def content(self, data: bytes) -> None:
        """A piece of the file that was begun."""
        self.write(base64.b64encode(data).decode())

    def close(self) -> None:
        self._sealer.write(self._packer.flush())
        self._sealer.close()


def lines(pieces: Iterable[bytes]) -> Iterator[Beginning | list[Any] | bytes]:
    """What a `Writer` has written: beginnings, rows, and pieces of files. Raise BackupError."""
    for line in _split(_unpacked(pieces)):
        try:
            if line.startswith(b"["):
                yield _row.decode(line)
            elif line.startswith(b"{"):
                yield _beginning.decode(line)
            else:
                yield base64.b64decode(_text.decode(line), validate=True)
        except (ValueError, RecursionError):
            raise BackupError("The backup has something in it that this version does not know.") from None


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    try:
        for piece in pieces:
            data = piece
            while data and not unpacker.eof:
                yield unpacker.decompress(data, AT_ONCE)
                data = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error:
        raise BackupError("The backup cannot be unpacked.") from None
    if not unpacker.eof:
        raise BackupError("The backup ends too early.")


def _split(parts: Iterable[bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for part in parts:
        rest += part
        if len(rest) > LONGEST_LINE:
            raise BackupError("The backup has a row that is too large.")
        if b"\n" in part:
            *whole, last = bytes(rest).split(b"\n")
            yield from whole
            rest = bytearray(last)
    if rest:
        raise BackupError("The backup ends too early.")
