"""
An Anthropic Messages body to a ChatRequest.

Sampling numbers are checked for type and then ignored; `metadata` and whatever is not declared here may hold
anything. What would move the conversation to the server is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bridge.chat.request import ChatRequest, Message
from bridge.wire.anthropic.blocks import Block, Content, assistant_message, plain_message, user_messages
from bridge.wire.anthropic.client_ids import of_metadata
from bridge.wire.anthropic.tools import Choice, read_choice, read_tools
from bridge.wire.bodies import WHITE_SPACE, FieldError, Integral, Path, decode, integer_at, is_absent, schema_at
from bridge.wire.bounds import MOST_MESSAGES, at_most, bounded, name_at, stops_at

BILLING_HEADER = "x-anthropic-billing-header:"
"""How a system block begins that is no instruction: it differs from run to run."""

THREADS_UNSUPPORTED: dict[str, object] = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""On exactly this code the tool runners of the SDKs go back to full histories."""


MOST_STOPS = 16
LISTS = ("messages", "system", "tools", "tool_choice", "stop_sequences", "metadata")
"""Fields that may hold many values."""

NOTHING = (b"", b"null", b"[]", b"{}", b'""', b"false")
"""How clients say that they want none of it."""

THINKING = {"enabled": True, "adaptive": True, "disabled": False, "between_tools": False}
"""Whether the reply shows its reasoning; other values leave it open."""


class _Message(msgspec.Struct, gc=False):
    role: str | None = None
    content: Content = None


class _Thinking(msgspec.Struct, gc=False):
    type: str | None = None
    budget_tokens: Integral = None


class _Format(msgspec.Struct, gc=False):
    type: str | None = None
    schema: msgspec.Raw = msgspec.Raw()


class _OutputConfig(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    max_tokens: Integral = None
    messages: list[_Message] | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: Choice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Integral = None
    metadata: msgspec.Raw = msgspec.Raw()
    thread: msgspec.Raw = msgspec.Raw()
    container: msgspec.Raw = msgspec.Raw()
    mcp_servers: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Body)


def read(body: bytes) -> ChatRequest:
    """Raise a FieldError for what is no request, or needs state here. `max_tokens` 0 asks for an empty reply."""
    fields = decode(_DECODER, bounded(body, LISTS))
    limit = integer_at(fields.max_tokens, ("max_tokens",))
    if limit is None:
        raise FieldError("missing_required_parameter", ("max_tokens",))
    if limit < 0:
        raise FieldError("invalid_value", ("max_tokens",), reason="Input should be greater than or equal to 0")
    return _request(fields, limit)


def read_to_count(body: bytes) -> ChatRequest:
    """A request that need not have `max_tokens`; raise a FieldError for what is none."""
    return _request(decode(_DECODER, bounded(body, LISTS)), None)


def _request(fields: _Body, limit: int | None) -> ChatRequest:
    # Cheap checks come before the messages, which may be megabytes.
    model = name_at(fields.model, ("model",))
    _refuse_state(fields)
    _check_integers(fields)
    tools, left_out = read_tools(fields.tools)
    messages = (*_system(fields.system), *_messages(fields.messages))
    return ChatRequest(
        model=model,
        messages=messages,
        stream=bool(fields.stream),
        max_tokens=limit,
        stop=_stops(fields.stop_sequences),
        # A history with calls counts too, even if this request lists no tools.
        tooling=bool(fields.tools) or any(m.role == "tool" or m.tool_calls for m in messages),
        tools=tools,
        left_out=left_out,
        tool_choice=read_choice(fields.tool_choice, bool(fields.tools), tools),
        # Anthropic has it the other way round: the field turns parallel calls off.
        parallel_tool_calls=not (fields.tool_choice and fields.tool_choice.disable_parallel_tool_use),
        thinking=THINKING.get(fields.thinking.type or "") if fields.thinking else None,
        reply_schema=_reply_schema(fields),
        call_id_prefix="toolu_",
        tool_notation="anthropic",
        ids=of_metadata(fields.metadata),
    )


def _refuse_state(fields: _Body) -> None:
    if not is_absent(fields.thread):
        reason = "Threads are not supported here; send the full conversation."
        raise FieldError("unsupported_parameter", ("thread",), reason=reason, details=THREADS_UNSUPPORTED)
    for name in ("container", "mcp_servers"):
        # Without white space, as some encoders put it into empty lists and objects, too.
        if bytes(getattr(fields, name)).translate(None, WHITE_SPACE) not in NOTHING:
            raise FieldError("unsupported_parameter", (name,), reason="Not supported here")


def _check_integers(fields: _Body) -> None:
    # Lingma takes none of them. A wrong type is refused all the same, as the vendor's own service does.
    integer_at(fields.top_k, ("top_k",))
    if fields.thinking:
        integer_at(fields.thinking.budget_tokens, ("thinking", "budget_tokens"))


def _stops(sequences: list[str] | None) -> tuple[str, ...]:
    return stops_at(sequences, MOST_STOPS, ("stop_sequences",)) if sequences else ()


def _system(system: str | list[Block] | None) -> Iterator[Message]:
    if isinstance(system, list) and system and _is_billing_header(system[0]):
        # It changes with every run, and would make each conversation look new to the session store.
        system[0].text = system[0].text.partition("\n")[2]
    message = plain_message("system", system, ("system",))
    if message.text:
        yield message


def _is_billing_header(block: Block) -> bool:
    return isinstance(block.text, str) and block.text.startswith(BILLING_HEADER)


def _messages(messages: list[_Message] | None) -> Iterator[Message]:
    if messages is None:
        raise FieldError("missing_required_parameter", ("messages",))
    if not messages:
        raise FieldError("invalid_value", ("messages",), reason="At least one message is required")
    at_most(MOST_MESSAGES, messages, ("messages",))
    for index, message in enumerate(messages):
        yield from _message(message, ("messages", index))


def _message(message: _Message, at: Path) -> Iterator[Message]:
    inside = (*at, "content")
    match message.role:
        case "user":
            yield from user_messages(message.content, inside)
        case "assistant":
            yield assistant_message(message.content, inside)
        case "system":
            # Instructions in the middle of a conversation, as Claude Code sends them (FORMATS 5.2).
            yield plain_message("system", message.content, inside)
        case None:
            raise FieldError("missing_required_parameter", (*at, "role"))
        case _:
            raise FieldError("invalid_value", (*at, "role"), reason="Input should be 'user', 'assistant' or 'system'")


def _reply_schema(fields: _Body) -> bytes:
    """What the whole reply must follow; the field was at the top before it moved."""
    # The newer place wins; the older one is read for SDKs that still send it (FORMATS 5.8).
    at: Path = ("output_config", "format", "schema")
    wanted = fields.output_config.format if fields.output_config else None
    if wanted is None or wanted.type is None:
        wanted, at = fields.output_format, ("output_format", "schema")
    if wanted is None or wanted.type != "json_schema":
        return b""
    schema = schema_at(wanted.schema, at)
    if not schema:
        raise FieldError("missing_required_parameter", at)
    return schema
