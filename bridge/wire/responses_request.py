"""
A Responses body to a ChatRequest, in two steps: what is referred to must be fetched in between.

Declared are the fields that matter here, and those whose wrong JSON type OpenAI refuses. Everything else may hold
anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.chat.errors import InvalidRequest, NotFound
from bridge.chat.request import ChatRequest, Message
from bridge.wire.bodies import Flaw, Path, decode, schema_at, text_at
from bridge.wire.openai_errors import refusal
from bridge.wire.openai_tools import Offer, read_choice, read_tools
from bridge.wire.responses_input import Item, message_item, read_item, read_messages
from bridge.wire.responses_items import response_of_item
from bridge.wire.responses_kept import Kept
from bridge.wire.responses_object import DEFAULTS, Asked

SEALED = "reasoning.encrypted_content"
FORMATS = ("text", "json_object", "json_schema")


class _Fields(msgspec.Struct, gc=False):
    pass


class _Format(_Fields):
    type: str | None = None
    schema: msgspec.Raw = msgspec.Raw()


class _Text(_Fields):
    format: _Format | None = None


class _Reasoning(_Fields):
    effort: Any = None
    summary: Any = None
    generate_summary: Any = None


class _Body(_Fields):
    model: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    instructions: str | None = None
    stream: bool | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    text: msgspec.Raw = msgspec.Raw()
    reasoning: msgspec.Raw = msgspec.Raw()
    include: list[Any] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    truncation: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    user: msgspec.Raw = msgspec.Raw()
    safety_identifier: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    prompt_cache_key: msgspec.Raw = msgspec.Raw()


_BODY = msgspec.json.Decoder(_Body)
_INPUT = msgspec.json.Decoder(str | list[msgspec.Raw] | None)
_TEXT = msgspec.json.Decoder(_Text | None)
_REASONING = msgspec.json.Decoder(_Reasoning | None)

Read = tuple[msgspec.Raw, Item, Path]
"""An item as it was sent, as it was read, and where it stands."""


class Draft:
    """A body that was read. `needs` are the ids of the stored responses without which it is not complete."""

    def __init__(self, body: bytes, *, counting: bool = False) -> None:
        """Raise a Flaw, InvalidRequest or NotFound for what is no request, or what cannot be had here."""
        self._fields = decode(_BODY, _valid_text(body))
        if not self._fields.model and not counting:
            raise Flaw("missing_required_parameter", ("model",))
        _refuse_the_impossible(self._fields)
        self._items = _items(self._fields)
        references = [response_of_item(item.id or "") for _, item, _ in self._items if item.kind == "item_reference"]
        previous = [self._fields.previous_response_id] if self._fields.previous_response_id else []
        self.needs: tuple[str, ...] = tuple(dict.fromkeys(previous + references))

    def request(self, kept: Mapping[str, Kept]) -> ChatRequest:
        """The whole request, given the stored responses by their ids. Raise InvalidRequest."""
        try:
            return self._request(kept)
        except Flaw as flaw:
            raise refusal(flaw) from None

    def _request(self, kept: Mapping[str, Kept]) -> ChatRequest:
        fields = self._fields
        items = self._earlier(kept) + [_resolved(each, kept) for each in self._items]
        told = list(read_messages((item, at) for _, item, at in items))
        messages = (Message("system", fields.instructions), *told) if fields.instructions else tuple(told)
        if not messages:
            raise Flaw("invalid_value", ("input",), reason="Send at least one item.")
        offer = _offer(fields)
        return ChatRequest(
            model=fields.model or "",
            messages=messages,
            stream=bool(fields.stream),
            max_tokens=fields.max_output_tokens,
            tooling=bool(offer.tools) or offer.choice.must_call or any(m.role == "tool" or m.tool_calls for m in told),
            tools=offer.tools,
            tool_choice=offer.choice,
            parallel_tool_calls=fields.parallel_tool_calls is not False,
            thinking=_thinking(fields),
            reply_schema=_reply_schema(fields),
            marks_waiting_calls=False,
            echo=_asked(fields, [raw for raw, _, _ in items]),
        )

    def _earlier(self, kept: Mapping[str, Kept]) -> list[Read]:
        """What the previous response was told, and what it said."""
        previous = self._fields.previous_response_id
        if not previous:
            return []
        if previous not in kept:
            raise InvalidRequest(
                f"Previous response with id '{previous}' not found.",
                param=("previous_response_id",),
                code="previous_response_not_found",
            )
        raws = kept[previous].input + kept[previous].output()
        at: Path = ("previous_response_id",)
        return [(raw, read_item(raw, at), at) for raw in raws]


def _valid_text(body: bytes) -> bytes:
    """The body, if it is UTF-8: what is passed on as it came would not be looked at."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise Flaw("invalid_json", reason=f"{exc}.") from None
    return body


