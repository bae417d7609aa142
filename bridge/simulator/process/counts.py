"""What is counted of connections, pushes and turns."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """The figures that `simulator/report` answers; times in seconds."""

    pushes: int = 0
    acks: int = 0
    late_acks: int = 0
    stray_acks: int = 0
    refused_pushes: int = 0
    # The measure that matters for a gateway: the service delays its pushes behind late ones (PROTOCOL 5.2).
    slowest_ack: float = 0
    turns: int = 0
    connections: int = 0
