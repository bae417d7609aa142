"""
Input items of the Responses API to messages.

Whatever the assistant wrote and called between two messages of others is one message, as it was one reply: text, calls
and reasoning come as items of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from bridge.chat.request import Message, ToolCall
from bridge.wire.attached import Attached
from bridge.wire.bodies import FieldError, Path, decode
from bridge.wire.bounds import id_at, shown
from bridge.wire.openai.tools import namespaced
from bridge.wire.parts import IMAGES, Content, Part, read_content, read_part, read_result
from bridge.wire.responses.output_items import unsealed

ROLES = ("user", "assistant", "system", "developer")
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that call a tool of the client, and where their arguments stand."""
COMPACTIONS = ("compaction", "compaction_summary")
SILENT = ("reasoning", "additional_tools")
SUPPORTED = ("message", "item_reference", *COMPACTIONS, *SILENT)
SUMMARY = "Summary of the conversation so far:"
RESULTS = ("function_call_output", "custom_tool_call_output")
TEXTS = ("text", "stdout", "stderr", "output", "content")
HOSTED_ARGUMENTS = ("action", "operation")
"""Where the arguments of a hosted tool's call stand (`local_shell_call`, `shell_call`, `apply_patch_call`)."""


class _Fields(msgspec.Struct, gc=False):
    pass


class Item(_Fields):
    """One item of any type. What differs by type is read later."""

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
    encrypted_content: msgspec.Raw = msgspec.Raw()
    action: msgspec.Raw = msgspec.Raw()
    operation: msgspec.Raw = msgspec.Raw()

    @property
    def kind(self) -> str:
        """The type, also of an item that has none; "" when nothing shows it."""
        if self.type:
            return self.type
        if self.role:
            return "message"
        return "item_reference" if self.id else ""


_ITEM = msgspec.json.Decoder(Item)
_CONTENT: msgspec.json.Decoder[Content] = msgspec.json.Decoder(Content)
_PART = msgspec.json.Decoder(Part)
_ANYTHING = msgspec.json.Decoder()


def read_item(raw: msgspec.Raw, at: Path) -> Item:
    """Raise a FieldError for what is no item."""
    item = decode(_ITEM, raw, at)
    if not item.kind:
        raise FieldError("missing_required_parameter", (*at, "type"))
    return item


def read_messages(items: Iterable[tuple[Item, Path]]) -> list[Message]:
    """All items to messages. Raise a FieldError, naming the field, for one that makes no sense."""
    assistant, messages = _AssistantMessage(), list[Message]()
    for item, at in items:
        kind = item.kind
        # None is also the answer for items that turn out to belong to the assistant's message.
        message = None if _is_assistants(item, kind) else _other_message(item, kind, at)
        if message is None:
            assistant.add(item, kind, at)
            continue
        messages += assistant.finish()
        messages.append(message)
    messages += assistant.finish()
    if messages and assistant.dropped:
        # A last piece that has no text makes no message; its warning goes to the one before it.
        messages[-1] = msgspec.structs.replace(messages[-1], dropped=(*messages[-1].dropped, *assistant.dropped))
    return messages


class _AssistantMessage:
    """The assistant's message that is being put together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._attached = Attached()
        self._has_message = False

    def add(self, item: Item, kind: str, at: Path) -> None:
        if kind == "message":
            self._has_message = True
            inside = (*at, "content")
            self._texts.append(read_content(_content(item.content, inside), inside, self._attached))
        elif kind in CALLS:
            self._calls.append(_call(item, CALLS[kind], at))
        elif kind.endswith("_call") and item.call_id:
            # A call of a tool of the vendor: its type is the only name it has.
            self._calls.append(ToolCall(item.call_id, kind.removesuffix("_call"), _hosted_arguments(item)))
        elif kind in COMPACTIONS:
            self._attached.drop("compaction of another service")
        elif kind not in SILENT:
            text = _whatever_text(item, at)
            self._texts.append(text)
            if not text and not _is_supported(kind):
                self._attached.drop("item of type", shown(kind))

    def finish(self) -> Iterator[Message]:
        """The message, if there is anything in it; the next one begins."""
        if not (self._texts or self._calls or self._has_message):
            return
        text = "\n".join([text for text in self._texts if text])
        if not (text or self._calls or self._has_message):
            return  # what was dropped is named with a message that is there
        yield Message("assistant", text, tuple(self._calls), images=tuple(self._attached.images), dropped=self.dropped)
        self._texts, self._calls, self._has_message, self._attached = [], [], False, Attached()

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the message holds but cannot pass on, as words for a warning."""
        return tuple(self._attached.dropped)


