"""Anthropic's content blocks to text, tool calls and tool results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from bridge.chat.request import Message, Role, ToolCall
from bridge.wire.bodies import Flaw, Path, decode, text_at

PLACEHOLDERS = {"image": "[image]", "document": "[document]"}
"""What stands in the text for blocks that are none."""

FAILED_RESULT = "[error]"
"""First line of a tool result that the client marked as failed."""

NO_TEXT = ("thinking", "redacted_thinking")


class Block(msgspec.Struct, gc=False):
    """Any block. What depends on its type stays undecoded, so that unknown types may hold anything."""

    type: str | None = None
    text: Any = None
    title: Any = None
    id: Any = None
    name: Any = None
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


_CONTENT: msgspec.json.Decoder[Content] = msgspec.json.Decoder(Content)
_SOURCE: msgspec.json.Decoder[_Source | None] = msgspec.json.Decoder(_Source | None)
_TEXT: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_ANYTHING = msgspec.json.Decoder()


def text_of(content: Content, at: Path) -> str:
    """The content's texts, one per line; `at` is its path."""
    if isinstance(content, str):
        return content
    return _lines(block_text(block, (*at, index)) for index, block in enumerate(content or ()))


def block_text(block: Block, at: Path) -> str:
    """What the block says in text; "" for nothing."""
    match block.type:
        case None:
            raise Flaw("missing_required_parameter", (*at, "type"))
        case "text":
            return text_at(block.text, (*at, "text"))
        case "image":
            return PLACEHOLDERS["image"]
        case "document":
            return _lines((_title(block), _document(block.source, (*at, "source"))))
        case "search_result":
            return _lines((_title(block), text_of(_nested(block.content, (*at, "content")), (*at, "content"))))
        case "tool_result":
            return _result(block, at)
        case known if known in NO_TEXT:
            return ""
        case _:
            return block.text if isinstance(block.text, str) else _gather(_anything(block.content, at))


def user_messages(content: Content, at: Path) -> Iterator[Message]:
    """A user's blocks in order: each tool result is a message of its own, the texts between them are one each."""
    if not isinstance(content, list) or not any(block.type == "tool_result" for block in content):
        yield Message("user", text_of(content, at))
        return
    texts: list[str] = []
    for index, block in enumerate(content):
        text = block_text(block, (*at, index))
        if block.type != "tool_result":
            texts.append(text)
            continue
        yield from _spoken("user", texts)
        yield Message("tool", text, tool_call_id=text_at(block.tool_use_id, (*at, index, "tool_use_id")))
        texts = []
    yield from _spoken("user", texts)


def assistant_message(content: Content, at: Path) -> Message:
    """An assistant's texts and calls."""
    if not isinstance(content, list):
        return Message("assistant", text_of(content, at))
    calls = [_call(block, (*at, i)) for i, block in enumerate(content) if block.type == "tool_use"]
    texts = [block_text(block, (*at, i)) for i, block in enumerate(content) if block.type != "tool_use"]
    return Message("assistant", _lines(texts), tuple(calls))


def _call(block: Block, at: Path) -> ToolCall:
    call_id, name = text_at(block.id, (*at, "id")), text_at(block.name, (*at, "name"))
    arguments = bytes(block.input).decode("utf-8", "replace")
    if arguments in ("", "null"):
        arguments = "{}"
    if not arguments.startswith("{"):
        raise Flaw("invalid_type", (*at, "input"), expected="an object", got="something else")
    return ToolCall(call_id, name, arguments)


def _result(block: Block, at: Path) -> str:
    text = text_of(_nested(block.content, (*at, "content")), (*at, "content"))
    return _lines((FAILED_RESULT, text)) if block.is_error is True else text


def _document(source: msgspec.Raw, at: Path) -> str:
    found = decode(_SOURCE, bytes(source) or b"null", at)
    match found:
        case _Source(type="text"):
            return decode(_TEXT, bytes(found.data) or b"null", (*at, "data")) or ""
        case _Source(type="content"):
            return text_of(_nested(found.content, (*at, "content")), (*at, "content"))
        case _:
            return PLACEHOLDERS["document"]


def _nested(content: msgspec.Raw, at: Path) -> Content:
    return decode(_CONTENT, bytes(content) or b"null", at)


def _anything(raw: msgspec.Raw, at: Path) -> Any:
    return decode(_ANYTHING, bytes(raw) or b"null", at)


def _gather(value: Any) -> str:
    """The texts in a block of unknown type: strings, `text` fields, and what lies in `content`."""
    match value:
        case str():
            return value
        case list():
            return _lines(_gather(item) for item in value)
        case {"text": str(text)}:
            return text
        case {"content": inner}:
            return _gather(inner)
        case _:
            return ""


def _title(block: Block) -> str:
    return block.title if isinstance(block.title, str) else ""


def _spoken(role: Role, texts: list[str]) -> Iterator[Message]:
    if text := _lines(texts):
        yield Message(role, text)


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)
