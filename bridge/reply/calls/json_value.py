"""A JSON value as a model writes it, read as it arrives and written strictly."""

from __future__ import annotations

import re

from bridge.reply.calls.json_string import QUOTES, StringReader

# Parsers of clients stop at some depth too, and some of them at the stack.
_DEEPEST = 100
_LONGEST_LITERAL = 300
_PART = 4096  # characters that are read before it is looked how much became of them

_SPACE = re.compile(r"[\s\ufeff]*")
_COMMAS = re.compile(r"[\s,\ufeff]*")
_LITERAL = re.compile(r"[-+.0-9A-Za-z_]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_LOOSE = re.compile(r"(-?)0+([0-9])")
_LOOSE_POINT = re.compile(r"(-?)([0-9]*)\.([0-9]*)((?:[eE][-+]?[0-9]+)?)")
_HEX = re.compile(r"-?0[xX][0-9A-Fa-f]+")
# No "<" in a comment: it could be the mark that ends the call.
_COMMENT = re.compile(r"//[^\n<]{0,1000}\n|/\*[^<]{0,1000}?\*/")
_MOST_COMMENT = 1004
# re.ASCII: without quotes only plain names are taken for keys.
_BARE_KEY = re.compile(r"([A-Za-z_$][\w$]{0,80})\s{0,20}(:?)", re.ASCII)
# Models that were trained on much Python write its words.
_LITERALS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}


