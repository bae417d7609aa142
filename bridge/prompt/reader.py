"""What the service sends, as the client may hear it: reasoning apart from text, calls read, service calls shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, assert_never, cast

import msgspec

from bridge.chat.events import (
    ChatEvent,
    KeepAlive,
    Piece,
    ServiceCall,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from bridge.chat.request import Tool
from bridge.prompt.emulation import Emulation, Offer
from bridge.prompt.fallback import ForcedAnswer
from bridge.prompt.headings import HeadingGuard
from bridge.prompt.muted import MutedCalls
from bridge.prompt.service_calls import ServiceCalls
from bridge.prompt.thinking import ThinkingSplitter

Shown = Literal["text", "omit", "calls"]


class ReadOptions(msgspec.Struct, frozen=True):
    """What is to be read out of a reply."""

    thinking: bool = False
    """Whether the client wants the reasoning."""
    offer: Offer | None = None
    """Tools the model was told of in the prompt."""
    muted: bool = False
    """The model was told of tools before, and may call none now."""
    service_calls: Shown | None = None
    """How calls of the service's own agent are shown; None: not at all."""
    tools: Sequence[Tool] = ()
    """The client's tools, offered or not: the service's agent may call them as well."""
    forced: Tool | None = None
    """The one of them that the service's agent must call."""
    parallel: bool = True
    """Whether the service's agent may call several of them at once."""
    forced_id: str = ""
    """Of a call that is made of its answer."""


