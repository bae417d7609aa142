"""How the last short chat with an instance went that was made to see whether it works."""

from __future__ import annotations

import msgspec


class SmokeReport(msgspec.Struct, frozen=True):
    """`failed` counts failures in a row; an instance that was only too busy neither failed nor works."""

    at: float
    """Unix seconds."""
    ok: bool
    total_ms: int | None = None
    error: str = ""
    failed: int = 0
