"""Output items of the Responses API: messages, reasoning and calls, open or done."""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

import msgspec

from bridge.chat.events import ToolCallStarted
from bridge.chat.fold import Call

Status = Literal["in_progress", "completed", "incomplete"]
Item = dict[str, Any]

SEAL = b"lgw.compaction.1\n"

_TEXT = msgspec.json.Decoder(str)
_RESPONSE_ID = re.compile(r"resp_[0-9a-f]{32}")


def response_id(request_id: str) -> str:
    """The id of the response to this request."""
    return f"resp_{request_id}"


def is_response_id(text: str) -> bool:
    """Whether it can be an id of ours: nothing else is looked for."""
    return _RESPONSE_ID.fullmatch(text) is not None


def item_id(prefix: str, request_id: str, index: int) -> str:
    """An item's id: it names the response that holds the item, so that a reference to it can be resolved."""
    # 32 hex characters of the request and the index behind them: `response_of_item` cuts them apart again.
    return f"{prefix}_{request_id}{index:x}"


def response_of_item(id_: str) -> str:
    """The id of the response that an item of ours belongs to."""
    return response_id(id_.partition("_")[2][:32])


def text_part(text: str) -> Item:
    """The one part of an output message; all its keys are required by the SDKs."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def summary_part(text: str) -> Item:
    return {"type": "summary_text", "text": text}


def message(id_: str, status: Status, *texts: str) -> Item:
    """A message; without a text while nothing of it has been sent."""
    content = [text_part(text) for text in texts]
    return {"id": id_, "type": "message", "status": status, "role": "assistant", "content": content}


def reasoning(id_: str, status: Status, *texts: str, sealed: bool = False) -> Item:
    """Reasoning. `sealed`: the client wants something opaque to send back, though nobody needs it here."""
    summary = [summary_part(text) for text in texts]
    item = {"id": id_, "type": "reasoning", "status": status, "summary": summary}
    if sealed and texts:
        # Just the id: the client only has to send something back, and nothing is secret in it.
        item["encrypted_content"] = base64.b64encode(id_.encode()).decode()
    return item


def compaction(id_: str, summary: str) -> Item:
    """The conversation so far, summed up; it is sealed, so that clients send it back as it is."""
    # The seal is a mark, not a secret: it marks a compaction that was made here.
    content = base64.b64encode(SEAL + summary.encode("utf-8", "replace")).decode()
    return {"id": id_, "type": "compaction", "encrypted_content": content}


def unsealed(json: bytes) -> str | None:
    """The summary in a compaction's `encrypted_content`, given as JSON; None if it was not made here."""
    try:
        # Decoded as JSON first: some clients write the `+` and `/` of base64 as escapes (.NET, PHP, Java).
        content = base64.b64decode(_TEXT.decode(json), validate=True)
        return content.removeprefix(SEAL).decode() if content.startswith(SEAL) else None
    except (msgspec.MsgspecError, ValueError):
        return None


def call_prefix(made: ToolCallStarted | Call) -> str:
    """How the id of a call's item begins."""
    return "ctc" if made.custom else "fc"


def call(id_: str, status: Status, made: ToolCallStarted | Call, arguments: str) -> Item:
    """A call of a function or of a custom tool. Codex runs a tool of a namespace only if the namespace is there."""
    kind, field = ("custom_tool_call", "input") if made.custom else ("function_call", "arguments")
    item = {"id": id_, "type": kind, "status": status, "call_id": made.id, "name": made.name, field: arguments}
    if made.namespace:
        item["namespace"] = made.namespace
    return item
