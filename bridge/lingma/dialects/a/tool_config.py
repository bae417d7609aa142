"""The tools of a request as `chat/ask` may carry them along (PROTOCOL 9.1, 17.3): each vendor's own shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.chat.request import Tool, ToolChoice
from bridge.lingma.dialects.base import AskTools

_NO_ARGUMENTS = msgspec.Raw(b'{"type":"object","properties":{}}')


def tool_config(offered: AskTools) -> dict[str, Any]:
    """`toolConfig`. Tools go by `Tool.name`, so that calls of them are found again."""
    tools, choice = offered.tools, offered.choice
    if offered.notation == "anthropic":
        shown, chosen = [_anthropic_tool(tool) for tool in tools], _anthropic_choice(choice, parallel=offered.parallel)
    else:
        shown, chosen = [_openai_tool(tool) for tool in tools], _openai_choice(choice, tools)
    return {"provider": offered.notation, "tools": shown, "tool_choice": chosen}


def _openai_tool(tool: Tool) -> dict[str, Any]:
    described = {"name": tool.name} | ({"description": tool.description} if tool.description else {})
    if tool.custom:
        return {"type": "custom", "custom": described}
    return {"type": "function", "function": {**described, "parameters": _schema(tool)}}


def _openai_choice(choice: ToolChoice, tools: Sequence[Tool]) -> Any:
    if choice.mode != "named":
        return choice.mode
    kind = "custom" if any(tool.custom and tool.name == choice.name for tool in tools) else "function"
    return {"type": kind, kind: {"name": choice.name}}


def _anthropic_tool(tool: Tool) -> dict[str, Any]:
    described = {"name": tool.name} | ({"description": tool.description} if tool.description else {})
    return {**described, "input_schema": _schema(tool)}


def _anthropic_choice(choice: ToolChoice, *, parallel: bool) -> dict[str, Any]:
    if choice.mode == "none":
        return {"type": "none"}
    named = {"name": choice.name} if choice.mode == "named" else {}
    word = {"auto": "auto", "required": "any", "named": "tool"}[choice.mode]
    return {"type": word, **named, **({} if parallel else {"disable_parallel_tool_use": True})}


def _schema(tool: Tool) -> msgspec.Raw:
    return msgspec.Raw(tool.schema) if tool.schema else _NO_ARGUMENTS
