"""The reply of one turn: pieces pushed by the connection, drained whole by whoever answers the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from bridge.chat.errors import ConnectionLost, GatewayError, SlowClient, UpstreamFailed, UpstreamTimeout
from bridge.chat.events import KeepAlive, LingmaToolCall, Overwritten, Piece, TextDelta, ThinkingDelta
from bridge.lingma.tools.policy import Decision
from gateway_project.lib.asgi_extensions import Flow
from gateway_project.lib.ticker import Ticker
from gateway_project.lib.tool_approval import Approval

PIECE_BYTES = 400
"""What a piece costs a client beside its text, in the widest format."""
MANY_PIECES = 1000
"""Up to so many at once count by their text alone for how long reading them takes."""
BEHIND = 256 << 10
"""Unread bytes from which on texts are joined: a reader that is behind gets fewer and larger pieces."""
JOINED_CHARS = 4096
PASSED_BYTES = 64 << 10
"""Unread bytes up to which pieces are passed on at once: to read more takes its time."""
MOST_BYTES = 256 << 20
"""Bytes of one reply at most. No model writes that much."""


class DirectWriter(Protocol):
    """Takes at once what comes while the reader waits. Each says False when the reader has to go on itself."""

    flow: Flow
    """Nothing is passed on to a client that has to be waited for."""

    def text(self, text: str) -> bool:
        """A text that came alone."""

    def pieces(self, pieces: list[Piece]) -> bool:
        """Pieces that came together, PASSED_BYTES at most."""


class TurnEnd(msgspec.Struct, frozen=True):
    """The service's end of the turn: `error` is None when it was good. `session_id` is the real one (PROTOCOL 9.6)."""

    error: GatewayError | None = None
    session_id: str = ""


class TurnLimits(msgspec.Struct, frozen=True):
    """Seconds and bytes one turn may take."""

    keepalive_sec: float = 10.0
    silence_sec: float = 120.0
    buffer_bytes: int = 1 << 20


