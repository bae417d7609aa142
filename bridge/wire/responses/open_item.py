"""An output item while it is streamed: what is sent when it opens, before each delta, and when it closes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from bridge.chat.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from bridge.wire.responses import output_items as items
from bridge.wire.responses.output_items import Item, Status

SentEvents = list[tuple[str, dict[str, Any]]]
"""Names of events and what they say beside type and number."""


class OpenItem(ABC):
    """The item at `index` of the output. It is closed before the next one opens."""

    delta_kind: ClassVar[type[TextDelta | ThinkingDelta | ToolCallDelta]]
    made: ToolCallStarted | None = None
    """The call, if it is one."""

    def __init__(self, id_: str, index: int) -> None:
        self.index = index
        self.id = id_
        self.at: dict[str, Any] = {"item_id": id_, "output_index": index}

    @abstractmethod
    def begun(self) -> Item:
        """The item as it is announced, still empty."""

    @abstractmethod
    def done(self, text: str, status: Status) -> Item:
        """The item with all that was sent of it."""

    def opening(self) -> SentEvents:
        """The events after the announcement; most items have none."""
        return []

    @abstractmethod
    def delta(self) -> str:
        """The name of the event that has a piece."""

    @abstractmethod
    def closing(self, text: str, status: Status) -> SentEvents:
        """The events before the item's last one."""

    def before_delta(self) -> bytes:
        """All of a delta's event up to its number."""
        name = self.delta().encode()
        # The braces go, since the members stand inside the event's own object.
        at = msgspec.json.encode(self.at).removeprefix(b"{").removesuffix(b"}")
        return b'event: %b\ndata: {"type":"%b",%b,"sequence_number":' % (name, name, at)


class _Message(OpenItem):
    """The answer's text, as the one part of a message."""

    delta_kind = TextDelta

    def __init__(self, id_: str, index: int) -> None:
        super().__init__(id_, index)
        self._part = {**self.at, "content_index": 0}
        # OpenAI's schema of these events requires `logprobs`, so the empty list has to be there.
        self.at = {**self._part, "logprobs": []}

    def begun(self) -> Item:
        return items.message(self.id, "in_progress")

    def done(self, text: str, status: Status) -> Item:
        return items.message(self.id, status, text)

    def opening(self) -> SentEvents:
        return [("response.content_part.added", {**self._part, "part": items.text_part("")})]

    def delta(self) -> str:
        return "response.output_text.delta"

    def closing(self, text: str, status: Status) -> SentEvents:
        return [
            ("response.output_text.done", {**self.at, "text": text}),
            ("response.content_part.done", {**self._part, "part": items.text_part(text)}),
        ]


class _Reasoning(OpenItem):
    """Thinking, sent as a summary of itself: that is what clients show."""

    delta_kind = ThinkingDelta

    def __init__(self, id_: str, index: int, *, sealed: bool) -> None:
        super().__init__(id_, index)
        # One summary per item: the index never moves.
        self.at["summary_index"] = 0
        self._sealed = sealed

    def begun(self) -> Item:
        return items.reasoning(self.id, "in_progress")

    def done(self, text: str, status: Status) -> Item:
        return items.reasoning(self.id, status, text, sealed=self._sealed)

    def opening(self) -> SentEvents:
        return [("response.reasoning_summary_part.added", {**self.at, "part": items.summary_part("")})]

    def delta(self) -> str:
        return "response.reasoning_summary_text.delta"

    def closing(self, text: str, status: Status) -> SentEvents:
        return [
            ("response.reasoning_summary_text.done", {**self.at, "text": text}),
            ("response.reasoning_summary_part.done", {**self.at, "part": items.summary_part(text)}),
        ]


class _Call(OpenItem):
    """A call of a function, or of a custom tool."""

    delta_kind = ToolCallDelta

    def __init__(self, id_: str, index: int, made: ToolCallStarted) -> None:
        super().__init__(id_, index)
        self.made = self._made = made

    def begun(self) -> Item:
        return items.call(self.id, "in_progress", self._made, "")

    def done(self, text: str, status: Status) -> Item:
        return items.call(self.id, status, self._made, text)

    def delta(self) -> str:
        return (
            "response.custom_tool_call_input.delta" if self._made.custom else "response.function_call_arguments.delta"
        )

    def closing(self, text: str, status: Status) -> SentEvents:
        """Arguments that were cut off are never called done."""
        if status != "completed":
            return []
        if self._made.custom:
            return [("response.custom_tool_call_input.done", {**self.at, "input": text})]
        return [("response.function_call_arguments.done", {**self.at, "arguments": text, "name": self._made.name})]


def open_message(request_id: str, index: int) -> OpenItem:
    return _Message(items.item_id("msg", request_id, index), index)


def open_reasoning(request_id: str, index: int, *, sealed: bool) -> OpenItem:
    return _Reasoning(items.item_id("rs", request_id, index), index, sealed=sealed)


def open_call(request_id: str, index: int, made: ToolCallStarted) -> OpenItem:
    return _Call(items.item_id(items.call_prefix(made), request_id, index), index, made)