class ParseStopped(Exception):
    """What stands at `at` is no JSON, nor any of the spellings of it that are tolerated.

    `final`: it was read, up to `at`, and is of no use; else it was not read, and may be what ends the JSON.
    """

    def __init__(self, at: int, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason
        self.final = final


# The bound on tokens is of cost, not of form: such a value may be valid JSON.
class TooLong(Exception):
    """The value has more tokens than may be read."""


def skip_space(text: str, at: int) -> int:
    """The position of the first character that is no white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def skip_commas(text: str, at: int) -> int:
    """The position of the first character that is neither white space nor a comma."""
    found = _COMMAS.match(text, at)
    return found.end() if found else at


class Value:
    """Reads one value and puts it, piece by piece, into `out`: compact strict JSON once all pieces are joined.

    Tolerated: other quotes, keys without any, trailing and missing commas, comments, raw control characters, unknown
    escapes, Python's words, and numbers such as `+12`, `01`, `.5` and `0x1f`, but not `0755`, which may be octal.
    """

    __slots__ = ("_comma", "_stack", "_state", "_string", "done", "out")

    def __init__(self, out: list[str]) -> None:
        self.out = out
        self.done = False
        self._stack: list[str] = []
        self._state = "value"
        self._comma = False
        self._string: StringReader | None = None

    def take(self, text: str, at: int) -> int:
        """Read on from `at`; the position behind what was read. Raise Unreadable."""
        while not self.done and at < len(text):
            behind = self._in_string(text, at) if self._string else self._step(text, skip_space(text, at))
            # Negative: more must be seen. A string encodes how far it got as ~position; all else waits where it began.
            if behind < 0:  # more must be seen; it waits behind the white space
                return skip_space(text, at) if self._string is None else ~behind
            at = behind
        return at

    def complete(self, rest: str) -> bool:
        """The reply ended, with `rest` unread: close what is open if the value so far may be all of it."""
        # A word waits for the character behind it, since `nullable` begins with `null`; at the end of the reply it is
        # whole.
        if word := _LITERALS.get(rest.strip()):
            if self._state == "value" and self._string is None:
                self._write(word)
                self._ended()
        elif rest.strip():
            return False
        # Only braces are missing. A value in the middle of a string or a number may lack more, so it stays open.
        if not self.done and self._state == "after" and self._stack:
            self.out.extend(reversed(self._stack))
            self.done = True
        return self.done

    def _in_string(self, text: str, at: int) -> int:
        string = self._string
        if string is None:
            return at
        at = string.take(text, at)
        if not string.closed:
            return ~at
        self._string = None
        self.out.append('"')
        if self._state == "key":
            self._state = "colon"
        else:
            self._ended()
        return at

    def _step(self, text: str, at: int) -> int:
        """One token outside strings; negative when more must be seen."""
        if at == len(text):
            return at
        char = text[at]
        if char == "/":
            return _behind_comment(text, at)
        if self._state == "value":
            return self._value(text, at, char)
        if self._state == "key":
            return self._key(text, at, char)
        if self._state == "after":
            return self._after(at, char)
        if char != ":":
            raise ParseStopped(at, f"a colon is missing before {char!r}")
        self.out.append(":")
        self._state = "value"
        return at + 1

    def _value(self, text: str, at: int, char: str) -> int:
        if char in QUOTES:
            return self._open_string(at, char)
        if char in "{[":
            return self._open(at, char)
        if char == "]" and self._stack[-1:] == ["]"]:
            return self._close(at)
        return self._literal(text, at)

    def _key(self, text: str, at: int, char: str) -> int:
        if char in QUOTES:
            return self._open_string(at, char)
        if char == "}":
            return self._close(at)
        if char == ",":  # one more than there should be
            return skip_commas(text, at)
        found = _BARE_KEY.match(text, at)
        if found and found.end() == len(text) and not found[2]:
            return -1
        if not found or not found[2]:
            raise ParseStopped(at, f"a key in quotes is expected instead of {char!r}")
        self._write(f'"{found[1]}":')
        self._state = "value"
        return found.end()

    def _after(self, at: int, char: str) -> int:
        closer = self._stack[-1]
        if char == closer:
            return self._close(at)
        # A missing comma is forgiven where a new string, or in a list an object, makes plain what was meant.
        if char != "," and char not in QUOTES and not (closer == "]" and char in "{["):
            raise ParseStopped(at, f"a comma or {closer!r} is expected instead of {char!r}")
        self._comma = True
        self._state = "key" if closer == "}" else "value"
        return at + 1 if char == "," else at

    def _open_string(self, at: int, quote: str) -> int:
        self._write('"')
        self._string = StringReader(quote, self.out)
        return at + 1

    def _open(self, at: int, char: str) -> int:
        # A model in a loop opens brackets without end; the stack would grow with the reply.
        if len(self._stack) == _DEEPEST:
            raise ParseStopped(at, "it is nested too deeply")
        self._write(char)
        self._stack.append("}" if char == "{" else "]")
        self._state = "key" if char == "{" else "value"
        return at + 1

    def _close(self, at: int) -> int:
        # The trailing comma, which strict JSON forbids, is never written.
        self._comma = False
        self.out.append(self._stack.pop())
        self._ended()
        return at + 1

    def _literal(self, text: str, at: int) -> int:
        found = _LITERAL.match(text, at)
        if not found:
            raise ParseStopped(at, f"a value is expected instead of {text[at]!r}")
        if found.end() - at > _LONGEST_LITERAL:
            raise ParseStopped(at, "a value is no JSON")
        # It may go on in the next piece: 1 may become 12.
        if found.end() == len(text):
            return -1
        word = found.group()
        # Strict numbers go through as they are written, or 1e400 and long decimals would lose digits.
        strict = _LITERALS.get(word) or (word if _NUMBER.fullmatch(word) else _number(word))
        if not strict:
            raise ParseStopped(at, f"{word[:40]!r} is no JSON value")
        self._write(strict)
        self._ended()
        return found.end()

    def _write(self, piece: str) -> None:
        """What begins a member or an element, with the comma that was put off until one came."""
        self.out.append(f",{piece}" if self._comma else piece)
        self._comma = False

    def _ended(self) -> None:
        """A value is complete: the whole one, or one inside it."""
        self.done = not self._stack
        self._state = "after"


def _number(word: str) -> str:
    """A number that JSON would write in another way; "" for anything else, or what can be meant in two ways."""
    word = word.removeprefix("+")
    if _NUMBER.fullmatch(word):
        return word
    if _HEX.fullmatch(word):
        # At most 300 digits by _LONGEST_LITERAL, so the conversion is cheap.
        return str(int(word, 16))
    if found := _LOOSE.fullmatch(word):
        return f"{found[1]}{found[2]}"
    found = _LOOSE_POINT.fullmatch(word)
    if not found or not (found[2] or found[3]):
        return ""
    return f"{found[1]}{found[2].lstrip('0') or 0}.{found[3] or 0}{found[4]}"


def _behind_comment(text: str, at: int) -> int:
    """The position behind the comment that stands here; negative when more must be seen."""
    if found := _COMMENT.match(text, at):
        return found.end()
    # Bounded: what is no comment within so many characters is an error, so that a slash cannot hold a call back.
    begun = text[at : at + _MOST_COMMENT]
    if len(begun) < _MOST_COMMENT and "<" not in begun and (begun == "/" or begun.startswith(("//", "/*"))):
        return -1
    raise ParseStopped(at, "a value or a key is expected instead of '/'")


def read_on(value: Value, text: str, at: int, most: int) -> int:
    """Read a value, or what there is of it, from `at`; the position behind what was read. Raise Unreadable, and TooLong
    when it has about so many tokens: the pieces it writes are counted.
    """
    while not value.done and at < len(text):
        try:
            # In parts, so that the count below is looked at long before a huge value is read.
            read = value.take(text[at : at + _PART], 0)
        except ParseStopped as problem:
            problem.at += at
            raise
        if len(value.out) > most:
            raise TooLong
        if not read:
            break
        at += read
    return at