# Not split, though it has twenty attributes: a chunk costs 0.4 us here, and every call of another object a tenth more.
class ReplyStream:
    """A list and one Future: pushing never waits, and what has queued up is drained in one go.

    `end` is set exactly once; what comes after it is ignored (F12, F13). `text` holds all that came and stands.
    """

    def __init__(self, request_id: str, session_id: str, limits: TurnLimits, ticker: Ticker) -> None:
        self.request_id = request_id
        self.session_id = session_id
        self.end: TurnEnd | None = None
        self.decisions: list[Decision] = []
        """What was decided about calls of the service's own agent."""
        self.approval: Approval | None = None
        """By what that is decided; None: as for every turn of the instance."""
        self.overflow: Callable[[], object] | None = None
        """Called once when the reader has fallen too far behind."""
        self.closed: Callable[[ReplyStream], object] | None = None
        """Called once when the turn has ended."""
        self._limits = limits
        self._pieces: list[Piece] = []
        self._texts: list[str] = []
        # Counted as bytes and pieces: a reply of many tiny pieces takes far more memory than its text.
        self._unread = self._read_bytes = 0  # as they are sent, about
        self.taken = 0
        """How much the last `take()` gave, in such bytes."""
        self._behind = min(BEHIND, limits.buffer_bytes)
        self._read = 0  # how many of the texts have been drained
        self._replaced = False  # a new text is on the list
        self._waiter: asyncio.Future[None] | None = None
        self._writer: DirectWriter | None = None
        self._is_awake = False  # the reader waited for this, and has not had its turn yet
        self._loop = ticker.loop
        self._received_at = self._signed_at = self._loop.time()
        self._ticker = ticker
        ticker.add(self)

    @property
    def has_begun(self) -> bool:
        """Something of the reply has come."""
        return self._read_bytes + self._unread > 0

    @property
    def silent_for(self) -> float:
        """Seconds since the last sign of life of the service, whether or not a client sees it."""
        return self._loop.time() - self._received_at

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def push(self, text: str) -> None:
        """Append text; empty deltas count as a sign of life only."""
        now, writer = self._loop.time(), self._writer
        # The loop's clock moves on between its turns: what comes faster than one a turn is gathered, and passed on
        # together.
        if (
            writer is None
            or now == self._received_at
            or self._pieces
            or not text
            or writer.flow.write_paused
            or self._read_bytes > MOST_BYTES
        ):
            return self.queue(text)
        self._received_at = self._signed_at = now
        self._texts.append(text)
        self._read += 1
        self._read_bytes += PIECE_BYTES + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        try:
            if not writer.text(text):
                self._end_wait()
        except Exception as exc:  # noqa: BLE001 - it is raised where the reader waits
            self._end_wait(exc)
        return None

    def queue(self, text: str) -> None:
        """The same, with all that comes in this turn of the loop."""
        # Two clocks: `_received_at` is the service's sign of life, `_signed_at` the last thing the client has seen.
        # Empty pieces move the first one only, so that a client still gets its keep-alive.
        self._received_at = now = self._loop.time()
        if not text or self.end is not None:
            return
        self._signed_at = now
        if self._unread > self._behind and not self._has_room():
            return
        self._texts.append(text)
        # A reader that is behind is not woken: it has been woken for the pieces before.
        if self._unread > BEHIND and self._join(TextDelta, text):
            return
        self._pieces.append(TextDelta(text))
        self._unread += PIECE_BYTES + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        self._wake()

    def push_thinking(self, text: str) -> None:
        """Append reasoning. The client may not get to see it, so it counts as a sign of life from the service only."""
        self._received_at = self._loop.time()
        if text:
            self._put(ThinkingDelta(text))

    def push_call(self, call: LingmaToolCall) -> None:
        """Append what is known of a tool call of the service's own agent. It may not reach the client either."""
        self._received_at = self._loop.time()
        self._put(call)

    def replace(self, text: str) -> None:
        """`overwrite` (PROTOCOL 9.6). A text that goes on from the old one is continued. What nobody has read yet gives
        way to it; whoever has read some of the old one gets the new one as such.
        """
        before = self.text
        if text.startswith(before):
            return self.push(text[len(before) :])
        if self.end is not None:
            return None
        # From here the new text contradicts the old one. What the reader has not taken can still be changed; what it
        # has taken may be on its way to a client already.
        read = "".join(self._texts[: self._read])
        self._pieces = [piece for piece in self._pieces if not isinstance(piece, (TextDelta, Overwritten))]
        self._unread = sum(map(_weight, self._pieces))
        # `_replaced`: a replacement that is still on the list has restarted `_read` at 0, so "nothing read" would be
        # wrong.
        if text.startswith(read) and not self._replaced:
            self._texts = [read] if read else []
            self._read = len(self._texts)
            return self.push(text[len(read) :])
        self._texts, self._read, self._replaced = [text], 0, True
        self._received_at = self._loop.time()
        return self._put(Overwritten(text))

    def finish(self, session_id: str, full_answer: str) -> None:
        """The good ending. The whole answer counts only when nothing was streamed."""
        # `fullAnswer` repeats what was streamed, and can be empty although there was text (PROTOCOL 9.6).
        if not self._texts and full_answer:
            self.push(full_answer)
        self._finish(TurnEnd(session_id=session_id or self.session_id))

    def fail(self, error: GatewayError) -> None:
        self._finish(TurnEnd(error))

    def close(self) -> None:
        """Nobody reads any more; a turn that has not ended ends here."""
        self._finish(TurnEnd(ConnectionLost("The turn was given up.")))

    async def drain(self) -> list[Piece]:
        """All that has queued up; wait when that is nothing and the turn goes on. [] means the turn has ended."""
        if (ready := self.until_ready()) is not None:
            await ready
        return self.take()

    def until_ready(self, writer: DirectWriter | None = None) -> asyncio.Future[None] | None:
        """What to wait for before `take()`; None when there is something already, or the turn has ended.

        What comes meanwhile is offered to `writer` first: while that takes it, the wait goes on.
        """
        if self._pieces or self.end is not None:
            return None
        # A future made by hand costs less than an Event or a Queue, and this may happen for every chunk of a stream.
        self._waiter = self._loop.create_future()
        self._writer, self._is_awake = writer, False
        return self._waiter

    def take(self) -> list[Piece]:
        self._is_awake = False
        pieces, self._pieces = self._pieces, []
        self._read = len(self._texts)
        self._replaced = False
        # What pieces cost beside their text counts from so many on: a few hundred small ones are read in no time.
        self.taken = self._unread - PIECE_BYTES * min(len(pieces), MANY_PIECES)
        self._read_bytes += self._unread
        self._unread = 0
        # Checked here and not at each push: once per drained batch is enough for a bound of this size.
        if self._read_bytes > MOST_BYTES:
            self.fail(UpstreamFailed(f"The reply exceeds {MOST_BYTES >> 20} MiB."))
        return pieces

    def _put(self, piece: Piece) -> None:
        """What is no text is rare, and can take its time."""
        if self.end is not None:
            return
        if self._unread > self._behind and not self._has_room():
            return
        if self._unread > BEHIND and isinstance(piece, ThinkingDelta) and self._join(ThinkingDelta, piece.text):
            return
        self._pieces.append(piece)
        self._unread += _weight(piece)
        self._wake()

    def _has_room(self) -> bool:
        """Whether the reader may fall behind still further."""
        # One that waited is not behind, however much comes at once.
        if self._unread <= (MOST_BYTES if self._is_awake else self._limits.buffer_bytes):
            return True
        self._overflow()
        return False

    def _join(self, kind: type[TextDelta] | type[ThinkingDelta], text: str) -> bool:
        """Add the text to the last piece, if that is of its kind and not long yet."""
        # Only the last piece can grow, or text and reasoning would change places.
        last = self._pieces[-1] if self._pieces else None
        if not isinstance(last, kind) or len(last.text) + len(text) > JOINED_CHARS:
            return False
        self._pieces[-1] = kind(last.text + text)
        self._unread += len(text.encode("utf-8", "replace"))
        return True

    def _finish(self, end: TurnEnd) -> None:
        if self.end is not None:
            return
        # Set before the callbacks: whatever they push or fail from now on is ignored.
        self.end = end
        self._writer = None  # it holds its reader, which holds us
        self._ticker.remove(self)
        if self.closed is not None:
            self.closed(self)
        self._wake()

    def _overflow(self) -> None:
        self._finish(TurnEnd(SlowClient("The client reads more slowly than the answer comes.")))
        # The client would get the rest too late to matter, so its memory is given back at once.
        self._pieces = []
        if self.overflow is not None:
            self.overflow()

    def _wake(self) -> None:
        waiter = self._waiter
        # The future may be done already: a reader whose request was cancelled has cancelled it.
        if waiter is None or waiter.done():
            return
        if self._writer is None:
            self._end_wait()
        elif not self._is_awake:
            # In the next turn of the loop, with all that has come until then.
            self._loop.call_soon(self._offer)
            self._is_awake = True

    def _end_wait(self, error: Exception | None = None) -> None:
        """Have the reader go on; with an error, which is its own."""
        waiter, self._waiter, self._writer = self._waiter, None, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
        self._is_awake = True

    def _offer(self) -> None:
        """Have what has come passed on, or the reader go on with it."""
        writer = self._writer
        if writer is None:  # it goes on already
            return None
        much = self._unread > PASSED_BYTES or self._read_bytes + self._unread > MOST_BYTES
        if much or writer.flow.write_paused:
            return self._end_wait()
        try:
            if not writer.pieces(self.take()):
                self._end_wait()
        except Exception as exc:  # noqa: BLE001 - it is raised where the reader waits
            self._end_wait(exc)
        return None

    def tick(self, now: float) -> None:
        """Fail a turn whose service has been silent for too long; give the client a sign of life when it needs one."""
        # Judged on a shared tick, so that no turn needs a timer of its own, which each chunk would have to reset.
        silent = now - self._received_at
        if silent >= self._limits.silence_sec:
            self.fail(UpstreamTimeout(f"The Lingma service was silent for {silent:.0f} s."))
        elif now - self._signed_at >= self._limits.keepalive_sec:
            self._signed_at = now
            # Past `_put`: a keep-alive must not count as unread bytes, nor fail a reader that is behind.
            self._pieces.append(KeepAlive())
            self._wake()


def _weight(piece: Piece) -> int:
    """Bytes a piece takes when it is sent, about."""
    match piece:
        case TextDelta() | ThinkingDelta() | Overwritten():
            return PIECE_BYTES + len(piece.text.encode("utf-8", "replace"))
        case LingmaToolCall():
            return PIECE_BYTES + len(piece.input) + len(piece.result)
        case _:
            return PIECE_BYTES
