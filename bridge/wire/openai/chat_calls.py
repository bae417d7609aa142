"""A chat chunk's delta for the pieces of tool calls: `tool_calls`, or the old `function_call`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from bridge.chat.events import ToolCallStarted
from bridge.chat.fold import Call
from bridge.wire import sse


class CallDeltas(Protocol):
    """Pieces of calls, one call after the other, to deltas; b"" for nothing to send."""

    def start(self, event: ToolCallStarted) -> bytes:
        """A call begins."""

    def more(self, text: str) -> bytes:
        """The next piece of its arguments."""

    def end(self) -> bytes:
        """Its arguments are complete."""


class ToolCalls:
    """The calls are counted from 0. Clients concatenate every string: id, type and name stand in the first fragment."""

    def __init__(self) -> None:
        self._index = -1
        self._fragment = self._fragment_end = b""
        self._is_empty = True
        self._custom = False

    def start(self, event: ToolCallStarted) -> bytes:
        self._index += 1
        self._is_empty, self._custom = True, event.custom
        kind, argument = (b"custom", b"input") if event.custom else (b"function", b"arguments")
        # Made once per call: each piece of the arguments only adds its text.
        self._fragment = b'{"tool_calls":[{"index":%d,"%b":{"%b":' % (self._index, kind, argument)
        self._fragment_end = b"}}]}"
        return b'{"tool_calls":[{"index":%d,"id":%b,"type":"%b","%b":{"name":%b,"%b":""}}]}' % (
            self._index,
            sse.json_text(event.id),
            kind,
            kind,
            sse.json_text(event.name),
            argument,
        )

    def more(self, text: str) -> bytes:
        """A fragment with nothing but a piece of the arguments."""
        self._is_empty = False
        # Only the index ties a piece to its call: the id must not come again, as clients concatenate strings.
        return self._fragment + sse.json_text(text) + self._fragment_end

    def end(self) -> bytes:
        """No arguments are an empty object: clients parse what they have gathered."""
        return self.more("{}") if self._is_empty and not self._custom else b""


class FunctionCall:
    """The deprecated form has room for one call; those after the first are left out."""

    def __init__(self) -> None:
        self._calls = 0
        self._is_empty = True

    def start(self, event: ToolCallStarted) -> bytes:
        self._calls += 1
        if self._calls > 1:
            return b""
        return b'{"function_call":{"name":%b,"arguments":""}}' % sse.json_text(event.name)

    def more(self, text: str) -> bytes:
        if self._calls > 1:
            return b""
        self._is_empty = False
        return b'{"function_call":{"arguments":%b}}' % sse.json_text(text)

    def end(self) -> bytes:
        """As with tool calls, no arguments are an empty object."""
        return self.more("{}") if self._is_empty else b""


def whole_calls(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """The complete calls as a message holds them."""
    # A call that was cut off is left out: a client would run it with half of its arguments.
    return [_whole(call) for call in calls if call.complete]


def _whole(call: Call) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
