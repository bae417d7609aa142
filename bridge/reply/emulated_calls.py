"""Calls out of the model's text: which of them may be told, and when the model must be asked once more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool, ToolChoice
from bridge.prompt.corrections import invalid_call, missing_call, unknown_tool
from bridge.prompt.tool_names import by_wire_name
from bridge.reply.calls.delimiters import Marks
from bridge.reply.calls.marked import CUT_OFF, UNKNOWN, BrokenArguments, CallEvent, MalformedCall
from bridge.reply.calls.parser import CallParser, CallRules
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.forced_call import forced_arguments, whole_call
from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.validation import Verdict, check_arguments, problem_of

GAP = "\n\n"
_UNCLOSED = "a string in its arguments is not closed"
_LONGEST_END = 200  # characters of arguments in which the closing mark is looked for

ReplyEvent = TextDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded


class ToolOffer(msgspec.Struct, frozen=True):
    """The tools the prompt shows to the model, and how it must use them."""

    tools: Sequence[Tool]
    choice: ToolChoice
    parallel: bool
    delimiter_id: str
    stream: bool
    """Whether the client sees calls as they come; otherwise every flaw can be mended before it is told."""
    rules: CallRules = CallRules()


class EmulatedCalls:
    """Feed text, get what may be told. `end()`, then look at `correction`: what to ask the model, once; then `retry()`.

    A call is told as it arrives. Only what has not been told can be mended: so everything is held back while the
    client waits for the whole reply, and text is held while a call is still owed.
    """

    def __init__(self, offer: ToolOffer, new_id: Callable[[], str]) -> None:
        self.correction = ""
        self.outcomes: Counter[str] = Counter()
        """How often a call was `parsed`, `repaired`, `refused`, `retried`, `invalid` or `unjudged`."""
        self.calls = 0
        """Calls that were sent or will be."""
        self.cut_off = False
        self.in_call = False
        """A call has begun and its arguments are not complete."""
        self.marked = False
        """A call stood between the session's marks."""
        self._watch = OpenJson(BEGINS["{"]) if offer.choice.mode == "named" else None
        self._offer = offer
        self._new_id = new_id
        self._tools = offer.tools
        self._parser = self._new_parser()
        self._pending: list[ReplyEvent] = []
        # While a call is owed nothing is streamed: what was cannot be corrected (PROTOCOL 14.5, no. 4).
        self._holding = offer.choice.must_call
        self._corrected = False
        self._unwanted = False  # a call is read that was not asked for
        self._call_corrected = False  # for calls; else something else was corrected
        self._ignores_rest = False  # what else comes in this attempt is not wanted
        self._malformed: MalformedCall | None = None
        self._call: tuple[Tool, list[str]] | None = None
        self._broken = ""  # why its arguments are no JSON
        self._call_at: int | None = None  # where it begins in what is pending; None when it was told
        self._refusal: list[ReplyEvent] = []  # the text of an attempt that owed a call
        self._first_text: list[str] = []  # the text of the first attempt
        self._unwanted_call: tuple[str, list[str]] | None = None  # name and arguments of a call that was not asked for
        self._failed_again = False  # the correction came with one that cannot be told either
        self._kept = 0  # how much of what is pending came before the correction
        self._kept_calls = 0
        self._kept_outcomes: Counter[str] = Counter()
        self._has_text = self._kept_spoke = False  # words were said; before the correction
        self._gap = ""  # what parts them from the words after it

    @property
    def has_left_role(self) -> bool:
        """The model has gone on as somebody else, and what it said as itself need not be corrected."""
        # A reply that can still be corrected goes on in the same session; only one that cannot ends the turn here.
        correctable = not self._corrected and (
            self._malformed is not None or (self._offer.choice.must_call and not self.calls)
        )
        return self._parser.left_role and not correctable

    @property
    def in_data(self) -> bool:
        """What comes next belongs to a call, or stands inside what may be the arguments of the one that is forced."""
        return self._parser.in_data or (self._watch is not None and self._watch.is_open)

    def _new_parser(self) -> CallParser:
        offer = self._offer
        return CallParser(offer.delimiter_id, offer.tools, self._new_id, offer.rules)

    def feed(self, text: str) -> list[ReplyEvent]:
        """The next piece of the model's text."""
        for piece in self._parser.feed(text):
            self._take(piece)
        return self._sendable()

    def end(self) -> list[ReplyEvent]:
        """The model has ended its reply. Nothing is told as long as a correction is called for."""
        return at_once(self.ending())

    def ending(self) -> Steps[list[ReplyEvent]]:
        """The same in steps."""
        for piece in (yield from self._parser.ending()):
            self._take(piece)
        self.marked = self.marked or self._parser.marked
        self.cut_off = self._parser.cut_off and not self._unwanted
        # An unclosed string has swallowed the mark: the call is over, its arguments are no JSON.
        if self.cut_off and self._ends_with_mark():
            self.cut_off, self._broken = False, _UNCLOSED
            self._complete(ToolCallEnded())
        # Nothing of it was sent yet, so the model may write it again in full.
        elif self.cut_off and self._call_at is not None and not self._corrected:
            self._take_back(self._call_at, CUT_OFF)
        self._check()
        if self.correction:
            return []
        self._holding = False
        return self._drain()

    def _ends_with_mark(self) -> bool:
        """The call is all there, and its mark stands in a string that nothing closed."""
        arguments = "".join(self._call[1]) if self._call is not None else ""
        # Line breaks inside the string arrive as the two characters of their escape.
        end = arguments[-_LONGEST_END:].replace("\\n", "\n").rstrip()
        return end.endswith(Marks(self._offer.delimiter_id).closer)

    def best_effort(self) -> list[ReplyEvent]:
        """The correction failed: return what there is; empty when that would not be a whole reply."""
        if not (self._corrected and self._holding):
            return []
        # What came before the correction was a part of the reply anyway; the half of a second attempt is not.
        self._pending = self._pending[: self._kept]
        self._fall_back()
        return self._drain()

    def retry(self) -> None:
        """The correction is being sent."""
        self._parser = self._new_parser()
        self._watch = OpenJson(BEGINS["{"]) if self._watch is not None else None
        self._unwanted = False
        self.correction, self._corrected, self._ignores_rest, self._holding = "", True, False, True
        self.in_call = False
        if self._malformed is None:
            # The model was asked because it made no call; its text is kept only for the case that nothing better comes.
            self._refusal, self._pending = self._pending, []
        # Marks where the second attempt begins: `discard` comes back to here.
        self._kept, self._kept_calls, self._kept_outcomes = len(self._pending), self.calls, self.outcomes.copy()
        self._kept_spoke = self._has_text and self._malformed is not None
        self._gap = GAP if self._kept_spoke else ""

    def discard(self) -> None:
        """Drop what came in this attempt, of which nothing was sent."""
        self._parser = self._new_parser()
        self._watch = OpenJson(BEGINS["{"]) if self._watch is not None else None
        del self._pending[self._kept :]
        self.calls, self.outcomes = self._kept_calls, self._kept_outcomes.copy()
        self._call = self._call_at = None
        self._failed_again = False
        if not self._corrected:
            self._first_text.clear()
            self._unwanted_call = None
        self._malformed = self._malformed if self._corrected else None
        self._ignores_rest = self._unwanted = self.in_call = False
        self._has_text, self._gap = self._kept_spoke, GAP if self._kept_spoke else ""
        self._holding = self._call_corrected or self._offer.choice.must_call

    def restart(self) -> None:
        """Something else than calls is being corrected: from now on calls are not."""
        self.discard()
        self._corrected = True

    # -- one piece ------------------------------------------------------------------------------------------------

    def _take(self, piece: CallEvent) -> None:
        # Deaf behind a flaw, since the model will write what follows again, or behind a call too many.
        if self._ignores_rest or self._is_unwanted(piece):
            return
        match piece:
            case MalformedCall():
                self._reject(piece)
            case BrokenArguments():
                self._broken = piece.reason
            case ToolCallStarted():
                self._begin(piece)
            case ToolCallEnded():
                self._complete(piece)
            case ToolCallDelta():
                if self._call is not None:
                    self._call[1].append(piece.text)
                self._pending.append(piece)
            case TextDelta():
                self._add_text(piece)

    def _add_text(self, piece: TextDelta) -> None:
        if not self._corrected:
            self._first_text.append(piece.text)
        if self._watch is not None:
            self._watch.append(piece.text)
        gap, self._gap = self._gap, ""
        self._has_text = self._has_text or not piece.text.isspace()
        # The gap is a piece of the text itself, so that it is counted and remembered with it.
        self._pending.append(TextDelta(gap + piece.text) if gap and not piece.text[:1].isspace() else piece)

    def _is_unwanted(self, piece: CallEvent) -> bool:
        """A piece of a call of another tool than the one that was demanded."""
        if isinstance(piece, ToolCallStarted):
            tool, choice = by_wire_name(self._tools).get((piece.namespace, piece.name)), self._offer.choice
            self._unwanted = choice.mode == "named" and (tool is None or tool.name != choice.name)
            if self._unwanted:
                self.outcomes["refused"] += 1
                self._unwanted_call, self._failed_again = (piece.name, []), self._corrected
            return self._unwanted
        if not self._unwanted or not isinstance(piece, ToolCallDelta | ToolCallEnded | BrokenArguments):
            return False
        if isinstance(piece, ToolCallDelta) and self._unwanted_call is not None:
            self._unwanted_call[1].append(piece.text)
        # The end of an unwanted call is dropped as well, and what follows it is wanted again.
        self._unwanted = not isinstance(piece, ToolCallEnded)
        return True

    def _begin(self, piece: ToolCallStarted) -> None:
        # The client allows one call, and the model was asked for one: the others would run before the first one's
        # result is known.
        if self.calls and not self._offer.parallel:
            self._ignores_rest = True
            return
        tool = by_wire_name(self._tools).get((piece.namespace, piece.name))
        self._call = (tool, []) if tool is not None else None
        self._broken = ""
        if self._corrected and self._malformed is not None:  # the words around a mended call are not for the client
            # Prose of a second attempt is mostly an apology to us, not to the client.
            around = self._pending[self._kept :]
            self._pending[self._kept :] = [event for event in around if type(event) is not TextDelta]
        # As long as it is set, nothing of the call has been sent and it can be taken back.
        self._call_at = len(self._pending)
        self._pending.append(piece)
        self.calls += 1
        self.in_call = True
        self._holding = False

    def _complete(self, piece: ToolCallEnded) -> None:
        self.in_call = False
        tool, arguments = self._call or (None, [])
        text = "".join(arguments)
        verdict = check_arguments(tool, text) if tool is not None and not self._broken else Verdict(self._broken)
        if not verdict.checked:
            self.outcomes["unjudged"] += 1
        if not verdict.problem:
            self.outcomes["repaired" if self._call_corrected else "parsed"] += 1
        # One correction for each turn, and only of what the client has not seen.
        elif self._call_at is not None and not self._corrected:
            self._take_back(self._call_at, verdict.problem)
            return
        else:
            self.outcomes["invalid"] += 1  # the client's own answer to it is the model's next chance
        self._pending.append(piece)

    def _take_back(self, call_at: int, reason: str) -> None:
        """A call of which nothing was told is none until the model has mended it."""
        tool, arguments = self._call or (None, [])
        del self._pending[call_at:]
        self.calls -= 1
        self.cut_off = False
        self._reject(MalformedCall(tool.name if tool else "", reason, "".join(arguments)))

    def _reject(self, call: MalformedCall) -> None:
        """A block that cannot be read as a call: the model may correct it once; after that it is no call."""
        if self._corrected:
            self.outcomes["refused"] += 1
            self._failed_again = True
            return
        self._malformed, self._ignores_rest = call, True

    # -- what may be told -----------------------------------------------------------------------------------------

    def _sendable(self) -> list[ReplyEvent]:
        return [] if self._holding or not self._offer.stream else self._drain()

    def _drain(self) -> list[ReplyEvent]:
        pending, self._pending = self._pending, []
        self._call_at, self._kept = None, 0
        return pending

    def _check(self) -> None:
        """After the end of an attempt: is it what was asked for?"""
        missing = self._offer.choice.must_call and not self.calls
        # The order matters: a flawed call is corrected before a missing one is asked for, as it shows what the model
        # wanted.
        if self._malformed is not None and not self._corrected:
            self._correct(self._correction_of(self._malformed))
        elif missing and not self._forced_call():
            if self._corrected:
                self._fall_back()
            else:
                self._correct(missing_call(self._offer.choice, self._offer.delimiter_id))
        elif self._call_corrected and not self.calls:
            self._fall_back()

    def _correction_of(self, call: MalformedCall) -> str:
        """What the model is asked about a flawed call."""
        offer = self._offer
        # A list of tools would only invite another one than the client demands.
        if call.reason == UNKNOWN and offer.choice.mode == "named":
            return missing_call(offer.choice, offer.delimiter_id)
        if call.reason == UNKNOWN:
            return unknown_tool(call, offer.tools, offer.delimiter_id)
        return invalid_call(call, offer.delimiter_id)

    def _fall_back(self) -> None:
        """No call came of the correction: what was said counts, or else what was to be corrected; nothing twice."""
        if self._malformed is None:
            self.outcomes["refused"] += 1
        new, before = self._pending[self._kept :], self._pending[: self._kept] or self._refusal
        first, text = "".join(self._first_text).strip(), _text(new).strip()
        # Models repeat their first answer word for word when they have nothing to add.
        if text and text != first:
            return
        source = self._source()
        # Shown as text, so that the client sees what the model wanted; not if the model gave it up and said something.
        if source and (self._failed_again or not before):
            self._pending = [*before, TextDelta((GAP if first else "") + source)]
        else:
            self._pending = before or ([] if first else new)

    def _source(self) -> str:
        """The call that cannot be sent as one, as text."""
        if self._malformed is not None:
            return Marks(self._offer.delimiter_id).without(self._malformed.source)
        if self._unwanted_call is None:
            return ""
        name, arguments = self._unwanted_call[0], "".join(self._unwanted_call[1])
        tool = next((each for each in self._tools if name in (each.name, each.wire_name)), None)
        written = json.dumps(arguments, ensure_ascii=False) if tool is not None and tool.custom else arguments
        return f'{{"name": {json.dumps(name)}, "arguments": {written}}}'

    def _correct(self, text: str) -> None:
        self.correction, self._call_corrected = text, True
        self.outcomes["retried"] += 1

    def _forced_call(self) -> bool:
        """Where one function is forced, an answer that is nothing but its arguments is the call (PROTOCOL 17.6)."""
        name = self._offer.choice.name
        tool = next((each for each in self._offer.tools if each.name == name), None)
        # The arguments of a custom tool are no JSON, so no text can be told from them.
        if tool is None or tool.custom:
            return False
        arguments = forced_arguments(_text(self._pending), name)
        # Any JSON object could be meant as the arguments; only one that fits the schema is taken for them.
        if arguments is None or problem_of(tool, arguments):
            return False
        self._pending = [*whole_call(tool, arguments, self._new_id())]
        self.calls = 1
        self.outcomes["parsed"] += 1
        return True


def _text(events: Sequence[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
