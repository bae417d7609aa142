"""What the service sends, as the client may hear it: reasoning apart from text, calls and JSON read, calls shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, assert_never, cast

import msgspec

from bridge.chat.events import (
    ChatEvent,
    KeepAlive,
    LingmaToolCall,
    Overwritten,
    Piece,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.request import Tool
from bridge.prompt.tool_names import by_wire_name
from bridge.reply.call_assembly import ToolOffer
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.delimiter_id import DelimiterIdFilter
from bridge.reply.emulated_calls import EmulatedCalls
from bridge.reply.forbidden_calls import ForbiddenCalls
from bridge.reply.forced_call import ForcedCallReader
from bridge.reply.headings import HeadingGuard
from bridge.reply.integers import WholeNumbers, may_want_integers
from bridge.reply.lingma_calls import LingmaCalls
from bridge.reply.portions import portions
from bridge.reply.structured import Structured
from bridge.reply.thinking import Piece as Part
from bridge.reply.thinking import ThinkingSplitter, Unopened

CallDisplay = Literal["text", "omit", "calls"]
_FRONT = 400
"""Characters that a stream holds at its beginning where reasoning is wanted: it may have begun without a tag."""


class ReadOptions(msgspec.Struct, frozen=True):
    """What is to be read out of a reply."""

    thinking: bool = False
    offer: ToolOffer | None = None
    """Tools the model was told of in the prompt."""
    calls_forbidden: bool = False
    """The model was told of tools before, and may call none now."""
    lingma_calls: CallDisplay | None = None
    """How calls of the service's own agent are shown; None: not at all."""
    tools: Sequence[Tool] = ()
    """The client's tools, offered or not: the service's agent may call them as well."""
    forced: Tool | None = None
    """The one of them that the service's agent must call."""
    parallel: bool = True
    """Whether the service's agent may call several of them at once."""
    schema: bytes = b""
    """JSON schema of the reply; empty: it need not be JSON."""
    stream: bool = True
    """Whether the client sees the reply as it comes; otherwise all of it can be taken back to its end."""


