"""The messages of a Chat Completions body: text, images, calls and their results."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bridge.chat.request import Message, Role, ToolCall
from bridge.wire.attached import Attached
from bridge.wire.bodies import FieldError, Path
from bridge.wire.bounds import MOST_MESSAGES, at_most, id_at
from bridge.wire.parts import Content, may_be_parts, read_content, read_result

ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_PLAIN_ROLES: dict[str | None, Role] = {"user": "user", "system": "system", "developer": "system"}
"""Roles whose messages have nothing but content."""


class _Fields(msgspec.Struct, gc=False):
    pass


class _Callee(_Fields):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _Call(_Fields):
    id: str | None = None
    function: _Callee | None = None
    custom: _Callee | None = None


class ChatMessage(_Fields):
    """A message as it was sent. What other vendors put there (`reasoning_content`) is not even looked at."""

    role: str | None = None
    content: Content = None
    name: str | None = None
    refusal: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Callee | None = None


def read_messages(messages: list[ChatMessage] | None) -> Iterator[Message]:
    """Each message in neutral words; raise a FieldError for the first that is none."""
    if messages is None:
        raise FieldError("missing_required_parameter", ("messages",))
    if not messages:
        raise FieldError("invalid_value", ("messages",), reason="Send at least one message.")
    # Before the loop: each message becomes several objects, and the bound is there to keep memory small.
    at_most(MOST_MESSAGES, messages, ("messages",))
    for index, message in enumerate(messages):
        content = message.content
        # Most messages are one string: they skip the calls and the `Attached` below.
        if isinstance(content, str) and (role := _PLAIN_ROLES.get(message.role)):  # as most are
            yield Message(role, content)
        else:
            yield _message(message, ("messages", index))


def _message(message: ChatMessage, at: Path) -> Message:
    match message.role:
        case "user":
            return _plain_message("user", message, at)
        case "assistant":
            return _answer(message, at)
        case "system" | "developer":
            return _plain_message("system", message, at)
        case "tool":
            return _plain_message("tool", message, at, id_at(message.tool_call_id, (*at, "tool_call_id")))
        case "function":  # the old form has no ids: the function's name ties call and result together
            return _plain_message("tool", message, at, id_at(message.name, (*at, "name")))
        case None:
            raise FieldError("missing_required_parameter", (*at, "role"))
        case _:
            raise FieldError("invalid_value", (*at, "role"), reason=f"Supported are: {', '.join(ROLES)}.")


def _answer(message: ChatMessage, at: Path) -> Message:
    if isinstance(message.content, str):  # as most have
        calls = tuple(_calls(message, at)) if message.tool_calls or message.function_call else ()
        # A refusal is what the assistant wrote when it has no content.
        return Message("assistant", message.content or message.refusal or "", calls)
    plain, calls = _plain_message("assistant", message, at), tuple(_calls(message, at))
    return Message("assistant", plain.text or message.refusal or "", calls, images=plain.images, dropped=plain.dropped)


def _plain_message(role: Role, message: ChatMessage, at: Path, call_id: str = "") -> Message:
    content = message.content
    # The result of a tool is looked at more closely: a string there may be the JSON of parts with a picture.
    if isinstance(content, str) and (role != "tool" or not may_be_parts(content)):
        return Message(role, content, tool_call_id=call_id)
    attached = Attached()
    read = read_result if role == "tool" else read_content
    text = read(content, (*at, "content"), attached)
    return Message(role, text, tool_call_id=call_id, images=tuple(attached.images), dropped=tuple(attached.dropped))


def _calls(message: ChatMessage, at: Path) -> Iterator[ToolCall]:
    for index, call in enumerate(message.tool_calls or ()):
        yield _call(call, (*at, "tool_calls", index))
    if message.function_call is not None:
        # The old form has no ids: the name stands in for one, and the result names the same function.
        name = id_at(message.function_call.name, (*at, "function_call", "name"))
        yield ToolCall(name, name, message.function_call.arguments or "")


def _call(call: _Call, at: Path) -> ToolCall:
    call_id = id_at(call.id, (*at, "id"))
    # Custom tools have plain text for input, not JSON.
    if call.custom is not None:
        return ToolCall(call_id, id_at(call.custom.name, (*at, "custom", "name")), call.custom.input or "")
    if call.function is None:
        # A call without `type` is accepted; one without a function is not, as there is no name to call.
        raise FieldError("missing_required_parameter", (*at, "function"))
    name = id_at(call.function.name, (*at, "function", "name"))
    return ToolCall(call_id, name, call.function.arguments or "")
