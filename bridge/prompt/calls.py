"""Tool calls that a model writes into its text, found while the text arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.prompt.arguments import Unreadable
from bridge.prompt.call_block import Block
from bridge.prompt.call_marks import FENCE, Marks
from bridge.prompt.envelope import Envelope
from bridge.prompt.tool_names import ToolNames

_MOST_SPACE = 64
_AT_ONCE = 4096
_MOST_HEAD = 40
_SPACE = " \t\r\n"
CUT_OFF = "the reply was cut off in the middle of the call"


class Flawed(msgspec.Struct, frozen=True):
    """A block that is no valid call and of which nothing was told. `reason` is quoted to the model, `source` is it."""

    name: str
    reason: str
    source: str


CallEvent = TextDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded | Flawed


class CallParser:
    """
    Feed the text of a reply, get text and calls. How the text is cut into pieces makes no difference to what is told.

    Text goes through at once but for what may be the beginning of a call and white space that may stand before one.
    A call's start is told when its tool and the beginning of its arguments are known, then the arguments as they
    come. When they break off, or go on as something that is no JSON, `cut_off` is set and nothing more is told.
    No input raises, and no more is held than `call_block` allows.
    """

    def __init__(self, nonce: str, tools: Sequence[Tool], new_id: Callable[[], str]) -> None:
        self.cut_off = False
        """The reply ended inside a call of which something had been told."""
        self.broken = False
        """As `cut_off`, because what came is no JSON."""
        self._marks = Marks(nonce)
        self._names = ToolNames(tools)
        self._new_id = new_id
        self._mode = CallParser._text
        self._plain = True
        self._held = ""
        self._space = ""
        self._ticked = False
        self._behind_call = False
        self._block = Block("", Envelope(self._names.find), sure=False, fenced=False)

    def feed(self, text: str) -> list[CallEvent]:
        """What can be told now."""
        plain = self._plain and "<" not in text and "`" not in text and text
        if plain and text[-1] > " " and not self._space:
            return [TextDelta(text)]
        events: list[CallEvent] = []
        if plain:
            self._say(text, events)
            return events
        for at in range(0, len(text), _AT_ONCE):  # what is left is copied at every marker
            self._go_on(self._held + text[at : at + _AT_ONCE], events)
        return events

    def end(self) -> list[CallEvent]:
        """What was held back, when the reply ends."""
        events: list[CallEvent] = []
        while (rest := self._at_end(self._held, events)) is not None:
            self._go_on(rest, events)
        self._held = ""
        if self._space and not self._behind_call:
            events.append(TextDelta(self._space))
        self._space = ""
        return events

    def _go_on(self, text: str, events: list[CallEvent]) -> None:
        """Let one mode after the other read, until one needs more than there is."""
        mode = None
        while mode != self._mode:
            mode = self._mode
            text = mode(self, text, events)
        self._held = text
        self._plain = not (text or self._ticked or self._behind_call) and mode == CallParser._text

    def _at_end(self, held: str, events: list[CallEvent]) -> str | None:
        """The reply ends in some mode: what is to be read once more as text, None for nothing."""
        if self._mode == CallParser._in_block:
            return self._block_cut(held, events)
        if self._mode == CallParser._head:
            return self._no_call(held, events)
        if self._mode == CallParser._skip:
            self._block.keep(held)
            self._flawed(events)
        elif self._mode == CallParser._text:
            self._say(held, events)
        return None

    # Text

    def _text(self, text: str, events: list[CallEvent]) -> str:
        """Look for what begins a call."""
        at, marker = self._marks.first(text, ticked=self._ticked)
        if not marker:
            keep = self._marks.possible(text, ticked=self._ticked)
            self._say(text[: len(text) - keep], events)
            return text[len(text) - keep :]
        self._say(text[:at], events)
        if marker == FENCE:
            self._mode = CallParser._head
        else:
            self._begin(marker, sure=marker == self._marks.opener, fenced=False)
        return text[at + len(marker) :]

    def _say(self, text: str, events: list[CallEvent]) -> None:
        """Tell text, but for white space at its end: a call may follow. Behind a call, white space is dropped."""
        if self._behind_call:
            text = text.lstrip()
        if not text:
            return
        self._behind_call = False
        text = self._space + text
        told = max(len(text.rstrip(_SPACE)), len(text) - _MOST_SPACE)
        self._space = text[told:]
        if told:
            events.append(TextDelta(text[:told]))
        self._ticked = text[-1] == "`"

    # Fences

    def _head(self, text: str, events: list[CallEvent]) -> str:
        """Behind three backticks: only what looks like it may be a call."""
        marker, length = self._marks.in_fence(text)
        if length < 0:
            return text
        if not length:
            return self._no_call(text, events)
        self._begin(FENCE + text[:length], sure=marker == self._marks.opener, fenced=True)
        return text[length:]

    def _no_call(self, rest: str, events: list[CallEvent]) -> str:
        self._mode = CallParser._text
        self._say(FENCE, events)
        return rest

    # Calls

    def _begin(self, marker: str, *, sure: bool, fenced: bool) -> None:
        self._block = Block(marker, Envelope(self._names.find), sure=sure, fenced=fenced)
        self._mode = CallParser._in_block

    def _in_block(self, text: str, events: list[CallEvent]) -> str:
        """Read the call as far as it goes."""
        block = self._block
        while self._mode == CallParser._in_block:
            free = block.told or block.as_text
            window = text if free else text[: block.room]
            try:
                at, sign = block.envelope.take(window, 0)
            except Unreadable as problem:
                return self._stopped(problem, text, events)
            self._took(text[:at], events)
            text = text[at:]
            if sign == "unknown":
                text = self._unknown(text, events)
            elif block.envelope.begun and not block.told and not self._accept():
                text = self._reject(text, events)
            self._tell(events)
            if sign == "done" and self._mode == CallParser._in_block:
                self._close(as_text=block.as_text)
            elif not sign:
                over = not free and len(text) >= block.room
                return self._give_up(text, "too much stands before its name and arguments", events) if over else text
        return text

    def _took(self, text: str, events: list[CallEvent]) -> None:
        if self._block.as_text:
            self._say(text, events)
        elif not self._block.told:
            self._block.keep(text)

    def _accept(self) -> bool:
        """A guess is a call only if its arguments have a key of their own."""
        return self._block.sure or self._block.envelope.nested

    def _tell(self, events: list[CallEvent]) -> None:
        """What is known of the call and was not told yet."""
        block, envelope = self._block, self._block.envelope
        if not envelope.begun or self._mode != CallParser._in_block:
            return
        if not block.told and envelope.tool:
            block.told = True
            block.raw.clear()
            self._space = ""
            tool = envelope.tool
            events.append(ToolCallStarted(self._new_id(), tool.wire_name or tool.name, tool.namespace, tool.custom))
        if envelope.out:
            if piece := "".join(envelope.out):
                events.append(ToolCallDelta(piece))
            envelope.out.clear()
        if envelope.ended and not block.ended:
            block.ended = True
            events.append(ToolCallEnded())

    def _close(self, *, as_text: bool) -> None:
        """The call's object is complete."""
        self._mode = CallParser._text if as_text else CallParser._behind
        self._behind_call = not as_text
        self._block.ends = self._marks.ends(fenced=self._block.fenced)

    def _unknown(self, rest: str, events: list[CallEvent]) -> str:
        """A tool that is not the request's: the block is text as it is written, to the end of its JSON."""
        if not self._block.sure:
            return self._reject(rest, events)
        self._block.as_text = True
        self._block.envelope.mute()
        self._say(self._block.source, events)
        return rest

    def _reject(self, rest: str, events: list[CallEvent]) -> str:
        """It was no call: what began it is text, and what followed is looked at again."""
        self._mode = CallParser._text
        marker = self._block.marker
        self._say(marker[:3] if marker.startswith(FENCE) else marker, events)
        return self._block.source[3 if marker.startswith(FENCE) else len(marker) :] + rest

    def _stopped(self, problem: Unreadable, text: str, events: list[CallEvent]) -> str:
        """The JSON does not go on: the end of the block, or garbage."""
        block = self._block
        self._took(text[: problem.at], events)
        text = text[problem.at :]
        self._tell(events)
        if block.as_text:
            self._mode = CallParser._text
            return text
        marks = self._marks.breaks(fenced=block.fenced)
        if text and not problem.final:
            if text.startswith(marks) and self._completed("", closed=True, events=events):
                return text
            if any(mark.startswith(text) for mark in marks if mark != text):
                return text
        return self._give_up(text, problem.reason, events)

    def _completed(self, rest: str, *, closed: bool, events: list[CallEvent]) -> bool:
        """Whether a call that ends here is complete enough; then it is told."""
        if not self._block.envelope.complete(rest, closed=closed) or not self._accept():
            return False
        self._tell(events)
        self._close(as_text=False)
        return True

    def _give_up(self, text: str, reason: str, events: list[CallEvent]) -> str:
        """The call cannot be read further than this."""
        if self._block.ended:
            self._close(as_text=False)
        elif self._block.told:
            self.cut_off = self.broken = True
            self._mode = CallParser._nothing
        elif self._block.sure:
            self._block.reason = reason
            self._mode = CallParser._skip
        else:
            return self._reject(text, events)
        return text

    def _block_cut(self, held: str, events: list[CallEvent]) -> str | None:
        """The reply ends inside a call."""
        block = self._block
        if block.as_text:
            self._say(held, events)
            return None
        rest = "" if any(mark.startswith(held) for mark in self._marks.breaks(fenced=block.fenced)) else held
        if block.ended or self._completed(rest, closed=False, events=events):
            return None
        if not block.told and not block.sure:
            return self._reject(held, events)
        if block.told:
            self.cut_off = True
        else:
            block.keep(held)
            block.reason = CUT_OFF
            self._flawed(events)
        return None

    # Behind calls

    def _behind(self, text: str, events: list[CallEvent]) -> str:
        """Behind a call's object: its end, or one more object."""
        block = self._block
        text = text.lstrip(_SPACE if block.closed else f"{_SPACE},]}}")
        while end := next((each for each in block.ends if text.startswith(each)), ""):
            text = text[len(end) :].lstrip(_SPACE)
            block.ends = (FENCE,) if block.fenced and end != FENCE else ()
            block.closed = True
        if text[:1] == "{" and not block.closed:
            self._begin("", sure=block.sure, fenced=block.fenced)
        elif not block.ends or (text and not any(each.startswith(text) for each in block.ends)):
            self._mode = CallParser._text
        return text

    def _skip(self, text: str, events: list[CallEvent]) -> str:
        """Look for the end of a block that cannot be read."""
        at, whole = self._marks.flawed_end(text)
        self._block.keep(text[:at])
        if whole:
            self._flawed(events)
            self._close(as_text=False)
            self._block.closed = True
            self._block.ends = (FENCE,) if self._block.fenced else ()
        return text[at:]

    def _nothing(self, text: str, events: list[CallEvent]) -> str:
        """Behind a broken call nothing is told."""
        return ""

    def _flawed(self, events: list[CallEvent]) -> None:
        block = self._block
        self._space = ""
        events.append(Flawed(block.envelope.name, block.reason, block.source))
