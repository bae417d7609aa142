"""Random bytes from the system, fetched for many uses at once: a system call each would cost more than its use."""

from __future__ import annotations

import os
from struct import Struct

BLOCK = 256


class RandomBytes:
    """Call it for `size` fresh bytes, unguessable as `os.urandom` makes them."""

    def __init__(self, size: int) -> None:
        self._bytes = size * BLOCK
        self._cut = Struct(f"{size}s" * BLOCK).unpack
        self._fresh: list[bytes] = []

    def __call__(self) -> bytes:
        if not self._fresh:
            self._fresh = list(self._cut(os.urandom(self._bytes)))
        return self._fresh.pop()
