"""The turns that run, and what clients may name of them."""

from __future__ import annotations

from bridge.simulator.state.turn import ToolCall, Turn


class RunningTurns:
    """Turns by request id, and their tool calls by id. `interleaved` is the turn that waits for another (F20)."""

    def __init__(self) -> None:
        self.by_request: dict[str, Turn] = {}
        self.tool_calls: dict[str, tuple[Turn, ToolCall]] = {}
        self.interleaved: Turn | None = None

    def forget(self, turn: Turn) -> None:
        """Take a turn out that is over."""
        # A client may use a request id twice: only the turn itself is taken out.
        if self.by_request.get(turn.ask.request_id) is turn:
            del self.by_request[turn.ask.request_id]
