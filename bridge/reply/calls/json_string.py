"""One JSON string read as it arrives, whatever quotes a model put around it."""

from __future__ import annotations

import json
import re

QUOTES = "\"'“”„"
"""What may open a string. A string keeps typographic quotes that stand inside straight ones."""

# Typographic quotes come in pairs that models mix up, so each closes with any that can follow it.
_CLOSING = {'"': '"', "'": "'", "“": "“”", "”": "“”", "„": "“”"}
_ESCAPE = r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
# Possessive (++): without backtracking the match stays linear over a long string.
_RUNS = {quote: re.compile(rf'(?:[^"{closing}\\\x00-\x1f]++|{_ESCAPE})++') for quote, closing in _CLOSING.items()}
_UNFINISHED_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_SURROGATE = re.compile("[\ud800-\udfff]")


class StringReader:
    """Reads a string from behind its opening quote and puts its body, as strict JSON escapes it, into `out`.

    `closed` is set when the closing quote was read. Nothing in a string is an error: what JSON forbids is escaped.
    """

    # One reader for each string of a streamed call: slots make it small and quick.
    __slots__ = ("_closing", "_run", "closed", "out")

    def __init__(self, quote: str, out: list[str]) -> None:
        self.out = out
        self.closed = False
        self._run = _RUNS[quote]
        self._closing = _CLOSING[quote]

    def take(self, text: str, at: int) -> int:
        """Read on from `at`; the position behind what was read. Stops before an escape that is not all there."""
        end = len(text)
        while at < end:
            # Nearly all of a string is one match; only odd characters take the slow way below.
            if run := self._run.match(text, at):
                self.out.append(run.group())
                at = run.end()
                continue
            if text[at] in self._closing:
                self.closed = True
                return at + 1
            behind = self._single(text, at)
            # No progress: an escape is cut off by the end of the piece, so the next one is needed.
            if self.closed or behind == at:
                return behind
            at = behind
        return at

    def _single(self, text: str, at: int) -> int:
        """A character that cannot stay as it is; the same position when more must be seen first."""
        char = text[at]
        if char == "\\":
            return self._backslash(text, at)
        if char == '"':
            return self._straight(text, at)
        # A raw control character, most often a line break: JSON wants it escaped.
        self.out.append(json.dumps(char)[1:-1])
        return at + 1

    def _backslash(self, text: str, at: int) -> int:
        """An escape that JSON does not know: of a quote it is the quote, else the backslash was meant."""
        if _UNFINISHED_ESCAPE.fullmatch(text, at):
            return at
        if text[at + 1] in QUOTES:
            self.out.append(text[at + 1])
            return at + 2
        # Models write Windows paths and patterns with single backslashes; doubled they mean what was written.
        self.out.append("\\\\")
        return at + 1

    def _straight(self, text: str, at: int) -> int:
        """A straight quote in a string opened by another one closes it if the JSON goes on behind it."""
        # Python's own quoting: inside of single quotes a straight double quote is text.
        if self._closing == "'":
            self.out.append('\\"')
        elif at + 1 == len(text):
            return at
        elif text[at + 1] in ":,}]\r\n":
            self.closed = True
        else:
            self.out.append('\\"')
        return at + 1


class Decoder:
    """Turns pieces of a string's escaped body into the text they mean; pieces never end inside an escape."""

    __slots__ = ("_high",)

    def __init__(self) -> None:
        self._high = ""

    def feed(self, body: str) -> str:
        """The text of one more piece. Half of a surrogate pair waits for the other half."""
        if "\\" not in body and not self._high:
            return body
        text = self._high + str(json.loads(f'"{body}"'))
        self._high = ""
        # A high surrogate alone cannot be encoded; its other half may begin the next piece.
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high, text = text[-1], text[:-1]
        return paired(text)

    def end(self) -> str:
        """The half of a surrogate pair that still waits, replaced; call it once the string is closed."""
        return paired(self._high)


def paired(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced: it can be encoded."""
    if not _SURROGATE.search(text):
        return text
    # Through UTF-16, which is what JSON's \u escapes are made of: pairs join, lone halves become U+FFFD.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
