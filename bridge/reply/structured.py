"""Replies that must be JSON: taken out of what surrounds it, told strictly, checked, asked for once more. Pure."""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from bridge.prompt.corrections import invalid_reply
from bridge.prompt.type_text import Limits, TypeText
from bridge.reply.calls.json_value import ParseStopped, Value
from bridge.reply.calls.pauses import STEP, Steps, at_once
from bridge.reply.integers import WholeNumbers, has_integers
from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.validation import NOTHING, UNCHECKED, VALID, Schema, Verdict, check, decoded, schema_of
from bridge.schema import parts as schema_parts

_MOST_HELD = 16 * 1024  # characters in which a stream's JSON must have begun
_MOST_LOOKED_AT = 8  # beginnings of JSON in one reply
_MOST_SEARCHED = 4 << 20  # characters of a whole reply; no JSON is that long
_BEGINNING = 300  # characters of one, at most

# Models fence JSON whatever they are asked, so the fence is taken off.
_FENCED = re.compile(r"\A```[\w -]*\n(.*?)\n?```\Z", re.DOTALL)
# Python's parser takes these words for numbers; JSON has none of them.
_NO_JSON = frozenset(("NaN", "Infinity", "-Infinity"))
ANY_OBJECT = b"{}"


class Found(msgspec.Struct, frozen=True):
    text: str = ""
    verdict: Verdict = Verdict("it holds no JSON")

    @property
    def fits(self) -> bool:
        """It is what was asked for, as far as can be said."""
        return not self.verdict.problem


