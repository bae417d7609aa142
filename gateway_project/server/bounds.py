"""What one connection may hold, and for how long: one place for the numbers of the HTTP server."""

from __future__ import annotations

import msgspec

FRAMING_SHARE = 8
"""Chunks of 64 bytes have less of framing, and nobody sends smaller ones for long."""

LARGEST_MESSAGE = 4096
"""Bytes of a message on a WebSocket: there is nothing that a client could want to say."""


class Bounds(msgspec.Struct, frozen=True):
    """Bytes, counts and seconds of one connection. The defaults are what is served; tests wait for less."""

    head_bytes: int = 64 << 10
    """Target and header fields of a request together; so much, too, of a chunked body may be no body."""
    framing_bytes: int = 1 << 20
    """Of a body that are no body, besides an eighth of what is: each chunk costs a callback, however small it is."""
    head_fields: int = 200
    all_heads_bytes: int = 64 << 20
    """Of all heads of the process that are not complete."""
    head_sec: float = 20
    """For a head to be complete, from its first byte or, for the first one, from the connection."""
    idle_sec: float = 75
    """Between requests: longer than the pools of clients and reverse proxies, so that they close first."""
    body_silence_sec: float = 30
    body_grace_sec: float = 60
    body_bytes_per_sec: int = 16 << 10
    """How fast a body must come on average, once it has come for the grace."""
    unread_sec: float = 60
    unread_step: int = 16 << 10
    """What a client must take of an answer that waits for it, each `unread_sec`."""
    all_unsent_bytes: int = 256 << 20
    """Of all answers of the process that wait for clients to take them."""
    pipelined: int = 16
    """Requests that may wait behind the one that is answered."""
    leftover_bytes: int = 64 << 20
    leftover_sec: float = 30
    """What is read and thrown away of a body after its answer, so that the client gets to read that."""
    linger_silence_sec: float = 3
    """How long a refused client may send nothing until its connection is closed."""
