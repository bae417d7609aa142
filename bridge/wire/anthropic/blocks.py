"""Anthropic's content blocks to text, images, tool calls and tool results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from bridge.chat.request import Message, Role, ToolCall
from bridge.wire.attached import Attached
from bridge.wire.bodies import FieldError, Path, decode, json_type, text_at
from bridge.wire.bounds import id_at, shown
from bridge.wire.documents import File, read_file, titled
from bridge.wire.parts import unpacked

T = TypeVar("T")

IMAGE, DOCUMENT = "[image]", "[document]"
"""What stands in the text for blocks that are none."""

NO_TEXT = ("thinking", "redacted_thinking")
TEXTS = ("stdout", "stderr", "content")
"""Where results of tools that a vendor runs have their text."""


class Block(msgspec.Struct, gc=False):
    """Any block. What depends on its type stays undecoded, so that unknown types may hold anything."""

    type: str | None = None
    text: Any = None
    title: Any = None
    context: Any = None
    id: Any = None
    name: Any = None
    tool_name: Any = None
    tool_use_id: Any = None
    is_error: Any = None
    input: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


Content = str | list[Block] | None


class _Source(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: msgspec.Raw = msgspec.Raw()


class _ImageSource(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


_CONTENT: msgspec.json.Decoder[Content] = msgspec.json.Decoder(Content)
_SOURCE: msgspec.json.Decoder[_Source | None] = msgspec.json.Decoder(_Source | None)
_IMAGE: msgspec.json.Decoder[_ImageSource | None] = msgspec.json.Decoder(_ImageSource | None)
_ANYTHING = msgspec.json.Decoder()
_NULL = msgspec.Raw(b"null")


def text_of(content: Content, at: Path, attached: Attached) -> str:
    """The content's texts, one per line; `at` is its path. What it brings beside them is collected."""
    if isinstance(content, str):
        return content
    return _lines(block_text(block, (*at, index), attached) for index, block in enumerate(content or ()))


def block_text(block: Block, at: Path, attached: Attached) -> str:
    """What the block says in text; "" for nothing. What it brings beside it is collected."""
    match block.type:
        case None:
            raise FieldError("missing_required_parameter", (*at, "type"))
        case "text":
            return text_at(block.text, (*at, "text"))
        case "tool_result":
            # Only in a message that is not the user's, where nothing calls for a result: its text is kept.
            return _inner_text(block, at, attached)
        case "image":
            attached.images.append(_image(block.source, (*at, "source")))
            return IMAGE
        case "document":
            return _document(block, (*at, "source"), attached)
        case "search_result":
            return _lines((_text(block.title), _inner_text(block, at, attached)))
        case "tool_reference":
            # What a tool search returns: the name alone, as the tool itself is in the request's list.
            return f"[tool {block.tool_name}]" if isinstance(block.tool_name, str) else ""
        case kind if kind in NO_TEXT:
            return ""
        case _:
            return _unknown(block, at, attached)


def _unknown(block: Block, at: Path, attached: Attached) -> str:
    # Newer clients send block types that nobody here knows yet: refusing them would end a whole agent run.
    text = block.text if isinstance(block.text, str) else _gather(_anything(block.content, at))
    if not text:
        attached.drop("block of type", shown(block.type or ""))
    return text


def user_messages(content: Content, at: Path) -> Iterator[Message]:
    """A user's blocks in order: each tool result is a message of its own, the texts between them are one each."""
    if not isinstance(content, list) or "tool_result" not in [block.type for block in content]:
        # The common case: no result inside, so the blocks are one message.
        yield plain_message("user", content, at)
        return
    if len(content) == 1:
        yield _result(content[0], (*at, 0))
        return
    yield from _apart(content, at)


def _apart(content: list[Block], at: Path) -> list[Message]:
    """The results and the texts between them, at least one result."""
    messages: list[Message] = []
    texts: list[str] = []
    attached = Attached()
    for index, block in enumerate(content):
        if block.type != "tool_result":
            texts.append(block_text(block, (*at, index), attached))
            continue
        messages += _between(texts, attached)
        texts.clear()
        messages.append(_result(block, (*at, index)))
    messages += _between(texts, attached)
    if attached.dropped:
        # Of blocks that have left no text, and so no message of their own: it is named with one that is there.
        messages[-1] = msgspec.structs.replace(messages[-1], dropped=(*messages[-1].dropped, *attached.dropped))
    return messages


def assistant_message(content: Content, at: Path) -> Message:
    """An assistant's texts and calls."""
    if not isinstance(content, list):
        return plain_message("assistant", content, at)
    attached = Attached()
    # The texts go before the calls, whatever the order of the blocks: neutral messages have one order only.
    calls = [_call(block, (*at, i)) for i, block in enumerate(content) if block.type == "tool_use"]
    texts = [block_text(block, (*at, i), attached) for i, block in enumerate(content) if block.type != "tool_use"]
    images, dropped = tuple(attached.images), tuple(attached.dropped)
    return Message("assistant", _lines(texts), tuple(calls), images=images, dropped=dropped)