class Structured:
    """
    Feed the text of a reply, get what may be told. `end()`, then look at `correction`: what to ask once, and `retry()`.

    What surrounds the JSON is left out. A stream is told its JSON as it comes, from its first key on; so it can be
    corrected only if none came. A whole reply is told the first JSON that fits. What is no JSON the second time is told
    as it is: a refusal must stay readable.
    """

    def __init__(self, schema: bytes, *, stream: bool) -> None:
        self.correction = ""
        self.outcomes: Counter[str] = Counter()
        """`reply_retried`, `reply_refused` (no JSON came of it), `reply_invalid` (it does not fit), `unjudged`."""
        self._integer_schema = schema if has_integers(schema) else b""
        # `{}` stands for json_object: any object, which the schema alone would not say.
        self._schema = schema_of(schema) if schema.strip() != ANY_OBJECT else Schema({"type": "object"}, "", True)
        self._begins, self._scalar = _roots(self._schema)
        # A bare string or number has no beginning that could be told from prose, so it is held to the end.
        self._streams = stream and not self._scalar
        self._corrected = False
        self._first = Found()
        self._refusal = ""
        self._start()

    def _start(self) -> None:
        self._held: list[str] = []
        self._size = 0
        self._tail = ""
        self._value: Value | None = None
        self._numbers: WholeNumbers | None = None
        self._rest = ""
        self._sent: list[str] = []
        self._plain = False
        # A stream reads its JSON itself; only what is held to the end needs the watch.
        self._watch = None if self._streams else OpenJson(BEGINS['"'] if self._scalar else self._begins)

    @property
    def in_data(self) -> bool:
        if self._watch is not None:
            return self._watch.is_open
        return self._value is not None and not self._value.done and not self._plain

    def feed(self, text: str) -> str:
        """Read the next piece; return what may be sent."""
        # Given up as JSON: everything goes through, so that a refusal can be read.
        if self._plain:
            return text
        if self._value is not None:
            return self._read(text)
        self._held.append(text)
        self._size += len(text)
        if self._watch is None:
            return self._find_beginning(text)
        self._watch.append(text)
        return ""

    def release(self) -> str:
        """A call comes: what is held is the text before it."""
        held, self._held, self._size, self._tail = "".join(self._held), [], 0, ""
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
        if self._value is not None:
            return self._ended()
        held = self.release()
        # A reply with calls ends its turn; the JSON is due in a later one.
        if self._plain or called:
            return held
        return self._choose(held, (yield from self._best(held)))

    def best_effort(self) -> str:
        """The correction failed: return what came first, else what is held; "" if none was asked for."""
        if not self._corrected:
            return ""
        return (not self._sent and (self._first.text or self._refusal)) or self.release()

    # -- streams --------------------------------------------------------------------------------------------------

    def _find_beginning(self, text: str) -> str:
        """Look for the beginning of the JSON; return what may be sent."""
        window = self._tail + text
        if found := self._begins.search(window):
            self._value = Value([])
            self._numbers = WholeNumbers(self._integer_schema) if self._integer_schema else None
            # Words before the JSON are left out for good: the client parses the whole text.
            self._held.clear()
            return self._read(window[found.start() :].lstrip())
        self._tail = window[-_BEGINNING:]
        # A stream cannot be held for ever: after so much prose it counts as a refusal.
        if self._size <= _MOST_HELD:
            return ""
        self._plain = True
        return self.release()

    def _read(self, text: str) -> str:
        """Read on in the JSON; what follows it is left out. From what cannot be read on, the text is sent to the
        letter.
        """
        value = self._value
        if value is None or value.done:
            return ""
        text = self._rest + text
        try:
            at = value.take(text, 0)
        except ParseStopped as problem:
            self._plain = True
            # Half of the JSON was streamed already; the rest follows to the letter, and the client's parser will say
            # so.
            return self._emit(ends=True) + text[problem.at :]
        self._rest = "" if value.done else text[at:]
        return self._emit()

    def _emit(self, *, ends: bool = False) -> str:
        value = self._value
        if value is None:
            return ""
        piece = "".join(value.out)
        value.out.clear()
        if self._numbers is not None:
            piece = self._numbers.feed(piece) + (self._numbers.end() if ends else "")
        self._sent.append(piece)
        return piece

    def _ended(self) -> str:
        value = self._value
        if value is None or self._plain:
            self.outcomes["reply_invalid"] += 1
            return ""
        value.complete(self._rest)
        piece = self._emit(ends=True)
        self._note(self._check("".join(self._sent)) if value.done else Verdict("it is cut off"))
        return piece

    # -- whole replies --------------------------------------------------------------------------------------------

    def _best(self, text: str) -> Steps[Found]:
        """The first JSON of the text that fits, else the first."""
        if len(text) > _MOST_SEARCHED:
            return Found()
        if self._scalar:
            return (yield from self._scalar_of(text))
        first: Found | None = None
        at = 0
        # Prose with many braces must not cost a reading for each of them.
        for _ in range(_MOST_LOOKED_AT):
            begun = self._begins.search(text, at)
            if begun is None:
                break
            at, json_text = yield from _value_at(text, begun.end() - len(begun.group().lstrip()))
            # On from behind the beginning at least, or the same one would be found again.
            at = max(at, begun.end())
            if json_text:
                json_text = yield from self._whole(json_text)
                found = Found(json_text, self._check(json_text))
                # A model may show an example first; the first that fits is the answer.
                if found.fits:
                    return found
                first = first or found
        return first or Found()

    def _scalar_of(self, text: str) -> Steps[Found]:
        stripped = text.strip()
        if fenced := _FENCED.match(stripped):
            stripped = fenced[1].strip()
        # The whole reply must be the value: any word in prose would be a scalar.
        if decoded(stripped) is NOTHING or stripped in _NO_JSON:
            return Found()
        json_text = yield from self._whole(stripped)
        return Found(json_text, self._check(json_text))

    def _whole(self, text: str) -> Steps[str]:
        """The JSON with integers as integers."""
        if not self._integer_schema:
            return text
        numbers, json_text = WholeNumbers(self._integer_schema), []
        for at in range(0, len(text), STEP):
            json_text.append(numbers.feed(text[at : at + STEP]))
            yield
        return "".join([*json_text, numbers.end()])

    def _check(self, text: str) -> Verdict:
        value = decoded(text)
        if value is NOTHING:
            return Verdict("it is no valid JSON")
        return check(self._schema, value) if self._schema is not None else UNCHECKED

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


def _roots(schema: Schema | None) -> tuple[re.Pattern[str], bool]:
    """What JSON of the schema begins with, and whether it may be neither object nor array."""
    root = TypeText(schema.root, Limits()).resolved(schema.root) if schema is not None else {}
    if not isinstance(root, dict):
        return BEGINS["{["], False
    types = set(schema_parts.types(root))
    # Many schemas leave out `type` where `properties` makes it plain.
    if not types and schema_parts.fields(root):
        types = {"object"}
    signs = "".join(sign for kind, sign in (("object", "{"), ("array", "[")) if kind in types)
    return BEGINS[signs or "{["], bool(types) and not signs


def _value_at(text: str, at: int) -> Steps[tuple[int, str]]:
    """The position behind the JSON value that begins there, and the value; "" when it is none."""
    value = Value([])
    while not value.done and at < len(text):
        try:
            read = value.take(text[at : at + STEP], 0)
        except ParseStopped as problem:
            return at + problem.at, ""
        if not read:
            break
        at += read
        yield
    if not value.done and not value.complete(text[at:]):
        return at, ""
    return at, "".join(value.out)
