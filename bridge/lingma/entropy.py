"""Random bytes from the system, fetched for many uses at once: a system call each would cost more than its use."""

from __future__ import annotations

import os

BLOCK = 256


class Entropy:
    """Call it for `size` fresh bytes, unguessable as `os.urandom` makes them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._fresh: list[bytes] = []

    def __call__(self) -> bytes:
        """Bytes that were given to nobody else."""
        if not self._fresh:
            size, block = self._size, os.urandom(self._size * BLOCK)
            self._fresh = [block[start : start + size] for start in range(0, len(block), size)]
        return self._fresh.pop()
