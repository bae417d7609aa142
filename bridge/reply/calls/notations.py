"""
Calls as models write them by themselves: the notations that the families Lingma offers were trained on.

JSON in tags or in a code fence (Hermes, Qwen), tags for each parameter (Qwen3-Coder, GLM, MiniMax, DeepSeek V3.2 and
later), section tokens (Kimi K2, DeepSeek V3 and R1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import msgspec

from bridge.chat.request import Tool
from bridge.reply.calls.call_object import CallObject, whole_arguments
from bridge.reply.calls.cursor import TAG, Cursor, MoreNeeded, NoCall, TooMuch
from bridge.reply.calls.delimiters import FENCE, MORE, NONE, fence_body
from bridge.reply.calls.json_value import ParseStopped, TooLong
from bridge.reply.calls.typed import Parameters

_DSML = "｜DSML｜"
# A name that long is none, so nothing is held for it.
_MOST_NAME = 200
_MOST_UNNAMED = 400  # characters of a JSON object that may stand before its tool's name
_NAME = re.compile(r"[\w.:/-]*")
# Only the attributes that DeepSeek's and MiniMax's notations have; any other tag is text.
_TAG = re.compile(r'\s+name="([^"]+)"(?:\s+string="(true|false)")?\s*')
# Looser than the reader: it only decides whether a long object is worth holding.
_NAMED = re.compile(r"""["'“”](?:name|tool|function)["'“”]\s*:\s*["'“”]([^"'“”]+)["'“”]""")
# Kimi writes `functions.<name>:<number>`, its id of the call.
_KIMI_NAME = re.compile(r"\s*(?:functions\.)?(.+?)(?::\d+)?\s*", re.DOTALL)


def _both(*tags: str) -> tuple[str, ...]:
    """Each tag, and what DeepSeek makes of it."""
    return (*tags, *(tag.replace("</", f"</{_DSML}") if "</" in tag else tag.replace("<", f"<{_DSML}") for tag in tags))


_INVOKE, _INVOKE_END = _both("<invoke"), _both("</invoke>")
_PARAMETER, _PARAMETER_END = _both("<parameter"), _both("</parameter>")
_FUNCTION_VALUE_END = re.compile("</parameter>")
_INVOKE_VALUE_END = re.compile("|".join(_PARAMETER_END))
_PAIR_VALUE_END = re.compile("</arg_value>")
_LIST_ENDS = (*_both("</function_calls>", "</tool_calls>"), "</minimax:tool_call>")
_SECTION_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")
LAST = ("</tool_call>", "</function>", *_INVOKE_END, *_LIST_ENDS, *_SECTION_ENDS, "<｜end▁of▁sentence｜>")
"""What a complete block of calls ends with, if not with JSON or a fence."""


VALUE_ENDS = ("</parameter>", f"</{_DSML.casefold()}parameter>", "</arg_value>")
"""Tags that end a value, as a text without capitals has them."""


class GuessedCall(msgspec.Struct, frozen=True):
    """A complete call. `quotes` are texts that a stranger would have written to have it made."""

    tool: Tool
    arguments: str
    """JSON, or the plain text of a custom tool."""
    quotes: tuple[str, ...]

    @property
    def in_tags(self) -> Iterator[str]:
        """The arguments as notations with a tag for each parameter have them: a stranger may have used another one."""
        members = _members({"input": self.arguments} if self.tool.custom else self.arguments)
        if not members:
            return
        yield "".join(f"<arg_key>{name}</arg_key><arg_value>{value}</arg_value>" for name, value, _ in members)
        yield "".join(f"<parameter={name}>{value}</parameter>" for name, value, _ in members)
        for tag in ("parameter", f"{_DSML}parameter"):
            yield "".join(f'<{tag} name="{name}">{value}</{tag}>' for name, value, _ in members)
            yield "".join(f'<{tag} name="{name}" string="{kind}">{value}</{tag}>' for name, value, kind in members)


def _members(arguments: str | dict[str, str]) -> list[tuple[str, str, str]]:
    """Names, values as they are written between tags, and whether they are strings: "true" or "false"."""
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        return [
            (name, value, "true") if isinstance(value, str) else (name, json.dumps(value, ensure_ascii=False), "false")
            for name, value in given.items()
        ]
    except RecursionError:
        return []


class NotationReader:
    """Reads calls from a cursor, whatever their notation, into `calls`."""

    def __init__(self, cursor: Cursor, find: Callable[[str], Tool | None]) -> None:
        self.calls: list[GuessedCall] = []
        self._cursor = cursor
        self._find = find
        self._parameters: dict[str, Parameters] = {}
        # Some begin in the middle of a block: models forget the outer tag.
        self._blocks: dict[str, Callable[[], None]] = {
            "<tool_call>": self._tool_call,
            "<tool_calls>": self._listed,
            "<function_calls>": self._listed,
            f"<{_DSML}function_calls>": self._listed,
            f"<{_DSML}tool_calls>": self._listed,
            "<minimax:tool_call>": self._listed,
            "<function=": lambda: self._alone(self._function, "</tool_call>"),
            "<invoke": lambda: self._alone(self._invoke, *_LIST_ENDS),
            f"<{_DSML}invoke": lambda: self._alone(self._invoke, *_LIST_ENDS),
            "<|tool_calls_section_begin|>": lambda: self._section("<|tool_call_begin|>", "<|tool_calls_section_end|>"),
            "<|tool_call_begin|>": lambda: self._alone(self._kimi, "<|tool_calls_section_end|>"),
            "<｜tool▁calls▁begin｜>": lambda: self._section("<｜tool▁call▁begin｜>", "<｜tool▁calls▁end｜>"),
            "<｜tool▁call▁begin｜>": lambda: self._alone(self._deepseek, "<｜tool▁calls▁end｜>"),
            FENCE: self._fence,
        }

    def block(self) -> None:
        """One block of calls. Raise MoreNeeded, NoCall."""
        cursor = self._cursor
        cursor.space()
        began = cursor.at
        try:
            found = cursor.take(*self._blocks)
        except MoreNeeded:
            cursor.is_complete = False  # another one begins, and is not all there
            raise
        if not found:
            # At least one character is given up, or the parser would look at the same place for ever.
            raise NoCall(max(began, 1))
        # Unfinished until the block is whole: a reply that ends in between holds no complete call.
        cursor.is_complete = False
        self._blocks[found]()
        cursor.is_complete = True

    # -- around calls ---------------------------------------------------------------------------------------------

    def _end(self, *tokens: str) -> None:
        """What may stand behind a complete call; it may as well be left out."""
        # Set before the closer is looked for: `space` raises at the end of the text, and the call is complete all the
        # same.
        self._cursor.is_complete = True
        self._cursor.space()
        self._cursor.take(*tokens)

    def _add(self, tool: Tool, arguments: str, *quotes: str) -> None:
        """`{}` is in every other text, so it proves nothing."""
        arguments_quote = (arguments,) if arguments != "{}" else ()
        value = whole_arguments(tool, arguments)
        if value is None:
            raise NoCall(self._cursor.at)
        self.calls.append(GuessedCall(tool, value, (*quotes, *arguments_quote)))

    def _tool(self, name: str) -> Tool:
        self._cursor.spend(TAG)
        # How freely a name is matched is up to the caller: guesses go by the spelling alone.
        tool = self._find(name.strip())
        if tool is None:
            raise NoCall(self._cursor.at)
        return tool

    def _alone(self, read: Callable[[], None], *closers: str) -> None:
        """A call before which the beginning of the block is missing; models forget it."""
        read()
        self._end(*closers)

    def _tool_call(self) -> None:
        """The tag that three families share."""
        cursor = self._cursor
        cursor.space()
        if cursor.text[cursor.at] in "{[":
            self._objects(bare=True)
        elif cursor.take("<function="):
            self._function()
            while self._follows("<function="):
                self._function()
        else:
            # GLM's form, which reads its own closing tag.
            return self._arg_pairs()
        return self._end("</tool_call>")

    def _follows(self, *openers: str) -> str:
        """One more call in the same block."""
        self._cursor.is_complete = True
        self._cursor.space()
        if not any(self._cursor.text.startswith(each, self._cursor.at) for each in openers):
            return ""
        self._cursor.is_complete = False
        return self._cursor.take(*openers)

    def _listed(self) -> None:
        """`<invoke …>` one after the other, or JSON."""
        cursor = self._cursor
        cursor.space()
        if cursor.text[cursor.at] in "{[":
            self._objects(bare=True)
        else:
            cursor.expect(*_INVOKE)
            self._invoke()
            while self._follows(*_INVOKE):
                self._invoke()
        self._end(*_LIST_ENDS)

    def _section(self, opener: str, closer: str) -> None:
        read = self._kimi if opener == "<|tool_call_begin|>" else self._deepseek
        self._cursor.expect(opener)
        read()
        while self._follows(opener):
            read()
        self._end(closer)
        if opener != "<|tool_call_begin|>":
            self._end("<｜end▁of▁sentence｜>")

    # -- JSON with the name inside --------------------------------------------------------------------------------

    def _fence(self) -> None:
        cursor = self._cursor
        body = fence_body(cursor.text, cursor.at)
        if body == MORE:
            raise MoreNeeded
        # A tag in a fence is shown as code; only JSON there may be a call.
        if body == NONE or cursor.text[body] == "<":
            raise NoCall(cursor.at)
        cursor.at = body
        self._objects(bare=False)
        self._end(FENCE)

    def _objects(self, *, bare: bool) -> None:
        """Objects one after the other, or a list of them. `bare`: a name alone is a call too."""
        cursor = self._cursor
        while True:
            start = cursor.at
            # Before the whole object is waited for: otherwise a long JSON document would be held until its end.
            self._check_name(start)
            cursor.json()
            self._call_objects(cursor.text[start : cursor.at], bare=bare)
            cursor.is_complete = True
            cursor.space()
            # Objects one after the other, without a comma, as Hermes writes several calls.
            if cursor.text[cursor.at] != "{":
                return
            cursor.is_complete = False

    def _check_name(self, start: int) -> None:
        """Long objects that name no tool are released early: much JSON in replies is no call."""
        window = self._cursor.text[start : start + _MOST_UNNAMED]
        # Only when the window is full: of a shorter text the name may still come.
        if len(window) == _MOST_UNNAMED and not any(self._find(name) for name in _NAMED.findall(window)):
            raise NoCall(start + 1)

    def _call_objects(self, text: str, *, bare: bool) -> None:
        at = 0
        while at < len(text):
            if text[at] == "{":
                at = self._call_object(text, at, bare=bare)
            elif text[at] in "[], \t\r\n":
                at += 1
            else:
                raise NoCall(self._cursor.at)

    def _call_object(self, text: str, start: int, *, bare: bool) -> int:
        self._cursor.spend(TAG)
        call_object, at, sign = CallObject(self._find), start, ""
        try:
            while sign != "done":
                at, sign = call_object.take(text, at)
                # The text is a complete JSON value, so no sign means that it is no call object.
                if sign in ("", "unknown"):
                    raise NoCall(self._cursor.at)
        except ParseStopped:
            raise NoCall(self._cursor.at) from None
        tool = call_object.tool
        # Flat arguments beside the name would make any object with a `name` a call.
        if tool is None or not (call_object.nested or (bare and call_object.is_bare)):
            raise NoCall(self._cursor.at)
        arguments = "".join(call_object.out)
        # A custom tool's text, in the form in which a request would quote it.
        quoted = json.dumps({"input": arguments}, ensure_ascii=False) if tool.custom else arguments
        self.calls.append(GuessedCall(tool, arguments, (text[start:at], *((quoted,) if quoted != "{}" else ()))))
        return at

    # -- JSON behind the name -------------------------------------------------------------------------------------

    def _kimi(self) -> None:
        named = _KIMI_NAME.fullmatch(self._cursor.until("<|tool_call_argument_begin|>", _MOST_NAME))
        self._json_arguments(self._tool(named[1] if named else ""))
        self._end("<|tool_call_end|>")

    def _deepseek(self) -> None:
        cursor = self._cursor
        name = cursor.until("<｜tool▁sep｜>", _MOST_NAME)
        # DeepSeek V3 and R1 put the word `function` first, then the name and a fence with the arguments; V3.1 puts the
        # name itself there.
        fenced = name.strip() == "function"
        tool = self._tool(cursor.until("\n", _MOST_NAME) if fenced else name)
        if fenced:
            cursor.expect(f"{FENCE}json")
        self._json_arguments(tool)
        if fenced:
            self._end(FENCE)
        self._end("<｜tool▁call▁end｜>")

    def _json_arguments(self, tool: Tool) -> None:
        cursor = self._cursor
        cursor.space()
        start = cursor.at
        if cursor.text[start] != "{":
            raise NoCall(start)
        arguments = cursor.json()
        self._add(tool, arguments, *([cursor.text[start : cursor.at]] if arguments != "{}" else []))

    # -- a tag for each parameter ---------------------------------------------------------------------------------

    def _function(self) -> None:
        """One call, read from behind `<function=`: Qwen3-Coder's notation."""
        cursor = self._cursor
        start = cursor.at
        tool = self._tool(cursor.until(">", _MOST_NAME))
        members = self._members_of(tool)
        while cursor.expect("<parameter=", "</function>") != "</function>":
            name = cursor.until(">", _MOST_NAME)
            text = cursor.value(_FUNCTION_VALUE_END, ("<parameter=", "</function>"))
            # Qwen3-Coder puts each value on lines of its own; only these two line breaks belong to the notation.
            members.add(cursor, name.strip(), text.removeprefix("\n").removesuffix("\n"))
        self._add(tool, members.json, cursor.text[start : cursor.at])

    def _members_of(self, tool: Tool) -> _Members:
        if tool.name not in self._parameters:
            self._parameters[tool.name] = Parameters(tool)
        return _Members(self._parameters[tool.name])

    def _invoke(self) -> None:
        """One call, read from behind `<invoke`: MiniMax's and DeepSeek's notation."""
        cursor = self._cursor
        start = cursor.at
        tool = self._tool(self._attributes()[0])
        cursor.space()
        if cursor.text[cursor.at] == "{":
            arguments = cursor.json()
            cursor.expect(*_INVOKE_END)
            return self._add(tool, arguments, cursor.text[start : cursor.at])
        members = self._members_of(tool)
        while cursor.expect(*_PARAMETER, *_INVOKE_END) in _PARAMETER:
            name, is_string = self._attributes()
            text = cursor.value(_INVOKE_VALUE_END, (*_PARAMETER, *_INVOKE_END))
            members.add(cursor, name, _unwrapped(text), is_string=is_string == "true" if is_string else None)
        return self._add(tool, members.json, cursor.text[start : cursor.at])

    def _attributes(self) -> tuple[str, str]:
        """The `name` of a tag, and its `string` attribute: "true", "false" or ""."""
        found = _TAG.fullmatch(self._cursor.until(">", _MOST_NAME))
        if not found:
            raise NoCall(self._cursor.at)
        return found[1], found[2] or ""

    def _arg_pairs(self) -> None:
        """Behind `<tool_call>`: the name, then keys and values."""
        cursor = self._cursor
        start = cursor.at
        found = _NAME.match(cursor.text, start)
        end = found.end() if found else start
        # A name must be followed by a tag or white space; otherwise prose stands behind `<tool_call>`.
        if end - start > _MOST_NAME or (end < len(cursor.text) and cursor.text[end] not in "< \t\r\n"):
            raise NoCall(end)
        if end == len(cursor.text):
            raise MoreNeeded
        cursor.at = end
        tool = self._tool(cursor.text[start:end])
        members = self._members_of(tool)
        while cursor.expect("<arg_key>", "</tool_call>") == "<arg_key>":
            name = cursor.until("</arg_key>", _MOST_NAME)
            cursor.expect("<arg_value>")
            text = cursor.value(_PAIR_VALUE_END, ("<arg_key>", "</tool_call>"))
            members.add(cursor, name.strip(), _unwrapped(text))
        self._add(tool, members.json, cursor.text[start : cursor.at])


class _Members:
    """The parameters of a call, each once."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._members: dict[str, str] = {}

    def add(self, cursor: Cursor, name: str, text: str, *, is_string: bool | None = None) -> None:
        cursor.spend(TAG)
        # Twice the same parameter: unclear which one was meant, so it is no call.
        if name in self._members:
            raise NoCall(cursor.at)
        try:
            value = self._parameters.value(name, text, is_string=is_string, most=cursor.tokens)
        except TooLong:
            raise TooMuch(cursor.at) from None
        cursor.spend(self._parameters.tokens)
        self._members[name] = value

    @property
    def json(self) -> str:
        members = (f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in self._members.items())
        return f"{{{','.join(members)}}}"


def _unwrapped(text: str) -> str:
    return text[1:].removesuffix("\n") if text.startswith("\n") else text
