"""Replies that must be JSON: taken out of what surrounds it, written strictly, checked, asked for once more. Pure."""

from __future__ import annotations

from collections import Counter

from bridge.prompt.corrections import invalid_reply
from bridge.reply.calls.json_value import ParseStopped, Value
from bridge.reply.calls.pauses import Steps, at_once
from bridge.reply.expected_json import ExpectedJson, Found
from bridge.reply.held_text import HeldText
from bridge.reply.integers import WholeNumbers
from bridge.reply.validation import VALID, Verdict

_MOST_HELD = 16 * 1024  # characters in which a stream's JSON must have begun
_BEGINNING = 300  # characters of one, at most


class JsonStream:
    """Feed a text that begins with JSON, get it as strict JSON. What follows its end is left out."""

    def __init__(self, numbers: WholeNumbers | None, sent: list[str]) -> None:
        self.is_broken = False
        """It cannot be read on; from there the text is sent unchanged."""
        self._value = Value([])
        self._numbers = numbers
        self._rest = ""
        self._sent = sent

    @property
    def is_open(self) -> bool:
        return not self._value.done and not self.is_broken

    def feed(self, text: str) -> str:
        if self.is_broken:
            return text
        value = self._value
        if value.done:
            return ""
        text = self._rest + text
        try:
            at = value.take(text, 0)
        except ParseStopped as problem:
            self.is_broken = True
            # Half of the JSON was streamed already; the rest follows unchanged, and the client's parser will say so.
            return self._emit(ends=True) + text[problem.at :]
        self._rest = "" if value.done else text[at:]
        return self._emit()

    def end(self) -> tuple[str, bool]:
        """What is sent when the reply ends, and whether the JSON is whole; not for one that is broken."""
        self._value.complete(self._rest)
        return self._emit(ends=True), self._value.done

    def _emit(self, *, ends: bool = False) -> str:
        piece = "".join(self._value.out)
        self._value.out.clear()
        if self._numbers is not None:
            piece = self._numbers.feed(piece) + (self._numbers.end() if ends else "")
        self._sent.append(piece)
        return piece


class Structured:
    """
    Feed the text of a reply, get what may be sent. `end()`, then look at `correction`: what to ask once, and `retry()`.

    What surrounds the JSON is left out. A stream sends its JSON as it comes, from its first key on; so it can be
    corrected only if none came. Of a whole reply the first JSON that fits is sent. What is no JSON the second time is
    sent as it is: a refusal must stay readable.
    """

    def __init__(self, schema: bytes, *, stream: bool) -> None:
        self.correction = ""
        self.outcomes: Counter[str] = Counter()
        """`reply_retried`, `reply_refused` (no JSON came of it), `reply_invalid` (it does not fit), `unjudged`."""
        self._expected = ExpectedJson(schema)
        # A bare string or number has no beginning that differs from prose, so it is held to the end.
        self._streams = stream and not self._expected.is_scalar
        self._corrected = False
        self._first = Found()
        self._refusal = ""
        self._start()

    def _start(self) -> None:
        self._held = HeldText()
        self._tail = ""
        self._from = 0  # where in the tail a beginning is looked for
        self._json: JsonStream | None = None
        self._sent: list[str] = []
        self._is_text = False
        # A stream reads its JSON itself; only what is held to the end needs the watch.
        self._watch = None if self._streams else self._expected.watch()

    @property
    def in_data(self) -> bool:
        if self._watch is not None:
            return self._watch.is_open
        return self._json is not None and self._json.is_open

    def feed(self, text: str) -> str:
        """Read the next piece; return what may be sent."""
        if self._json is not None:
            return self._json.feed(text)
        # Given up as JSON: everything goes through, so that a refusal can be read.
        if self._is_text:
            return text
        self._held.pieces.append(text)
        self._held.size += len(text)
        if self._watch is None:
            return self._find_beginning(text)
        self._watch.append(text)
        return ""

    def release(self) -> str:
        """A call comes: what is held is the text before it."""
        held, self._held = "".join(self._held.pieces), HeldText()
        self._tail, self._from = "", 0
        return held

    def discard(self) -> None:
        """Drop all that came in this attempt."""
        self._start()

    def retry(self) -> None:
        """A correction is being sent, of this or of something else."""
        # If something else is being corrected, the JSON that was found stays.
        if self.correction:
            self._start()
        self.correction, self._corrected = "", True

    def end(self, *, called: bool) -> str:
        """The reply has ended. `called`: with calls, so that it need not be JSON."""
        return at_once(self.ending(called=called))

    def ending(self, *, called: bool) -> Steps[str]:
        if self._json is not None:
            return self._end_of(self._json)
        held = self.release()
        # A reply with calls ends its turn; the JSON is due in a later one.
        if self._is_text or called:
            return held
        return self._choose(held, (yield from self._expected.find(held)))

    def best_effort(self) -> str:
        """The correction failed: return what came first, else what is held; "" if none was asked for."""
        if not self._corrected:
            return ""
        return (not self._sent and (self._first.text or self._refusal)) or self.release()

    def _find_beginning(self, text: str) -> str:
        """Look for the beginning of the JSON; return what may be sent."""
        window = self._tail + text
        if found := self._expected.begins.search(window, self._from):
            self._json = JsonStream(self._expected.numbers(), self._sent)
            # Words before the JSON are left out for good: the client parses the whole text.
            self._held = HeldText()
            return self._json.feed(window[found.start() :].lstrip())
        # One character more is kept, to look behind at: where the text was cut neither the reply nor a line begins.
        cut = len(window) - _BEGINNING - 1
        self._tail, self._from = (window[cut:], 1) if cut > 0 else (window, self._from)
        # A stream cannot be held for ever: after so much prose it counts as a refusal.
        if self._held.size <= _MOST_HELD:
            return ""
        self._is_text = True
        return self.release()

    def _end_of(self, stream: JsonStream) -> str:
        if stream.is_broken:
            self.outcomes["reply_invalid"] += 1
            return ""
        piece, is_whole = stream.end()
        self._note(self._expected.check("".join(self._sent)) if is_whole else Verdict("it is cut off"))
        return piece

    def _choose(self, held: str, found: Found) -> str:
        """What is sent of a reply that was held to its end; nothing as long as it is to be corrected."""
        if found.fits or self._corrected:
            # After the correction nothing better can be had: even JSON that does not fit is worth more than none.
            best = found if found.text else self._first
            self._note(best.verdict)
            self._sent.append(best.text)
            return best.text or held or self._refusal
        self._first, self._refusal = found, held
        self.correction = invalid_reply(found.verdict.problem)
        self.outcomes["reply_retried"] += 1
        return ""

    def _note(self, verdict: Verdict) -> None:
        if verdict.problem:
            self.outcomes["reply_invalid" if any(self._sent) or self._first.text else "reply_refused"] += 1
        elif verdict != VALID:
            self.outcomes["unjudged"] += 1
