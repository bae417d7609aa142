"""What is kept of a response, and what is told of it later: the object, its input items, its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.chat.errors import InvalidRequest
from bridge.wire.responses_items import text_part

LIMIT, MOST = 20, 100


class Kept(msgspec.Struct, frozen=True):
    """A response: its object, and all items that the model was told before it, those of earlier responses included."""

    response: msgspec.Raw
    input: list[msgspec.Raw]

    def output(self) -> list[msgspec.Raw]:
        """The items that were said."""
        return _OUTPUT.decode(self.response).output

    def find(self, response_id: str, item_id: str) -> msgspec.Raw | None:
        """The item of this id, said or told; also by the id that the list of input items gave it."""
        for raw in (*self.output(), *self.input):
            if _IDS.decode(raw).id == item_id:
                return raw
        for index, raw in enumerate(self.input):
            if _listed(raw, response_id, index)["id"] == item_id:
                return raw
        return None


class _Output(msgspec.Struct):
    output: list[msgspec.Raw]


class _Ids(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None


_OUTPUT = msgspec.json.Decoder(_Output)
_KEPT = msgspec.json.Decoder(Kept)
_IDS = msgspec.json.Decoder(_Ids)
_TEXT = msgspec.json.Decoder(str | None)
_ITEM = msgspec.json.Decoder(dict[str, msgspec.Raw])  # what else is in an item is passed on as it came


def pack(response: bytes, items: Sequence[msgspec.Raw]) -> bytes:
    """A record to keep."""
    return msgspec.json.encode(Kept(msgspec.Raw(response), list(items)))


def size(response: bytes, items: Sequence[msgspec.Raw]) -> int:
    """Bytes of the record, nearly: what is too large to keep need not be packed."""
    return len(response) + sum(map(len, items))


def unpack(record: bytes) -> Kept | None:
    """A record that was kept; None for one that cannot be read any more, as another version may have written it."""
    try:
        return _KEPT.decode(record)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def deleted(response_id: str) -> bytes:
    """The answer to a DELETE."""
    return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})


def counted(tokens: int) -> bytes:
    """The answer to `input_tokens`."""
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


def input_items(kept: Kept, response_id: str, query: Mapping[str, str]) -> bytes:
    """One page of what the model was told, the latest first unless `order=asc`. Raise InvalidRequest."""
    items = [_listed(raw, response_id, index) for index, raw in enumerate(kept.input)]
    if query.get("order", "desc") != "asc":
        items.reverse()
    if after := query.get("after"):
        places = [index for index, item in enumerate(items) if item["id"] == after]
        items = items[places[0] + 1 :] if places else []
    limit = _limit(query.get("limit"))
    page = items[:limit]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


def _limit(given: str | None) -> int:
    if given is None:
        return LIMIT
    if not given.isdecimal() or len(given) > len(str(MOST)) or not 1 <= int(given) <= MOST:
        raise InvalidRequest(f"limit must be a number from 1 to {MOST}.", param=("limit",), code="invalid_value")
    return int(given)


def _listed(raw: msgspec.Raw, response_id: str, index: int) -> dict[str, Any]:
    """The item with all that lists promise and requests may omit: type, status, id, texts as parts."""
    item: dict[str, Any] = {**_ITEM.decode(raw)}
    told = _IDS.decode(raw)
    kind = item["type"] = told.type or "message"
    prefix = "msg" if kind == "message" else "item"
    item["id"] = told.id or f"{prefix}_{response_id.removeprefix('resp_')}i{index:x}"
    item.setdefault("status", "completed")
    content = bytes(item.get("content", b""))
    if kind == "message" and not content.startswith(b"["):
        text = (_TEXT.decode(content) if content else None) or ""
        item["content"] = [text_part(text) if told.role == "assistant" else {"type": "input_text", "text": text}]
    return item
