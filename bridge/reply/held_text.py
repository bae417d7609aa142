"""Text that waits until it is clear what it is."""

from __future__ import annotations

import msgspec


class HeldText(msgspec.Struct):
    """`size` is the number of characters in `pieces`. Who appends adds to both: a method would be a call per chunk."""

    pieces: list[str] = []
    size: int = 0
