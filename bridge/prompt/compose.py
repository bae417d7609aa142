"""A conversation as the one text the service takes (lingma-protocol 9.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.chat.request import Message, ToolCall

_LABELS = {"system": "[System]", "user": "[User]", "assistant": "[Assistant]"}
_SHORT_ARGUMENTS = 120  # characters: as long they help to tell several results apart


def whole_prompt(messages: Sequence[Message], contract: str = "", reply_schema: bytes = b"") -> str:
    """Everything, for a session that knows nothing yet. A lone user message goes as it is, unless it is empty: the
    service would never answer nothing.

    The contract (the part on tools) and the demand for JSON stand last, right before the answer.
    """
    if len(messages) == 1 and messages[0].role == "user" and not (contract or reply_schema):
        return _text(messages[0]) or _LABELS["user"]
    demands = [_labelled(part) for part in (contract, _demand(reply_schema)) if part]
    calls = _calls(messages)
    turns = [_turn(message, calls) for message in messages]
    if messages[-1].role == "assistant":  # a prefill: the reply goes on from it
        return "\n\n".join([*turns[:-1], *demands, turns[-1]])
    return "\n\n".join([*turns, *demands, "[Assistant]"])


def split_reply(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The prefix the service may already know, up to the last assistant message, and what is new after it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "assistant":
            return messages[: index + 1], messages[index + 1 :]
    return (), messages


def reply_prompt(
    new: Sequence[Message], prefix: Sequence[Message] = (), constraint: str = "", reply_schema: bytes = b""
) -> str:
    """Only what is new, for a session that remembers the rest. `prefix` is that rest: it names the calls whose
    results are new; `constraint` is what this reply must be (or a whole contract, if the session was told none).
    """
    demands = [part for part in (constraint, _demand(reply_schema)) if part]
    if len(new) == 1 and new[0].role == "user" and (text := _text(new[0])):
        return "\n\n".join([text, *demands])
    results = sum(message.role == "tool" for message in new)
    calls = _calls(prefix) if results else {}
    turns = [_turn(message, calls, remind=results > 1) for message in new]
    return "\n\n".join([*turns, *map(_labelled, demands)])


def _calls(messages: Iterable[Message]) -> dict[str, ToolCall]:
    return {call.id: call for message in messages for call in message.tool_calls}


def _turn(message: Message, calls: dict[str, ToolCall], remind: bool = False) -> str:
    if message.role == "tool":
        return _result(message, calls.get(message.tool_call_id), remind)
    text = _text(message)
    if not message.tool_calls:
        return f"{_LABELS[message.role]}\n{text}" if text else _LABELS[message.role]
    parts = [_LABELS[message.role], *([text] if text else ())]
    # Not in the syntax of calls, or the model would copy old calls.
    parts += [f"(called tool {call.name}, id {call.id}, with {call.arguments or '{}'})" for call in message.tool_calls]
    return "\n".join(parts)


def _result(message: Message, call: ToolCall | None, remind: bool) -> str:
    kind = "Failed" if message.is_error else "Result of"
    head = (
        f"[{kind} tool call {message.tool_call_id}: {call.name}]"
        if call
        else f"[{kind} tool call {message.tool_call_id}]"
    )
    if call and remind and 2 < len(call.arguments) <= _SHORT_ARGUMENTS:
        head += f"\n(called with {call.arguments})"
    return f"{head}\n{_text(message)}"


def _text(message: Message) -> str:
    """A turn that is only an image must not be empty for the service."""
    return message.text if message.text or not message.images else "[image]"


def _labelled(demand: str) -> str:
    """Without a label of its own it would look like a part of the result it follows."""
    return demand if demand.startswith("[") else f"[System]\n{demand}"


def _demand(reply_schema: bytes) -> str:
    if not reply_schema:
        return ""
    if reply_schema.strip() == b"{}":
        return "Answer with JSON only: one JSON object, without any text or code fence around it."
    schema = reply_schema.decode("utf-8", "replace")
    return f"Answer with JSON only that follows this schema, without any text or code fence around it: {schema}"
