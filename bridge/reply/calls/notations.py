"""
Calls as models write them by themselves: the notations that the families Lingma offers were trained on.

JSON in tags or in a code fence (Hermes, Qwen), tags for each parameter (Qwen3-Coder, GLM, MiniMax, DeepSeek V3.2 and
later), section tokens (Kimi K2, DeepSeek V3 and R1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from bridge.chat.request import Tool
from bridge.reply.calls.call_object import CallObject
from bridge.reply.calls.cursor import TAG, Cursor, MoreNeeded, NoCall
from bridge.reply.calls.delimiters import FENCE, MORE, NONE, fence_body
from bridge.reply.calls.guessed_call import DSML, GuessedCall
from bridge.reply.calls.json_value import ParseStopped
from bridge.reply.calls.tagged_calls import INVOKE, INVOKE_END, MOST_NAME, TaggedCalls, both

_MOST_UNNAMED = 400  # characters of a JSON object that may stand before its tool's name
# Looser than the reader: it only decides whether a long object is worth holding.
_NAMED = re.compile(r"""["'“”](?:name|tool|function)["'“”]\s*:\s*["'“”]([^"'“”]+)["'“”]""")
# Kimi writes `functions.<name>:<number>`, its id of the call.
_KIMI_NAME = re.compile(r"\s*(?:functions\.)?(.+?)(?::\d+)?\s*", re.DOTALL)


_LIST_ENDS = (*both("</function_calls>", "</tool_calls>"), "</minimax:tool_call>")
_SECTION_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")
LAST = ("</tool_call>", "</function>", *INVOKE_END, *_LIST_ENDS, *_SECTION_ENDS, "<｜end▁of▁sentence｜>")
"""What a complete block of calls ends with, if not with JSON or a fence."""


class NotationReader(TaggedCalls):
    """Reads calls from a cursor, whatever their notation, into `calls`."""

    def __init__(self, cursor: Cursor, find: Callable[[str], Tool | None]) -> None:
        super().__init__(cursor, find)
        # Some begin in the middle of a block: models forget the outer tag.
        self._blocks: dict[str, Callable[[], None]] = {
            "<tool_call>": self._tool_call,
            "<tool_calls>": self._listed,
            "<function_calls>": self._listed,
            f"<{DSML}function_calls>": self._listed,
            f"<{DSML}tool_calls>": self._listed,
            "<minimax:tool_call>": self._listed,
            "<function=": lambda: self._alone(self._function, "</tool_call>"),
            "<invoke": lambda: self._alone(self._invoke, *_LIST_ENDS),
            f"<{DSML}invoke": lambda: self._alone(self._invoke, *_LIST_ENDS),
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

    def _end(self, *tokens: str) -> None:
        """What may stand behind a complete call; it may as well be left out."""
        # Set before the closer is looked for: `space` raises at the end of the text, and the call is complete all the
        # same.
        self._cursor.is_complete = True
        self._cursor.space()
        self._cursor.take(*tokens)

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
            cursor.expect(*INVOKE)
            self._invoke()
            while self._follows(*INVOKE):
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
        if tool is None or not (call_object.members.nested or (bare and call_object.is_bare)):
            raise NoCall(self._cursor.at)
        arguments = "".join(call_object.out)
        # A custom tool's text, in the form in which a request would quote it.
        quoted = json.dumps({"input": arguments}, ensure_ascii=False) if tool.custom else arguments
        self.calls.append(GuessedCall(tool, arguments, (text[start:at], *((quoted,) if quoted != "{}" else ()))))
        return at

    def _kimi(self) -> None:
        named = _KIMI_NAME.fullmatch(self._cursor.until("<|tool_call_argument_begin|>", MOST_NAME))
        self._json_arguments(self._tool(named[1] if named else ""))
        self._end("<|tool_call_end|>")

    def _deepseek(self) -> None:
        cursor = self._cursor
        name = cursor.until("<｜tool▁sep｜>", MOST_NAME)
        # DeepSeek V3 and R1 put the word `function` first, then the name and a fence with the arguments; V3.1 puts the
        # name itself there.
        fenced = name.strip() == "function"
        tool = self._tool(cursor.until("\n", MOST_NAME) if fenced else name)
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
