"""Tool calls of the service's own agent as a dialect reads them, and calls put together from them.

Kept of a turn are at most MOST_CALLS calls and MOST_BYTES of their inputs and results, VALUE_BYTES of each: a larger
input counts as unknown, a larger result is replaced by a word that says so.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from bridge.chat.events import LingmaToolCall
from gateway_project.lib.tool_approval import UNNAMED

MOST_CALLS: Final = 256
MOST_BYTES: Final = 8 << 20
VALUE_BYTES: Final = 1 << 20
ID_CHARS: Final = 256
NAME_CHARS: Final = 128
ERROR_CHARS: Final = 2000

State = Literal["pending", "running", "finished", "failed", "cancelled"]
Kind = Literal["status", "invocation", "echo"]
"""What a message is for: it says how calls are; it has a tool be run by whoever is connected; it repeats a decision or
a result.
"""

# Events may come late and out of order: a state never goes back to a lower rank.
_RANKS: dict[State, int] = {"pending": 0, "running": 1, "finished": 2, "failed": 2, "cancelled": 2}


class ToolEvent(msgspec.Struct, frozen=True):
    """One event about one call. A field that is empty was not in the message."""

    tool_id: str
    request_id: str = ""
    session_id: str = ""
    name: str = ""
    input: bytes = b""
    """A JSON object that is not empty."""
    state: State = "pending"
    undecided: bool = True
    """By its status the call still waits for a word of the client."""
    result: bytes = b""
    """JSON, never `{}`, `[]`, `""` or `null`."""
    error: str = ""


class ToolMessage(msgspec.Struct, frozen=True):
    """One message. It may be about several calls, or about none."""

    kind: Kind
    events: list[ToolEvent]
    request_id: str = ""
    asynchronous: bool = False
    """An invocation whose result is not its answer, but a message of its own."""


def complete(call: LingmaToolCall | None, event: ToolEvent) -> LingmaToolCall:
    """The call with one more event added to it; its equal if nothing is new."""
    # Later events complete earlier ones: an empty field replaces nothing (PROTOCOL 17.5).
    if call is None:
        name = event.name or UNNAMED
        return LingmaToolCall(event.tool_id, name, event.input or b"{}", event.state, event.result, event.error)
    return msgspec.structs.replace(
        call,
        name=event.name if call.name == UNNAMED and event.name else call.name,
        input=event.input or call.input,
        state=event.state if _RANKS[event.state] >= _RANKS[call.state] else call.state,
        result=event.result or call.result,
        error=event.error or call.error,
    )


class Budget:
    """Bounds the number and the bytes of the calls that are kept of one turn."""

    def __init__(self) -> None:
        self._calls = 0
        self._bytes = 0

    def fit(self, before: LingmaToolCall | None, after: LingmaToolCall) -> LingmaToolCall | None:
        """The call as it may be kept; None if there are too many already."""
        # The name and the id of a call are bounded where they are read; only input and result are weighed.
        if before is None:
            if self._calls >= MOST_CALLS:
                return None
            self._calls += 1
            before = LingmaToolCall(after.id, after.name)
        growth = _weight(after) - _weight(before)
        # The call itself stays, so that a client still sees that it happened.
        if self._bytes + growth > MOST_BYTES:
            result = before.result or (too_large_note(after.result) if after.result else b"")
            after = msgspec.structs.replace(after, input=before.input, result=result)
            growth = _weight(after) - _weight(before)
        self._bytes += growth
        return after


def too_large_note(result: bytes) -> bytes:
    """JSON in place of a result that is too large; it names the size."""
    return b'"(a result of %d bytes, not kept)"' % len(result)


def _weight(call: LingmaToolCall) -> int:
    return len(call.input) + len(call.result)
