"""A conversation as the one text the service takes (PROTOCOL 9.4).

Every heading carries the session's delimiter id, which nobody outside can know: a line of a user or of a tool's
result that looks like a heading is text, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.chat.request import Message, ToolCall

DELIMITER_ID_LENGTH = 10
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}
_SHORT_ARGUMENTS = 120  # characters: as long they help to tell several results apart


def headings(delimiter_id: str) -> tuple[str, ...]:
    """How lines begin that are headings of the session with this delimiter id."""
    # All that a prompt writes as a heading; a reply in which one appears has gone on as somebody else.
    names = (*_NAMES.values(), "Tools", "Call", "Result", "Failed")
    return tuple(f"[{name} {delimiter_id}" for name in names)


def whole_prompt(
    messages: Sequence[Message], delimiter_id: str, instructions: str = "", reply_schema: bytes = b""
) -> str:
    """Everything, for a new session. A lone user message goes as it is, unless it is empty: the service would never
    answer nothing.

    `instructions` (the part on tools) and the demand for JSON stand last, right before the answer.
    """
    # No heading for the most common request: the model sees the question exactly as it was asked.
    if len(messages) == 1 and messages[0].role == "user" and not (instructions or reply_schema):
        return _text(messages[0]) or _heading("user", delimiter_id)
    # Last on purpose: models follow best what stands right before their answer, and the history can be long.
    demands = [_with_heading(part, delimiter_id) for part in (instructions, demand(reply_schema)) if part]
    calls: dict[str, ToolCall] = {}
    turns: list[str] = []
    for message in messages:
        # In their order: some clients count the calls of each answer from 0, and a result is of the latest of its id.
        calls.update(_calls((message,)) if message.tool_calls else ())
        turns.append(_turn(message, delimiter_id, calls))
    if messages[-1].role == "assistant":  # a prefill: the reply goes on from it
        # Demands go before the prefill: the model must write on directly behind it.
        return "\n\n".join([*turns[:-1], *demands, turns[-1]])
    return "\n\n".join([*turns, *demands, _heading("assistant", delimiter_id)])


def split_reply(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The prefix a session may already hold, up to the last assistant message, and what is new after it."""
    # Backwards: the last answer is nearly always among the last few messages of hundreds.
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "assistant":
            return messages[: index + 1], messages[index + 1 :]
    return (), messages


def reply_prompt(
    new: Sequence[Message],
    delimiter_id: str,
    prefix: Sequence[Message] = (),
    rules: Sequence[str] = (),
    changed: Sequence[Message] = (),
) -> str:
    """Only what is new, for a session that remembers the rest. `prefix` is that rest: it names the calls whose results
    are new; `changed` is what is new in it. `rules` say what this reply must be (or are whole tool instructions).
    """
    demands = [_with_heading(rule, delimiter_id) for rule in rules if rule]
    if len(new) == 1 and not changed and new[0].role == "user" and (text := _text(new[0])):
        return "\n\n".join([text, *demands])
    results = sum(message.role == "tool" for message in new)
    # Walking the whole history is only worth it when a result has to be named.
    calls = _calls(prefix) if results or changed else {}
    changes = [_turn(message, delimiter_id, calls) for message in changed]
    # The arguments are repeated only where several results could be confused.
    turns = [_turn(message, delimiter_id, calls, remind=results > 1) for message in new]
    return "\n\n".join([*changes, *turns, *demands])


def _calls(messages: Iterable[Message]) -> dict[str, ToolCall]:
    return {call.id: call for message in messages for call in message.tool_calls}


def _heading(role: str, delimiter_id: str) -> str:
    return f"[{_NAMES[role]} {delimiter_id}]"


def _with_heading(text: str, delimiter_id: str) -> str:
    """Tool instructions bring their own heading. Other demands need one, or they would look like a part of the result
    before them.
    """
    return text if text.startswith(f"[Tools {delimiter_id}]") else f"[System {delimiter_id}]\n{text}"


def _turn(message: Message, delimiter_id: str, calls: dict[str, ToolCall], remind: bool = False) -> str:
    if message.role == "tool":
        return f"{_result(message, delimiter_id, calls.get(message.tool_call_id), remind)}\n{_text(message)}"
    head, text = _heading(message.role, delimiter_id), _text(message)
    if not message.tool_calls:
        return f"{head}\n{text}" if text else head
    parts = [head, *([text] if text else ())]
    # Not in the syntax of calls, or the model would copy old calls.
    parts += [f"[Call {delimiter_id} {call.name} {call.id}] {call.arguments or '{}'}" for call in message.tool_calls]
    return "\n".join(parts)


def _result(message: Message, delimiter_id: str, call: ToolCall | None, remind: bool) -> str:
    # A word of its own, because models overlook an error inside the text of a result.
    kind = "Failed" if message.is_error else "Result"
    # A client may cut its history and keep the result without its call.
    if call is None:
        return f"[{kind} {delimiter_id} {message.tool_call_id}]"
    head = f"[{kind} {delimiter_id} {call.name} {message.tool_call_id}]"
    if remind and 2 < len(call.arguments) <= _SHORT_ARGUMENTS and "\n" not in call.arguments:
        head += f" {call.arguments}"
    return head


def _text(message: Message) -> str:
    """A turn that is only an image must not be empty for the service."""
    return message.text if message.text or not message.images else "[image]"


def demand(reply_schema: bytes, *, held: bool = False) -> str:
    """That the reply must be JSON; or that it need not be any more, where that was demanded before (`held`)."""
    if not reply_schema:
        return "Answer in plain text again: JSON is no longer demanded." if held else ""
    # `response_format: json_object` arrives as `{}`: any object, so there is no schema to show.
    if reply_schema.strip() == b"{}":
        return "Answer with JSON only: one JSON object, without any text or code fence around it."
    schema = reply_schema.decode("utf-8", "replace")
    return f"Answer with JSON only that follows this schema, without any text or code fence around it: {schema}"