def plain_message(role: Role, content: Content, at: Path) -> Message:
    """A message that neither calls a tool nor answers a call."""
    if isinstance(content, str):
        return Message(role, content)
    attached = Attached()
    text = text_of(content, at, attached)
    return Message(role, text, images=tuple(attached.images), dropped=tuple(attached.dropped))


def _between(texts: list[str], attached: Attached) -> Iterator[Message]:
    """The message of the texts; what came with them is taken out of `attached`."""
    # A picture leaves `[image]` in the text: without a text there is no picture either.
    if text := _lines(texts):
        yield Message("user", text, images=tuple(attached.images), dropped=tuple(attached.dropped))
        attached.images.clear()
        attached.dropped.clear()


def _call(block: Block, at: Path) -> ToolCall:
    call_id, name = id_at(block.id, (*at, "id")), id_at(block.name, (*at, "name"))
    # The JSON is kept as it was sent: decoding and encoding it again would change numbers and the order of keys.
    arguments = str(memoryview(block.input), "utf-8", "replace")
    # Some clients send null for a tool without parameters.
    if arguments in ("", "null"):
        arguments = "{}"
    if not arguments.startswith("{"):
        raise FieldError("invalid_type", (*at, "input"), expected="an object", got=json_type(arguments[:1].encode()))
    return ToolCall(call_id, name, arguments)


def _result(block: Block, at: Path) -> Message:
    inside, attached = (*at, "content"), Attached()
    content = _nested(block.content, inside)
    if isinstance(content, list) and len(content) == 1 and content[0].type == "text":
        # A lone text block may be the JSON of a list of parts, as MCP servers send it.
        content = text_at(content[0].text, (*inside, 0, "text"))
    text = unpacked(content, attached) if isinstance(content, str) else text_of(content, inside, attached)
    call_id = id_at(block.tool_use_id, (*at, "tool_use_id"))
    dropped = tuple(attached.dropped)
    return Message("tool", text, (), call_id, block.is_error is True, tuple(attached.images), dropped)


def _inner_text(block: Block, at: Path, attached: Attached) -> str:
    return text_of(_nested(block.content, (*at, "content")), (*at, "content"), attached)


def _image(source: msgspec.Raw, at: Path) -> str:
    """The image as a URL. An uploaded file would have to lie here."""
    found = _decode_field(_IMAGE, source, at) or _ImageSource()
    match text_at(found.type, (*at, "type")):
        case "base64":
            # The declared type goes into the data URL; the upload checks the bytes themselves.
            media_type = text_at(found.media_type, (*at, "media_type"))
            return f"data:{media_type};base64,{text_at(found.data, (*at, 'data'))}"
        case "url":
            return text_at(found.url, (*at, "url"))
        case "file":
            raise FieldError(
                "unsupported_parameter", (*at, "file_id"), reason="Files are not kept here; send the image"
            )
        case _:
            raise FieldError("invalid_value", (*at, "type"), reason="Input should be 'base64' or 'url'")


def _document(block: Block, at: Path, attached: Attached) -> str:
    """A text under its title, whatever its shape; else what stands for it."""
    source = _decode_field(_SOURCE, block.source, at) or _Source()
    title, context = _text(block.title), _text(block.context)
    if source.type == "content":
        inside = (*at, "content")
        return _lines((title, context, text_of(_nested(source.content, inside), inside, attached)))
    file = File(title, source.media_type or "", source.data or "", source.url or "", plain=source.type == "text")
    text = read_file(file, attached, DOCUMENT) if file.data or not file.plain else ""
    return titled(title, _lines((context, text)))


def _nested(content: msgspec.Raw, at: Path) -> Content:
    return _decode_field(_CONTENT, content, at)


def _anything(raw: msgspec.Raw, at: Path) -> Any:
    return _decode_field(_ANYTHING, raw, at)


def _decode_field(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, at: Path) -> T:
    """Decode a field; an absent one is null."""
    return decode(decoder, raw if len(memoryview(raw)) else _NULL, at)


def _gather(value: Any, depth: int = 8) -> str:
    """The texts in a block of unknown type: strings, `text` fields, documents, and what lies in TEXTS."""
    match value:
        case str():
            return value
        # A bound on depth, as the block may come from anybody: nesting must not become recursion without an end.
        case list() if depth:
            return _lines(_gather(item, depth - 1) for item in value)
        case {"text": str(text)}:
            return text
        case {"source": {"type": "text", "data": str(text)}}:  # a document, as a fetched page is
            return text
        case dict() if depth:
            return _lines(_gather(value.get(name), depth - 1) for name in TEXTS)
        case _:
            return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _lines(texts: Iterable[str]) -> str:
    return "\n".join([text for text in texts if text])
