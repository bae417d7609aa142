"""The values inside a call's object: stored, streamed, decoded or skipped."""

from __future__ import annotations

import re

from bridge.reply.calls.json_string import Decoder, StringReader
from bridge.reply.calls.json_value import ParseStopped, Value, skip_space

CODED_INPUT = re.compile(r'\s{0,10}\{\s{0,10}"input"\s{0,10}:\s{0,10}"')
_CODED_BEGINNING = '{"input":"'
_BLANK = 64
"""More white space before the arguments' brace than anybody writes."""


class Ignored:
    """A member that is read over."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._value = Value(self.out)

    @property
    def done(self) -> bool:
        return self._value.done

    def take(self, text: str, at: int) -> int:
        at = self._value.take(text, at)
        # Read like any other value, because its end must be found, and thrown away piece by piece: it may be endless.
        self.out.clear()
        return at

    def complete(self, rest: str) -> bool:
        return self._value.complete(rest)


class Stored(Ignored):
    """A member that is kept whole, as strict JSON."""

    def take(self, text: str, at: int) -> int:
        return self._value.take(text, at)


class Streamed(Stored):
    """The arguments, as an object."""

    def __init__(self, out: list[str]) -> None:
        self.out = out
        self._value = Value(out)


class Plain:
    """The plain text in a JSON string: what a custom tool is given."""

    def __init__(self, out: list[str]) -> None:
        self.out = out
        self.done = False
        self._body: list[str] = []
        self._reader: StringReader | None = None
        self._decoder = Decoder()

    def take(self, text: str, at: int) -> int:
        """Read on from `at`, first from the opening quote."""
        if self._reader is None:
            self._reader = StringReader(text[at], self._body)
            at += 1
        at = self._reader.take(text, at)
        self._emit(self._decoder.feed("".join(self._body)), at)
        # Decoded and sent on at once, so that a long text streams and is not kept.
        self._body.clear()
        if self._reader.closed:
            self._emit(self._decoder.end(), at)
            self.done = True
            self._closed(at)
        return at

    def complete(self, rest: str) -> bool:
        """A string without its closing quote is not complete."""
        return False

    def _emit(self, text: str, at: int) -> None:
        if text:
            self.out.append(text)

    def _closed(self, at: int) -> None:
        """The string is all read."""


class Coded(Plain):
    """Arguments as JSON within a JSON string. Stops behind the first brace, so that the call's start is sent first."""

    def __init__(self, out: list[str]) -> None:
        super().__init__(out)
        self.seen = False
        self._value = Value(out)
        self._rest = ""
        self._blank = 0

    def take(self, text: str, at: int) -> int:
        """Read on from `at`; until the brace, one character at a time."""
        if self.seen:
            return super().take(text, at)
        # One character at a time, because reading must stop right behind the brace: the call's start goes out before
        # its arguments.
        for end in range(at + 1, len(text) + 1):
            try:
                at += super().take(text[at:end], 0)
            except ParseStopped as problem:
                # Positions inside the decoded string mean nothing outside; the error stands where the string was read
                # to.
                raise ParseStopped(end, problem.reason, final=True) from None
            if self.seen or self.done:
                break
        return at

    def _emit(self, text: str, at: int) -> None:
        if not self.seen:
            self._blank += len(text)
            text = text[skip_space(text, 0) :]
            # Arguments are an object in every format, so a string with anything else can be given up early.
            if (text and text[0] != "{") or self._blank > _BLANK:
                raise ParseStopped(at, "the arguments are no JSON object", final=True)
            self.seen = bool(text)
        text = self._rest + text
        try:
            # The decoder cuts anywhere, so an unread end is put before the next piece.
            self._rest = text[self._value.take(text, 0) :]
        except ParseStopped as problem:
            raise ParseStopped(at, f"in the arguments' string {problem.reason}", final=True) from None
        if self._value.done:
            self._rest = ""

    def _closed(self, at: int) -> None:
        if not self.seen:
            # An empty string where arguments are expected: no arguments.
            self.out.append("{}")
        elif not self._value.complete(self._rest):
            raise ParseStopped(at, "the arguments' string ends too early", final=True)


class PlainOrCoded(Plain):
    """A custom tool's arguments in a JSON string: the plain text itself, or JSON with the text under `input`."""

    def __init__(self, out: list[str]) -> None:
        super().__init__(out)
        self._undecided = True
        self._input: Plain | None = None
        self._rest = ""

    def _emit(self, text: str, at: int) -> None:
        text, self._rest = self._rest + text, ""
        if self._undecided:
            text = self._decide(text)
        if self._input is None:
            super()._emit(text, at)
        elif not self._input.done and text:
            self._rest = text[self._input.take(text, 0) :]

    def _decide(self, text: str) -> str:
        """What can be read of the text; it is kept as long as it may be the beginning of JSON with an `input`."""
        if found := CODED_INPUT.match(text):
            self._undecided = False
            self._input = Plain(self.out)
            return text[found.end() - 1 :]
        # Compared without white space, and bounded: a text that begins like this but goes on otherwise is sent soon.
        if len(text) < _BLANK and _CODED_BEGINNING.startswith("".join(text.split())):
            self._rest = text
            return ""
        self._undecided = False
        return text

    def _closed(self, at: int) -> None:
        if self._input is None:
            super()._emit(self._rest, at)
        elif not self._input.done:
            raise ParseStopped(at, "the arguments' string ends too early", final=True)


Member = Ignored | Plain
"""What a call object may be reading; the other classes are kinds of these."""
