"""What the model is asked once more, in the same session, about a reply that cannot be passed on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.chat.request import Tool, ToolChoice
from bridge.prompt.tool_instructions import call_form

_MAX_NAME = 100
_MAX_QUOTED = 2000  # characters of a rejected call that are shown to the model again


class RejectedCall(Protocol):
    """A call that cannot be passed on."""

    @property
    def name(self) -> str:
        """The tool's name as the model wrote it."""

    @property
    def reason(self) -> str:
        """What is wrong, quoted to the model."""

    @property
    def source(self) -> str:
        """The text of the call as it was written."""


def missing_call(choice: ToolChoice, delimiter_id: str) -> str:
    """For a reply without the call that was demanded."""
    # One retry in the same session (PROTOCOL 14.3); what was already streamed is not repeated.
    what = f"a call of the tool {choice.name}" if choice.mode == "named" else "a tool call"
    return (
        f"Your last reply contained no such call, but {what} is required and the tools are available. Reply again now, "
        f"with the call only and no explanation:\n{call_form(choice.name or 'TOOL', delimiter_id)}"
    )


def unknown_tool(call: RejectedCall, tools: Sequence[Tool], delimiter_id: str) -> str:
    """For a call of a tool that the request does not have."""
    names = ", ".join(tool.name for tool in tools)
    if len(names) > _MAX_QUOTED:
        # Cut at a comma, so that no half of a name is offered as a tool.
        names = f"{names[:_MAX_QUOTED].rpartition(', ')[0]}, ..."
    return (
        f"Your call was not run: there is no tool {call.name[:_MAX_NAME]}. The tools are: {names}.\nReply again now, "
        "with a call of one of them if you need it, or in plain text without a call. A call is written as\n"
        f"{call_form('TOOL', delimiter_id)}"
    )


def invalid_call(call: RejectedCall, delimiter_id: str) -> str:
    """For a call that cannot be read or does not fit its tool."""
    source = call.source.strip()
    if len(source) > _MAX_QUOTED:
        # Both ends are kept: errors mostly sit where the call breaks off, the tool's name stands at its start.
        source = f"{source[: _MAX_QUOTED // 2]} ... {source[-_MAX_QUOTED // 2 :]}"
    name = call.name or "TOOL"
    return (
        f"Your call of the tool {name} was not run: {call.reason}\nYou wrote:\n{source}\n\n"
        "Reply again now with the corrected call only, complete and without explanation:\n"
        f"{call_form(name, delimiter_id)}"
    )


def invalid_reply(reason: str) -> str:
    """For a reply that had to be JSON and is not, or does not fit the schema."""
    return (
        f"Your last reply is not the JSON that was asked for: {reason}\n\n"
        "Reply again now with the whole JSON only, corrected, without explanation and without a code fence."
    )
