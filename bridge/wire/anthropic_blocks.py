"""Anthropic's content blocks to text, images, tool calls and tool results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from bridge.chat.request import Message, Role, ToolCall
from bridge.wire.bodies import Flaw, Path, decode, text_at

T = TypeVar("T")

IMAGE, DOCUMENT = "[image]", "[document]"
"""What stands in the text for blocks that are none."""

NO_TEXT = ("thinking", "redacted_thinking")


class Block(msgspec.Struct, gc=False):
    """Any block. What depends on its type stays undecoded, so that unknown types may hold anything."""

    type: str | None = None
    text: Any = None
    title: Any = None
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
    data: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


class _ImageSource(msgspec.Struct, gc=False):
    type: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


_CONTENT: msgspec.json.Decoder[Content] = msgspec.json.Decoder(Content)
_SOURCE: msgspec.json.Decoder[_Source | None] = msgspec.json.Decoder(_Source | None)
_IMAGE: msgspec.json.Decoder[_ImageSource | None] = msgspec.json.Decoder(_ImageSource | None)
_TEXT: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_ANYTHING = msgspec.json.Decoder()
_NULL = msgspec.Raw(b"null")


def text_of(content: Content, at: Path, images: list[str]) -> str:
    """The content's texts, one per line; `at` is its path. Its images are added to the list."""
    if isinstance(content, str):
        return content
    return _lines(block_text(block, (*at, index), images) for index, block in enumerate(content or ()))


def block_text(block: Block, at: Path, images: list[str]) -> str:
    """What the block says in text; "" for nothing. Its images are added to the list."""
    match block.type:
        case None:
            raise Flaw("missing_required_parameter", (*at, "type"))
        case "text":
            return text_at(block.text, (*at, "text"))
        case "tool_result":
            return _inner_text(block, at, images)
        case "image":
            images.append(_image(block.source, (*at, "source")))
            return IMAGE
        case "document":
            return _lines((_title(block), _document(block.source, (*at, "source"), images)))
        case "search_result":
            return _lines((_title(block), _inner_text(block, at, images)))
        case "tool_reference":
            return f"[tool {block.tool_name}]" if isinstance(block.tool_name, str) else ""
        case known if known in NO_TEXT:
            return ""
        case _:
            return block.text if isinstance(block.text, str) else _gather(_anything(block.content, at))


def user_messages(content: Content, at: Path) -> Iterator[Message]:
    """A user's blocks in order: each tool result is a message of its own, the texts between them are one each."""
    if not isinstance(content, list) or not any(block.type == "tool_result" for block in content):
        yield spoken("user", content, at)
        return
    texts: list[str] = []
    images: list[str] = []
    for index, block in enumerate(content):
        if block.type != "tool_result":
            texts.append(block_text(block, (*at, index), images))
            continue
        yield from _between(texts, images)
        texts, images = [], []
        yield _result(block, (*at, index))
    yield from _between(texts, images)


def assistant_message(content: Content, at: Path) -> Message:
    """An assistant's texts and calls."""
    if not isinstance(content, list):
        return spoken("assistant", content, at)
    images: list[str] = []
    calls = [_call(block, (*at, i)) for i, block in enumerate(content) if block.type == "tool_use"]
    texts = [block_text(block, (*at, i), images) for i, block in enumerate(content) if block.type != "tool_use"]
    return Message("assistant", _lines(texts), tuple(calls), images=tuple(images))


def spoken(role: Role, content: Content, at: Path) -> Message:
    """A message that neither calls a tool nor answers a call."""
    images: list[str] = []
    return Message(role, text_of(content, at, images), images=tuple(images))


def _between(texts: list[str], images: list[str]) -> Iterator[Message]:
    if text := _lines(texts):
        yield Message("user", text, images=tuple(images))


def _call(block: Block, at: Path) -> ToolCall:
    call_id, name = text_at(block.id, (*at, "id")), text_at(block.name, (*at, "name"))
    arguments = str(memoryview(block.input), "utf-8", "replace")
    if arguments in ("", "null"):
        arguments = "{}"
    if not arguments.startswith("{"):
        raise Flaw("invalid_type", (*at, "input"), expected="an object", got="something else")
    return ToolCall(call_id, name, arguments)


def _result(block: Block, at: Path) -> Message:
    images: list[str] = []
    text = _inner_text(block, at, images)
    call_id = text_at(block.tool_use_id, (*at, "tool_use_id"))
    return Message("tool", text, (), call_id, block.is_error is True, tuple(images))


def _inner_text(block: Block, at: Path, images: list[str]) -> str:
    return text_of(_nested(block.content, (*at, "content")), (*at, "content"), images)


def _image(source: msgspec.Raw, at: Path) -> str:
    """The image as a URL. An uploaded file would have to lie here."""
    found = _given(_IMAGE, source, at) or _ImageSource()
    match text_at(found.type, (*at, "type")):
        case "base64":
            media_type = text_at(found.media_type, (*at, "media_type"))
            return f"data:{media_type};base64,{text_at(found.data, (*at, 'data'))}"
        case "url":
            return text_at(found.url, (*at, "url"))
        case "file":
            raise Flaw("unsupported_parameter", (*at, "file_id"), reason="Files are not kept here; send the image")
        case _:
            raise Flaw("invalid_value", (*at, "type"), reason="Input should be 'base64' or 'url'")


def _document(source: msgspec.Raw, at: Path, images: list[str]) -> str:
    found = _given(_SOURCE, source, at)
    match found:
        case _Source(type="text"):
            return _given(_TEXT, found.data, (*at, "data")) or ""
        case _Source(type="content"):
            inside = (*at, "content")
            return text_of(_nested(found.content, inside), inside, images)
        case _:
            return DOCUMENT


def _nested(content: msgspec.Raw, at: Path) -> Content:
    return _given(_CONTENT, content, at)


def _anything(raw: msgspec.Raw, at: Path) -> Any:
    return _given(_ANYTHING, raw, at)


def _given(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, at: Path) -> T:
    """Decode a field; an absent one is null."""
    return decode(decoder, raw if len(memoryview(raw)) else _NULL, at)


def _gather(value: Any, depth: int = 8) -> str:
    """The texts in a block of unknown type: strings, `text` fields, and what lies in `content`, not too deep."""
    match value:
        case str():
            return value
        case list() if depth:
            return _lines(_gather(item, depth - 1) for item in value)
        case {"text": str(text)}:
            return text
        case {"content": inner} if depth:
            return _gather(inner, depth - 1)
        case _:
            return ""


def _title(block: Block) -> str:
    return block.title if isinstance(block.title, str) else ""


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)
