"""Calls with a tag for each parameter: Qwen3-Coder, GLM, MiniMax, DeepSeek V3.2 and later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from bridge.chat.request import Tool
from bridge.reply.calls.call_object import whole_arguments
from bridge.reply.calls.cursor import TAG, Cursor, MoreNeeded, NoCall, TooMuch
from bridge.reply.calls.guessed_call import DSML, GuessedCall
from bridge.reply.calls.json_value import TooLong
from bridge.reply.calls.typed import Parameters

# A name that long is none, so nothing is held for it.
MOST_NAME = 200
_NAME = re.compile(r"[\w.:/-]*")
# Only the attributes that DeepSeek's and MiniMax's notations have; any other tag is text.
_TAG = re.compile(r'\s+name="([^"]+)"(?:\s+string="(true|false)")?\s*')


def both(*tags: str) -> tuple[str, ...]:
    """Each tag, and what DeepSeek makes of it."""
    return (*tags, *(tag.replace("</", f"</{DSML}") if "</" in tag else tag.replace("<", f"<{DSML}") for tag in tags))


INVOKE, INVOKE_END = both("<invoke"), both("</invoke>")
_PARAMETER, _PARAMETER_END = both("<parameter"), both("</parameter>")
_FUNCTION_VALUE_END = re.compile("</parameter>")
_INVOKE_VALUE_END = re.compile("|".join(_PARAMETER_END))
_PAIR_VALUE_END = re.compile("</arg_value>")


class TaggedCalls:
    """Reads single calls from a cursor into `calls`; the blocks around them are the notations' to read."""

    def __init__(self, cursor: Cursor, find: Callable[[str], Tool | None]) -> None:
        self.calls: list[GuessedCall] = []
        self._cursor = cursor
        self._find = find
        self._parameters: dict[str, Parameters] = {}

    def _add(self, tool: Tool, arguments: str, *quotes: str) -> None:
        """A call that is complete. `{}` is not quoted: it is in every other text and proves nothing."""
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

    def _function(self) -> None:
        """One call, read from behind `<function=`: Qwen3-Coder's notation."""
        cursor = self._cursor
        start = cursor.at
        tool = self._tool(cursor.until(">", MOST_NAME))
        members = self._members_of(tool)
        while cursor.expect("<parameter=", "</function>") != "</function>":
            name = cursor.until(">", MOST_NAME)
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
            cursor.expect(*INVOKE_END)
            return self._add(tool, arguments, cursor.text[start : cursor.at])
        members = self._members_of(tool)
        while cursor.expect(*_PARAMETER, *INVOKE_END) in _PARAMETER:
            name, is_string = self._attributes()
            text = cursor.value(_INVOKE_VALUE_END, (*_PARAMETER, *INVOKE_END))
            members.add(cursor, name, _unwrapped(text), is_string=is_string == "true" if is_string else None)
        return self._add(tool, members.json, cursor.text[start : cursor.at])

    def _attributes(self) -> tuple[str, str]:
        """The `name` of a tag, and its `string` attribute: "true", "false" or ""."""
        found = _TAG.fullmatch(self._cursor.until(">", MOST_NAME))
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
        if end - start > MOST_NAME or (end < len(cursor.text) and cursor.text[end] not in "< \t\r\n"):
            raise NoCall(end)
        if end == len(cursor.text):
            raise MoreNeeded
        cursor.at = end
        tool = self._tool(cursor.text[start:end])
        members = self._members_of(tool)
        while cursor.expect("<arg_key>", "</tool_call>") == "<arg_key>":
            name = cursor.until("</arg_key>", MOST_NAME)
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
