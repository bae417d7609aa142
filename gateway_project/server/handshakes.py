"""TLS for a listener of ours: handshakes that are not complete are counted, and beyond a bound nobody is let in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

Make = Callable[[], asyncio.Protocol]


class Handshakes:
    """Of one listener: each takes a descriptor, and is counted nowhere else."""

    def __init__(self, tls: ssl.SSLContext, make: Make, most: int, sec: float) -> None:
        """`make` is for connections that are encrypted; `sec` is how long a handshake, and an ending, may take."""
        self.tls = tls
        self.make = make
        self.sec = sec
        self._most = most
        self._running: set[asyncio.Task[None]] = set()

    def connected(self) -> asyncio.Protocol:
        return _Handshake(self)

    def close(self) -> None:
        for each in self._running:
            each.cancel()

    def begin(self, handshake: _Handshake, transport: asyncio.Transport) -> None:
        if len(self._running) >= self._most:
            transport.abort()
            return
        task = asyncio.get_running_loop().create_task(handshake.run(transport))
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class _Handshake(asyncio.Protocol):
    """What comes with the end of the handshake is kept until the protocol proper is there."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes
        self._early = bytearray()
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not tested by its class: that of uvloop is none of asyncio's.
        connected = cast("asyncio.Transport", transport)
        # Until TLS reads: what the other side begins with is not for this protocol.
        connected.pause_reading()
        self._handshakes.begin(self, connected)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True

    async def run(self, transport: asyncio.Transport) -> None:
        ours, loop = self._handshakes, asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport, self, ours.tls, server_side=True,
                ssl_handshake_timeout=ours.sec, ssl_shutdown_timeout=ours.sec,
            )  # fmt: skip
        except (OSError, ssl.SSLError):  # a stranger, or one that was too slow
            transport.abort()
            return
        except asyncio.CancelledError:
            transport.abort()
            raise
        if secured is None or self._is_lost:
            transport.abort()
            return
        protocol = ours.make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(bytes(self._early))