class Reader:
    """A fold over one reply, or two when the first had to be corrected. `text` and `calls` are what was told."""

    # On the class: they are set for few replies, and each assignment less makes a reader cheaper.
    _front_size = 0
    _corrected = False
    _numbers: WholeNumbers | None = None
    _reasoning_held = False

    def __init__(self, options: ReadOptions, new_id: Callable[[], str], mark: str = "") -> None:
        """`mark` is the session's, which stands in the headings of its prompts."""
        # What each chunk asks for is set on the object: to find it on the class takes longer.
        self.taken_back = False
        """What was given out as text so far is void; whoever kept it resets this. Only where nothing is streamed."""
        self.is_over = False
        self._emulation: EmulatedCalls | ForcedCallReader | ForbiddenCalls | None = None
        self._lingma_calls: LingmaCalls | None = None
        self._structured: Structured | None = None
        self._front: list[str] | None = None
        self._options = options
        self._session_mark = mark
        self._thinking = options.thinking
        self._filter = DelimiterIdFilter(mark) if mark and options.thinking else None
        self._splitter = ThinkingSplitter()
        if options.offer is not None:
            self._emulation = EmulatedCalls(options.offer, new_id)
        elif options.forced is not None:
            self._emulation = ForcedCallReader(options.forced, new_id)
        elif options.calls_forbidden:
            self._emulation = ForbiddenCalls(mark)
        # Those two look for headings themselves.
        self._mark = "" if isinstance(self._emulation, EmulatedCalls | ForbiddenCalls) else mark
        self._guard = HeadingGuard(self._mark) if self._mark else None
        if options.lingma_calls is not None:
            self._lingma_calls = LingmaCalls(
                options.lingma_calls, options.tools, new_id, forced=options.forced, parallel=options.parallel
            )
        if options.schema:
            self._structured = Structured(options.schema, stream=options.stream)
        self._stream = options.stream
        # A reply that is not streamed can take its beginning back instead of holding it.
        if options.stream and options.thinking:
            self._front = []
        # Worked out once: `feed` then needs one test to send a chunk on as it is.
        self._plain = self._emulation is None and self._structured is None and self._front is None
        self.calls: list[tuple[str, str]] = []
        """Id and `Tool.name` of each."""
        self._tools = options.tools
        self._text: list[str] = []
        self._arguments: list[str] = []
        self._first: list[int] = []  # where among them those of each call begin
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def arguments(self) -> str:
        """What calls were given, all in one."""
        return "".join(self._arguments)

    @property
    def arguments_by_call(self) -> list[str]:
        # Pieces of all calls in one list: joined only once, at the end.
        ends = [*self._first[1:], len(self._arguments)]
        return ["".join(self._arguments[first:end]) for first, end in zip(self._first, ends, strict=False)]

    @property
    def reasoning(self) -> str:
        """The reasoning so far, sent or not."""
        return "".join(self._reasoning)

    @property
    def is_text_only(self) -> bool:
        """No calls are looked for."""
        return self._emulation is None and self._lingma_calls is None

    @property
    def has_left_role(self) -> bool:
        """The model went on as somebody else. That part is not sent, and its session must not be kept: it holds
        invented turns.
        """
        if self._guard is not None:
            return self._guard.ended
        return isinstance(self._emulation, EmulatedCalls | ForbiddenCalls) and self._emulation.has_left_role

    @property
    def waiting(self) -> bool:
        """A call waits for the client, and the service waits for its result: there is nothing more to read."""
        return self._lingma_calls is not None and self._lingma_calls.waiting

    @property
    def calls_wait(self) -> bool:
        return self.waiting or (self._emulation is not None and self._emulation.calls > 0)

    @property
    def has_called(self) -> bool:
        return isinstance(self._emulation, EmulatedCalls) and self._emulation.marked

    @property
    def cut_off(self) -> bool:
        """The reply ended in the middle of a call."""
        return self._emulation is not None and self._emulation.cut_off

    @property
    def correction(self) -> str:
        """After `end()`: what the model must be asked before this reply can be told; "" for nothing."""
        of_calls = self._emulation.correction if self._emulation is not None else ""
        return of_calls or (self._structured.correction if self._structured is not None else "")

    @property
    def outcomes(self) -> dict[str, int]:
        """How calls fared, and JSON that was asked for."""
        calls = self._emulation.outcomes if self._emulation is not None else {}
        return {**calls, **(self._structured.outcomes if self._structured is not None else {})}

    def feed(self, pieces: list[Piece]) -> list[ChatEvent]:
        """The next pieces. Texts that came together are read as one; plain ones are told as they came.

        The list is the reader's from now on.
        """
        if len(pieces) == 1 and type(first := pieces[0]) is TextDelta:  # as most come
            text = first.text
        else:
            texts = [piece.text for piece in pieces if type(piece) is TextDelta]
            if len(texts) < len(pieces):
                return self._feed_mixed(pieces)
            text = "".join(texts)
        events: list[ChatEvent] = []
        # The splitter may find reasoning in the middle of a text, so it calls back; that is the slow way.
        if not self._splitter.passes(text):
            self._splitter.feed(text, _Parts(self, events))
        elif self._plain and (self._guard is None or self._guard.passes(text)):
            self._text.append(text)
            return cast("list[ChatEvent]", pieces)  # all are texts, none needs a look of its own
        else:
            self._hold_front(text, events)
        # Only here: plain text can neither call a tool nor stray.
        self.is_over = self.waiting or self.has_left_role
        return events

    def feeding(self, pieces: list[Piece]) -> Steps[list[ChatEvent]]:
        events: list[ChatEvent] = []
        taken_back = False
        # A flag for each portion would be lost with the next one, so it is gathered here.
        for portion in portions(pieces):
            new = self.feed(portion)
            if self.taken_back:
                events = [event for event in events if type(event) is not TextDelta]
                taken_back, self.taken_back = True, False
            events += new
            if self.is_over:
                break
            yield
        self.taken_back = taken_back
        return events

    def _feed_mixed(self, pieces: list[Piece]) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        for piece in pieces:
            self._read_one(piece, events)
        self.is_over = self.waiting or self.has_left_role
        return events

    def end(self) -> list[ChatEvent]:
        """The reply has ended: what was held back, unless it must be corrected."""
        return at_once(self.ending())

    def ending(self) -> Steps[list[ChatEvent]]:
        """The same in steps."""
        events: list[ChatEvent] = []
        self._splitter.end(_Parts(self, events))
        self._release_reasoning(events)
        self._release(events)
        if self._guard is not None:
            self._add_own(self._guard.end(), events)
        if isinstance(self._emulation, EmulatedCalls):
            self._emit((yield from self._emulation.ending()), events)
        elif self._emulation is not None:
            self._emit(self._emulation.end(), events)
        # One question at a time: a call that must be corrected goes first, the JSON is judged in the reply to that.
        if self._structured is not None and not (self._emulation is not None and self._emulation.correction):
            self._add((yield from self._structured.ending(called=bool(self.calls))), events)
        if self._lingma_calls is not None:
            self._emit_lingma(self._lingma_calls.end(), events)
        return events

    def best_effort(self) -> list[ChatEvent]:
        """The correction failed: return what can be sent all the same; empty for nothing."""
        events: list[ChatEvent] = []
        if isinstance(self._emulation, EmulatedCalls):
            self._emit(self._emulation.best_effort(), events)
        if self._structured is not None and self._corrected:
            self._add(self._structured.best_effort() or self._structured.release(), events)
        return events

    def retry(self) -> None:
        """The correction is being asked."""
        self._splitter = ThinkingSplitter()
        self._guard = HeadingGuard(self._mark) if self._mark else None
        self._corrected = True
        self.is_over = False
        if self._emulation is not None and self._emulation.correction:
            self._emulation.retry()
        elif self._emulation is not None:
            self._emulation.restart()
        if self._structured is not None:
            self._structured.retry()

    def _read_one(self, piece: Piece, events: list[ChatEvent]) -> None:
        match piece:
            case TextDelta():
                self._splitter.feed(piece.text, _Parts(self, events))
            case ThinkingDelta():
                self.read_part(piece, events)
            # A call parts what stands before it from what follows, so held text has to go out first.
            case LingmaToolCall():
                self._release_reasoning(events)
                self._release(events)
                if isinstance(self._emulation, ForcedCallReader):
                    self._emit(self._emulation.release(), events)
                if self._lingma_calls is not None:
                    self._emit_lingma(self._lingma_calls.feed(piece), events)
            case Overwritten():
                self._overwrite(piece.text, events)
            case KeepAlive():
                events.append(piece)
            case _:
                assert_never(piece)

    def read_part(self, part: Part, events: list[ChatEvent]) -> None:
        """Text or reasoning, already told apart."""
        if isinstance(part, TextDelta):
            self._hold_front(part.text, events)
        elif isinstance(part, Unopened):
            self._was_reasoning(part.text, events)
        else:
            self._release(events)
            self._add_reasoning(part, events)

    @property
    def in_data(self) -> bool:
        """What comes next stands inside a call or inside the JSON that was asked for, so it is neither's reasoning."""
        if self._emulation is None and self._structured is None:
            return False
        # What is held was fed to nobody yet, so nobody knows whether it ends inside of JSON.
        if self._front:
            return self._probe().in_data
        return (self._emulation is not None and self._emulation.in_data) or (
            self._structured is not None and self._structured.in_data
        )

    def _probe(self) -> Reader:
        """What the text that is held at the beginning would do."""
        # A reader of its own, which is thrown away: it must not change the state of this one.
        probe = Reader(msgspec.structs.replace(self._options, thinking=False), str, self._session_mark)
        for text in self._front or ():
            probe.read_part(TextDelta(text), [])
        return probe

    def _add_reasoning(self, part: ThinkingDelta, events: list[ChatEvent]) -> None:
        # Counted in any case: the model has spent tokens on it.
        self._reasoning.append(part.text)
        if not self._thinking or self._in_call:
            return
        if self._filter is not None:
            # A draft of a call holds the delimiter id; whoever knows that can have calls made of what the model quotes.
            part = ThinkingDelta(self._filter.feed(part.text))
            if self._filter.held:  # text must find it, so it takes the slow way until then
                self._reasoning_held, self._plain = True, False
        if part.text:
            events.append(part)

    def _release_reasoning(self, events: list[ChatEvent]) -> None:
        """No more reasoning follows here: what may have become the delimiter id goes out."""
        if not self._reasoning_held or self._filter is None:
            return
        self._reasoning_held = False
        self._plain = self._emulation is None and self._structured is None and self._front is None
        if (text := self._filter.end()) and not self._in_call:
            events.append(ThinkingDelta(text))

    @property
    def _in_call(self) -> bool:
        """Nothing may come between the pieces of a call."""
        return self._emulation is not None and self._emulation.in_call

    # -- text that may be something else --------------------------------------------------------------------------

    def _hold_front(self, text: str, events: list[ChatEvent]) -> None:
        """Text of the answer, unless it is the beginning of what may prove to be reasoning."""
        if self._reasoning_held:
            self._release_reasoning(events)
        if self._front is None:
            self._add_answer(text, events)
            return
        self._front.append(text)
        self._front_size += len(text)
        if self._front_size > _FRONT:
            self._release(events)

    def _release(self, events: list[ChatEvent]) -> None:
        """Let go of the held beginning: it is no reasoning."""
        # None from here on: later text is never held again.
        front, self._front = self._front, None
        if front is not None:
            self._plain = self._emulation is None and self._structured is None
            if front:
                self._add_answer("".join(front), events)

    def _was_reasoning(self, text: str, events: list[ChatEvent]) -> None:
        """All the text so far was reasoning. A stream that has told it can only leave out the tag."""
        if not self._take_back(events):
            # The text before stays with the client, so a paragraph parts it from what follows.
            self._hold_front("\n\n", events)
            return
        self._front = None
        self._plain = self._emulation is None and self._structured is None
        self._add_reasoning(ThinkingDelta(text), events)

    def _overwrite(self, text: str, events: list[ChatEvent]) -> None:
        """The service has begun anew. What a stream has told stands, and the new text follows it."""
        self._release_reasoning(events)
        if self._take_back(events):
            self._splitter = ThinkingSplitter()
        elif text:
            text = f"\n\n{text}"
        self._splitter.feed(text, _Parts(self, events))

    def _take_back(self, events: list[ChatEvent]) -> bool:
        """Make the text so far void, if none of it was streamed."""
        # Nothing was sent yet where both are empty: then a stream can start anew too.
        if self._stream and (self._text or self.calls):
            return False
        self.taken_back = not self._stream
        # In place: the caller holds this list.
        events[:] = [event for event in events if type(event) is not TextDelta]
        self._text.clear()
        if self._front is not None:
            self._front, self._front_size = [], 0
        self._guard = HeadingGuard(self._mark) if self._mark else None
        if self._emulation is not None:
            self._emulation.discard()
        if self._structured is not None:
            self._structured.discard()
        return True

    # -- what is told ---------------------------------------------------------------------------------------------

    def _add_answer(self, text: str, events: list[ChatEvent]) -> None:
        """Text of the answer, as far as the model speaks for itself."""
        self._add_own(text if self._guard is None else self._guard.feed(text), events)

    def _add_own(self, text: str, events: list[ChatEvent]) -> None:
        if not text:
            return
        if self._emulation is not None:
            self._emit(self._emulation.feed(text), events)
        elif self._structured is not None:
            self._add(self._structured.feed(text), events)
        else:
            self._add(text, events)

    def _add(self, text: str, events: list[ChatEvent]) -> None:
        if text:
            self._text.append(text)
            events.append(TextDelta(text))

    def _emit(self, new: Iterable[ChatEvent], events: list[ChatEvent]) -> None:
        for event in new:
            if not isinstance(event, TextDelta):
                self._emit_call(event, events)
            elif self._structured is not None:
                self._add(self._structured.feed(event.text), events)
            else:
                self._text.append(event.text)
                events.append(event)

    def _emit_lingma(self, new: Iterable[ChatEvent], events: list[ChatEvent]) -> None:
        """Where JSON is asked for, words about calls would break it."""
        for event in new:
            if not isinstance(event, TextDelta):
                self._emit_call(event, events)
            elif self._structured is None:
                self._text.append(event.text)
                events.append(event)

    def _emit_call(self, event: ChatEvent, events: list[ChatEvent]) -> None:
        match event:
            case ToolCallStarted():
                if self._structured is not None:
                    self._add(self._structured.release(), events)
                # Calls come as the client knows them; sessions and schemas go by the tool's own name.
                tool = by_wire_name(self._tools).get((event.namespace, event.name))
                # None where the schema has no integers: then arguments pass without a reader.
                self._numbers = WholeNumbers(tool.schema) if tool is not None and may_want_integers(tool) else None
                self._first.append(len(self._arguments))
                self.calls.append((event.id, tool.name if tool is not None else event.name))
            case ToolCallDelta():
                self._emit_arguments(event, events)
                return
            # A number at the end of the arguments was held, as digits could have followed.
            case ToolCallEnded() if self._numbers is not None:
                if rest := self._numbers.end():
                    self._arguments.append(rest)
                    events.append(ToolCallDelta(rest))
                self._numbers = None
        events.append(event)

    def _emit_arguments(self, event: ToolCallDelta, events: list[ChatEvent]) -> None:
        if self._numbers is not None:
            event = ToolCallDelta(self._numbers.feed(event.text))
        if event.text:
            self._arguments.append(event.text)
            events.append(event)


class _Parts:
    """Where the splitter puts its pieces: each is read before the next marker is looked at."""

    __slots__ = ("_events", "_reader")

    def __init__(self, reader: Reader, events: list[ChatEvent]) -> None:
        self._reader = reader
        self._events = events

    def append(self, part: Part) -> None:
        """See `thinking.Parts`."""
        self._reader.read_part(part, self._events)

    @property
    def in_data(self) -> bool:
        """See `thinking.Parts`."""
        return self._reader.in_data
