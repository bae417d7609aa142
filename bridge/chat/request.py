"""What a client asks for, in no public format's words."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
AskMode = Literal["chat", "agent"]


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call the assistant made earlier. `arguments` is JSON text, valid or not, as the client sent it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    """
    One message of the conversation, its parts joined to text (`[image]`, `[audio]` stand for the rest).

    `tool_calls` only with role assistant, `tool_call_id` only with role tool (then `text` is the result).
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class ChatRequest(msgspec.Struct, frozen=True):
    """One turn to run. `model` is the name the client used; limits are None or empty when not asked for."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    """OpenAI's `stream_options.include_usage`; formats that always tell usage leave it False."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tooling: bool = False
    """Tools, a tool choice, or tool turns in the history are present."""
