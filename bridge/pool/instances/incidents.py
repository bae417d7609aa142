"""What has gone wrong with an instance so far."""

from __future__ import annotations

import msgspec


class Incidents(msgspec.Struct):
    """Counted since the gateway began; `last_error` is empty while all is well."""

    restarts: int = 0
    reconnects: int = 0
    unknown_pushes: int = 0
    unrouted_tool_events: int = 0
    last_error: str = ""
