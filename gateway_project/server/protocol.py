"""uvicorn's HTTP protocol with bounds: nothing a peer sends is read, kept or (`deadlines`) awaited without end."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway_project.lib.asgi_extensions import OFFERED
from gateway_project.server import refusals, websocket
from gateway_project.server.bounds import FRAMING_SHARE
from gateway_project.server.cork import Corked
from gateway_project.server.cycle import (
    AfterUpgrade,
    CarefulCycle,
    DiscardingParser,
    Event,
    HeldFlow,
    LeanCycle,
    Trailers,
)
from gateway_project.server.deadlines import IDLE, IN_BODY, IN_HEAD, LEFTOVER
from gateway_project.server.head import WATCHED, Head, Verdict, is_plain, judged, path_and_query, without_upgrade
from gateway_project.server.refusals import Refusal, Refused, rendered
from gateway_project.server.repeated import RepeatedHead, learned

if TYPE_CHECKING:
    from uvicorn._types import HTTPScope

    from gateway_project.server.connections import Connections
    from gateway_project.server.websocket import WebSocket

PIECE = 64 << 10  # bytes that are parsed before the bounds are checked
MOST_UNKNOWN = 4
"""Heads in a row that are unlike the one before: from then on no more are remembered."""
HEALTH = {b"/healthz", b"/healthz/", b"/readyz", b"/readyz/"}


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. `deadlines.check` is called for it about once a second."""

    # With uvicorn's there are more than Python keeps without a dictionary per connection: 1.5 KiB each.
    __slots__ = (
        "body_since",
        "body_size",
        "corked",
        "head_bytes",
        "is_extra",
        "lingers",
        "overhead",
        "peer",
        "phase",
        "raw",
        "refusal",
        "repeated",
        "running",
        "since",
        "size",
        "socket",
        "takes_over",
        "unknown_heads",
        "unsent",
        "unsent_since",
        "upgrading",
        "url",
        "watched",
    )

    peers: Connections
    """Set on a subclass, one per server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self.raw = transport
        self.peer = ""  # whose share of the connections it counts to
        self.corked = Corked(transport, self)
        super().connection_made(cast("asyncio.Transport", self.corked))
        self.flow: HeldFlow = HeldFlow(transport)
        self.pipeline: list[tuple[RequestResponseCycle, Any]] = []  # type: ignore[assignment]  # a deque takes 760 bytes
        self.parser: Any
        self.phase = IDLE
        self.since = self.body_since = self.peers.now
        self.size = 0  # of what has come of a message that is not complete
        self.head_bytes = 0  # of it, counted among those of all connections
        self.overhead = 0  # bytes since the last one that was body
        self.body_size = 0  # of what has come of the body
        self.unsent, self.unsent_since = 0, 0.0
        self.lingers = self.upgrading = self.takes_over = False
        self.socket: WebSocket | None = None
        self.refusal: Refusal | None = None
        self.running: RequestResponseCycle | None = None
        self.repeated: RepeatedHead | None = None
        self.unknown_heads = 0  # of whole requests, since one was known
        self.is_extra = not self.peers.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.socket is not None:
            self.socket.connection_lost(exc)
        super().connection_lost(exc)
        # The parser holds its protocol by its callbacks: replaced, it lets go of it at once.
        self.parser = DiscardingParser()
        self.peers.leave(self)
        if self.running is not None and not self.running.response_complete:  # uvicorn informs the newest request only
            self.running.disconnected = True
            self.running.message_event.set()
        self._let_go()

    def _let_go(self) -> None:
        """Leave nothing for the collector: it comes so seldom that heads and bodies of thousands would wait for it."""
        self.pipeline.clear()
        self.cycle = cast("RequestResponseCycle", self.running)  # a newer one was never begun, and would hold us
        self.corked.let_go()

    @property
    def answers(self) -> bool:
        """Whether a request is being answered."""
        return self.socket is not None or (self.running is not None and not self.running.response_complete)

    @property
    def answers_early(self) -> bool:
        """Whether the answer began before the request was whole; then nobody waits for its rest."""
        return self.cycle is self.running is not None and self.running.response_started

    # -- bytes ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.socket is not None:
            return self.socket.data_received(data)
        known = self.repeated
        if known is not None and not self.phase and (read := known.read(data)) is not None and not self.answers:
            return self._answer_again(known, *read)
        if len(data) > PIECE:
            for start in range(0, len(data), PIECE):
                self._parse(data[start : start + PIECE])
                if self.socket is not None:
                    return self.socket.data_received(data[start + PIECE :])
        else:
            # Behind the rest of a body that nobody wanted, what looks like a head may be of that body. And the first
            # request of a connection may be its only one, and some clients have a new field each time.
            may_learn = not self.phase and self.cycle is not None and self.unknown_heads < MOST_UNKNOWN
            self._parse(data)
            if may_learn and type(self.cycle) is LeanCycle:
                self._learn(data, self.cycle)
        return None

    def _learn(self, data: bytes, cycle: LeanCycle) -> None:
        if cycle is self.running and not self.phase and cycle.keep_alive:
            self.repeated = learned(data, cycle.scope, self.url)
            self.unknown_heads += 1

    def _answer_again(self, head: RepeatedHead, length: bytes, body: bytes) -> None:
        """Answer a request whose head is that of an earlier one."""
        self.unknown_heads = 0
        self.since = self.body_since = self.peers.now
        self.url = head.url
        scope = head.scope(length, self.app_state.copy())
        self.scope = cast("HTTPScope", scope)
        defaults = self.server_state.default_headers
        cycle = LeanCycle(scope, self.transport, self.flow, defaults, self.on_response_complete, whole=body)
        self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _parse(self, data: bytes) -> None:
        size = len(data)
        self.overhead += size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            # The parser stops behind the head; `args[0]` is how much it has read.
            if self.takes_over:
                self.phase, self.upgrading = IDLE, False
                self.socket = websocket.begin(self, data[exc.args[0] :])
            else:
                self._ignore_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self.refuse(self.refusal or refusals.BAD_REQUEST)
        # 0 is IDLE: the usual request, whole in one packet, costs no more than this.
        if self.phase:
            self._count_incomplete(size)

    def _count_incomplete(self, size: int) -> None:
        """Count what came of a message that is not complete."""
        bounds, now = self.peers.bounds, self.peers.now
        if self.phase == IN_HEAD:
            # The deadline of a head counts from its first byte, so that a byte now and then does not prolong it.
            self.since = self.since if self.size else now
            self.size += size
            if self.size > 2 * bounds.head_bytes:  # once it is complete, the true bound holds
                self.refuse(refusals.HEAD_TOO_LARGE)
            elif not self.peers.hold_head(self, size):
                self.refuse(refusals.FULL)
            return
        self.since = now
        self.size += size
        # After a refusal nothing is parsed any more.
        framing = 0 if self.lingers else self.size - self.body_size - self.body_size // FRAMING_SHARE
        if self.phase == IN_BODY:
            if self.overhead > bounds.head_bytes:
                self.refuse(refusals.TRAILERS_TOO_LARGE)
            elif framing > bounds.framing_bytes:
                self.refuse(refusals.SMALL_CHUNKS)
        elif self.size > bounds.leftover_bytes or framing > bounds.framing_bytes:
            self.raw.close()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """RFC 9110 7.8: the parser has stopped behind the head; another goes on as if no upgrade was requested."""
        self.upgrading = False
        self.parser = httptools.HttpRequestParser(AfterUpgrade(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        scope = self.scope
        self._parse(without_upgrade(scope["method"], scope["http_version"], list(scope["headers"])) + rest)

    # -- the parser's callbacks -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.watched: list[tuple[bytes, bytes]] = []
        self.phase, self.size = IN_HEAD, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; behind a chunked body, one that nobody sees."""
        name = name.lower()
        if name in WATCHED:
            self.watched.append((name, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: answer, or wait for one's turn."""
        try:
            cycle = self._new_cycle()
        except Refused as exc:
            self.refusal = exc.refusal
            raise
        self.phase, self.size, self.overhead, self.body_size = IN_BODY, 0, 0, 0
        self.since = self.body_since = self.peers.now
        if self.head_bytes:
            self.peers.forget_head(self)
        # Before `self.cycle` changes, which this depends on.
        waits = self.answers
        self.cycle = cycle
        self.takes_over = self.upgrading and not waits and websocket.is_wanted(self.scope)
        if self.takes_over:
            return
        if waits:
            self._queue(cycle)
        else:
            self._start_asgi_task(cycle, self.app)

    def _new_cycle(self) -> RequestResponseCycle:
        parser, scope = self.parser, self.scope
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        scope["method"], scope["http_version"] = method, version
        verdict: Verdict | None = None
        # `size`: the head came in pieces, so its length must be checked.
        if self.size or self.is_extra or not is_plain(self.watched, self.url, version, method):
            verdict = self._judge(Head(method, self.url, version, self.watched))
        path, query = path_and_query(self.url)
        text = path.decode("ascii")
        # ASGI wants the path decoded; nearly none has an escape.
        scope["path"] = urllib.parse.unquote(text) if "%" in text else text
        scope["raw_path"], scope["query_string"] = path, query
        if len(self.headers) > self.peers.bounds.head_fields:
            raise Refused(refusals.HEAD_TOO_LARGE)
        keep_alive = version != "1.0" and parser.should_keep_alive() and not self.is_extra
        transport, flow, defaults = self.transport, self.flow, self.server_state.default_headers
        if verdict is None:
            scope["extensions"] = OFFERED
            return LeanCycle(scope, transport, flow, defaults, self.on_response_complete, keep_alive=keep_alive)
        return CarefulCycle(
            scope=scope,
            transport=transport,
            flow=flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=defaults,
            message_event=cast("asyncio.Event", Event()),
            expect_100_continue=verdict.expects_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def _judge(self, head: Head) -> Verdict:
        fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(head.target) + fields > self.peers.bounds.head_bytes:
            raise Refused(refusals.HEAD_TOO_LARGE)
        verdict = judged(head)
        if self.is_extra and head.target.partition(b"?")[0] not in HEALTH:
            raise Refused(refusals.FULL)
        self.upgrading = verdict.upgrade and self.parser.should_upgrade()
        if verdict.chunked:
            self.headers = Trailers()
        return verdict

    def _queue(self, cycle: RequestResponseCycle) -> None:
        if len(self.pipeline) >= self.peers.bounds.pipelined:
            self.refusal = refusals.PIPELINE
            raise Refused(refusals.PIPELINE)
        # Newest first, as uvicorn pops from the end.
        self.pipeline.insert(0, (cycle, self.app))
        self.flow.pause_reading()
        # Reading goes on only when the line is empty: what waits is bounded by what one read has brought.
        self.flow.held = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self.overhead = 0
        self.body_size += len(body)
        cycle = self.cycle
        # The answer was early and is out: the rest of the body is read and dropped, within `leftover_bytes`.
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > PIECE:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.upgrading:
            return
        self.phase = IDLE
        cycle = self.cycle
        if cycle.response_complete:
            self.since = self.peers.now
        else:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """The last byte of an answer: on with the next request, or back to waiting for one."""
        self.server_state.total_requests += 1
        if self.lingers or self.raw.is_closing():
            return
        self.since = self.body_since = self.peers.now
        # The answer is out and the body still comes: nobody wants it, and it gets little time and room.
        if self.phase == IN_BODY and not self.pipeline:
            self.phase, self.size = LEFTOVER, 0
        flow, pipeline = self.flow, self.pipeline
        if not pipeline:
            flow.held = False
            flow.resume_reading()
            return
        cycle, app = pipeline.pop()
        flow.held = bool(pipeline)
        flow.resume_reading()
        self._start_asgi_task(cycle, app)

    # -- the end ----------------------------------------------------------------------------------------------------

    def refuse(self, refusal: Refusal) -> None:
        """Nothing more is understood on this connection: answer with the reason if that is possible, and close it."""
        self.peers.count_refusal(refusal)
        # The request whose body cannot be understood any more. In a head that is none: the last cycle is whole.
        flawed = self.cycle if self.phase == IN_BODY else None
        self.peers.forget_head(self)
        self.parser, self.refusal, self.repeated = DiscardingParser(), None, None
        if flawed is not None and self.pipeline and self.pipeline[0][0] is flawed:
            del self.pipeline[0]
            flawed = None
        # Another request is being answered: its answer goes out, for the bytes must not be mixed.
        if self.running is not None and self.answers and flawed is not self.running:
            return self._end_after(self.pipeline[0][0] if self.pipeline else self.running)
        if flawed is not None:
            flawed.disconnected = True
            flawed.message_event.set()
        # With an answer half out, a refusal would be read as a part of it.
        if refusal.message and not (flawed is not None and flawed.response_started):
            headers = self.server_state.default_headers
            self.transport.write(rendered(refusal, getattr(self, "url", b""), headers))
        self.phase = IN_BODY  # whatever it was: it goes on
        return self.transport.close()

    def _end_after(self, last: RequestResponseCycle) -> None:
        """Answers to good requests go out first. Meanwhile nothing is read."""
        last.keep_alive = False
        self.phase = IDLE
        self.flow.pause_reading()
        self.flow.held = True

    def linger(self) -> bool:
        """End our side and read on for a while: a close with bytes unread would take the answer back."""
        if self.phase == IDLE or self.raw.is_closing():
            return self.lingers
        if not self.lingers:
            self.lingers = True
            self.parser = DiscardingParser()
            self.phase, self.size = LEFTOVER, 0
            self.since = self.body_since = self.peers.now
            # The client gets an end of the answer; the connection stays open in the other direction until it has read
            # that.
            self.raw.write_eof()
            self.flow.held = False
            self.flow.resume_reading()
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.socket is not None:
            self.socket.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.socket is not None:
            self.socket.resume_writing()

    def shutdown(self) -> None:
        """The server stops: end what is not answering, and the rest with its answer."""
        if self.socket is not None:
            self.socket.shutdown()
        elif self.answers or self.pipeline:
            # uvicorn closes the connection behind the last answer.
            self.cycle.keep_alive = False
        else:
            self.raw.close()
