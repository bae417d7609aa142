"""Tool calls that a model writes into its text, found while the text arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bridge.chat.events import TextDelta
from bridge.chat.request import Tool
from bridge.prompt.tool_names import ToolNames
from bridge.reply.calls.delimiters import FENCE, MORE, UNMARKED, Marks, fence_body
from bridge.reply.calls.marked import CallEvent, MarkedCalls, whole_calls
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.guesses import Guesses, Outcome
from bridge.reply.sent_text import SentText

# What is left of a text is copied at each marker in it; in pieces the cost stays linear.
_AT_ONCE = 4096
_PIECES = 2  # that are read of what turned out to be text, with each piece that comes
_MOST_GUESSES = 64  # that turn out to be none, in one reply


class CallRules(msgspec.Struct, frozen=True):
    """What counts in a reply beside the session's marks."""

    guesses: bool = True
    """Calls in a notation of the model's own may count."""
    texts: Callable[[], Iterable[str]] = tuple
    """What the request says: a call that stands there is not the model's own."""
    headings: tuple[str, ...] = ()
    """What headings of the session's prompts begin with: behind one the model plays somebody else's part."""


class CallParser:
    """
    Feed the text of a reply, get text and calls. How the text is cut into pieces makes no difference to the events.

    Text goes through at once but for what may be the beginning of a call and white space that may stand before one.
    A call between the session's marks is one wherever it stands: its start is sent when its tool and the beginning of
    its arguments are known, then the arguments as they come. When they break off, `cut_off` is set; when they go on as
    something that is no JSON, a `BrokenArguments` comes and the rest is sent unchanged. A call in another notation is
    held until the reply has ended.
    No input raises, and no more is held than `block` and `guesses` allow.
    """

    def __init__(
        self, delimiter_id: str, tools: Sequence[Tool], new_id: Callable[[], str], rules: CallRules | None = None
    ) -> None:
        self.left_role = False
        """The model has gone on as somebody else: the reply is over."""
        self._rules = rules or CallRules()
        self._marks = Marks(delimiter_id)
        self._new_id = new_id
        self._headings = self._rules.headings
        names = ToolNames(tools)
        most = _MOST_GUESSES if self._rules.guesses else 0
        self._guesses = Guesses(most, self._marks.opener, names.find_by_spelling, self._rules.texts)
        # The state is the function that reads on: unbound, because a bound method would be a cycle, which only the
        # garbage collector ends.
        self._mode = CallParser._text
        self._plain = False
        self._held = ""
        self._rest = ""
        self._sent = SentText()
        self._marked = MarkedCalls(self._marks, names, new_id, self._sent)

    @property
    def marked(self) -> bool:
        """At least one call stood between the session's marks."""
        return self._marked.marked

    @property
    def in_data(self) -> bool:
        """What comes next belongs to a call, whatever it looks like."""
        if self._mode == CallParser._in_marked:
            return self._marked.in_data
        guess = self._guesses.current
        return self._mode == CallParser._hold and guess is not None and guess.is_open

    @property
    def cut_off(self) -> bool:
        """The reply ended inside a call of which something had been sent."""
        return self._marked.cut_off

    def pass_on(self, text: str) -> str | None:
        """What may be sent of a text in which nothing begins, "" for nothing yet. None: feed it."""
        # The fast way for nearly every chunk: nothing is held, and no character in it begins anything.
        if not self._plain or "<" in text or "`" in text or "[" in text or not text:
            return None
        # No white space is held and none has to be, so the text goes through as it is.
        if text[-1] > " " and not self._sent.space:
            self._sent.pieces.append(text)
            return text
        return self._sent.pass_on(text)

    def feed(self, text: str) -> list[CallEvent]:
        if (sent := self.pass_on(text)) is not None:
            return [TextDelta(sent)] if sent else []
        events: list[CallEvent] = []
        for at in range(0, len(text), _AT_ONCE):  # what is left is copied at every marker
            self._rest += text[at : at + _AT_ONCE]
            self._go_on(events)
        return events

    def end(self) -> list[CallEvent]:
        """What was held back, when the reply ends."""
        return at_once(self.ending())

    def ending(self) -> Steps[list[CallEvent]]:
        events: list[CallEvent] = []
        while True:
            while self._rest:
                self._go_on(events)
                yield
            # The end decides a guess: a call in a foreign notation counts only as the last thing of a reply.
            guesses = self._guesses
            if self._mode == CallParser._hold and guesses.current is not None:
                self._guessed(guesses.current.end())
            if guesses.outcome is not None:
                yield from self._decide(guesses.outcome, events)
            held, self._held = self._held, ""
            # What was held may be text after all, and is then read again; each round leaves less.
            self._rest = self._rest or self._at_end(held, events) or ""
            if not self._rest:
                return events + self._sent.end()

    def _go_on(self, events: list[CallEvent]) -> None:
        """Read on. What turns out to be no call is read again, a few pieces at a time."""
        pieces = 0
        while self._rest and pieces < _PIECES:
            text, self._rest = self._held + self._rest[:_AT_ONCE], self._rest[_AT_ONCE:]
            pieces += 1
            mode = None
            while mode != self._mode:  # one after the other reads, until one needs more than there is
                mode = self._mode
                text = mode(self, text, events)
            self._held = text
        # Worked out once here, so that `feed` pays one comparison for a chunk.
        sent, waits = self._sent, self._held or self._rest
        self._plain = self._mode == CallParser._text and bool(sent.pieces) and not (waits or sent.behind_call)

    def _at_end(self, held: str, events: list[CallEvent]) -> str | None:
        """The reply ends in some mode: what is to be read once more as text, None for nothing."""
        if self._mode == CallParser._in_marked:
            left = self._marked.end(held, events)
            self._mode = CallParser._text if self._marked.state == "text" else CallParser._nothing
            return left
        if self._mode == CallParser._head:
            return self._no_call(held, events)
        if self._mode == CallParser._text:
            self._send(self._marks.sendable_end(held, self._rules.headings), events)
        return None

    def _text(self, text: str, events: list[CallEvent]) -> str:
        """Look for what begins a call, and for what ends the reply."""
        at = 0
        while True:
            new_line = self._sent.begins_line
            low, high, sign = self._marks.first(text, at, new_line=new_line)
            if not sign:
                low = self._marks.possible(text, self._headings, new_line=new_line)
                return self._cut(text, low, low, events)
            if sign == "close":
                # A closing mark without a call: the model forgot the opening one, or explains marks. The secret goes,
                # in code a plain word stays.
                quoted, text = self._sent.ends_in_tick(text[:low]), self._cut(text, low, high, events)
                self._send("</call>" if quoted else "", events)
                at = 0
            elif (sign == "heading" and not text.startswith(self._headings, low)) or (
                sign == "start" and not self._guesses.may_begin(low)
            ):
                # No marker after all: go on behind it. The text before is not sent yet, so nothing is lost.
                at = low + 1
            else:
                return self._begin(sign, text, low, high, events)

    def _begin(self, sign: str, text: str, low: int, high: int, events: list[CallEvent]) -> str:
        """Something begins that is no text."""
        # Asked before `_cut`, which moves what both depend on.
        may_guess, quoted = self._guesses.may_begin(low), self._sent.ends_in_tick(text[:low])
        rest = self._cut(text, low, low if sign == "start" else high, events)
        if sign == "open":
            self._open(text[low:high], fenced=False, quoted=quoted)
        elif sign == "start":
            self._guesses.begin(self._headings)
            self._mode = CallParser._hold
        elif sign == "fence":
            self._guesses.in_fence = may_guess
            self._mode = CallParser._head
        else:
            # White space before a forged heading belongs to it.
            self._sent.space = ""
            self._mode, self.left_role = CallParser._nothing, True
        return rest

    def _cut(self, text: str, low: int, high: int, events: list[CallEvent]) -> str:
        """Send the text up to `low`, drop what lies between, and return what follows `high`."""
        self._send(text[:low], events)
        self._guesses.skip = max(self._guesses.skip - high, 0)
        return text[high:]

    def _send(self, text: str, events: list[CallEvent]) -> None:
        events += self._sent.add(text)

    def _hold(self, text: str, events: list[CallEvent]) -> str:
        """What may be a call waits for the end of the reply."""
        guess = self._guesses.current
        if guess is not None and (outcome := guess.feed(text)) is not None:
            self._guessed(outcome)
        return ""

    def _guessed(self, outcome: Outcome) -> None:
        """It is known what it is: calls, and the reply is over; or text, which is read again."""
        guesses = self._guesses
        guesses.current = None
        if outcome.calls:
            guesses.outcome, self._mode = outcome, CallParser._nothing
            self.left_role = outcome.low > 0
            return
        guesses.skip, self._mode = outcome.low, CallParser._text
        # Too many tokens once is enough: the reply is not read for calls of that kind again.
        guesses.left = guesses.left if outcome.more else 0
        # Read again as text, in which a marked call may begin; `skip` keeps the same guess from being made twice.
        self._rest = outcome.text + self._rest

    def _decide(self, outcome: Outcome, events: list[CallEvent]) -> Steps[None]:
        """The calls are the model's own, or what it has written is text."""
        guesses = self._guesses
        guesses.outcome = None
        if (yield from guesses.are_own(outcome.calls, self._sent.text)):
            self._sent.call()
            events += whole_calls(outcome.calls, self._new_id)
            self._sent.behind_call = True
            return
        guesses.left, guesses.skip = 0, outcome.low
        self._mode, self.left_role = CallParser._text, False
        self._rest = outcome.text

    def _head(self, text: str, events: list[CallEvent]) -> str:
        """Behind three backticks: only what looks like it may be a call."""
        body = fence_body(text, 0)
        if body == MORE:
            return text
        opener = self._marks.opener
        if body >= 0 and text[body] == "<":
            # Some models fence marked calls. Inside of a fence that is open already the mark is an example.
            if text.startswith(opener, body) and not self._sent.in_fence():
                high = body + len(opener)
                self._open(FENCE + text[:high], fenced=True, quoted=False)
                return text[high:]
            if opener.startswith(text[body:]):
                return text
        elif body >= 0 and self._guesses.in_fence:
            self._guesses.begin(self._headings)
            self._mode = CallParser._hold
            return FENCE + text
        return self._no_call(text, events)

    def _no_call(self, rest: str, events: list[CallEvent]) -> str:
        self._mode = CallParser._text
        self._send(FENCE, events)
        return rest

    def _open(self, marker: str, *, fenced: bool, quoted: bool) -> None:
        # A model that uses the marks needs no guessing, and calls it shows in its own notation are then examples.
        self._guesses.left = 0
        self._marked.open(marker, fenced=fenced, quoted=quoted)
        self._mode = CallParser._in_marked

    def _in_marked(self, text: str, events: list[CallEvent]) -> str:
        """Behind a mark, until text follows."""
        text = self._marked.read(text, events)
        if self._marked.has_called:
            # Behind its own call a model may go on to invent the result, often under a heading without the mark.
            self._headings = (*self._rules.headings, *UNMARKED)
        if self._marked.state == "text":
            self._mode = CallParser._text
        return text

    def _nothing(self, text: str, events: list[CallEvent]) -> str:
        """All that follows the end of the reply is dropped."""
        return ""
