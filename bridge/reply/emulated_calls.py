"""Calls out of the model's text: which of them may be sent, and when the model must be asked once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bridge.chat.events import ToolCallEnded
from bridge.prompt.corrections import invalid_call, missing_call, unknown_tool
from bridge.reply.call_assembly import CallAssembly, ReplyEvent, ToolOffer, text_of
from bridge.reply.calls.delimiters import Marks
from bridge.reply.calls.marked import CUT_OFF, UNKNOWN, MalformedCall
from bridge.reply.calls.parser import CallParser
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.forced_call import forced_arguments, whole_call
from bridge.reply.validation import problem_of

_UNCLOSED = "a string in its arguments is not closed"
_LONGEST_END = 200  # characters of arguments in which the closing mark is looked for


class EmulatedCalls:
    """Feed text, get what may be sent. `end()`, then look at `correction`: what to ask the model, once; then `retry()`.

    A call is sent as it arrives. Only what has not been sent can be repaired: so everything is held back while the
    client waits for the whole reply, and text is held while a demanded call is missing.
    """

    def __init__(self, offer: ToolOffer, new_id: Callable[[], str]) -> None:
        self.correction = ""
        self.cut_off = False
        self.marked = False
        """A call stood between the session's marks."""
        self._offer = offer
        self._new_id = new_id
        self._parser = self._new_parser()
        self._assembly = CallAssembly(offer)

    @property
    def calls(self) -> int:
        """Calls that were sent or will be."""
        return self._assembly.calls

    @property
    def outcomes(self) -> Counter[str]:
        """See `CallAssembly.outcomes`."""
        return self._assembly.outcomes

    @property
    def in_call(self) -> bool:
        """A call has begun and its arguments are not complete."""
        return self._assembly.open.is_open

    @property
    def has_left_role(self) -> bool:
        """The model has gone on as somebody else, and what it wrote as itself need not be corrected."""
        # A reply that can still be corrected goes on in the same session; only one that cannot ends the turn here.
        if not self._parser.left_role or self._assembly.checkpoint is not None:
            return self._parser.left_role
        return self._assembly.repair.call is None and not (self._offer.choice.must_call and not self._assembly.calls)

    @property
    def in_data(self) -> bool:
        """What comes next belongs to a call, or stands inside what may be the arguments of the one that is forced."""
        watch = self._assembly.watch
        return self._parser.in_data or (watch is not None and watch.is_open)

    def _new_parser(self) -> CallParser:
        offer = self._offer
        return CallParser(offer.delimiter_id, offer.tools, self._new_id, offer.rules)

    def pass_on(self, text: str) -> str | None:
        """What may be sent of text that is nothing but text, "" for nothing yet. None: feed it.

        It is the same as `feed` without an event for each step: of a stream with tools most chunks are such.
        """
        if not self._offer.stream or not self._assembly.passes:
            return None
        sent = self._parser.pass_on(text)
        if sent:
            self._assembly.note(sent)
        return sent

    def feed(self, text: str) -> list[ReplyEvent]:
        """The next piece of the model's text."""
        assembly = self._assembly
        for piece in self._parser.feed(text):
            assembly.take(piece)
        return [] if assembly.is_holding or not self._offer.stream else assembly.drain()

    def end(self) -> list[ReplyEvent]:
        """The model has ended its reply. Nothing is sent as long as a correction is called for."""
        return at_once(self.ending())

    def ending(self) -> Steps[list[ReplyEvent]]:
        """The same in steps."""
        assembly = self._assembly
        for piece in (yield from self._parser.ending()):
            assembly.take(piece)
        self.marked = self.marked or self._parser.marked
        # A call that is dropped anyway may end anywhere: the one that counts was complete before it.
        self.cut_off = self._parser.cut_off and not assembly.is_dropping
        # An unclosed string has swallowed the mark: the call is over, its arguments are no JSON.
        if self.cut_off and self._ends_with_mark():
            self.cut_off, assembly.open.broken = False, _UNCLOSED
            assembly.complete(ToolCallEnded())
        # Nothing of it was sent yet, so the model may write it again in full.
        elif self.cut_off and assembly.open.at is not None and assembly.checkpoint is None:
            self.cut_off = False
            assembly.take_back(CUT_OFF)
        self._check()
        if self.correction:
            return []
        assembly.is_holding = False
        return assembly.drain()

    def _ends_with_mark(self) -> bool:
        """The call is all there, and its mark stands in a string that nothing closed."""
        # Line breaks inside the string arrive as the two characters of their escape.
        end = "".join(self._assembly.open.arguments)[-_LONGEST_END:].replace("\\n", "\n").rstrip()
        return end.endswith(Marks(self._offer.delimiter_id).closer)

    def best_effort(self) -> list[ReplyEvent]:
        """The correction failed: return what there is; empty when that would not be a whole reply."""
        assembly = self._assembly
        if assembly.checkpoint is None or not assembly.is_holding:
            return []
        # What came before the correction was a part of the reply anyway; the half of a second attempt is not.
        del assembly.pending[assembly.checkpoint.events :]
        assembly.fall_back()
        return assembly.drain()

    def retry(self) -> None:
        """The correction is being sent."""
        self._parser = self._new_parser()
        self.correction = ""
        self._assembly.begin_second()

    def discard(self) -> None:
        """Drop what came in this attempt, of which nothing was sent."""
        self._parser = self._new_parser()
        self._assembly.discard()

    def restart(self) -> None:
        """Something else than calls is being corrected: from now on calls are not."""
        self.discard()
        self._assembly.correct_nothing()

    def _check(self) -> None:
        """After the end of an attempt: is it what was asked for?"""
        assembly, choice = self._assembly, self._offer.choice
        is_second = assembly.checkpoint is not None
        # The order matters: a malformed call is corrected before a missing one is asked for, as it shows what the model
        # wanted.
        if assembly.repair.call is not None and not is_second:
            self._correct(self._correction_of(assembly.repair.call))
        elif choice.must_call and not assembly.calls and not self._accept_arguments():
            if is_second:
                assembly.fall_back()
            else:
                self._correct(missing_call(choice, self._offer.delimiter_id))
        elif assembly.repair.is_asked and not assembly.calls:
            assembly.fall_back()

    def _correct(self, text: str) -> None:
        self.correction, self._assembly.repair.is_asked = text, True
        self._assembly.outcomes["retried"] += 1

    def _correction_of(self, call: MalformedCall) -> str:
        offer = self._offer
        # A list of tools would only invite another one than the client demands.
        if call.reason == UNKNOWN and offer.choice.mode == "named":
            return missing_call(offer.choice, offer.delimiter_id)
        if call.reason == UNKNOWN:
            return unknown_tool(call, offer.tools, offer.delimiter_id)
        return invalid_call(call, offer.delimiter_id)

    def _accept_arguments(self) -> bool:
        """Where one function is forced, an answer that is nothing but its arguments is the call (PROTOCOL 17.6)."""
        name, assembly = self._offer.choice.name, self._assembly
        tool = next((each for each in self._offer.tools if each.name == name), None)
        # The arguments of a custom tool are no JSON, so they cannot be recognized in a text.
        if tool is None or tool.custom:
            return False
        arguments = forced_arguments(text_of(assembly.pending), tool)
        # Any JSON object could be meant as the arguments; only one that fits the schema is taken for them.
        if arguments is None or problem_of(tool, arguments):
            return False
        assembly.pending = [*whole_call(tool, arguments, self._new_id())]
        assembly.calls = 1
        assembly.outcomes["parsed"] += 1
        return True
