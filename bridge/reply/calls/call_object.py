"""The JSON object around a call: which tool it names and where its arguments are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import msgspec

from bridge.chat.request import Tool
from bridge.reply.calls.json_string import QUOTES, StringReader, paired
from bridge.reply.calls.json_value import ParseStopped, skip_commas, skip_space
from bridge.reply.calls.values import CODED_INPUT, Coded, Ignored, Member, Plain, PlainOrCoded, Stored, Streamed

Sign = Literal["", "begun", "unknown", "done"]

# Keys as models write them, whatever the prompt shows (PROTOCOL 14.2).
_NAMES = frozenset(("name", "tool", "function"))
_ARGUMENTS = frozenset(("arguments", "parameters", "input", "args"))


class Members(msgspec.Struct):
    """What is known of the members beside the name."""

    nested: bool = False
    """The arguments have a key of their own; else the other members are the arguments."""
    stored: str = ""
    """The arguments, while their tool is not known yet."""
    flat: list[str] = []
    """The other members, as strict JSON."""
    in_custom: bool = False
    """A custom tool's arguments are being read, member by member."""


class CallObject:
    """Reads one object `{"name": ..., "arguments": {...}}` in any of the spellings models use.

    `out` gathers the arguments: strict JSON, or the plain text of a custom tool. Nothing is in it before both the
    tool and the beginning of its arguments are known, so that the call's start can be sent first.
    """

    def __init__(self, find: Callable[[str], Tool | None]) -> None:
        self.out: list[str] = []
        self.name = ""
        self.tool: Tool | None = None
        self.begun = False
        self.ended = False
        """The arguments are complete."""
        self.members = Members()
        self._find = find
        self._state = "open"
        self._key: list[str] = []
        self._depth = 0
        self._reader: StringReader | None = None
        self._part: Member | None = None

    def take(self, text: str, at: int) -> tuple[int, Sign]:
        """
        Read on from `at`: the position behind what was read, and what has just become known. No sign: more must be
        seen. `done` is the object's end. Raise Unreadable.
        """
        while at < len(text):
            # A member's value, a word in quotes, or a sign in between: exactly one of the three is being read.
            if self._part:
                at = self._part.take(text, at)
                # Returned at once: the start of the call must be sent before the first of its arguments.
                if not self.begun and isinstance(self._part, Coded) and self._part.seen:
                    self.begun = True
                    return at, "begun"
                if not self._part.done:
                    return at, ""
                sign = self._member_ended(at)
            elif self._reader:
                at = self._reader.take(text, at)
                if not self._reader.closed:
                    self._drop_key()
                    return at, ""
                sign = self._word_ended(at)
            else:
                at = skip_space(text, at)
                if at == len(text):
                    break
                at, sign = self._step(text, at)
            if sign:
                return at, sign
        return at, ""

    def complete(self, rest: str, *, closed: bool) -> bool:
        """The call ended with `rest` unread: whether what was read can be all of it; then the arguments are ended.

        `closed`: its end was marked. Without that, a call that shows no arguments is taken for cut off.
        """
        if self.ended:
            return True
        try:
            if self._part:
                if not self._part.complete(rest):
                    return False
                self._member_ended(0)
            elif rest.strip() or self._state != "after":
                return False
            # A cut-off call with a name alone may have had arguments to come, so it only counts when its end was
            # marked.
            if not self.ended and (self.tool is None or not (closed or self.members.flat)):
                return False
            self._finish(0)
        except ParseStopped:
            return False
        return self.ended

    @property
    def is_bare(self) -> bool:
        return not (self.members.nested or self.members.flat)

    @property
    def is_open(self) -> bool:
        return self._depth > 0

    def skip_rest(self) -> None:
        """Skip the rest of the object; only find its end."""
        self.ended = True

    def _drop_key(self) -> None:
        """Keys behind the arguments can be endless, and nobody asks for them."""
        if self.ended:
            # Emptied on each piece, so that an endless key takes no memory.
            self._key.clear()

    def _step(self, text: str, at: int) -> tuple[int, Sign]:
        """One token between members."""
        char = text[at]
        if self._state == "value":
            return self._value(char, at)
        if self._state == "open":
            return self._open(char, at)
        if self._state == "colon":
            if char != ":":
                raise ParseStopped(at, f"a colon is missing before {char!r}")
            self._state = "value"
            return at + 1, ""
        return self._between(text, char, at)

    def _open(self, char: str, at: int) -> tuple[int, Sign]:
        if char == "{":
            self._state = "key"
            self._depth += 1
        # A list around the object is read over: some models wrap a single call in one.
        elif char != "[" or self._depth:
            raise ParseStopped(at, f"a JSON object is expected instead of {char!r}")
        return at + 1, ""

    def _between(self, text: str, char: str, at: int) -> tuple[int, Sign]:
        if char in QUOTES:
            self._state = "key"
            self._key = []
            self._reader = StringReader(char, self._key)
            return at + 1, ""
        if char == "}":
            return at + 1, self._closed(at + 1)
        if char != ",":
            raise ParseStopped(at, f"a key in quotes is expected instead of {char!r}")
        self._state = "key"
        return skip_commas(text, at), ""

    def _closed(self, at: int) -> Sign:
        """A closing brace: of the whole, of what stood around name and arguments, or of a custom tool's arguments."""
        self._depth -= 1
        self._state = "after"
        if self.members.in_custom:
            self.members.in_custom = False
            if not self.ended:
                raise ParseStopped(at, 'the arguments have no "input"', final=True)
        if self._depth:
            return ""
        self._finish(at)
        return "done"

    def _value(self, char: str, at: int) -> tuple[int, Sign]:
        """The first character of a member's value decides, with its key, what the member is."""
        # Behind the arguments everything is only read to find the end.
        if self.ended:
            self._part = Ignored()
            return at, ""
        key = decoded(self._key)
        if self.members.in_custom:
            return self._custom_value(key, char, at)
        # The first name counts: `name` inside of flat arguments may be a parameter of the tool.
        if key in _NAMES and self.tool is None and char in "{" + QUOTES:
            return self._name(char, at)
        # One key for the arguments; a second one is an ordinary member.
        if key in _ARGUMENTS and not self.members.nested:
            self.members.nested = True
            return self._arguments(char, at)
        self._part = Stored()
        return at, ""

    def _name(self, char: str, at: int) -> tuple[int, Sign]:
        """The tool's name, or an object in which name and arguments stand together."""
        if char == "{":
            self._depth += 1
            self._state = "key"
            # Members before it belonged to the outer object (`type`, `id`), not to the arguments.
            self.members.flat = []
            return at + 1, ""
        self._key = []
        self._state = "name"
        self._reader = StringReader(char, self._key)
        return at + 1, ""

    def _custom_value(self, key: str, char: str, at: int) -> tuple[int, Sign]:
        if key == "input" and char in QUOTES:
            self._part = Plain(self.out)
            self.begun = True
            return at, "begun"
        self._part = Ignored()
        return at, ""

    def _arguments(self, char: str, at: int) -> tuple[int, Sign]:
        """Stream them if their tool is known, else keep them until it is."""
        # Without the tool it is not known whether the arguments are JSON or plain text.
        if self.tool is None or char not in "{" + QUOTES:
            self._part = Stored()
            return at, ""
        # Its one text is wanted, not the object around it: the object is read member by member.
        if char == "{" and self.tool.custom:
            self.members.in_custom = True
            self._depth += 1
            self._state = "key"
            return at + 1, ""
        if char != "{" and not self.tool.custom:
            self._part = Coded(self.out)
            return at, ""
        self._part = Streamed(self.out) if char == "{" else PlainOrCoded(self.out)
        self.begun = True
        return at, "begun"

    def _word_ended(self, at: int) -> Sign:
        """A key, or the name of the tool."""
        self._reader = None
        if self._state == "key":
            self._state = "colon"
            return ""
        self._state = "after"
        self.name = decoded(self._key)
        self.tool = self._find(self.name)
        if self.tool is None:
            # Reported at once: the caller can stop keeping what is of no use.
            return "unknown"
        if self.members.stored:
            self._set_arguments(self.members.stored, at)
            return "begun"
        return ""

    def _member_ended(self, at: int) -> Sign:
        part, self._part = self._part, None
        self._state = "after"
        if isinstance(part, Streamed | Plain):
            sign: Sign = "" if self.begun else "begun"
            self.begun = self.ended = True
            return sign
        if isinstance(part, Stored) and not self.ended:
            return self._stored_member(decoded(self._key), "".join(part.out), at)
        return ""

    def _stored_member(self, key: str, value: str, at: int) -> Sign:
        if not (self.members.nested and key in _ARGUMENTS and not self.members.stored):
            self.members.flat.append(f"{json.dumps(key)}:{value}")
            return ""
        self.members.stored = value
        if self.tool is None:
            return ""
        self._set_arguments(value, at)
        return "begun"

    def _finish(self, at: int) -> None:
        """The object is complete: without arguments of their own the other members are the arguments."""
        if self.ended:
            return
        if self.tool is None:
            raise ParseStopped(at, "the call names no tool", final=True)
        self._set_arguments(f"{{{','.join(self.members.flat)}}}", at)

    def _set_arguments(self, value: str, at: int) -> None:
        """Arguments that were kept whole, as strict JSON."""
        tool, meant = self.tool, json.loads(value)
        # Kept whole because the name came last; here it is turned into the same form as if it had come first.
        if tool is not None and tool.custom:
            self.out.append(_plain_input(meant, at))
        else:
            self.out.append(_as_object(value, meant, at))
        self.begun = self.ended = True