def _is_assistants(item: Item, kind: str) -> bool:
    if kind == "message":
        return item.role == "assistant"
    return kind not in COMPACTIONS and not kind.endswith("_output")


def _other_message(item: Item, kind: str, at: Path) -> Message | None:
    """The message of somebody else than the assistant; None for what goes into the assistant's."""
    if kind == "message":
        return _plain_message(item, at)
    if kind in COMPACTIONS:
        return _compacted(item)
    attached = Attached()
    if kind not in RESULTS:
        if not (item.call_id or item.id):
            return None
        text, call_id = _hosted_result(item, at, attached), id_at(item.call_id or item.id, (*at, "call_id"))
    else:
        if not len(item.output):
            raise FieldError("missing_required_parameter", (*at, "output"))
        inside = (*at, "output")
        text = read_result(_content(item.output, inside), inside, attached)
        call_id = id_at(item.call_id, (*at, "call_id"))
    return Message("tool", text, (), call_id, images=tuple(attached.images), dropped=tuple(attached.dropped))


def _compacted(item: Item) -> Message | None:
    """The conversation before, as it was summed up here; None for what another service sealed."""
    summary = unsealed(bytes(item.encrypted_content))
    # The sealed text of another service cannot be opened by anyone here.
    return None if summary is None else Message("user", f"{SUMMARY}\n{summary}")


def _hosted_result(item: Item, at: Path, attached: Attached) -> str:
    """The text in the output of a tool of the vendor; a screenshot is a picture."""
    if bytes(item.output).startswith(b"{"):
        inside = (*at, "output")
        part = decode(_PART, item.output, inside)
        if part.type in IMAGES:
            return read_part(part, inside, attached)
    return _whatever_text(item, at)


def _plain_message(item: Item, at: Path) -> Message:
    inside, attached = (*at, "content"), Attached()
    text = read_content(_content(item.content, inside), inside, attached)
    images, dropped = tuple(attached.images), tuple(attached.dropped)
    match item.role:
        case "user":
            return Message("user", text, images=images, dropped=dropped)
        case "system" | "developer":
            # `developer` is OpenAI's newer word for `system`.
            return Message("system", text, images=images, dropped=dropped)
        case None:
            raise FieldError("missing_required_parameter", (*at, "role"))
        case _:
            raise FieldError("invalid_value", (*at, "role"), reason=f"Supported are: {', '.join(ROLES)}.")


def _call(item: Item, field: str, at: Path) -> ToolCall:
    """The name is what the model knows the tool by; arguments that are an object instead of its text are accepted."""
    arguments = getattr(item, field)
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        # Some clients send the parsed object back, not the string they received.
        arguments = msgspec.json.encode(arguments).decode()
    name = namespaced(item.namespace or "", id_at(item.name, (*at, "name")))
    return ToolCall(id_at(item.call_id, (*at, "call_id")), name, arguments)


def _content(raw: msgspec.Raw, at: Path) -> Content:
    return decode(_CONTENT, raw, at) if len(raw) else None


def _hosted_arguments(item: Item) -> str:
    for name in HOSTED_ARGUMENTS:
        if raw := bytes(getattr(item, name)):
            return raw.decode("utf-8", "replace")
    return item.arguments if isinstance(item.arguments, str) else ""


def _whatever_text(item: Item, at: Path) -> str:
    """The text in the output or content of an item of another type."""
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


def no_messages(items: Sequence[tuple[Item, Path]]) -> FieldError:
    """The error of an input without a word for the model: it names the first item of an unsupported type."""
    for item, at in items:
        if not _is_supported(item.kind):
            reason = f"There is no item of type '{shown(item.kind)}'. Send messages, calls and their outputs."
            return FieldError("invalid_value", (*at, "type"), reason=reason)
    reason = "None of its items says anything to the model: send a message." if items else "Send at least one item."
    return FieldError("invalid_value", ("input",), reason=reason)


def _is_supported(kind: str) -> bool:
    return kind in SUPPORTED or kind.endswith(("_call", "_output"))
