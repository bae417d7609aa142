"""The stop sequences and the token limit of a request, applied to the events of its reply."""

from __future__ import annotations

from bridge.chat.cut import Cutter
from bridge.chat.events import ChatEvent, KeepAlive, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from bridge.chat.request import ChatRequest
from bridge.turn.output import Batch


class ReplyLimits:
    """`apply()` it to each batch, `rest()` at the end. Only for requests that have limits: others pay nothing."""

    def __init__(self, request: ChatRequest) -> None:
        self.cutter = Cutter(request.stop, request.max_tokens)
        """Its `reason` is set when a limit is reached: then nothing more may be sent."""
        # What is within the limits, and so has been sent.
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[str] = []
        """Names and arguments."""
        self.calls_begun = 0
        self._request = request

    def apply(self, events: Batch) -> Batch:
        """The events without what is beyond the limits."""
        batch: Batch = []
        cutter = self.cutter
        for event in events:
            if not isinstance(event, TextDelta):
                # Before anything but text the held end of it goes out, or the order would change.
                batch += [] if isinstance(event, KeepAlive) else self.rest()
                if not cutter.reason and (within := self._within(event)) is not None:
                    batch.append(within)
            elif text := cutter.feed(event.text):
                self.text.append(text)
                batch.append(TextDelta(text))
            if cutter.reason:
                break
        return batch

    def rest(self) -> Batch:
        """The text that is held back, when something else than text comes next."""
        if self.cutter.reason or not (rest := self.cutter.rest()):
            return []
        self.text.append(rest)
        return [TextDelta(rest)]

    def discard_text(self) -> None:
        """The text so far is void. The limits hold for what the client gets, so counting starts anew."""
        self.cutter = Cutter(self._request.stop, self._request.max_tokens)
        self.text.clear()
        self.cutter.spend("".join(self.reasoning))  # reasoning stays

    def _within(self, event: ChatEvent) -> ChatEvent | None:
        """The event, cut to the limits; None if it is beyond them. Not for text."""
        match event:
            case ThinkingDelta():
                if not (text := self.cutter.thought(event.text)):
                    return None
                self.reasoning.append(text)
                return ThinkingDelta(text)
            case ToolCallStarted():
                if not self.cutter.call(event.name):
                    return None
                self.calls_begun += 1
                self.calls.append(event.name)
            case ToolCallDelta():
                # A call that has begun is sent to its end, whatever it costs.
                self.cutter.spend(event.text)
                self.calls.append(event.text)
        return event
