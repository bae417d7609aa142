"""JSON-RPC as the service speaks it (PROTOCOL 5): messages in and out, ids of either kind, no I/O."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bridge.lingma.errors import NotJson, RpcError
from bridge.lingma.transport.framing import frame
from gateway_project.lib.json_errors import UNREADABLE

_NOTHING = msgspec.Raw(b"")
_NULL = b"null"
# Of a message that is too deep to be read: what stands in front of the first list or object.
_HEAD = re.compile(rb'\s*\{(?:\s*"(?:jsonrpc|id|method)"\s*:\s*(?:"[^"\\]*"|\d+|null)\s*,)+')
_AROUND_ID = len(b'{"jsonrpc":"2.0","id":,"result":null}')


class Incoming(msgspec.Struct, gc=False):
    """One message from the service. `id` is kept as it was written, so that it goes back unchanged."""

    method: str | None = None
    id: msgspec.Raw = _NOTHING
    params: msgspec.Raw = _NOTHING
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


class _ErrorBody(msgspec.Struct):
    code: int | float | str | None = None
    message: str | None = None


_NO_MESSAGE = Incoming()

# `params` and `result` stay raw bytes here: each handler decodes them once, into the shape that it needs.
_decode = msgspec.json.Decoder(Incoming).decode
_encode = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def parse(body: bytes) -> Incoming:
    """Decode one body. Raise NotJson, also for JSON that is no object."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise NotJson(str(exc)) from exc
    except RecursionError:
        return _head_of(body)


def _head_of(body: bytes) -> Incoming:
    """Of a message that is nested too deep: enough to acknowledge it, and nothing to act on."""
    # It is one message of one turn, and so no reason to give up the connection of all.
    head = _HEAD.match(body)
    try:
        return _decode(head[0][:-1] + b"}") if head is not None else _NO_MESSAGE
    except UNREADABLE:
        return _NO_MESSAGE


def wants_answer(message: Incoming) -> bool:
    """A push with an id is a request (PROTOCOL 5.2); `null` is no id."""
    size = len(message.id)
    return size > 0 and not (size == 4 and bytes(message.id) == _NULL)  # a Raw never equals bytes


def error_of(message: Incoming) -> RpcError | None:
    """The error of a response, if it is one."""
    # An answer may carry `"error": null` beside its result.
    if bytes(message.error) in {b"", _NULL}:
        return None
    try:
        # The message and not the code: codes are not reliable (PROTOCOL 5.3).
        return RpcError(_decode_error(message.error).message or "the service gave no reason")
    except UNREADABLE:
        return RpcError("the service answered with an error of unknown shape")


def acknowledgement(message: Incoming) -> bytes:
    """`result: null` for a push (PROTOCOL 5.2)."""
    # As `frame` would write it, in one operation: it is sent for every chunk.
    return b'Content-Length: %d\r\n\r\n{"jsonrpc":"2.0","id":%b,"result":null}' % (
        len(message.id) + _AROUND_ID,
        message.id,
    )


def answer(message: Incoming, result: Any) -> bytes:
    return frame(b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (bytes(message.id), _encode(result)))


def request(id_: int, method: str, params: Any) -> bytes:
    """A request; `params` is always an object, `{}` where there are none (PROTOCOL 5.1)."""
    return frame(_encode({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}))


def notification(method: str, params: Any) -> bytes:
    return frame(_encode({"jsonrpc": "2.0", "method": method, "params": params}))
