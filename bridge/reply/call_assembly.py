"""One reply with calls as it is put together: what may be sent, and what a second attempt adds to it. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool, ToolChoice
from bridge.prompt.tool_names import by_wire_name
from bridge.reply.calls.delimiters import Marks
from bridge.reply.calls.marked import BrokenArguments, CallEvent, MalformedCall
from bridge.reply.calls.parser import CallRules
from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.validation import Verdict, check_arguments

GAP = "\n\n"

ReplyEvent = TextDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded


class ToolOffer(msgspec.Struct, frozen=True):
    """The tools the prompt shows to the model, and how it must use them."""

    tools: Sequence[Tool]
    choice: ToolChoice
    parallel: bool
    delimiter_id: str
    stream: bool
    """Whether the client sees calls as they come; otherwise every call can be repaired before it is sent."""
    rules: CallRules = CallRules()


class OpenCall(msgspec.Struct):
    """The call that is read, or was read last."""

    tool: Tool | None = None
    arguments: list[str] = []
    broken: str = ""
    """Why its arguments are no JSON."""
    at: int | None = None
    """Where it begins among the pending events; None when it was sent."""
    is_open: bool = False
    """It has begun and its arguments are not complete."""


class UnwantedCall(msgspec.Struct):
    """The last call of another tool than the one that was demanded."""

    name: str | None = None
    arguments: list[str] = []
    is_open: bool = False


class Repair(msgspec.Struct):
    """What is corrected about calls, once in a turn."""

    call: MalformedCall | None = None
    is_asked: bool = False
    """The model was asked about calls; else about something else, or about nothing."""
    failed: bool = False
    """The second attempt had a call that cannot be sent either."""


class TextState(msgspec.Struct):
    first: list[str] = []
    """The text of the first attempt."""
    is_there: bool = False
    """There is more than white space."""
    gap: str = ""
    """What separates the first attempt from the text of the second one."""


class Checkpoint(msgspec.Struct):
    """Where the second attempt begins: `discard` comes back to here."""

    events: int = 0
    """How many of the pending events came before it."""
    calls: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    has_text: bool = False
    refusal: list[ReplyEvent] = []
    """The text of a first attempt that made no call, although one was demanded."""


class CallAssembly:
    """Feed what the parser finds; `pending` is what may be sent, unless `is_holding`."""

    def __init__(self, offer: ToolOffer) -> None:
        self.outcomes: Counter[str] = Counter()
        """How often a call was `parsed`, `repaired`, `refused`, `retried`, `invalid` or `unjudged`."""
        self.calls = 0
        """Calls that were sent or will be."""
        self.pending: list[ReplyEvent] = []
        # While a call is still missing nothing is streamed: what was cannot be corrected (PROTOCOL 14.5, no. 4).
        self.is_holding = offer.choice.must_call
        self.open = OpenCall()
        self.unwanted = UnwantedCall()
        self.repair = Repair()
        self.checkpoint: Checkpoint | None = None
        """Set with the second attempt: from then on nothing is corrected."""
        self.watch = OpenJson(BEGINS["{"]) if offer.choice.mode == "named" else None
        self._offer = offer
        self._ignores_rest = False  # what else comes in this attempt is not wanted
        self._text = TextState()

    def begin_second(self) -> None:
        """A correction of calls is being sent."""
        malformed = self.repair.call is not None
        refusal: list[ReplyEvent] = []
        if not malformed:
            # The model was asked because it made no call; its text is kept only for the case that nothing better comes.
            refusal, self.pending = self.pending, []
        has_text = self._text.is_there and malformed
        self.checkpoint = Checkpoint(len(self.pending), self.calls, self.outcomes.copy(), has_text, refusal)
        self._text.gap = GAP if has_text else ""
        self._ignores_rest, self.is_holding = False, True
        self.unwanted.is_open = self.open.is_open = False
        self._restart_watch()

    def discard(self) -> None:
        """Drop what came in this attempt, of which nothing was sent."""
        before = self.checkpoint or Checkpoint()
        del self.pending[before.events :]
        self.calls, self.outcomes = before.calls, before.outcomes.copy()
        self.open = OpenCall()
        self.repair.failed = False
        if self.checkpoint is None:
            self._text.first.clear()
            self.unwanted = UnwantedCall()
            self.repair.call = None
        self._ignores_rest = self.unwanted.is_open = False
        self._text.is_there, self._text.gap = before.has_text, GAP if before.has_text else ""
        self.is_holding = self.repair.is_asked or self._offer.choice.must_call
        self._restart_watch()

    def correct_nothing(self) -> None:
        """Something else than calls is being corrected."""
        self.checkpoint = self.checkpoint or Checkpoint()

    def drain(self) -> list[ReplyEvent]:
        """What is pending; it is sent now."""
        pending, self.pending = self.pending, []
        self.open.at = None
        if self.checkpoint is not None:
            self.checkpoint.events = 0
        return pending

    def _restart_watch(self) -> None:
        if self.watch is not None:
            self.watch = OpenJson(BEGINS["{"])

    @property
    def passes(self) -> bool:
        """Whether text can be sent as it comes; then `note` it instead of `take`."""
        return not (
            self.is_holding or self.checkpoint is not None or self.watch is not None or self.is_dropping or self.pending
        )

    @property
    def is_dropping(self) -> bool:
        """What was read last is not wanted: it stands behind a call too many, or belongs to another tool's."""
        return self._ignores_rest or self.unwanted.is_open

    def note(self, text: str) -> None:
        self._text.first.append(text)
        self._text.is_there = self._text.is_there or not text.isspace()

    def take(self, piece: CallEvent) -> None:
        # What follows a malformed call is ignored, since the model will write it again; so is what follows a call too
        # many.
        if self._ignores_rest or self._is_unwanted(piece) or self._is_too_many(piece):
            return
        match piece:
            case MalformedCall():
                self._reject(piece)
            case BrokenArguments():
                self.open.broken = piece.reason
            case ToolCallStarted():
                self._begin(piece)
            case ToolCallEnded():
                self.complete(piece)
            case ToolCallDelta():
                if self.open.tool is not None:
                    self.open.arguments.append(piece.text)
                self.pending.append(piece)
            case TextDelta():
                self._add_text(piece)

    def _add_text(self, piece: TextDelta) -> None:
        text = self._text
        if self.checkpoint is None:
            text.first.append(piece.text)
        if self.watch is not None:
            self.watch.append(piece.text)
        gap, text.gap = text.gap, ""
        text.is_there = text.is_there or not piece.text.isspace()
        # The gap is a piece of the text itself, so that it is counted and remembered with it.
        self.pending.append(TextDelta(gap + piece.text) if gap and not piece.text[:1].isspace() else piece)

    def _is_unwanted(self, piece: CallEvent) -> bool:
        """A piece of a call of another tool than the one that was demanded."""
        unwanted = self.unwanted
        if isinstance(piece, ToolCallStarted):
            tool, choice = by_wire_name(self._offer.tools).get((piece.namespace, piece.name)), self._offer.choice
            unwanted.is_open = choice.mode == "named" and (tool is None or tool.name != choice.name)
            if unwanted.is_open:
                self.outcomes["refused"] += 1
                self.unwanted = UnwantedCall(piece.name, is_open=True)
                self.repair.failed = self.checkpoint is not None
                return True
            return False
        if not unwanted.is_open or not isinstance(piece, ToolCallDelta | ToolCallEnded | BrokenArguments):
            return False
        if isinstance(piece, ToolCallDelta):
            unwanted.arguments.append(piece.text)
        # The end of an unwanted call is dropped as well, and what follows it is wanted again.
        unwanted.is_open = not isinstance(piece, ToolCallEnded)
        return True

    def _is_too_many(self, piece: CallEvent) -> bool:
        """A call behind the only one that is allowed, even one that cannot be read."""
        # The model was asked for one call: the others would run before the first one's result is known.
        if self.calls and not self._offer.parallel and isinstance(piece, ToolCallStarted | MalformedCall):
            self._ignores_rest = True
        return self._ignores_rest

    def _begin(self, piece: ToolCallStarted) -> None:
        tool = by_wire_name(self._offer.tools).get((piece.namespace, piece.name))
        if self.checkpoint is not None and self.repair.call is not None:
            # Prose around a repaired call is mostly an apology to us, not to the client.
            start = self.checkpoint.events
            self.pending[start:] = [event for event in self.pending[start:] if type(event) is not TextDelta]
        # As long as `at` is set, nothing of the call has been sent and it can be taken back.
        self.open = OpenCall(tool, at=len(self.pending), is_open=True)
        self.pending.append(piece)
        self.calls += 1
        self.is_holding = False

    def complete(self, piece: ToolCallEnded) -> None:
        """The open call has ended: send it if it fits its tool, or if it cannot be corrected any more."""
        call = self.open
        call.is_open = False
        if call.tool is not None and not call.broken:
            verdict = check_arguments(call.tool, "".join(call.arguments))
        else:
            verdict = Verdict(call.broken)
        if not verdict.checked:
            self.outcomes["unjudged"] += 1
        if not verdict.problem:
            self.outcomes["repaired" if self.repair.is_asked else "parsed"] += 1
        # One correction for each turn, and only of what the client has not seen.
        elif call.at is not None and self.checkpoint is None:
            self.take_back(verdict.problem)
            return
        else:
            self.outcomes["invalid"] += 1  # the client's own answer to it is the model's next chance
        self.pending.append(piece)

    def take_back(self, reason: str) -> None:
        """The open call, of which nothing was sent, is none until the model has repaired it."""
        call = self.open
        del self.pending[call.at :]
        self.calls -= 1
        self._reject(MalformedCall(call.tool.name if call.tool else "", reason, "".join(call.arguments)))

    def _reject(self, call: MalformedCall) -> None:
        """A block that cannot be read as a call: the model may correct it once; after that it is no call."""
        if self.checkpoint is not None:
            self.outcomes["refused"] += 1
            self.repair.failed = True
            return
        self.repair.call, self._ignores_rest = call, True

    def fall_back(self) -> None:
        """No call came of the correction: its text counts, or else what was to be corrected; nothing twice."""
        if self.repair.call is None:
            self.outcomes["refused"] += 1
        checkpoint = self.checkpoint or Checkpoint()
        new, before = self.pending[checkpoint.events :], self.pending[: checkpoint.events] or checkpoint.refusal
        first, second = "".join(self._text.first).strip(), text_of(new).strip()
        # Models repeat their first answer word for word when they have nothing to add.
        if second and second != first:
            return
        source = self._source()
        # As text, so that the client sees what the model wanted; not if the model gave it up and answered in words.
        if source and (self.repair.failed or not before):
            self.pending = [*before, TextDelta((GAP if first else "") + source)]
        else:
            self.pending = before or ([] if first else new)

    def _source(self) -> str:
        """The call that cannot be sent as one, as text."""
        if self.repair.call is not None:
            return Marks(self._offer.delimiter_id).without(self.repair.call.source)
        name, arguments = self.unwanted.name, "".join(self.unwanted.arguments)
        if name is None:
            return ""
        tool = next((each for each in self._offer.tools if name in (each.name, each.wire_name)), None)
        written = json.dumps(arguments, ensure_ascii=False) if tool is not None and tool.custom else arguments
        return f'{{"name": {json.dumps(name)}, "arguments": {written}}}'


def text_of(events: Sequence[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
