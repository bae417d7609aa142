"""The gateway's own requests to a service, until each is answered."""

from __future__ import annotations

import asyncio

from bridge.chat.errors import ConnectionLost
from bridge.lingma.channel import Channel
from bridge.lingma.dialects.base import Call
from bridge.lingma.transport import rpc
from bridge.lingma.transport.rpc import Incoming

MOST_DIGITS = 20  # of an id


class Calls:
    """Each has the future of its result: raw JSON, an RpcError or a ConnectionLost. Cancel it to forget the call."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 1
        self._loop = asyncio.get_running_loop()

    def request(self, call: Call) -> asyncio.Future[bytes]:
        id_ = self.new_id()
        return self.start(id_, rpc.request(id_, *call))

    def new_id(self) -> int:
        """The id for a request whose bytes are made before `start`, such as a question whose size is checked first."""
        id_, self._next_id = self._next_id, self._next_id + 1
        return id_

    def start(self, id_: int, message: bytes) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[id_] = future
        # However it ends, also when the caller's timeout cancels it: the table cannot grow.
        future.add_done_callback(lambda _: self._waiting.pop(id_, None))
        try:
            self._channel.send(message)
        except ConnectionLost as exc:
            # By the future and not by raising: callers have one place where a failure arrives.
            future.set_exception(exc)
        return future

    def resolve(self, message: Incoming) -> None:
        """Settle the call that this response answers. One that nobody waits for is dropped."""
        # Ids come back unchanged (PROTOCOL 5.1), and ours are numbers. A text or `null` is somebody else's, as is a
        # number that Python would not even read.
        is_ours = len(message.id) <= MOST_DIGITS and bytes(message.id).isdigit()
        future = self._waiting.get(int(message.id)) if is_ours else None
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
        # `pop` of the callbacks runs later, in the loop; the table must be empty now.
        self._waiting.clear()
