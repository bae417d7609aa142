"""How a column of a day is kept."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Any, Final

import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

compressed: Final = zstd.compress
decompressed: Final = zstd.decompress


class Column(msgspec.Struct, array_like=True):
    """Unsigned numbers of `size` bytes, little endian; with `values` they are the places of those.

    A place beyond all values is a rare one: the column is not `whole`, and what asks for other values reads the rows.
    """

    size: int
    numbers: bytes
    values: list[Any] | None = None
    whole: bool = True

    def packed(self) -> bytes:
        return compressed(_encode(self))

    @classmethod
    def unpacked(cls, data: bytes | memoryview) -> Column:
        return _decode(decompressed(data))

    def read(self) -> list[int]:
        numbers = array(next(code for code in "BHIQ" if array(code).itemsize == self.size), self.numbers)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tolist()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Column).decode


def narrow(numbers: Iterable[int], like: Column | None = None) -> Column:
    """In as few bytes as the largest number needs; places of the values of another column, where it is `like` one."""
    numbers = array("Q", numbers)
    most = max(numbers, default=0)
    code = next(code for code in "BHIQ" if most < 1 << 8 * array(code).itemsize)
    small = array(code, numbers)
    if sys.byteorder == "big":
        small.byteswap()
    if like is None:
        return Column(small.itemsize, small.tobytes())
    return Column(small.itemsize, small.tobytes(), like.values, like.whole)
