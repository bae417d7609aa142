"""JSON-RPC messages, as far as the service reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

PUSH = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}'
PUSH_STRING_ID = b'{"jsonrpc":"2.0","id":"push-%d","method":"%b","params":%b}'
NOTIFICATION = b'{"jsonrpc":"2.0","method":"%b","params":%b}'

Answer = Callable[[Any], None]
Id = int | str | None


class Message(msgspec.Struct):
    """The parts of a JSON-RPC message that show what it is."""

    method: str | None = None
    id: Id | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


DECODER = msgspec.json.Decoder(Message)


class Pending(msgspec.Struct):
    """A push that waits for its acknowledgement; `at` is the time of the loop when it was sent."""

    at: float
    method: bytes
    answer: Answer | None = None
