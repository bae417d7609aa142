"""
A Chat Completions body to a ChatRequest.

Declared are the fields that matter here, and those whose wrong JSON type OpenAI refuses: sampling numbers and
switches are checked for type and then ignored, since Lingma takes none. Everything else may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from bridge.chat.request import ChatRequest, Message, ToolCall
from bridge.wire.bodies import Flaw, Path, decode, objects_at, text_at, type_words

MAX_STOPS = 4
ROLES = ("developer", "system", "user", "assistant", "tool", "function")

PLACEHOLDERS = {"image_url": "[image]", "input_audio": "[audio]", "file": "[file]"}
"""What stands in the text for parts that are none."""


class DeprecatedFunctions(msgspec.Struct, frozen=True):
    """The request's echo when it declared `functions`: its client looks for `function_call` in the reply."""


class _Fields(msgspec.Struct, gc=False):
    pass


class _Part(_Fields):
    type: str | None = None
    text: Any = None
    refusal: Any = None


class _Callee(_Fields):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _Call(_Fields):
    id: str | None = None
    function: _Callee | None = None
    custom: _Callee | None = None


class _Message(_Fields):
    role: str | None = None
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Callee | None = None


class _StreamOptions(_Fields):
    include_usage: bool | None = None


class _Body(_Fields):
    model: str | None = None
    messages: list[_Message] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    tool_choice: Any = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    top_logprobs: int | None = None
    logprobs: bool | None = None
    parallel_tool_calls: bool | None = None


_DECODER = msgspec.json.Decoder(_Body)


def read(body: bytes) -> ChatRequest:
    """Raise a Flaw for what is no request, or asks for what a text gateway cannot give."""
    fields = decode(_DECODER, body)
    if not fields.model:
        raise Flaw("missing_required_parameter", ("model",))
    messages = tuple(_messages(fields.messages))
    _refuse_the_impossible(fields)
    return ChatRequest(
        model=fields.model,
        messages=messages,
        stream=bool(fields.stream),
        include_usage=bool(fields.stream_options and fields.stream_options.include_usage),
        max_tokens=_limit(fields),
        stop=_stop(fields.stop),
        tooling=_asks_for_tools(fields) or any(m.role == "tool" or m.tool_calls for m in messages),
    )


def _messages(messages: list[_Message] | None) -> Iterator[Message]:
    if messages is None:
        raise Flaw("missing_required_parameter", ("messages",))
    if not messages:
        raise Flaw("invalid_value", ("messages",), reason="Send at least one message.")
    for index, message in enumerate(messages):
        yield _message(message, ("messages", index))


def _message(message: _Message, at: Path) -> Message:
    text = _text(message.content, (*at, "content"))
    match message.role:
        case "user":
            return Message("user", text)
        case "assistant":
            return Message("assistant", text or message.refusal or "", tuple(_calls(message, at)))
        case "system" | "developer":
            return Message("system", text)
        case "tool":
            return Message("tool", text, tool_call_id=text_at(message.tool_call_id, (*at, "tool_call_id")))
        case "function":  # the old form has no ids: the function's name ties call and result together
            return Message("tool", text, tool_call_id=text_at(message.name, (*at, "name")))
        case None:
            raise Flaw("missing_required_parameter", (*at, "role"))
        case _:
            raise Flaw("invalid_value", (*at, "role"), reason=f"Supported are: {', '.join(ROLES)}.")


def _text(content: str | list[_Part] | None, at: Path) -> str:
    if isinstance(content, str):
        return content
    texts = [_part(part, (*at, index)) for index, part in enumerate(content or ())]
    return "\n".join(text for text in texts if text)


def _part(part: _Part, at: Path) -> str:
    match part.type:
        case "text":
            return text_at(part.text, (*at, "text"))
        case "refusal":
            return text_at(part.refusal, (*at, "refusal"))
        case None:
            raise Flaw("missing_required_parameter", (*at, "type"))
        case known if known in PLACEHOLDERS:
            return PLACEHOLDERS[known]
        case _:
            return part.text if isinstance(part.text, str) else ""


def _calls(message: _Message, at: Path) -> Iterator[ToolCall]:
    for index, call in enumerate(message.tool_calls or ()):
        yield _call(call, (*at, "tool_calls", index))
    if message.function_call is not None:
        name = text_at(message.function_call.name, (*at, "function_call", "name"))
        yield ToolCall(name, name, message.function_call.arguments or "")


def _call(call: _Call, at: Path) -> ToolCall:
    call_id = text_at(call.id, (*at, "id"))
    if call.custom is not None:
        return ToolCall(call_id, text_at(call.custom.name, (*at, "custom", "name")), call.custom.input or "")
    if call.function is None:
        raise Flaw("missing_required_parameter", (*at, "function"))
    name = text_at(call.function.name, (*at, "function", "name"))
    return ToolCall(call_id, name, call.function.arguments or "")


def _refuse_the_impossible(fields: _Body) -> None:
    if fields.n is not None and fields.n != 1:
        raise Flaw("invalid_value", ("n",), reason="Only 1 is supported: send several requests instead.")
    if fields.modalities and any(modality != "text" for modality in fields.modalities):
        raise Flaw("invalid_value", ("modalities",), reason='Only ["text"] is supported.')
    if fields.audio is not None:
        raise Flaw("unsupported_parameter", ("audio",), reason="Replies are text.")


def _limit(fields: _Body) -> int | None:
    limit = None
    name: Literal["max_tokens", "max_completion_tokens"]
    for name in ("max_tokens", "max_completion_tokens"):  # the later, the newer name, wins
        value = getattr(fields, name)
        if value is not None and value < 1:
            raise Flaw("invalid_value", (name,), reason="It must be at least 1.")
        limit = limit if value is None else value
    return limit


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MAX_STOPS:
        raise Flaw("invalid_value", ("stop",), reason=f"At most {MAX_STOPS} sequences are supported.")
    return tuple(sequence for sequence in stops if sequence)


def _asks_for_tools(fields: _Body) -> bool:
    if fields.tools is fields.functions is fields.tool_choice is fields.function_call is None:
        return False
    tools = objects_at(fields.tools, ("tools",)) + objects_at(fields.functions, ("functions",))
    forced = [
        _is_forced(fields.tool_choice, "tool_choice", ("none", "auto", "required")),
        _is_forced(fields.function_call, "function_call", ("none", "auto")),
    ]
    return bool(tools) or any(forced)


def _is_forced(choice: Any, name: str, modes: tuple[str, ...]) -> bool:
    if isinstance(choice, str) and choice not in modes:
        raise Flaw("invalid_value", (name,), reason=f"Supported are: {', '.join(modes)}, and an object.")
    if not isinstance(choice, (str, dict, type(None))):
        raise Flaw("invalid_type", (name,), expected="a string or an object", got=type_words(choice))
    return choice not in (None, "none", "auto")
