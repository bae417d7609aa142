"""What Lingma sends, as a client may read it: reasoning apart from text, calls and JSON parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never, cast

import msgspec

from bridge.chat.events import (
    ChatEvent,
    KeepAlive,
    LingmaToolCall,
    Overwritten,
    Piece,
    TextDelta,
    ThinkingDelta,
)
from bridge.reply.answer import Answer
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.delimiter_id import DelimiterIdFilter
from bridge.reply.emulated_calls import EmulatedCalls
from bridge.reply.forbidden_calls import ForbiddenCalls
from bridge.reply.headings import HeadingGuard
from bridge.reply.held_text import HeldText
from bridge.reply.portions import portions
from bridge.reply.read_options import ReadOptions
from bridge.reply.thinking import Piece as Part
from bridge.reply.thinking import ThinkingSplitter, Unopened

_FRONT = 400
"""Characters that a stream holds at its beginning where reasoning is wanted: it may have begun without a tag."""


class Reader:
    """A fold over one reply, or two when the first had to be corrected. `text` and `calls` are what was sent."""

    def __init__(self, options: ReadOptions, new_id: Callable[[], str], mark: str = "") -> None:
        """`mark` is the session's, which stands in the headings of its prompts."""
        # What each chunk asks for is set on the object: to find it on the class takes longer.
        self.taken_back = False
        """What was given out as text so far is void; whoever kept it resets this. Only where nothing is streamed."""
        self.is_over = False
        self._options = options
        self._mark = mark
        self._filter = DelimiterIdFilter(mark) if mark and options.thinking else None
        self._splitter = ThinkingSplitter()
        self._answer = Answer(options, new_id, mark)
        self._guard = HeadingGuard(mark) if mark and not self._answer.finds_headings else None
        # A reply that is not streamed can take its beginning back instead of holding it.
        self._front = HeldText() if options.stream and options.thinking else None
        self._find_short_way()
        self.calls = self._answer.output.calls
        """Id and `Tool.name` of each."""
        self._texts = self._answer.output.texts
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def arguments(self) -> str:
        """What calls were given, all in one."""
        return "".join(self._answer.output.arguments)

    @property
    def arguments_by_call(self) -> list[str]:
        return self._answer.output.arguments_by_call()

    @property
    def reasoning(self) -> str:
        """The reasoning so far, sent or not."""
        return "".join(self._reasoning)

    @property
    def is_text_only(self) -> bool:
        """No calls are looked for."""
        return self._answer.calls is None and self._answer.lingma_calls is None

    @property
    def has_left_role(self) -> bool:
        """The model went on as somebody else. That part is not sent, and its session must not be kept: it holds
        invented turns.
        """
        if self._guard is not None:
            return self._guard.ended
        calls = self._answer.calls
        return isinstance(calls, EmulatedCalls | ForbiddenCalls) and calls.has_left_role

    @property
    def waiting(self) -> bool:
        """A call waits for the client, and the service waits for its result: there is nothing more to read."""
        return self._answer.lingma_calls is not None and self._answer.lingma_calls.waiting

    @property
    def calls_wait(self) -> bool:
        return self.waiting or (self._answer.calls is not None and self._answer.calls.calls > 0)

    @property
    def has_called(self) -> bool:
        return isinstance(self._answer.calls, EmulatedCalls) and self._answer.calls.marked

    @property
    def cut_off(self) -> bool:
        """The reply ended in the middle of a call."""
        return self._answer.calls is not None and self._answer.calls.cut_off

    @property
    def correction(self) -> str:
        """After `end()`: what the model must be asked before this reply can be sent; "" for nothing."""
        if self._answer.is_text:
            return ""
        calls, structured = self._answer.calls, self._answer.structured
        of_calls = calls.correction if calls is not None else ""
        return of_calls or (structured.correction if structured is not None else "")

    @property
    def outcomes(self) -> dict[str, int]:
        """How calls fared, and JSON that was asked for."""
        if self._answer.is_text:
            return {}
        calls, structured = self._answer.calls, self._answer.structured
        of_calls = calls.outcomes if calls is not None else {}
        return {**of_calls, **(structured.outcomes if structured is not None else {})}

    def feed(self, pieces: list[Piece]) -> list[ChatEvent]:
        """The next pieces. Texts that came together are read as one; plain ones are sent as they came.

        The list is the reader's from now on.
        """
        if len(pieces) == 1 and type(first := pieces[0]) is TextDelta:  # as most come
            text = first.text
        else:
            texts = [piece.text for piece in pieces if type(piece) is TextDelta]
            if len(texts) < len(pieces):
                return self._feed_mixed(pieces)
            text = "".join(texts)
        events = self.read(text)
        return cast("list[ChatEvent]", pieces) if events is None else events  # all are texts, none needs a look

    def read(self, text: str) -> list[ChatEvent] | None:
        """The same for a text alone. None: it is sent as it is."""
        events: list[ChatEvent] = []
        # The splitter may find reasoning in the middle of a text, so it calls back; that is the slow way.
        if not self._splitter.passes(text):
            self._splitter.feed(text, _Parts(self, events))
        elif self._plain and (self._guard is None or self._guard.passes(text)):
            self._texts.append(text)
            return None
        elif self._plain_beside_calls is not None and (sent := self._plain_beside_calls.pass_on(text)) is not None:
            if not sent:
                return events
            self._texts.append(sent)
            return None if sent is text else [TextDelta(sent)]
        else:
            self._hold_front(text, events)
        # Only here: plain text can neither call a tool nor stray.
        self.is_over = self.waiting or self.has_left_role
        return events

    def _find_short_way(self) -> None:
        """How chunks that are nothing but text go: worked out once, so that `feed` needs one test for it."""
        is_free = self._front is None and not (self._filter is not None and self._filter.held)
        self._plain = is_free and self._answer.is_text
        self._plain_beside_calls = self._answer.emulated if is_free else None

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
        if not self._splitter.is_quick:
            self._splitter.end(_Parts(self, events))
        if self._filter is not None and self._filter.held:
            self._release_reasoning(events)
        if self._front is not None:
            self._release(events)
        if self._guard is not None and (held := self._guard.end()):
            self._answer.feed(held, events)
        yield from self._answer.ending(events)
        return events

    def best_effort(self) -> list[ChatEvent]:
        """The correction failed: return what can be sent all the same; empty for nothing."""
        return self._answer.best_effort()

    def retry(self) -> None:
        """The correction is being asked."""
        self._splitter = ThinkingSplitter()
        self._guard = HeadingGuard(self._mark) if self._guard is not None else None
        self.is_over = False
        self._answer.retry()

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
                self._answer.feed_call(piece, events)
            case Overwritten():
                self._overwrite(piece.text, events)
            case KeepAlive():
                events.append(piece)
            case _:
                assert_never(piece)

    def read_part(self, part: Part, events: list[ChatEvent]) -> None:
        """Text or reasoning, already separated."""
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
        answer = self._answer
        if answer.is_text:
            return False
        # What is held was fed to nobody yet, so nobody knows whether it ends inside of JSON.
        if self._front is not None and self._front.pieces:
            return self._probe().in_data
        return (answer.calls is not None and answer.calls.in_data) or (
            answer.structured is not None and answer.structured.in_data
        )

    def _probe(self) -> Reader:
        """What the text that is held at the beginning would do."""
        # A reader of its own, which is thrown away: it must not change the state of this one.
        probe = Reader(msgspec.structs.replace(self._options, thinking=False), str, self._mark)
        for text in self._front.pieces if self._front is not None else ():
            probe.read_part(TextDelta(text), [])
        return probe

    def _add_reasoning(self, part: ThinkingDelta, events: list[ChatEvent]) -> None:
        # Counted in any case: the model has spent tokens on it.
        self._reasoning.append(part.text)
        # Nothing may come between the pieces of a call.
        calls = self._answer.calls
        if not self._options.thinking or (calls is not None and calls.in_call):
            return
        if self._filter is not None:
            # A draft of a call holds the delimiter id; whoever knows that can have calls made of what the model quotes.
            part = ThinkingDelta(self._filter.feed(part.text))
            if self._filter.held:  # text must find it, so it takes the slow way until then
                self._find_short_way()
        if part.text:
            events.append(part)

    def _release_reasoning(self, events: list[ChatEvent]) -> None:
        """No more reasoning follows here: what may have become the delimiter id goes out."""
        if self._filter is None or not self._filter.held:
            return
        text, calls = self._filter.end(), self._answer.calls
        self._find_short_way()
        if text and not (calls is not None and calls.in_call):
            events.append(ThinkingDelta(text))

    def _hold_front(self, text: str, events: list[ChatEvent]) -> None:
        """Text of the answer, unless it is the beginning of what may prove to be reasoning."""
        if self._filter is not None and self._filter.held:
            self._release_reasoning(events)
        if self._front is None:
            self._add_answer(text, events)
            return
        self._front.pieces.append(text)
        self._front.size += len(text)
        if self._front.size > _FRONT:
            self._release(events)

    def _release(self, events: list[ChatEvent]) -> None:
        """Let go of the held beginning: it is no reasoning."""
        # None from here on: later text is never held again.
        front, self._front = self._front, None
        if front is not None:
            self._find_short_way()
            if front.pieces:
                self._add_answer("".join(front.pieces), events)

    def _was_reasoning(self, text: str, events: list[ChatEvent]) -> None:
        """All the text so far was reasoning. A stream that has sent it can only leave out the tag."""
        if not self._take_back(events):
            # The text before stays with the client, so a paragraph parts it from what follows.
            self._hold_front("\n\n", events)
            return
        self._front = None
        self._find_short_way()
        self._add_reasoning(ThinkingDelta(text), events)

    def _overwrite(self, text: str, events: list[ChatEvent]) -> None:
        """Lingma has begun anew. What a stream has sent stands, and the new text follows it."""
        self._release_reasoning(events)
        if self._take_back(events):
            self._splitter = ThinkingSplitter()
        elif text:
            text = f"\n\n{text}"
        self._splitter.feed(text, _Parts(self, events))

    def _take_back(self, events: list[ChatEvent]) -> bool:
        """Make the text so far void, if none of it was streamed."""
        # Nothing was sent yet where both are empty: then a stream can start anew too.
        if self._options.stream and (self._texts or self.calls):
            return False
        self.taken_back = not self._options.stream
        # In place: the caller holds this list.
        events[:] = [event for event in events if type(event) is not TextDelta]
        if self._front is not None:
            self._front = HeldText()
        self._guard = HeadingGuard(self._mark) if self._guard is not None else None
        self._answer.discard()
        return True

    def _add_answer(self, text: str, events: list[ChatEvent]) -> None:
        """Text of the answer, as far as the model speaks for itself."""
        self._answer.feed(text if self._guard is None else self._guard.feed(text), events)


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
