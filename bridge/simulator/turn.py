"""One turn: the pushes from `chat/ask` to `chat/finish`, as a generator that rests between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import faults, obedient, personality, tools
from .ask import Ask, echo
from .knobs import TurnKnobs
from .quirks import Quirks
from .sessions import Record, Session
from .wheel import FAR, Job, Steps

if TYPE_CHECKING:
    from .peer import Peer
    from .service import Service

HIDDEN_PROMPT_TOKENS = 480  # a one-line question was seen to cost 495 prompt tokens
BURST = 16
THINK_FENCE = ("\n````think::{THINK_TIME}\n", "\n````\n")
THINK_TAGS = ("<think>", "</think>")
REASONS = {
    200: "success", 400: "bad request", 401: "not logged in", 403: "not authorized",
    406: "Session blocked, Please clear context try again", 408: "timeout", 418: "Unknown sse issue",
    429: "rate limit exceeded", 500: "internal error", 601: "content blocked",
}  # fmt: skip
encode = msgspec.json.Encoder().encode


class Turn:
    """A turn lives from `chat/ask` to its end, whether or not its client stays."""

    job: Job

    def __init__(self, service: Service, peer: Peer, ask: Ask, knobs: TurnKnobs, prompt: str) -> None:
        self.service, self.peer, self.ask, self.knobs, self.prompt = service, peer, ask, knobs, prompt
        self.told = prompt  # what stands after the plan, or all of it
        self.faults = faults.named(knobs.fault)
        self.quirks = Quirks.of(faults.wire_knobs(knobs, self.faults), websocket=peer.websocket)
        self.started_ms = service.chance.now_ms()
        self.sent: list[str] = []
        self.thought: list[str] = []
        self.tool_calls: list[tools.ToolCall] = []
        self.over = False
        self.model = service.model_of(ask.model)

    def enter(self, session: Session, *, new: bool) -> None:
        """Take a place in a session; from here on pushes can name it."""
        self.session, self.new_session = session, new
        ids = b'{"requestId":%b,"sessionId":%b' % (encode(self.ask.request_id), encode(session.session_id))
        self._ids = ids
        self._answer_head = b'%b,"%b":' % (ids, self.knobs.field.encode())
        self._answer_tail = b',"extra":{"sessionType":%b}}' % encode(self.ask.session_type)

    # -- pushes -------------------------------------------------------------------------------------------------
    def push(self, method: str, fields: dict[str, Any]) -> None:
        """A push with the two ids and these fields."""
        self.push_raw(method, self._ids + b"," + encode(fields)[1:])

    def push_raw(self, method: str, params: bytes) -> None:
        """A push with ready params."""
        self.peer.push(method.encode(), params, self.quirks)

    def say(self, text: str, *, overwrite: bool = False) -> None:
        """A delta."""
        self.sent.append(text)
        params = b'%b%b,"overwrite":%b,"isFiltered":false,"timestamp":%d%b' % (
            self._answer_head, encode(text), b"true" if overwrite else b"false", self.service.chance.now_ms(),
            self._answer_tail,
        )  # fmt: skip
        self.peer.push(b"chat/answer", params, self.quirks)

    def flush(self) -> None:
        """Let go of messages that wait to be merged."""
        self.peer.send_raw(self.quirks.release())

    # -- the course of a turn -----------------------------------------------------------------------------------
    def steps(self) -> Steps:
        """The whole course."""
        yield 0  # the result of chat/ask goes first
        if "interleave" in self.faults:
            yield from self._wait_for_partner()
        self._obey()
        self._prepare()
        yield self._first_rest()
        if self.knobs.think:
            yield from self._think()
        yield from tools.run(self)
        pieces = self._pieces()
        yield from self._stream(pieces[: self.knobs.after] if self.faults else pieces)
        if self.faults:
            goes_on = yield from faults.strike(self)
            if not goes_on:
                self.end_silently()
                return
            yield from self._stream(pieces[self.knobs.after :])
        if self.knobs.overwrite:
            self.sent.clear()
            self.say(self.knobs.overwrite, overwrite=True)
        yield from self._finish_steps(self.knobs.finish, self.knobs.reason)

    def refusal(self, code: int, reason: str) -> Steps:
        """A turn that fails before any text."""
        yield 0
        self.finish(code, reason)

    def cancellation(self) -> Steps:
        """What is left to do after chat/stop."""
        self.finish(200, "cancelled")
        yield from ()

    def cut(self) -> Steps:
        """F8: the text stops, and an end comes only if the script names a code."""
        if self.knobs.finish != 200:
            self.finish(self.knobs.finish, self.knobs.reason)
        else:
            self.end_silently()
        yield from ()

    def _wait_for_partner(self) -> Steps:
        partner, self.service.partner = self.service.partner, None
        if partner is None or partner.over:
            self.service.partner = self
            yield FAR
        else:
            self.service.wheel.wake(partner.job)
            yield 0

    def _obey(self) -> None:
        """Let the plan say what this turn thinks and writes, unless the turn was told itself."""
        if not self.knobs.plan and (self.knobs.text or self.knobs.echo or self.knobs.chunks):
            return
        done = obedient.perform(self.session.memory, self.ask.prompt, self.told, given=self.knobs.plan)
        if done is not None:
            think = done.think or self.knobs.think
            self.knobs = msgspec.structs.replace(self.knobs, text=done.text, think=think)

    def _prepare(self) -> None:
        if self.knobs.steps:
            for step in ("step_start", "step_end"):
                fields = {"step": step, "description": "", "status": "done", "result": None, "message": ""}
                self.push("chat/process_step_callback", fields)
        if self.new_session and self.knobs.title:
            title = {"sessionId": self.session.session_id, "sessionTitle": self.session.title}
            self.push_raw("session/title/update", encode(title))

    def _first_rest(self) -> float:
        first = self.knobs.first_ms
        if "slow_first" in self.faults and first < 0:
            return 5.0
        return (first if first >= 0 else self.service.chance.between(150, 300)) / 1000

    def _rest(self) -> float:
        delay = self.knobs.delay_ms
        return (delay if delay >= 0 else self.service.chance.between(20, 32)) / 1000

    def _stream(self, pieces: list[str]) -> Steps:
        delay, every = self.knobs.delay_ms / 1000, self.knobs.empty
        burst = 1 if self.faults else BURST
        for number, piece in enumerate(pieces, 1):
            self.say(piece)
            if every and number % every == 0:
                self.say("")
            if delay > 0:
                yield delay
            elif delay < 0:
                yield self._rest()
            elif number % burst == 0:
                yield 0

    def _think(self) -> Steps:
        text, style = self.knobs.think, self.knobs.think_style
        self.thought.append(text)
        if style != "push":
            opens, closes = THINK_FENCE if style == "fence" else THINK_TAGS
            yield from self._stream(personality.pieces(f"{opens}{text}{closes}", chunks=0, size=self.knobs.size))
            return
        for piece in personality.pieces(text, chunks=0, size=self.knobs.size):
            self._push_thought(piece, "start")
            yield self._rest()
        self._push_thought("", self.knobs.think_end)

    def _push_thought(self, text: str, step: str) -> None:
        fields = {"text": text, "step": step, "timestamp": self.service.chance.now_ms(), "extra": {}}
        self.push("chat/think", fields)

    def answer_text(self) -> str:
        """The whole answer, before it is cut into chunks."""
        knobs = self.knobs
        if knobs.text:
            return knobs.text
        if knobs.echo:
            return echo(self.ask, knobs.echo, self.prompt, [record.question for record in self.session.records])
        if knobs.chunks:
            return "".join(f"word{number:04d} " for number in range(knobs.chunks))
        images = sum(url in self.service.images for url in self.ask.image_urls)  # none that it was not given here
        return personality.answer(self.prompt, self.model, len(self.session.records) + 1, images)

    def _pieces(self) -> list[str]:
        text = self.answer_text()
        if self.knobs.full_answer == "only" or not self.ask.stream:
            self.sent.append(text)
            return []
        return personality.pieces(text, chunks=self.knobs.chunks, size=self.knobs.size)

    # -- the end ------------------------------------------------------------------------------------------------
    def _finish_steps(self, code: int, reason: str) -> Steps:
        self.finish(code, reason)
        yield from faults.afterwards(self)

    def finish(self, code: int, reason: str = "") -> None:
        """The one ending of a turn, its log lines included."""
        knobs, log = self.knobs, self.service.log
        if knobs.context_usage:
            self.push("context/usage/sync", {"usedTokens": sum(self.usage()), "limitTokens": 131072})
        if knobs.usage_line == "before":
            self._log_usage()
        self.push_finish(code, reason)
        self.flush()
        if self.tool_calls:
            tools.all_finished(self)
        if knobs.usage_line == "after":
            self.service.loop.call_later(knobs.usage_late_ms / 1000, self._log_usage)
        seconds = (self.service.chance.now_ms() - self.started_ms) / 1000
        log.write(f"finish chat answer requestId: {self.ask.request_id} cost: {seconds:.1f}s")
        self._remember()
        self.end_silently()

    def push_finish(self, code: int, reason: str = "", request_id: str = "") -> None:
        """`chat/finish` alone."""
        full = "" if self.knobs.full_answer == "empty" else "".join(self.sent)
        named = self.knobs.session
        fields = {
            "requestId": request_id or self.ask.request_id,
            "sessionId": self.service.chance.uuid() if named == "new" else named or self.session.session_id,
            "reason": reason or REASONS.get(code, "error"), "statusCode": code, "fullAnswer": full, "extra": None,
        }  # fmt: skip
        self.push_raw("chat/finish", encode(fields))

    def usage(self) -> tuple[int, int]:
        """(prompt, completion) tokens of this turn; the prompt includes what the session remembers."""
        if self.knobs.usage:
            prompt, _, completion = self.knobs.usage.partition(",")
            return int(prompt), int(completion or 0)
        prompt_tokens = HIDDEN_PROMPT_TOKENS + self.session.tokens + personality.tokens(self.ask.prompt)
        return prompt_tokens, personality.tokens("".join(self.thought + self.sent))

    def _log_usage(self) -> None:
        prompt, completion = self.usage()
        usage = {
            "completion_tokens": completion, "prompt_tokens": prompt, "request_id": self.ask.request_id,
            "total_tokens": prompt + completion,
        }  # fmt: skip
        self.service.log.write(f"[TOKEN_USAGE]: {encode(usage).decode()}")

    def _remember(self) -> None:
        now = self.service.chance.now_ms()
        answer = "".join(self.sent)
        reasoning = "".join(self.thought)
        record = Record(self.ask.request_id, self.prompt, answer, reasoning, self.started_ms, now)
        self.session.records.append(record)
        self.session.tokens += personality.tokens(self.ask.prompt) + personality.tokens(answer)
        self.session.modified = now
        self.service.sessions.save()

    def end_silently(self) -> None:
        """Be over without telling anybody."""
        self.over = True
        self.service.turn_over(self)
