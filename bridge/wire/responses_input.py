"""
Input items of the Responses API to messages.

Whatever the assistant said and called between two words of others is one message, as it was one reply: text, calls
and reasoning come as items of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from bridge.chat.request import Message, ToolCall
from bridge.wire.bodies import Flaw, Path, decode, text_at
from bridge.wire.openai_tools import namespaced

ROLES = ("user", "assistant", "system", "developer")
PLACEHOLDERS = {"input_image": "[image]", "image_url": "[image]", "input_audio": "[audio]", "input_file": "[file]"}
"""What stands in the text for parts that are none."""
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that call a tool of the client, and where their arguments stand."""
RESULTS = ("function_call_output", "custom_tool_call_output")
TEXTS = ("text", "stdout", "stderr", "output", "content")
HOSTED_ARGUMENTS = ("action", "operation")
"""Where the arguments of a hosted tool's call stand (`local_shell_call`, `shell_call`, `apply_patch_call`)."""


class _Fields(msgspec.Struct, gc=False):
    pass


class Item(_Fields):
    """One item of any type. What differs by type is read when the type is known."""

    type: str | None = None
    role: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    arguments: Any = None
    input: Any = None
    output: msgspec.Raw = msgspec.Raw()
    action: msgspec.Raw = msgspec.Raw()
    operation: msgspec.Raw = msgspec.Raw()

    @property
    def kind(self) -> str:
        """The type, also of an item that has none; "" when nothing tells it."""
        if self.type:
            return self.type
        if self.role:
            return "message"
        return "item_reference" if self.id else ""


class _Part(_Fields):
    type: str | None = None
    text: Any = None
    refusal: Any = None
    image_url: Any = None
    file_id: Any = None


_ITEM = msgspec.json.Decoder(Item)
_PARTS = msgspec.json.Decoder(str | list[_Part] | None)
_ANYTHING = msgspec.json.Decoder()


def read_item(raw: msgspec.Raw, at: Path) -> Item:
    """Raise a Flaw for what is no item."""
    item = decode(_ITEM, raw, at)
    if not item.kind:
        raise Flaw("missing_required_parameter", (*at, "type"))
    return item


def read_messages(items: Iterable[tuple[Item, Path]]) -> Iterator[Message]:
    """All items to messages. Raise a Flaw, naming the field, for one that makes no sense."""
    said = _Said()
    for item, at in items:
        message = None if _is_assistants(item) else _told(item, at)
        if message is None:
            said.add(item, at)
            continue
        yield from said.take()
        yield message
    yield from said.take()


class _Said:
    """The assistant's message that is being put together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._spoke = False

    def add(self, item: Item, at: Path) -> None:
        if item.kind == "message":
            self._spoke = True
            self._texts.append(_content(item.content, (*at, "content"))[0])
        elif item.kind in CALLS:
            self._calls.append(_call(item, CALLS[item.kind], at))
        elif item.kind.endswith("_call") and item.call_id:
            self._calls.append(ToolCall(item.call_id, item.kind.removesuffix("_call"), _hosted_arguments(item)))
        elif item.kind != "reasoning":
            self._texts.append(_whatever_text(item, at))

    def take(self) -> Iterator[Message]:
        """The message, if anything was said; the next one begins."""
        text = "\n".join(text for text in self._texts if text)
        if text or self._calls or self._spoke:
            yield Message("assistant", text, tuple(self._calls))
        self._texts, self._calls, self._spoke = [], [], False


def _is_assistants(item: Item) -> bool:
    return item.role == "assistant" if item.kind == "message" else not item.kind.endswith("_output")


def _told(item: Item, at: Path) -> Message | None:
    """The message of somebody else than the assistant; None for what goes into the assistant's."""
    if item.kind == "message":
        return _spoken(item, at)
    if item.kind not in RESULTS:
        call_id = item.call_id or item.id
        return Message("tool", _whatever_text(item, at), tool_call_id=call_id) if call_id else None
    if not len(item.output):
        raise Flaw("missing_required_parameter", (*at, "output"))
    text, images = _content(item.output, (*at, "output"))
    return Message("tool", text, tool_call_id=text_at(item.call_id, (*at, "call_id")), images=images)


def _spoken(item: Item, at: Path) -> Message:
    text, images = _content(item.content, (*at, "content"))
    match item.role:
        case "user":
            return Message("user", text, images=images)
        case "system" | "developer":
            return Message("system", text, images=images)
        case None:
            raise Flaw("missing_required_parameter", (*at, "role"))
        case _:
            raise Flaw("invalid_value", (*at, "role"), reason=f"Supported are: {', '.join(ROLES)}.")


def _call(item: Item, field: str, at: Path) -> ToolCall:
    """The name is what the model knows the tool by; arguments that are an object instead of its text are accepted."""
    arguments = getattr(item, field)
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    name = namespaced(item.namespace or "", text_at(item.name, (*at, "name")))
    return ToolCall(text_at(item.call_id, (*at, "call_id")), name, arguments)


def _content(raw: msgspec.Raw, at: Path) -> tuple[str, tuple[str, ...]]:
    """The text, and the images that it stands for."""
    content = decode(_PARTS, raw, at) if len(raw) else None
    if not isinstance(content, list):
        return content or "", ()
    texts, images = [], []
    for index, part in enumerate(content):
        text = _part(part, (*at, index))
        if text == "[image]" and part.type in PLACEHOLDERS and (url := _image(part, (*at, index))):
            images.append(url)
        if text:
            texts.append(text)
    return "\n".join(texts), tuple(images)


def _part(part: _Part, at: Path) -> str:
    match part.type:
        case "input_text" | "output_text" | "text":
            return text_at(part.text, (*at, "text"))
        case "refusal":
            return text_at(part.refusal, (*at, "refusal"))
        case None:
            raise Flaw("missing_required_parameter", (*at, "type"))
        case known if known in PLACEHOLDERS:
            return PLACEHOLDERS[known]
        case _:
            return part.text if isinstance(part.text, str) else ""


def _image(part: _Part, at: Path) -> str:
    """The URL. The nested form of Chat Completions is accepted; files cannot be, for there are none here."""
    url = part.image_url
    if isinstance(url, dict):
        url = url.get("url")
    if url is None and part.file_id is not None:
        reason = "There are no uploaded files here: send `image_url` with a data URL."
        raise Flaw("unsupported_parameter", (*at, "file_id"), reason=reason)
    return text_at(url, (*at, "image_url"))


def _hosted_arguments(item: Item) -> str:
    for name in HOSTED_ARGUMENTS:
        if raw := bytes(getattr(item, name)):
            return raw.decode()
    return item.arguments if isinstance(item.arguments, str) else ""


def _whatever_text(item: Item, at: Path) -> str:
    """The text in the output or content of an item that is not known here."""
    for name in ("output", "content"):
        if len(raw := getattr(item, name)):
            return "\n".join(text for text in _texts_in(decode(_ANYTHING, raw, (*at, name))) if text)
    return ""


def _texts_in(value: Any, depth: int = 4) -> Iterator[str]:
    """Texts where such items have them: `[{"stdout": …}]`, `[{"type": "text", "text": …}]`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)) and depth:
        inner = value if isinstance(value, list) else [value.get(name) for name in TEXTS]
        for each in inner:
            yield from _texts_in(each, depth - 1)


def message_item(text: str) -> msgspec.Raw:
    """An input that is a string, as the item it stands for."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return msgspec.Raw(msgspec.json.encode(item))


def references(items: Sequence[Item]) -> list[str]:
    """The ids that items refer to instead of holding what they are."""
    return [item.id or "" for item in items if item.kind == "item_reference"]
