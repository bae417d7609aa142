"""The record of a turn, filled while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from accounts.ledger.trace import SessionWhy
from bridge.chat.errors import GatewayError
from bridge.chat.events import SessionState
from bridge.pool.late_usages import Awaited
from bridge.routing.routes import Route
from gateway_project.lib.token_sources import TokenSource


class TurnRecord(msgspec.Struct):
    """Complete when the turn has ended, also when nobody waited for that. Times in ms since the engine took it.

    http makes one for each request and reads it: when the reply begins, for its headers, and when it has ended, for its
    row. The engine and its attempts write it, and nobody else but http when the key of a running turn closes.
    """

    # Defaults describe a turn that its client left before anything happened: whoever is cancelled need not set them.
    instance: str = ""
    lingma_model: str = ""
    session: SessionState = "off"
    status: str = "cancelled"
    """`ok`, `error`, `refused` (never got an instance) or `cancelled` (the client left)."""
    reason: str = "client_closed"
    """The finish reason, or the kind of error."""
    retry_after: int | None = None
    """Seconds, where the error said when to come back."""
    queued: bool = False
    waits: bool = False
    """It has no place now, whatever it had before."""
    queue_ms: int = 0
    first_token_ms: int | None = None
    estimated: int = 0
    """Tokens of the request, as they were estimated; 0 before that."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usage_source: TokenSource | Literal[""] = ""
    """"" until the service was asked: nobody knows of any tokens."""
    awaited: Awaited | None = None
    """What the service may still log of it, where the tokens are estimated."""
    # msgspec copies empty containers for each object, so these are not shared.
    tool_outcomes: dict[str, int] = {}
    """Calls by what became of them: parsed, repaired, refused, retried, invalid; unjudged beside that.

    Replies that must be JSON: reply_retried, reply_refused, reply_invalid.
    """
    decisions: list[str] = []
    """Decisions on tool calls of Lingma's own agent, such as `denied run_in_terminal`."""
    warnings: list[str] = []
    """Sent to the client in the header `x-lingma-warning`."""
    # For the trace. No containers and nothing computed: most turns have none made.
    route: Route | None = None
    session_why: SessionWhy = ""
    session_holder: str = ""
    placed_ms: int | None = None
    """When the attempt that ended it got its place, and when the service was asked in it."""
    asked_ms: int | None = None
    sent_chars: int | None = None
    in_flight: dict[str, int] | None = None
    """Turns of each instance of this process when the place was given, by name; NOT_READY for one that could not take
    any. Empty where there was no choice. None: no place was given.
    """
    lost: list[tuple[str, str]] | None = None
    lost_ms: list[int] | None = None
    corrections: int = 0
    handed_over_by: str = ""
    """The web process that it came to, where another one runs it."""
    error: str = ""
    error_param: str = ""
    on_admitted: Callable[[], None] | None = None
    """Called once, as soon as the turn has a place or waits for one: from then on it has a row, however it ends."""

    def admitted(self) -> None:
        begin, self.on_admitted = self.on_admitted, None
        if begin is not None:
            begin()

    def failed(self, error: GatewayError) -> None:
        """Note how it ended; a turn that never got an instance was refused."""
        # The instance is set when a lease is taken, so an empty one means that the service was never asked.
        self.status = "error" if self.instance else "refused"
        self.reason = error.reason
        self.note_error(error)
        self.retry_after = error.retry_after

    def note_error(self, error: GatewayError) -> None:
        """Keep what it said; the turn may still end well."""
        self.error, self.error_param = error.message, ".".join(map(str, error.param))

    def note_lost(self, error: GatewayError, ms: int) -> None:
        """The attempt came to nothing, and another one is made."""
        self.lost = [*(self.lost or ()), (self.instance, error.reason)]
        self.lost_ms = [*(self.lost_ms or ()), ms]

    @property
    def is_remarkable(self) -> bool:
        """Not all went well, whatever its end."""
        return self.status != "ok" or self.lost is not None or self.error != "" or self.handed_over_by != ""
