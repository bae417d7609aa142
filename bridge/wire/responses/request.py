"""
A Responses body to a ChatRequest and what it asks of its reply, in two steps: what is referred to must be fetched in
between.

Declared are the fields that matter here, and those whose wrong JSON type OpenAI refuses. Everything else may hold
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.chat.errors import GatewayError, InvalidRequest, NotFound
from bridge.chat.request import ChatRequest, Message
from bridge.wire.bodies import FieldError, Integral, Path, decode, integer_at, is_absent, not_utf8, schema_at, text_at
from bridge.wire.bounds import MOST_MESSAGES, at_most, bounded, choice_at, name_at, shown
from bridge.wire.client_ids import of_fields
from bridge.wire.format import ParsedRequest
from bridge.wire.openai.errors import refusal
from bridge.wire.openai.tools import ToolSelection, read_tools, selection_of
from bridge.wire.responses.echo import echoed_fields
from bridge.wire.responses.encoder import ResponsesReply
from bridge.wire.responses.input_items import message_item, no_messages, read_item, read_messages
from bridge.wire.responses.output_items import response_of_item
from bridge.wire.responses.references import MOST_REFERRED, Read, resolved
from bridge.wire.responses.stored import StoredRecord

LISTS = ("input", "tools", "tool_choice", "metadata")
"""Fields that may hold many values."""

SEALED = b'"reasoning.encrypted_content"'
WHOLE = {"max_output_tokens": 1, "max_tool_calls": 1, "top_logprobs": 0}
"""Whole numbers, and the least that each may be."""
FORMATS = ("text", "json_object", "json_schema")


class _Fields(msgspec.Struct, gc=False):
    pass


class _Format(_Fields):
    type: str | None = None
    schema: msgspec.Raw = msgspec.Raw()


class _Text(_Fields):
    format: _Format | None = None


class _Reasoning(_Fields):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Conversation(_Fields):
    id: str | None = None


class _Body(_Fields):
    model: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    instructions: str | None = None
    stream: bool | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = msgspec.Raw()
    parallel_tool_calls: bool | None = None
    max_tool_calls: Integral = None
    max_output_tokens: Integral = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: Integral = None
    text: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    include: list[msgspec.Raw] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    background: bool | None = None
    truncation: str | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_INPUT = msgspec.json.Decoder(str | list[msgspec.Raw] | None)
_TEXT = msgspec.json.Decoder(_Text | None)
_CONVERSATION = msgspec.json.Decoder(str | _Conversation)
_REASONING = msgspec.json.Decoder(_Reasoning | None)


class Draft:
    """A body that was read. `needs` are the ids of the stored responses without which it is not complete."""

    def __init__(self, body: bytes, *, counting: bool = False) -> None:
        """Raise a FieldError, InvalidRequest or NotFound for what is no request, or what cannot be had here."""
        fields = self._fields = decode(_BODY, bounded(_valid_text(body), LISTS))
        if fields.model or not counting:
            name_at(fields.model, ("model",))
        _refuse_the_impossible(fields)
        self._limit = _limit(fields)
        self._choice = choice_at(fields.tool_choice, ("tool_choice",))
        self._own = _items(fields)
        self.items: list[msgspec.Raw] = []
        """All items the model is sent, earlier ones first; complete after `complete()`."""
        # Each item id contains the id of its response, so that one lookup brings all that is referred to.
        references = [response_of_item(item.id or "") for _, item, _ in self._own if item.kind == "item_reference"]
        previous = [fields.previous_response_id] if fields.previous_response_id else []
        # Without duplicates and in order: each stored response is fetched once.
        self.needs: tuple[str, ...] = tuple(dict.fromkeys(previous + references))
        at_most(MOST_REFERRED, self.needs, ("input",))

    def complete(self, records: Mapping[str, StoredRecord]) -> ParsedRequest[ResponsesReply]:
        """The whole request, given the stored responses by their ids. Raise InvalidRequest."""
        try:
            return ParsedRequest(self._request(records), self._reply())
        except FieldError as error:
            raise refusal(error) from None

    def _request(self, records: Mapping[str, StoredRecord]) -> ChatRequest:
        fields = self._fields
        # Earlier items come first; the new ones may refer to them.
        items = self._earlier(records) + resolved(self._own, records)
        at_most(MOST_MESSAGES, items, ("input",))
        self.items = [raw for raw, _, _ in items]
        sent = read_messages((item, at) for _, item, at in items)
        # Instructions are not part of the stored items: they hold for this request only, as OpenAI has it.
        messages = (Message("system", fields.instructions), *sent) if fields.instructions else tuple(sent)
        if not messages:
            raise no_messages([(item, at) for _, item, at in items])
        selection = _selection(fields, self._choice)
        return ChatRequest(
            model=fields.model or "",
            messages=messages,
            stream=bool(fields.stream),
            max_tokens=self._limit,
            tooling=bool(selection.tools)
            or selection.choice.must_call
            or any(m.role == "tool" or m.tool_calls for m in sent),
            tools=selection.tools,
            left_out=selection.left_out,
            tool_choice=selection.choice,
            parallel_tool_calls=fields.parallel_tool_calls is not False,
            thinking=_thinking(fields),
            reply_schema=_reply_schema(fields),
            can_show_executed_calls=False,
            ids=of_fields(
                user=fields.user, safety_identifier=fields.safety_identifier, prompt_cache_key=fields.prompt_cache_key
            ),
        )

    def _reply(self) -> ResponsesReply:
        fields = self._fields
        return ResponsesReply(
            echoed_fields(fields, self._choice),
            seals_reasoning=SEALED in map(bytes, fields.include or ()),
            items=None if fields.store is False else tuple(self.items),
        )

    def _earlier(self, records: Mapping[str, StoredRecord]) -> list[Read]:
        """The items of the previous response: its input and its output."""
        previous = self._fields.previous_response_id
        if not previous:
            return []
        if previous not in records:
            raise InvalidRequest(
                f"Previous response with id '{shown(previous)}' not found.",
                param=("previous_response_id",),
                code="previous_response_not_found",
            )
        # Read after the messages: of two errors the one in the messages is reported.
        raws = records[previous].input + records[previous].output()
        at: Path = ("previous_response_id",)
        return [(raw, read_item(raw, at), at) for raw in raws]


def _valid_text(body: bytes) -> bytes:
    """The body, if it is UTF-8: what is passed on as it came would not be looked at."""
    # ASCII is the common case, and the test is many times cheaper than decoding.
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise not_utf8(exc) from None
    return body


def _refuse_the_impossible(fields: _Body) -> None:
    if not is_absent(fields.conversation):
        # A conversation object lives on the server, and there is none here: without the earlier turns a reply would
        # be wrong in silence.
        raise _no_conversation(fields)
    if not is_absent(fields.prompt):
        raise FieldError("unsupported_parameter", ("prompt",), reason="There are no prompt templates here.")


def _no_conversation(fields: _Body) -> GatewayError:
    if fields.previous_response_id:
        message = "Mutually exclusive parameters: send either 'conversation' or 'previous_response_id'."
        return InvalidRequest(message, param=("conversation",), code="mutually_exclusive_parameters")
    named = decode(_CONVERSATION, fields.conversation, ("conversation",))
    id_ = text_at(named.id, ("conversation", "id")) if isinstance(named, _Conversation) else named
    message = f"Conversation with id '{shown(id_)}' not found."
    return NotFound(message, param=("conversation",), code="conversation_not_found")


def _limit(fields: _Body) -> int | None:
    """`max_output_tokens`; the other whole numbers are only checked."""
    for name, least in WHOLE.items():
        value = integer_at(getattr(fields, name), (name,))
        if value is not None and value < least:
            raise FieldError("invalid_value", (name,), reason=f"It must be at least {least}.")
    return integer_at(fields.max_output_tokens, ("max_output_tokens",))


def _items(fields: _Body) -> list[Read]:
    value = decode(_INPUT, fields.input, ("input",)) if len(fields.input) else None
    if value is None:
        # A previous response may be continued without a new item.
        if not fields.previous_response_id:
            raise FieldError("missing_required_parameter", ("input",))
        value = []
    if isinstance(value, str):
        value = [message_item(value)]
    at_most(MOST_MESSAGES, value, ("input",))
    found: list[Read] = []
    for index, raw in enumerate(value):
        at = ("input", index)
        found.append((raw, read_item(raw, at), at))
    return found


def _selection(fields: _Body, choice: Any) -> ToolSelection:
    tools = read_tools(fields.tools, nested=False)
    if isinstance(choice, dict) and text_at(choice.get("type"), ("tool_choice", "type")) not in CHOICES:
        choice = None  # a hosted tool, which does not exist here: it is left out, as in the list
    return selection_of(choice, bool(fields.tools), tools)


CHOICES = ("function", "custom", "allowed_tools", "auto", "none", "required", "any")
"""Types of a tool choice that can be met."""


def _thinking(fields: _Body) -> bool | None:
    """Asked for by an effort or a summary; an effort of `none` says no."""
    reasoning = decode(_REASONING, fields.reasoning, ("reasoning",)) if len(fields.reasoning) else None
    if reasoning is None:
        return None
    # Also beside a summary, which agents ask for whatever the effort is.
    if reasoning.effort == "none":
        return False
    # A summary can only be shown if there is reasoning, so asking for one asks for both.
    return True if reasoning.effort or reasoning.summary or reasoning.generate_summary else None


def _reply_schema(fields: _Body) -> bytes:
    text = decode(_TEXT, fields.text, ("text",)) if len(fields.text) else None
    at: Path = ("text", "format")
    match text.format.type if text and text.format else None:
        case None | "text":
            return b""
        case "json_object":
            # Any JSON object: the schema that allows everything.
            return b"{}"
        case "json_schema" if text and text.format:
            return schema_at(text.format.schema, (*at, "schema")) or b"{}"
        case _:
            raise FieldError("invalid_value", (*at, "type"), reason=f"Supported are: {', '.join(FORMATS)}.")