def _refuse_the_impossible(fields: _Body) -> None:
    if fields.conversation is not None:
        conversation = fields.conversation
        named = conversation.get("id") if isinstance(conversation, dict) else conversation
        raise NotFound(
            f"Conversation with id '{named}' not found.", param=("conversation",), code="conversation_not_found"
        )
    if fields.prompt is not None:
        raise Flaw("unsupported_parameter", ("prompt",), reason="There are no prompt templates here.")
    if fields.max_output_tokens is not None and fields.max_output_tokens < 1:
        raise Flaw("invalid_value", ("max_output_tokens",), reason="It must be at least 1.")


def _items(fields: _Body) -> list[Read]:
    given = decode(_INPUT, fields.input, ("input",)) if len(fields.input) else None
    if given is None:
        if not fields.previous_response_id:
            raise Flaw("missing_required_parameter", ("input",))
        given = []
    if isinstance(given, str):
        given = [message_item(given)]
    found: list[Read] = []
    for index, raw in enumerate(given):
        at = ("input", index)
        found.append((raw, read_item(raw, at), at))
    return found


def _resolved(each: Read, kept: Mapping[str, Kept]) -> Read:
    """The item, or the one it refers to."""
    _, item, at = each
    if item.kind != "item_reference":
        return each
    wanted = text_at(item.id, (*at, "id"))
    holder = response_of_item(wanted)
    raw = kept[holder].find(holder, wanted) if holder in kept else None
    if raw is not None:
        return raw, read_item(raw, at), at
    raise InvalidRequest(f"Item with id '{wanted}' not found.", param=(*at, "id"), code="invalid_value")


def _offer(fields: _Body) -> Offer:
    tools = read_tools(fields.tools, nested=False)
    choice = fields.tool_choice
    if isinstance(choice, dict) and choice.get("type") not in CHOICES:
        choice = None  # a hosted tool, which does not exist here: it is left out, as in the list
    return read_choice(choice, bool(fields.tools), tools)


CHOICES = ("function", "custom", "allowed_tools", "auto", "none", "required", "any", None)
"""Types of a tool choice that can be met."""


def _thinking(fields: _Body) -> bool | None:
    """Asked for by an effort or a summary; an effort of `none` alone says no."""
    reasoning = decode(_REASONING, fields.reasoning, ("reasoning",)) if len(fields.reasoning) else None
    if reasoning is None:
        return None
    if reasoning.summary or reasoning.generate_summary:
        return True
    return None if reasoning.effort is None else reasoning.effort != "none"


def _reply_schema(fields: _Body) -> bytes:
    text = decode(_TEXT, fields.text, ("text",)) if len(fields.text) else None
    at: Path = ("text", "format")
    match text.format.type if text and text.format else None:
        case None | "text":
            return b""
        case "json_object":
            return b"{}"
        case "json_schema" if text and text.format:
            return schema_at(text.format.schema, (*at, "schema")) or b"{}"
        case _:
            raise Flaw("invalid_value", (*at, "type"), reason=f"Supported are: {', '.join(FORMATS)}.")


def _asked(fields: _Body, items: Sequence[msgspec.Raw]) -> Asked:
    given = {name: getattr(fields, name, None) for name in DEFAULTS}
    told = {name: _echoed(value) for name, value in given.items() if not _is_absent(value)}
    seals = SEALED in (fields.include or ())
    return Asked(told, seals, None if fields.store is False else tuple(items))


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, msgspec.Raw) and bytes(value) in (b"", b"null"))


def _echoed(value: Any) -> Any:
    """What is passed on undecoded must fit into one line of a stream."""
    if isinstance(value, list):
        return [_echoed(each) for each in value]
    if isinstance(value, msgspec.Raw) and (b"\n" in (text := bytes(value)) or b"\r" in text):
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    return value
