"""The answer of a reply, apart from its reasoning: read as text, calls or JSON, whatever was asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable

from bridge.chat.events import ChatEvent, LingmaToolCall
from bridge.reply.calls.pauses import Steps
from bridge.reply.emulated_calls import EmulatedCalls
from bridge.reply.forbidden_calls import ForbiddenCalls
from bridge.reply.forced_call import ForcedCallReader
from bridge.reply.lingma_calls import LingmaCalls
from bridge.reply.read_options import ReadOptions
from bridge.reply.reply_output import ReplyOutput
from bridge.reply.structured import Structured


class Answer:
    """Feed text and calls of Lingma's agent; what may be sent is appended to the caller's events."""

    # On the class: most answers are text, and each assignment less makes one cheaper.
    calls: EmulatedCalls | ForcedCallReader | ForbiddenCalls | None = None
    lingma_calls: LingmaCalls | None = None
    structured: Structured | None = None
    emulated: EmulatedCalls | None = None
    """Reads its text by itself; None where another reader stands before or behind it."""
    is_text = True
    """Its text is sent as it is."""
    finds_headings = False
    """It ends by itself where the model goes on as somebody else."""

    def __init__(self, options: ReadOptions, new_id: Callable[[], str], mark: str) -> None:
        if not options.is_text_only:
            self._look_for_more(options, new_id, mark)
        self.output = ReplyOutput(options.tools, self.structured)

    def _look_for_more(self, options: ReadOptions, new_id: Callable[[], str], mark: str) -> None:
        if options.offer is not None:
            self.calls = EmulatedCalls(options.offer, new_id)
        elif options.forced is not None:
            self.calls = ForcedCallReader(options.forced, new_id)
        elif options.calls_forbidden:
            self.calls = ForbiddenCalls(mark)
        if options.lingma_calls is not None:
            self.lingma_calls = LingmaCalls(
                options.lingma_calls, options.tools, new_id, forced=options.forced, parallel=options.parallel
            )
        if options.schema:
            self.structured = Structured(options.schema, stream=options.stream)
        self.emulated = self.calls if isinstance(self.calls, EmulatedCalls) and self.structured is None else None
        self.is_text = self.calls is None and self.structured is None
        self.finds_headings = isinstance(self.calls, EmulatedCalls | ForbiddenCalls)

    def feed(self, text: str, events: list[ChatEvent]) -> None:
        if not text:
            return
        if self.calls is not None:
            self.output.emit(self.calls.feed(text), events)
        elif self.structured is not None:
            self.output.add(self.structured.feed(text), events)
        else:
            self.output.add(text, events)

    def feed_call(self, call: LingmaToolCall, events: list[ChatEvent]) -> None:
        if isinstance(self.calls, ForcedCallReader):
            self.output.emit(self.calls.release(), events)
        if self.lingma_calls is not None:
            self.output.emit_lingma(self.lingma_calls.feed(call), events)

    def ending(self, events: list[ChatEvent]) -> Steps[None]:
        if isinstance(self.calls, EmulatedCalls):
            self.output.emit((yield from self.calls.ending()), events)
        elif self.calls is not None:
            self.output.emit(self.calls.end(), events)
        # One question at a time: a call that must be corrected goes first, the JSON is checked in the reply to that.
        if self.structured is not None and not (self.calls is not None and self.calls.correction):
            self.output.add((yield from self.structured.ending(called=bool(self.output.calls))), events)
        if self.lingma_calls is not None:
            self.output.emit_lingma(self.lingma_calls.end(), events)

    def best_effort(self) -> list[ChatEvent]:
        """The correction failed: return what can be sent all the same; empty for nothing."""
        events: list[ChatEvent] = []
        if isinstance(self.calls, EmulatedCalls):
            self.output.emit(self.calls.best_effort(), events)
        if self.structured is not None:
            self.output.add(self.structured.best_effort(), events)
        return events

    def retry(self) -> None:
        """The correction is being sent."""
        if self.calls is not None and self.calls.correction:
            self.calls.retry()
        elif self.calls is not None:
            self.calls.restart()
        if self.structured is not None:
            self.structured.retry()

    def discard(self) -> None:
        """Drop what came in this attempt, of which nothing was sent."""
        self.output.texts.clear()
        if self.calls is not None:
            self.calls.discard()
        if self.structured is not None:
            self.structured.discard()
