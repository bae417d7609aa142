"""Tools and tool choice in Anthropic's notation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.wire.bodies import FieldError, Path, decode, remembered, schema_at, text_at
from bridge.wire.bounds import MOST_TOOLS, at_most, name_at, shown
from bridge.wire.vendor_tools import ReadTools, is_client_run

MODES = {"auto": AUTO, "none": ToolChoice("none"), "any": ToolChoice("required")}


class Choice(msgspec.Struct, gc=False):
    """The field `tool_choice` of a body."""

    type: str | None = None
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None
    name: Any = None
    description: Any = None
    input_schema: msgspec.Raw = msgspec.Raw()


_TOOL = msgspec.json.Decoder(_Tool)


def read_tools(items: Sequence[msgspec.Raw] | None, at: Path = ("tools",)) -> ReadTools:
    """The tools that the client runs itself, those that load later (`defer_loading`) included.

    Left out are typed ones without a schema, such as `web_search_20250305`: the model would have to know them, or
    the vendor to run them. Raise a FieldError for a tool without a name, of a wrong type, or named like another.
    """
    at_most(MOST_TOOLS, items or (), at)
    # Plain bytes, as msgspec's Raw has no hash to be remembered by.
    return _read_tools(tuple(map(bytes, items or ())), at)


@remembered
def _read_tools(items: tuple[bytes, ...], at: Path) -> ReadTools:
    found: dict[str, Tool] = {}
    left_out: list[str] = []
    for index, item in enumerate(items):
        path = (*at, index)
        definition = decode(_TOOL, item, path)
        tool = _tool(definition, path)
        if tool is None:
            # Tools the vendor would run are dropped without a word: nobody waits for a call of them.
            left_out += [definition.type or ""] if is_client_run(definition.type) else []
        elif found.setdefault(tool.name, tool) is not tool:
            raise FieldError(
                "invalid_value", path, reason=f"Tool names must be unique; there is another '{shown(tool.name)}'"
            )
    return ReadTools(tuple(found.values()), tuple(left_out))


def read_choice(choice: Choice | None, declared: bool, tools: tuple[Tool, ...]) -> ToolChoice:
    """Whether one of the tools must be called. `declared`: the request lists tools, of whatever kind."""
    at = "tool_choice"
    if choice is None:
        return AUTO
    kind = text_at(choice.type, (at, "type"))
    if kind not in MODES and kind != "tool":
        raise FieldError("invalid_value", (at, "type"), reason="Input should be 'auto', 'any', 'tool' or 'none'")
    if kind in ("any", "tool") and not tools:
        # All that were listed may have been left out; a call cannot be demanded then.
        reason = "None of the tools can be called here" if declared else "It may only be given together with tools"
        raise FieldError("invalid_value", (at,), reason=reason)
    return MODES[kind] if kind in MODES else ToolChoice("named", _named(choice, tools))


def _named(choice: Choice, tools: tuple[Tool, ...]) -> str:
    name = text_at(choice.name, ("tool_choice", "name"))
    if all(tool.name != name for tool in tools):
        raise FieldError("invalid_value", ("tool_choice", "name"), reason=f"There is no tool '{shown(name)}' here")
    return name


def _tool(tool: _Tool, at: Path) -> Tool | None:
    schema = schema_at(tool.input_schema, (*at, "input_schema"))
    if tool.type not in (None, "custom") and not schema:
        return None
    name = text_at(tool.name, (*at, "name"))
    if not name:
        raise FieldError("invalid_value", (*at, "name"), reason="String should have at least 1 character")
    name_at(name, (*at, "name"))
    description = "" if tool.description is None else text_at(tool.description, (*at, "description"))
    return Tool(name, description, schema)
