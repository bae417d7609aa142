"""What was sent of a reply: its text and its calls, with integers written as integers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.chat.events import ChatEvent, TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.prompt.tool_names import by_wire_name
from bridge.reply.integers import WholeNumbers, may_want_integers
from bridge.reply.structured import Structured


class ReplyOutput:
    """Appends to the events of a caller, and remembers what it appended."""

    # On the class: set for calls only, and each assignment less makes a reader cheaper.
    _numbers: WholeNumbers | None = None

    def __init__(self, tools: Sequence[Tool], structured: Structured | None) -> None:
        self.texts: list[str] = []
        self.calls: list[tuple[str, str]] = []
        """Id and `Tool.name` of each."""
        self.arguments: list[str] = []
        """Pieces of all calls in one list: joined only once, at the end."""
        self._first: list[int] = []  # where among them those of each call begin
        self._tools = tools
        self._structured = structured

    def arguments_by_call(self) -> list[str]:
        if not self._first:
            return []
        ends = [*self._first[1:], len(self.arguments)]
        return ["".join(self.arguments[first:end]) for first, end in zip(self._first, ends, strict=False)]

    def add(self, text: str, events: list[ChatEvent]) -> None:
        if text:
            self.texts.append(text)
            events.append(TextDelta(text))

    def emit(self, new: Iterable[ChatEvent], events: list[ChatEvent]) -> None:
        for event in new:
            if not isinstance(event, TextDelta):
                self._emit_call(event, events)
            elif self._structured is not None:
                self.add(self._structured.feed(event.text), events)
            else:
                self.texts.append(event.text)
                events.append(event)

    def emit_lingma(self, new: Iterable[ChatEvent], events: list[ChatEvent]) -> None:
        """Calls of Lingma's own agent. Where JSON is asked for, words about them would break it."""
        for event in new:
            if not isinstance(event, TextDelta):
                self._emit_call(event, events)
            elif self._structured is None:
                self.texts.append(event.text)
                events.append(event)

    def _emit_call(self, event: ChatEvent, events: list[ChatEvent]) -> None:
        match event:
            case ToolCallStarted():
                if self._structured is not None:
                    self.add(self._structured.release(), events)
                # Calls come as the client knows them; sessions and schemas go by the tool's own name.
                tool = by_wire_name(self._tools).get((event.namespace, event.name))
                # None where the schema has no integers: then arguments pass without a reader.
                self._numbers = WholeNumbers(tool.schema) if tool is not None and may_want_integers(tool) else None
                self._first.append(len(self.arguments))
                self.calls.append((event.id, tool.name if tool is not None else event.name))
            case ToolCallDelta():
                self._emit_arguments(event, events)
                return
            # A number at the end of the arguments was held, as digits could have followed.
            case ToolCallEnded() if self._numbers is not None:
                if rest := self._numbers.end():
                    self.arguments.append(rest)
                    events.append(ToolCallDelta(rest))
                self._numbers = None
        events.append(event)

    def _emit_arguments(self, event: ToolCallDelta, events: list[ChatEvent]) -> None:
        if self._numbers is not None:
            event = ToolCallDelta(self._numbers.feed(event.text))
        if event.text:
            self.arguments.append(event.text)
            events.append(event)
