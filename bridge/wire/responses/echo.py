"""What a response echoes of its request: checked, in OpenAI's own notation, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.wire.bodies import FieldError, Path, decode, integer_at, is_absent, remembered
from bridge.wire.responses.response_object import DEFAULTS

MOST_ECHOED = 1 << 20
"""Bytes of instructions, tools and formats that a response repeats: it stands in three events of a stream."""

LARGE = ("instructions", "tools", "text", "reasoning")
"""What is not echoed when it is too large, in this order."""

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
LABELS = ("user", "safety_identifier", "prompt_cache_key")
PLAIN = (
    "frequency_penalty", "instructions", "parallel_tool_calls", "presence_penalty", "previous_response_id", "store",
    "temperature", "top_p",
)  # fmt: skip
INTEGERS = ("max_output_tokens", "max_tool_calls", "top_logprobs")
LONGEST_LABEL = 512
"""Characters of `user` and its like. OpenAI takes 64; those of other gateways are longer."""

TRUNCATIONS = ("auto", "disabled")
TIERS = ("default", "flex", "scale", "priority", "fast", "standard")
"""Those that are echoed; `auto` and what the types of the SDKs do not know are answered as `default`."""

_METADATA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder(str)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_GROUP = msgspec.json.Decoder(list[msgspec.Raw])
_NULL, _TRUE = msgspec.Raw(b"null"), msgspec.Raw(b"true")
_PLAIN = msgspec.Raw(b'{"type":"text"}')


def label_at(value: str | None, path: Path) -> str | None:
    """A name the client gives to itself or its user."""
    if value is not None and len(value) > LONGEST_LABEL:
        raise FieldError("invalid_value", path, reason=f"It has more than {LONGEST_LABEL} characters.")
    return value


def metadata_at(raw: msgspec.Raw, path: Path = ("metadata",)) -> dict[str, str]:
    """The pairs of strings. Raise a FieldError for anything else, and for too many or too long ones."""
    if len(raw) > MOST_ECHOED:
        raise FieldError("invalid_value", path, reason=f"At most {MOST_PAIRS} pairs are supported.")
    # The values stay undecoded until the number of pairs is known to be small.
    pairs = decode(_METADATA, raw, path)
    if len(pairs) > MOST_PAIRS:
        raise FieldError("invalid_value", path, reason=f"At most {MOST_PAIRS} pairs are supported.")
    if any(len(key) > LONGEST_KEY for key in pairs):
        raise FieldError("invalid_value", path, reason=f"A key has more than {LONGEST_KEY} characters.")
    found = {key: decode(_VALUE, value, (*path, key)) for key, value in pairs.items()}
    for key, value in found.items():
        if len(value) > LONGEST_VALUE:
            raise FieldError("invalid_value", (*path, key), reason=f"It has more than {LONGEST_VALUE} characters.")
    return found


def one_of(value: str | None, supported: Sequence[str], path: Path) -> str | None:
    """The value, if it is a supported one. Raise a FieldError."""
    if value is None or value in supported:
        return value
    raise FieldError("invalid_value", path, reason=f"Supported are: {', '.join(supported)}.")


@remembered
def _echoed_tools(items: tuple[bytes, ...]) -> list[msgspec.Raw]:
    return [one_line(msgspec.Raw(_echoed_tool(item))) for item in items]


def _echoed_tool(item: bytes) -> bytes:
    tool = _OBJECT.decode(item)
    kind = bytes(tool.get("type", b'"function"'))
    if kind == b'"function"':
        inner = tool.pop("function", None)  # as in Chat Completions
        if inner is not None and bytes(inner).startswith(b"{"):
            # The nested notation of Chat Completions is echoed flat, as Responses has it.
            tool |= _OBJECT.decode(inner)
        tool["type"] = msgspec.Raw(kind)
        if bytes(tool.get("strict", _NULL)) == b"null":
            # OpenAI's own default in this API, and its SDKs expect the key.
            tool["strict"] = _TRUE
        return msgspec.json.encode({"description": _NULL, "parameters": _NULL} | tool)
    if kind == b'"namespace"' and bytes(tool.get("tools", b"")).startswith(b"["):
        inside = [msgspec.Raw(_echoed_tool(bytes(each))) for each in _GROUP.decode(tool["tools"])]
        return msgspec.json.encode(tool | {"tools": inside})
    return item


def echoed_choice(choice: Any) -> Any:
    """The tool choice, flat as Responses has it."""
    if not isinstance(choice, dict):
        return choice
    inner = choice.get(choice.get("type"))
    flat = {"type": choice.get("type")} | inner if isinstance(inner, dict) else dict(choice)
    return flat | {"mode": flat.get("mode") or "auto"} if flat["type"] == "allowed_tools" else flat


def echoed_fields(fields: Any, choice: Any) -> dict[str, Any]:
    """Those of DEFAULTS that the request set, from the fields of its body and its decoded tool choice."""
    echoed = {name: value for name in PLAIN if (value := getattr(fields, name)) is not None}
    for name in LABELS:
        if (value := label_at(getattr(fields, name), (name,))) is not None:
            echoed[name] = value
    for name in INTEGERS:
        if (number := integer_at(getattr(fields, name), (name,))) is not None:
            echoed[name] = number
    if choice is not None:
        echoed["tool_choice"] = echoed_choice(choice)
    if fields.tools is not None:
        echoed["tools"] = _echoed_tools(tuple(map(bytes, fields.tools)))
    echoed.update(_echoed_objects(fields))
    if one_of(fields.truncation, TRUNCATIONS, ("truncation",)):
        echoed["truncation"] = fields.truncation
    # A tier only tunes: a client that knows a newer one is answered all the same (FORMATS 1.4).
    if fields.service_tier in TIERS:
        echoed["service_tier"] = fields.service_tier
    return _bounded(echoed)


def _echoed_objects(fields: Any) -> dict[str, Any]:
    echoed: dict[str, Any] = {}
    if not is_absent(fields.metadata):
        echoed["metadata"] = metadata_at(fields.metadata)
    if not is_absent(fields.text):
        echoed["text"] = _echoed_text(fields.text)
    if not is_absent(fields.reasoning):
        echoed["reasoning"] = _with(DEFAULTS["reasoning"], fields.reasoning)
    return echoed


def _echoed_text(raw: msgspec.Raw) -> msgspec.Raw:
    """The format of the reply with every field that OpenAI puts into it."""
    echoed = _OBJECT.decode(raw)
    form = echoed.get("format", _NULL)
    if bytes(form) == b"null":
        echoed["format"] = _PLAIN
    elif bytes(_OBJECT.decode(form).get("type", b"")) == b'"json_schema"':
        echoed["format"] = _with({"description": None, "strict": False}, form)
    return one_line(msgspec.Raw(msgspec.json.encode(echoed)))


def _with(defaults: dict[str, Any], raw: msgspec.Raw) -> msgspec.Raw:
    """The object with the defaults for what it lacks or has as null."""
    present = {name: value for name, value in _OBJECT.decode(raw).items() if bytes(value) != b"null"}
    return one_line(msgspec.Raw(msgspec.json.encode(defaults | present)))


def _bounded(echoed: dict[str, Any]) -> dict[str, Any]:
    """The fields without what is too large to be repeated in every event that has the whole response."""
    # Whole fields go, in the order of LARGE: half a list of tools would be a lie.
    sizes = {name: _size(echoed[name]) for name in LARGE if name in echoed}
    for name, size in sizes.items():
        if sum(sizes.values()) <= MOST_ECHOED:
            break
        sizes[name] -= size
        del echoed[name]
    return echoed


def one_line(raw: msgspec.Raw) -> msgspec.Raw:
    """What is passed on undecoded must fit into one line of a stream."""
    text = bytes(raw)
    return msgspec.Raw(msgspec.json.format(text, indent=-1)) if b"\n" in text or b"\r" in text else raw


def _size(value: Any) -> int:
    return sum(map(len, value)) if isinstance(value, list) else len(value)
