"""A forced function whose call came as plain JSON (PROTOCOL 17.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.validation import check_arguments, schema_of
from bridge.schema import parts as schema_parts
from gateway_project.lib.json_errors import UNREADABLE

_FENCED = re.compile(r"\A```[\w -]*\n(.*?)\n?```\Z", re.DOTALL)
_LONGEST = 1 << 20  # characters of arguments
_MOST_PARTS = 20  # of a schema that are looked at for names of parameters
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
        arguments = None if tool.custom else forced_arguments(text, tool)
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


def forced_arguments(text: str, tool: Tool) -> str | None:
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
    except UNREADABLE:
        return None
    if not isinstance(answer, dict):
        return None
    readings = [msgspec.json.encode(each).decode() for each in _readings(answer, tool)]
    # Only a tool with parameters of such names leaves a choice; then its schema says which reading is meant.
    fitting = (each for each in readings if not check_arguments(tool, each).problem) if len(readings) > 1 else ()
    return next(iter(fitting), readings[0] if readings else None)


def _readings(answer: dict[str, Any], tool: Tool) -> Iterator[dict[str, Any]]:
    """What the arguments can be, the likeliest first."""
    declared = _declared(tool)
    about = {key: value for key, value in answer.items() if key in _ABOUT_THE_CALL and key not in declared}
    if answer.keys() <= declared:
        yield answer
    nested = _nested(answer)
    # An object that names another function is a call of that one, which the client did not ask for.
    if nested is not None and _named(answer) in ("", tool.name):
        yield nested
    # Flat: the model wrote the arguments themselves, perhaps beside the tool's name.
    if not answer.keys() <= declared and _nested(about) is None and _named(about) in ("", tool.name):
        yield {key: value for key, value in answer.items() if key not in about}


def _declared(tool: Tool) -> set[str]:
    """The names of the tool's parameters, as far as they can be read."""
    schema = schema_of(tool.schema)
    names: set[str] = set()
    nodes = [schema.root] if schema is not None else []
    # Bounded, since references may go round in circles.
    for _ in range(_MOST_PARTS):
        node = nodes.pop() if nodes else None
        if not isinstance(node, dict):
            continue
        names.update(schema_parts.fields(node))
        nodes += [*schema_parts.parts(node), *chain(*schema_parts.unions(node))]
        if schema is not None and (ref := schema_parts.reference(node)) is not None:
            nodes.append(schema_parts.pointed(schema.root, ref))
    return names


def _nested(answer: dict[str, Any]) -> dict[str, Any] | None:
    """`input`, `arguments` or `function.arguments`: where an object that speaks of a call has its arguments."""
    function = answer.get("function")
    inner = function.get("arguments") if isinstance(function, dict) else None
    found = map(_decoded, (answer.get("input"), answer.get("arguments"), inner))
    return next((each for each in found if isinstance(each, dict)), None)


def _named(answer: dict[str, Any]) -> str:
    function = answer.get("function")
    inner = function.get("name") if isinstance(function, dict) else function
    return next((each for each in (answer.get("name"), answer.get("tool"), inner) if isinstance(each, str)), "")


def _decoded(arguments: Any) -> Any:
    """Arguments may themselves be JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except UNREADABLE:
        return None
