"""Calls between the session's marks: read as they arrive, whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.prompt.tool_names import ToolNames
from bridge.reply.calls.block import Block
from bridge.reply.calls.call_object import CallObject
from bridge.reply.calls.delimiters import FENCE, Marks
from bridge.reply.calls.guessed_call import GuessedCall
from bridge.reply.calls.json_value import ParseStopped
from bridge.reply.guesses import read_whole
from bridge.reply.sent_text import MOST_SPACE, SPACE, SentText

CUT_OFF = "the reply was cut off in the middle of the call"
UNKNOWN = "there is no such tool"


class MalformedCall(msgspec.Struct, frozen=True):
    """A block that is no valid call and of which nothing was sent. `reason` is quoted to the model, `source` is it."""

    name: str
    reason: str
    source: str


class BrokenArguments(msgspec.Struct, frozen=True):
    """The JSON of a call that is being sent does not go on. The rest of it follows unchanged."""

    reason: str


CallEvent = TextDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded | MalformedCall | BrokenArguments


class MarkedCalls:
    """`open()` a block, then `read()` until the state is `text`."""

    def __init__(self, marks: Marks, names: ToolNames, new_id: Callable[[], str], sent: SentText) -> None:
        self.state: Literal["text", "call", "malformed", "broken", "behind"] = "text"
        self.marked = False
        self.has_called = False
        self.cut_off = False
        """The reply ended inside a call of which something had been sent."""
        self._marks = marks
        self._names = names
        self._new_id = new_id
        self._sent = sent
        self._block = Block("", CallObject(names.find), fenced=False, quoted=False)

    @property
    def in_data(self) -> bool:
        """What comes next belongs to the call that is open."""
        return self.state in ("malformed", "broken") or (self.state == "call" and self._block.call_object.is_open)

    def open(self, marker: str, *, fenced: bool, quoted: bool) -> None:
        """A block begins, in a code fence or with its mark in inline code."""
        self._block = Block(marker, CallObject(self._names.find), fenced=fenced, quoted=quoted)
        self.state = "call"

    def read(self, text: str, events: list[CallEvent]) -> str:
        """Read on as far as possible and return what is left."""
        state = None
        while state != self.state and self.state != "text":
            state = self.state
            read = {"call": self._in_block, "malformed": self._skip_block, "broken": self._in_broken}
            text = read.get(state, self._behind)(text, events)
        return text

    def _in_block(self, text: str, events: list[CallEvent]) -> str:
        """Read the call as far as it goes."""
        block = self._block
        while self.state == "call":
            # Only what may have to be shown to the model again takes room.
            free = block.started or block.skipped
            # Reading stops at the bound, so that a call without a name cannot grow in memory.
            window = text if free else text[: block.room]
            try:
                at, sign = block.call_object.take(window, 0)
            except ParseStopped as problem:
                return self._stopped(problem, text, events)
            if not block.started:
                block.keep(text[:at])
            text = text[at:]
            if sign == "unknown":
                block.reason, block.skipped = UNKNOWN, True
                # It is read on, because its end must be found; it is reported as malformed there.
                block.call_object.skip_rest()
            self._emit(events)
            if sign == "done":
                self._close(events)
            elif not sign:
                over = not free and len(text) >= block.room
                return self._give_up(text, "too much stands before its name and arguments", events) if over else text
        return text

    def _emit(self, events: list[CallEvent]) -> None:
        """Send what is known of the call and was not sent yet."""
        block, call_object = self._block, self._block.call_object
        if not call_object.begun:
            return
        if not block.started and call_object.tool:
            block.started = self.marked = True
            # A call that has been sent is not shown to the model again, so its source is let go of.
            block.raw.clear()
            self._sent.call()
            tool = call_object.tool
            events.append(ToolCallStarted(self._new_id(), tool.wire_name or tool.name, tool.namespace, tool.custom))
        if call_object.out:
            if piece := "".join(call_object.out):
                events.append(ToolCallDelta(piece))
            call_object.out.clear()
        # The object may go on behind its arguments; the client need not wait for that.
        if call_object.ended and not block.ended:
            block.ended = True
            events.append(ToolCallEnded())

    def _close(self, events: list[CallEvent]) -> None:
        """The call's object is complete."""
        if self._block.skipped:
            self._report_malformed(events)
        self.state = "behind"
        self._sent.behind_call = True
        self.has_called = True
        self._block.ends = self._marks.ends(fenced=self._block.fenced)

    def _stopped(self, problem: ParseStopped, text: str, events: list[CallEvent]) -> str:
        """The JSON does not go on: the end of the block, or garbage."""
        block = self._block
        # Inline code with nothing of an object behind the mark: the model explains how calls are written.
        if block.quoted and not block.started and not (block.body + text[: problem.at]).strip():
            return self._show_mark(text, events)
        if not block.started:
            block.keep(text[: problem.at])
        text = text[problem.at :]
        self._emit(events)
        marks = self._marks.breaks(fenced=block.fenced)
        # Where reading stopped there may be a mark, and braces that the model forgot.
        if text and not problem.final and not block.skipped:
            if text.startswith(marks) and self._completed("", closed=True, events=events):
                return text
            if any(mark.startswith(text) for mark in marks if mark != text):
                return text
        return self._give_up(text, problem.reason, events)

    def _show_mark(self, rest: str, events: list[CallEvent]) -> str:
        """The model only shows the mark: send it as text, without its secret part."""
        self.state = "text"
        events += self._sent.add(f"<call>{self._block.body}")
        return rest

    def _completed(self, rest: str, *, closed: bool, events: list[CallEvent]) -> bool:
        """Whether a call that ends here is complete enough; then it is sent."""
        if not self._block.call_object.complete(rest, closed=closed):
            return False
        self._emit(events)
        self._close(events)
        return True

    def _give_up(self, text: str, reason: str, events: list[CallEvent]) -> str:
        """The call cannot be read further than this."""
        block = self._block
        # The arguments are complete and were sent: what is broken stands behind them and is of no concern.
        if block.ended:
            self._close(events)
        elif block.started:
            events.append(BrokenArguments(reason))
            self.state = "broken"
        else:
            block.reason = block.reason or reason
            self.state = "malformed"
        return text

    def end(self, held: str, events: list[CallEvent]) -> str | None:
        """The reply ends here, with `held` unread: what is to be read once more as text, None for nothing."""
        block = self._block
        if self.state == "malformed":
            block.keep(held)
            self._report_malformed(events)
        elif self.state == "broken":
            # A half of the closing mark must not get into the arguments.
            block.rest += "" if self._marks.closer.startswith(held) else held
            # With a brace at the end it may be whole but for the mark; without one it was cut off.
            self.cut_off = not block.rest.rstrip(SPACE).endswith("}")
            self._end_broken(events, ended=not self.cut_off)
        return self._cut(held, events) if self.state == "call" else None

    def _cut(self, held: str, events: list[CallEvent]) -> str | None:
        """The reply ends inside a call."""
        block = self._block
        rest = "" if any(mark.startswith(held) for mark in self._marks.breaks(fenced=block.fenced)) else held
        # A reply may end without the closing mark: a stop sequence or the service may have taken it.
        if block.ended or (not block.skipped and self._completed(rest, closed=False, events=events)):
            return None
        if block.started:
            self.cut_off = True
        elif block.quoted and not block.body.strip():
            return self._show_mark(held, events)
        else:
            block.keep(held)
            block.reason = block.reason or CUT_OFF
            self._report_malformed(events)
        return None

    def _behind(self, text: str, events: list[CallEvent]) -> str:
        """Behind a call's object: its end, or one more object."""
        block = self._block
        # Extra braces, brackets and commas behind an object are slips of counting; before the end mark they mean
        # nothing.
        bare = text.lstrip(SPACE if block.closed else f"{SPACE},]}}")
        space = "".join(filter(SPACE.__contains__, text[: len(text) - len(bare)]))[-MOST_SPACE:]
        while end := next((each for each in block.ends if bare.startswith(each)), ""):
            space, bare = "", bare[len(end) :]
            if block.fenced and end != FENCE:
                bare = bare.lstrip(SPACE)
            # The call is closed now; only the fence around it may still have to be.
            block.ends = (FENCE,) if block.fenced and end != FENCE else ()
            block.closed = True
        # Several objects between one pair of marks are several calls.
        if bare[:1] == "{" and not block.closed:
            self.open("", fenced=block.fenced, quoted=False)
            return bare
        if not block.ends or (bare and not any(each.startswith(bare) for each in block.ends)):
            self.state = "text"
        return space + bare

    def _skip_block(self, text: str, events: list[CallEvent]) -> str:
        """Look for the end of a block that cannot be read."""
        at, whole = self._marks.malformed_end(text)
        self._block.keep(text[:at])
        if whole:
            self._report_malformed(events)
            self._close(events)
            self._block.closed = True
            self._block.ends = (FENCE,) if self._block.fenced else ()
        return text[at:]

    def _in_broken(self, text: str, events: list[CallEvent]) -> str:
        """Whoever runs the call sees what is wrong with it. The last braces wait: one is not the arguments'."""
        block = self._block
        at, whole = self._marks.malformed_end(text)
        block.rest += text[:at].removesuffix(self._marks.closer) if whole else text[:at]
        if whole:
            self._end_broken(events, ended=True)
            self._close(events)
            block.closed, block.ends = True, (FENCE,) if block.fenced else ()
            return text[at:]
        # The last braces wait: one of them closes the object around the arguments and must not be sent.
        sendable = max(len(block.rest.rstrip(f"{SPACE}}}")), len(block.rest) - MOST_SPACE)
        self._emit_rest(block.rest[:sendable], events)
        block.rest = block.rest[sendable:]
        return text[at:]

    def _end_broken(self, events: list[CallEvent], *, ended: bool) -> None:
        block, rest = self._block, self._block.rest.rstrip(SPACE)
        block.ended, block.rest = True, ""
        self._emit_rest(rest.removesuffix("}") if ended else rest, events)
        if ended:
            events.append(ToolCallEnded())

    def _emit_rest(self, text: str, events: list[CallEvent]) -> None:
        if text := self._marks.without(text):
            events.append(ToolCallDelta(text))

    def _report_malformed(self, events: list[CallEvent]) -> None:
        """The block is no call, unless the model wrote one between the marks in a notation of its own."""
        block, self._block.skipped = self._block, False
        body = block.body.removesuffix(self._marks.closer)
        # The marks prove that a call is meant, so its notation need not be the one that was asked for.
        if calls := read_whole(body, self._names.find):
            self.marked = True
            self._sent.call()
            events += whole_calls(calls, self._new_id)
            return
        self._sent.call()
        events.append(MalformedCall(block.call_object.name, block.reason, block.source))


def whole_calls(
    calls: Sequence[GuessedCall], new_id: Callable[[], str]
) -> list[ToolCallStarted | ToolCallDelta | ToolCallEnded]:
    """Calls that are known from their start to their end."""
    events: list[ToolCallStarted | ToolCallDelta | ToolCallEnded] = []
    for call in calls:
        tool = call.tool
        events.append(ToolCallStarted(new_id(), tool.wire_name or tool.name, tool.namespace, tool.custom))
        events += [ToolCallDelta(call.arguments)] if call.arguments else []
        events.append(ToolCallEnded())
    return events
