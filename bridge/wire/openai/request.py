"""
A Chat Completions body to a ChatRequest, and what it asks of its reply.

Declared are the fields that matter here, and those whose wrong JSON type OpenAI refuses: sampling numbers and
switches are checked for type and then ignored, since Lingma takes none. Everything else may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from bridge.chat.request import NOBODY, ChatRequest, ClientIds, Message
from bridge.wire.bodies import FieldError, Integral, decode, integer_at, is_absent, schema_at, text_at, type_name
from bridge.wire.bounds import bounded, choice_at, name_at, stops_at
from bridge.wire.client_ids import of_fields
from bridge.wire.format import ParsedRequest
from bridge.wire.openai.encoder import ChatReply
from bridge.wire.openai.messages import ChatMessage, read_messages
from bridge.wire.openai.tools import ToolSelection, read_choice, read_functions, read_tools, selection_of

MAX_STOPS = 4
LISTS = ("messages", "tools", "functions", "tool_choice", "stop", "metadata")
"""Fields that may hold many values."""

INTEGERS = ("n", "seed", "top_logprobs")
"""Whole numbers that are checked and then ignored, but for `n`."""


class _Fields(msgspec.Struct, gc=False):
    pass


class _StreamOptions(_Fields):
    include_usage: bool | None = None


class _JSONSchema(_Fields):
    schema: msgspec.Raw = msgspec.Raw()


class _ResponseFormat(_Fields):
    type: str | None = None
    json_schema: _JSONSchema | None = None


class _Body(_Fields):
    model: str | None = None
    messages: list[ChatMessage] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_completion_tokens: Integral = None
    max_tokens: Integral = None
    stop: str | list[str] | None = None
    n: Integral = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    response_format: _ResponseFormat | None = None
    modalities: list[str] | None = None
    audio: msgspec.Raw = msgspec.Raw()
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: Integral = None
    top_logprobs: Integral = None
    logprobs: bool | None = None
    user: msgspec.Raw = msgspec.Raw()
    safety_identifier: msgspec.Raw = msgspec.Raw()
    prompt_cache_key: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Body)
_NO_TOOLS = ToolSelection()


def read(body: bytes) -> ParsedRequest[ChatReply]:
    """Raise a FieldError for what is no request, or asks for what a text gateway cannot give."""
    # Counted before it is decoded: a small body of brackets decodes to a large tree.
    fields = decode(_DECODER, bounded(body, LISTS))
    model = name_at(fields.model, ("model",))
    # Read before `_refuse_the_impossible`: of two errors the one in the messages is reported.
    messages = tuple(read_messages(fields.messages))
    _refuse_the_impossible(fields)
    functions = bool(fields.functions) and not fields.tools  # deprecated: one call a reply, and no ids
    selection = _selection(fields)
    request = ChatRequest(
        model=model,
        messages=messages,
        stream=bool(fields.stream),
        max_tokens=_limit(fields),
        stop=_stop(fields.stop),
        # A history with calls counts too, even if this request lists no tools.
        tooling=bool(fields.tools or fields.functions) or _has_tool_turns(messages),
        tools=selection.tools,
        left_out=selection.left_out,
        tool_choice=selection.choice,
        parallel_tool_calls=fields.parallel_tool_calls is not False and not functions,
        # Any effort but `none` asks for thinking: the service knows only on and off.
        thinking=None if fields.reasoning_effort is None else fields.reasoning_effort != "none",
        reply_schema=_reply_schema(fields.response_format) if fields.response_format is not None else b"",
        returns_call_ids=not functions,
        ids=_ids(fields),
    )
    include_usage = bool(fields.stream_options and fields.stream_options.include_usage)
    return ParsedRequest(request, ChatReply(include_usage, functions))


def _ids(fields: _Body) -> ClientIds:
    if not (len(fields.user) or len(fields.safety_identifier) or len(fields.prompt_cache_key)):
        return NOBODY
    return of_fields(
        user=fields.user, safety_identifier=fields.safety_identifier, prompt_cache_key=fields.prompt_cache_key
    )


def _has_tool_turns(messages: Iterable[Message]) -> bool:
    """Some message calls tools or has a tool's result."""
    return any(message.tool_calls or message.role == "tool" for message in messages)


def _selection(fields: _Body) -> ToolSelection:
    """`functions` is what `tools` was called before; beside `tools` it has nothing to say."""
    choice = choice_at(fields.tool_choice, ("tool_choice",)) if len(fields.tool_choice) else None
    if fields.tools or not (fields.functions or len(fields.function_call)):
        if choice is None and not fields.tools:
            return _NO_TOOLS
        return selection_of(choice, bool(fields.tools), read_tools(fields.tools))
    functions = read_functions(fields.functions)
    called = _function_choice(choice_at(fields.function_call, ("function_call",)))
    return read_choice(called, bool(functions), functions, ("function_call",))


def _function_choice(choice: Any) -> Any:
    """`function_call` in the words of `tool_choice`."""
    if isinstance(choice, dict):
        return {"type": "function", "name": text_at(choice.get("name"), ("function_call", "name"))}
    if not isinstance(choice, str | None):
        raise FieldError("invalid_type", ("function_call",), expected="a string or an object", got=type_name(choice))
    if choice not in (None, "none", "auto"):
        raise FieldError("invalid_value", ("function_call",), reason="Supported are: none, auto, and an object.")
    return choice


def _reply_schema(wanted: _ResponseFormat) -> bytes:
    at = "response_format"
    match wanted.type:
        case None:
            raise FieldError("missing_required_parameter", (at, "type"))
        case "text":
            return b""
        case "json_object":
            return b"{}"
        case "json_schema":
            if wanted.json_schema is None:
                raise FieldError("missing_required_parameter", (at, "json_schema"))
            return schema_at(wanted.json_schema.schema, (at, "json_schema", "schema")) or b"{}"
        case _:
            raise FieldError("invalid_value", (at, "type"), reason="Supported are: text, json_object and json_schema.")


def _refuse_the_impossible(fields: _Body) -> None:
    for name in INTEGERS if not (fields.n is fields.seed is fields.top_logprobs is None) else ():
        if (found := getattr(fields, name)) is None:
            continue
        value = integer_at(found, (name,))
        if name == "n" and value != 1:
            raise FieldError("invalid_value", ("n",), reason="Only 1 is supported: send several requests instead.")
    if fields.modalities and any(modality != "text" for modality in fields.modalities):
        raise FieldError("invalid_value", ("modalities",), reason='Only ["text"] is supported.')
    if len(fields.audio) and not is_absent(fields.audio):
        raise FieldError("unsupported_parameter", ("audio",), reason="Replies are text.")


def _limit(fields: _Body) -> int | None:
    if fields.max_tokens is fields.max_completion_tokens is None:
        return None
    limit = None
    name: Literal["max_tokens", "max_completion_tokens"]
    for name in ("max_tokens", "max_completion_tokens"):  # the later, the newer name, wins
        if (found := getattr(fields, name)) is None:
            continue
        limit = integer_at(found, (name,))
        if limit is not None and limit < 1:
            raise FieldError("invalid_value", (name,), reason="It must be at least 1.")
    return limit


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    if not stop:
        return ()
    return stops_at([stop] if isinstance(stop, str) else stop, MAX_STOPS, ("stop",))
