"""A forced function whose call came as plain JSON (PROTOCOL 17.6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.reply.open_json import BEGINS, OpenJson

_FENCED = re.compile(r"\A```[\w -]*\n(.*?)\n?```\Z", re.DOTALL)
_LONGEST = 1 << 20  # characters of arguments
_ABOUT_THE_CALL = frozenset({"name", "tool", "function", "arguments", "input", "result"})


class ForcedCallReader:
    """The answer of Lingma's own agent where the client forces one tool: held to its end, because all of it may be
    that tool's arguments. Of what is read like this nothing is ever corrected.
    """

    # The interface of `EmulatedCalls`, as constants: the reader treats both alike.
    correction: Final = ""
    cut_off: Final = False
    in_call: Final = False

    def __init__(self, tool: Tool, new_id: Callable[[], str]) -> None:
        self.calls = 0
        self.outcomes: dict[str, int] = {}
        self._tool = tool
        self._new_id = new_id
        # None once a call of the agent has come: from then on text is text.
        self._held: list[str] | None = []
        self._watch = OpenJson(BEGINS["{"])

    @property
    def in_data(self) -> bool:
        """What comes next stands inside what may be the arguments."""
        return self._held is not None and self._watch.is_open

    def feed(self, text: str) -> list[TextDelta]:
        if self._held is None:
            return [TextDelta(text)]
        self._held.append(text)
        self._watch.append(text)
        return []

    def release(self) -> list[TextDelta]:
        """The agent called a tool: its text is text."""
        held, self._held = self._held, None
        return [TextDelta("".join(held))] if held else []

    def end(self) -> list[TextDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded]:
        tool, text = self._tool, "".join(self._held or ())
        arguments = None if tool.custom else forced_arguments(text, tool.name)
        # A call that the service's agent made is one already; the text beside it is no second one.
        if self._held is None or arguments is None:
            return [*self.release()]
        self.calls, self.outcomes = 1, {"parsed": 1}
        return [*whole_call(tool, arguments, self._new_id())]

    def discard(self) -> None:
        if self._held is not None:
            self._held.clear()
        self._watch = OpenJson(BEGINS["{"])

    def restart(self) -> None:
        """The answer was held back no longer, or there is none to correct."""

    def retry(self) -> None:
        """There is no second attempt."""


def whole_call(tool: Tool, arguments: str, call_id: str) -> tuple[ToolCallStarted, ToolCallDelta, ToolCallEnded]:
    started = ToolCallStarted(call_id, tool.wire_name or tool.name, tool.namespace, tool.custom)
    return started, ToolCallDelta(arguments), ToolCallEnded()


def forced_arguments(text: str, name: str) -> str | None:
    """The arguments, as JSON text, when the whole answer is one JSON object that can be a call of this function.

    The object may stand in a code fence. A `name` that is another function's makes it none.
    """
    # Bounded, because all of it is decoded at once, on the loop.
    if len(text) > _LONGEST:
        return None
    stripped = text.strip()
    if fenced := _FENCED.match(stripped):
        stripped = fenced[1].strip()
    if not stripped.startswith("{"):
        return None
    try:
        answer = msgspec.json.decode(stripped)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    # An object that names another function is a call of that one, which the client did not ask for.
    if not isinstance(answer, dict) or _named(answer) not in ("", name):
        return None
    return msgspec.json.encode(_arguments(answer)).decode()


def _named(answer: dict[str, Any]) -> str:
    function = answer.get("function")
    inner = function.get("name") if isinstance(function, dict) else function
    return next((each for each in (answer.get("name"), answer.get("tool"), inner) if isinstance(each, str)), "")


def _arguments(answer: dict[str, Any]) -> dict[str, Any]:
    """`input`, `arguments`, `function.arguments`, else every key that does not speak of the call itself."""
    function = answer.get("function")
    nested = function.get("arguments") if isinstance(function, dict) else None
    for arguments in map(_decoded, (answer.get("input"), answer.get("arguments"), nested)):
        if isinstance(arguments, dict):
            return arguments
    # Flat: the model wrote the arguments themselves, perhaps beside the tool's name.
    return {key: value for key, value in answer.items() if key not in _ABOUT_THE_CALL}


def _decoded(arguments: Any) -> Any:
    """Arguments may themselves be JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
