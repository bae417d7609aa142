"""A conversation as the one text the service takes (lingma-protocol 9.4)."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chat.request import Message

_LABELS = {"system": "System", "user": "User", "assistant": "Assistant"}


def whole_prompt(messages: Sequence[Message]) -> str:
    """Everything, for a session that knows nothing yet. A lone user message goes as it is."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].text
    turns = [_turn(message) for message in messages]
    if messages[-1].role == "assistant":  # a prefill: the reply goes on from it
        return "\n\n".join(turns)
    return "\n\n".join([*turns, "[Assistant]"])


def split_reply(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The prefix the service may already know, up to the last assistant message, and what is new after it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "assistant":
            return messages[: index + 1], messages[index + 1 :]
    return (), messages


def reply_prompt(new: Sequence[Message]) -> str:
    """Only what is new, for a session that remembers the rest."""
    if len(new) == 1 and new[0].role == "user":
        return new[0].text
    return "\n\n".join(_turn(message) for message in new)


def _turn(message: Message) -> str:
    if message.role == "tool":
        return f"[Result of tool call {message.tool_call_id}]\n{message.text}"
    parts = [f"[{_LABELS[message.role]}]"]
    if message.text:
        parts.append(message.text)
    parts += [f"(called tool {call.name}, id {call.id}, with {call.arguments or '{}'})" for call in message.tool_calls]
    return "\n".join(parts)
