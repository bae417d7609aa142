"""The gateway's own requests to a service, until each is answered."""

from __future__ import annotations

import asyncio

from bridge.chat.errors import ConnectionLost
from bridge.lingma.channel import Channel
from bridge.lingma.dialects.base import Call
from bridge.lingma.transport import rpc
from bridge.lingma.transport.rpc import Incoming


class Calls:
    """Each has the future of its result: raw JSON, an RpcError or a ConnectionLost. Cancel it to forget the call."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 1
        self._loop = asyncio.get_running_loop()

    def request(self, call: Call) -> asyncio.Future[bytes]:
        """Send a request."""
        id_ = self.new_id()
        return self.start(id_, rpc.request(id_, *call))

    def new_id(self) -> int:
        """For a request that is written before it is started."""
        id_, self._next_id = self._next_id, self._next_id + 1
        return id_

    def start(self, id_: int, message: bytes) -> asyncio.Future[bytes]:
        """Send the request of that id."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[id_] = future
        future.add_done_callback(lambda _: self._waiting.pop(id_, None))
        try:
            self._channel.send(message)
        except ConnectionLost as exc:
            future.set_exception(exc)
        return future

    def resolve(self, message: Incoming) -> None:
        """A response has come, to one of them or to nothing."""
        future = self._waiting.get(int(message.id)) if bytes(message.id).isdigit() else None
        if future is None or future.done():
            return
        error = rpc.error_of(message)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(bytes(message.result))

    def lose(self) -> None:
        """The connection is gone: none will be answered."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionLost("The connection to the Lingma service was lost."))
        self._waiting.clear()
