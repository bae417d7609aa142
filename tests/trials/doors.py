"""A door: a small proxy in front of a server that can be shut, cut, or made to swallow all that is sent through it."""

import asyncio
import socket
import struct
from contextlib import suppress

PIECE = 1 << 16
RESET = struct.pack("ii", 1, 0)


class Passage(asyncio.Protocol):
    """One side of a connection through a door; `other` is where its bytes go."""

    def __init__(self, door, entered=None):
        self.door = door
        self.entered = entered
        self.other = None
        self.waiting = []  # what came before the other side was there
        self.transport = None
        self.swallows = door.swallows

    def connection_made(self, transport):
        self.transport = transport
        self.door.passages.add(self)
        if self.entered is not None:
            self.entered(self)

    def data_received(self, data):
        if self.swallows:
            return
        if self.other is None or self.other.transport is None:
            self.waiting.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self):
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self):
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _exc):
        self.door.passages.discard(self)
        # What dies behind a hole is not heard of on the other side of it.
        if not self.swallows and self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def reset(self):
        """Close with a RST, where the kind of socket has one."""
        if self.transport is None:
            return
        # One of TLS that is closed already has no socket any more.
        if (near := self.transport.get_extra_info("socket")) is not None:
            with suppress(OSError):
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class Door:
    """Listens on a free port of 127.0.0.1 and passes on to `target`: a port there, or the path of a unix socket.

    With a context in `tls` it speaks TLS to those who come.
    """

    def __init__(self, target, tls=None):
        self.target = target
        self._tls = tls
        self.swallows = False
        self.shut = False
        self.passages = set()
        self.port = 0
        self._server = None
        self._dialling = set()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Passage(self, self._entered), "127.0.0.1", 0, backlog=512, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        for each in list(self._dialling):
            each.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)

    def _entered(self, near):
        task = asyncio.ensure_future(self._dial(near))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, near):
        if self.swallows:
            return
        loop = asyncio.get_running_loop()
        try:
            if self.shut:
                raise ConnectionRefusedError
            if isinstance(self.target, int):
                _, far = await loop.create_connection(lambda: Passage(self), "127.0.0.1", self.target)
            else:
                _, far = await loop.create_unix_connection(lambda: Passage(self), self.target)
        except OSError:
            near.reset()
            return
        near.other, far.other = far, near
        for data in near.waiting:
            far.transport.write(data)
        near.waiting.clear()
        if near.transport.is_closing():
            far.transport.close()

    def cut(self):
        """Reset every connection; new ones pass."""
        for each in list(self.passages):
            each.reset()

    def swallow(self):
        """From now on nothing arrives: connections stay open and silent, as when a network dies without a word."""
        self.swallows = True
        for each in self.passages:
            each.swallows = True

    def heal(self):
        """New connections pass again; those that were silent stay so."""
        self.swallows = self.shut = False