class Reader:
    """A fold over one reply, or two when the first had to be corrected. `text` and `calls` are what was told."""

    def __init__(self, options: ReadOptions, new_id: Callable[[], str], mark: str = "") -> None:
        """`mark` is the session's, which stands in the headings of its prompts."""
        self._thinking = options.thinking
        self._splitter = ThinkingSplitter()
        self._emulation: Emulation | ForcedAnswer | MutedCalls | None = None
        if options.offer is not None:
            self._emulation = Emulation(options.offer, new_id)
        elif options.forced is not None:
            self._emulation = ForcedAnswer(options.forced, options.forced_id)
        elif options.muted:
            self._emulation = MutedCalls(mark)
        looks_itself = isinstance(self._emulation, Emulation | MutedCalls)
        self._guard = HeadingGuard(mark) if mark and not looks_itself else None
        self._service_calls: ServiceCalls | None = None
        if options.service_calls is not None:
            self._service_calls = ServiceCalls(
                options.service_calls, options.tools, new_id, forced=options.forced, parallel=options.parallel
            )
        self.calls: list[tuple[str, str]] = []
        """Id and `Tool.name` of each."""
        self._names = {(tool.namespace, tool.wire_name or tool.name): tool.name for tool in options.tools}
        self._text: list[str] = []
        self._arguments: list[str] = []
        self._thoughts: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far, without reasoning and calls."""
        return "".join(self._text)

    @property
    def arguments(self) -> str:
        """What calls were given, all in one."""
        return "".join(self._arguments)

    @property
    def thoughts(self) -> str:
        """The reasoning so far, told or not."""
        return "".join(self._thoughts)

    @property
    def is_text_only(self) -> bool:
        """No calls are looked for."""
        return self._emulation is None and self._service_calls is None

    @property
    def is_over(self) -> bool:
        """There is nothing more to read."""
        return self.waiting or self.has_strayed

    @property
    def has_strayed(self) -> bool:
        """The model has gone on as somebody else. It is not told, and its session holds what nobody said."""
        if self._guard is not None:
            return self._guard.ended
        return isinstance(self._emulation, Emulation | MutedCalls) and self._emulation.has_strayed

    @property
    def waiting(self) -> bool:
        """A call waits for the client, and the service waits for its result: there is nothing more to read."""
        return self._service_calls is not None and self._service_calls.waiting

    @property
    def calls_wait(self) -> bool:
        """The client has calls to run."""
        return self.waiting or (self._emulation is not None and self._emulation.calls > 0)

    @property
    def has_called(self) -> bool:
        """The model has called a tool between the session's marks."""
        return isinstance(self._emulation, Emulation) and self._emulation.marked

    @property
    def cut_off(self) -> bool:
        """The reply ended in the middle of a call."""
        return self._emulation is not None and self._emulation.cut_off

    @property
    def correction(self) -> str:
        """After `end()`: what the model must be asked before this reply can be told; "" for nothing."""
        return self._emulation.correction if self._emulation is not None else ""

    @property
    def outcomes(self) -> dict[str, int]:
        """How calls fared."""
        return {**self._emulation.outcomes} if self._emulation is not None else {}

    def feed(self, pieces: list[Piece]) -> list[ChatEvent]:
        """The next pieces. Texts that came together are read as one; plain ones are told as they came.

        The list is the reader's from now on.
        """
        texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
        events: list[ChatEvent] = []
        if len(texts) < len(pieces):
            for piece in pieces:
                self._read_one(piece, events)
            return events
        text = "".join(texts)
        if not self._splitter.passes(text):
            self._read(self._splitter.feed(text), events)
        elif self._guard is not None and not self._guard.passes(text):
            self._read_text(self._guard.feed(text), events)
        elif self._emulation is not None:
            self._tell(self._emulation.feed(text), events)
        else:
            self._text.append(text)
            events = cast("list[ChatEvent]", pieces)  # all are texts, none needs a look of its own
        return events

    def end(self) -> list[ChatEvent]:
        """The reply has ended: what was held back, unless it must be corrected."""
        events: list[ChatEvent] = []
        self._read(self._splitter.end(), events)
        if self._guard is not None:
            self._read_text(self._guard.end(), events)
        if self._emulation is not None:
            self._tell(self._emulation.end(), events)
        if self._service_calls is not None:
            self._tell(self._service_calls.end(), events)
        return events

    def settle(self) -> list[ChatEvent]:
        """The correction cannot be had: what can be told all the same; empty for nothing."""
        events: list[ChatEvent] = []
        if isinstance(self._emulation, Emulation):
            self._tell(self._emulation.settle(), events)
        return events

    def again(self) -> None:
        """The correction is being asked."""
        self._splitter = ThinkingSplitter()
        if self._emulation is not None:
            self._emulation.again()

    def _read_one(self, piece: Piece, events: list[ChatEvent]) -> None:
        match piece:
            case TextDelta():
                self._read(self._splitter.feed(piece.text), events)
            case ThinkingDelta():
                self._read([piece], events)
            case ServiceCall():
                if isinstance(self._emulation, ForcedAnswer):
                    self._tell(self._emulation.release(), events)
                if self._service_calls is not None:
                    self._tell(self._service_calls.feed(piece), events)
            case KeepAlive():
                events.append(piece)
            case _:
                assert_never(piece)

    def _read(self, parts: Iterable[TextDelta | ThinkingDelta], events: list[ChatEvent]) -> None:
        """Text and reasoning, already told apart."""
        for part in parts:
            if isinstance(part, ThinkingDelta):
                self._thoughts.append(part.text)
                if self._thinking and not self._in_call:
                    events.append(part)
            elif self._guard is not None:
                self._read_text(self._guard.feed(part.text), events)
            else:
                self._read_text(part.text, events)

    def _read_text(self, text: str, events: list[ChatEvent]) -> None:
        """Text that is the model's own."""
        if not text:
            return
        if self._emulation is not None:
            self._tell(self._emulation.feed(text), events)
        else:
            self._text.append(text)
            events.append(TextDelta(text))

    @property
    def _in_call(self) -> bool:
        """Nothing may come between the pieces of a call."""
        return self._emulation is not None and self._emulation.in_call

    def _tell(self, told: Iterable[ChatEvent], events: list[ChatEvent]) -> None:
        for event in told:
            if isinstance(event, TextDelta):
                self._text.append(event.text)
            elif isinstance(event, ToolCallDelta):
                self._arguments.append(event.text)
            elif isinstance(event, ToolCallStarted):
                self.calls.append((event.id, self._names.get((event.namespace, event.name), event.name)))
            events.append(event)