def whole_arguments(tool: Tool, arguments: str) -> str | None:
    """What the tool is given, of a JSON object: the object, or the text for a custom tool; None when there is none."""
    if not tool.custom:
        return arguments
    try:
        return _plain_input(json.loads(arguments), 0)
    except ParseStopped:
        return None


def decoded(pieces: list[str]) -> str:
    """The text of a string's escaped body."""
    body = "".join(pieces)
    return paired(json.loads(f'"{body}"')) if "\\" in body else body


def _plain_input(meant: object, at: int) -> str:
    """The plain text for a custom tool, out of arguments known as a whole. Raise Unreadable when there is none."""
    if isinstance(meant, str) and CODED_INPUT.match(meant):
        out: list[str] = []
        _read_whole(PlainOrCoded(out), meant, at)
        return "".join(out)
    if isinstance(meant, dict):
        # A custom tool takes one text; a single text under any other name can only be that one.
        texts = [each for each in meant.values() if isinstance(each, str)]
        meant = meant.get("input", texts[0] if len(texts) == 1 else None)
    if not isinstance(meant, str):
        raise ParseStopped(at, 'the arguments have no "input"', final=True)
    return paired(meant)


def _as_object(value: str, meant: object, at: int) -> str:
    """Arguments known as a whole, as the text of a JSON object. Raise Unreadable for anything else."""
    if isinstance(meant, dict):
        return value
    # Models write null or [] for a tool without parameters.
    if meant is None or meant == []:
        return "{}"
    if not isinstance(meant, str):
        raise ParseStopped(at, "the arguments are no JSON object", final=True)
    out: list[str] = []
    _read_whole(Coded(out), meant, at)
    return "".join(out)


def _read_whole(part: Plain, meant: str, at: int) -> None:
    """Let a reader of strings read one that is known as a whole."""
    text, read = json.dumps(meant), 0
    try:
        while not part.done:
            read = part.take(text, read)
    except ParseStopped as problem:
        raise ParseStopped(at, problem.reason, final=True) from None
