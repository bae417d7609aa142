"""What is stored of a response, and what is sent of it later: the object, its input items, its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from bridge.chat.errors import InvalidRequest
from bridge.wire.responses.output_items import text_part
from gateway_project.lib.json_errors import UNREADABLE

LIMIT, MOST = 20, 100


class Streamed(Protocol):
    """How a response was streamed: see the fields of `StoredRecord`."""

    deltas: list[list[int]]
    pauses: list[int]


class StoredRecord(msgspec.Struct, frozen=True):
    """A response: its object, and all items that the model was sent before it, those of earlier responses included."""

    response: msgspec.Raw
    input: list[msgspec.Raw]
    deltas: list[list[int]] | None = None
    """Of each item of the output, how many characters each of its deltas had; None if it was not streamed."""
    pauses: list[int] = []
    """Numbers of the events that only kept the stream alive."""

    def output(self) -> list[msgspec.Raw]:
        """The items of the reply, not decoded."""
        return _OUTPUT.decode(self.response).output

    def by_id(self, response_id: str) -> dict[str, msgspec.Raw]:
        """All items by their ids; those without one by what the list of input items calls them."""
        found: dict[str, msgspec.Raw] = {}
        for index, raw in enumerate(self.input):
            # Of two items with one id the first one counts.
            found.setdefault(_id_of(_IDS.decode(raw), response_id, index), raw)
        for raw in self.output():
            if id_ := _IDS.decode(raw).id:
                found[id_] = raw
        return found


class _Output(msgspec.Struct):
    output: list[msgspec.Raw]


class _Ids(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None


_OUTPUT = msgspec.json.Decoder(_Output)
_RECORD = msgspec.json.Decoder(StoredRecord)
_IDS = msgspec.json.Decoder(_Ids)
_TEXT = msgspec.json.Decoder(str | None)
_ITEM = msgspec.json.Decoder(dict[str, msgspec.Raw])  # what else is in an item is passed on as it came


def pack(response: bytes, items: Sequence[msgspec.Raw], streamed: Streamed | None = None) -> bytes:
    deltas, pauses = (streamed.deltas, streamed.pauses) if streamed else (None, [])
    return msgspec.json.encode(StoredRecord(msgspec.Raw(response), list(items), deltas, pauses))


def size(response: bytes, items: Sequence[msgspec.Raw]) -> int:
    """Bytes of the record, nearly: what is too large to keep need not be packed."""
    return len(response) + sum(map(len, items))


def unpack(record: bytes) -> StoredRecord | None:
    """A record that was kept; None for one that cannot be read any more, as another version may have written it."""
    try:
        return _RECORD.decode(record)
    except UNREADABLE:
        return None


def deleted(response_id: str) -> bytes:
    return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})


def token_count(tokens: int) -> bytes:
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})


def input_items(record: StoredRecord, response_id: str, query: Mapping[str, str]) -> bytes:
    """One page of what the model was sent, the latest first unless `order=asc`. Raise InvalidRequest."""
    places = list(range(len(record.input)))
    if query.get("order", "desc") != "asc":
        places.reverse()
    if after := query.get("after"):
        ids = [_id_of(_IDS.decode(record.input[place]), response_id, place) for place in places]
        # An unknown id gives an empty page, not an error.
        places = places[ids.index(after) + 1 :] if after in ids else []
    limit = _limit(query.get("limit"))
    page = [listed(record.input[place], response_id, place) for place in places[:limit]]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(places) > limit,
        }
    )


def _limit(value: str | None) -> int:
    if value is None:
        return LIMIT
    if not value.isdecimal() or len(value) > len(str(MOST)) or not 1 <= int(value) <= MOST:
        raise InvalidRequest(f"limit must be a number from 1 to {MOST}.", param=("limit",), code="invalid_value")
    return int(value)


def _id_of(ids: _Ids, response_id: str, index: int) -> str:
    """The id of an input item, or the one that it gets here."""
    prefix = "item" if ids.type not in (None, "message") else "msg"
    return ids.id or f"{prefix}_{response_id.removeprefix('resp_')}i{index:x}"


def listed(raw: msgspec.Raw, response_id: str, index: int) -> dict[str, Any]:
    """The item with all that lists promise and requests may omit: type, status, id, texts as parts."""
    item: dict[str, Any] = {**_ITEM.decode(raw)}
    ids = _IDS.decode(raw)
    kind = item["type"] = ids.type or "message"
    item["id"] = _id_of(ids, response_id, index)
    # What was sent by a client is over by definition; SDKs send the status of items that have none as null.
    if bytes(item.get("status", b"null")) == b"null":
        item["status"] = "completed"
    content = bytes(item.get("content", b""))
    if kind == "message" and not content.startswith(b"["):
        text = (_TEXT.decode(content) if content else None) or ""
        item["content"] = [text_part(text) if ids.role == "assistant" else {"type": "input_text", "text": text}]
    return item
