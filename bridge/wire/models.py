"""The models endpoints: one record that satisfies the clients of both protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.chat.errors import InvalidRequest

MAX_LIMIT = 1000


class Abilities(msgspec.Struct, frozen=True):
    """What a model can do, as far as the service says it. Tools are the gateway's work and always there."""

    vision: bool = False
    reasoning: bool = False


class ModelRecord(msgspec.Struct, frozen=True):
    """A model as clients see it. `created` is Unix seconds; None is unknown."""

    id: str
    display_name: str
    created: int
    max_input_tokens: int | None = None
    abilities: Abilities | None = None


def one(record: ModelRecord) -> bytes:
    return msgspec.json.encode(_shape(record))


def listing(records: Sequence[ModelRecord], query: Mapping[str, str] | None = None) -> bytes:
    """
    The body of `GET /v1/models`: every record unless the query has `limit`, `after_id` or `before_id`.

    Raise InvalidRequest for a query that makes no sense. OpenAI's list is never paged: pass no query for it.
    """
    # Filters that no record meets raise as well: an empty page would look like the end of the list.
    page, has_more = _page(records, query or {})
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [_shape(record) for record in page],
            "has_more": has_more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def _page(records: Sequence[ModelRecord], query: Mapping[str, str]) -> tuple[Sequence[ModelRecord], bool]:
    limit = _limit(query.get("limit")) or len(records)
    if before := query.get("before_id"):
        # `before_id` takes precedence, and the page is the one right before it, still in the list's own order.
        ahead = records[: _position(records, before, "before_id")]
        return ahead[max(0, len(ahead) - limit) :], len(ahead) > limit
    after = query.get("after_id")
    rest = records[_position(records, after, "after_id") + 1 :] if after else records
    # `has_more` is about what follows in the direction of paging, as in Anthropic's list (FORMATS 6.5).
    return rest[:limit], len(rest) > limit


def _limit(limit: str | None) -> int | None:
    if not limit:
        return None
    if not (limit.isdecimal() and len(limit) <= 4 and 1 <= int(limit) <= MAX_LIMIT):
        raise InvalidRequest(f"limit: Input should be an integer from 1 to {MAX_LIMIT}", param=("limit",))
    return int(limit)


def _position(records: Sequence[ModelRecord], model_id: str, param: str) -> int:
    for position, record in enumerate(records):
        if record.id == model_id:
            return position
    raise InvalidRequest(f"{param}: There is no model of this id", param=(param,))


def _shape(record: ModelRecord) -> dict[str, Any]:
    return {
        # Both vendors' fields in one record, as their SDKs ignore what they do not know (FORMATS 4.3).
        "id": record.id,
        "object": "model",
        "created": record.created,
        "owned_by": "lingma",
        "type": "model",
        "display_name": record.display_name,
        "created_at": _rfc3339(record.created),
        "lifecycle": "active",
        "max_input_tokens": record.max_input_tokens,
        "max_tokens": None,
        "capabilities": _capabilities(record.abilities) if record.abilities else None,
    }


def _capabilities(abilities: Abilities) -> dict[str, Any]:
    """Anthropic's object, which has every key always (FORMATS 6.5), and `tools`, which it has no word for."""
    yes, no = {"supported": True}, {"supported": False}
    # The service only says whether a model reasons, not how: all ways of asking for it have the same answer.
    thinks = yes if abilities.reasoning else no
    thinking = dict.fromkeys(("adaptive", "between_tools", "disabled", "enabled"), thinks)
    return {
        "batch": no,
        "citations": no,
        "code_execution": no,
        "context_management": no,
        "effort": no | dict.fromkeys(("low", "medium", "high", "max"), no),
        "image_input": yes if abilities.vision else no,
        "pdf_input": no,
        "server_tools": no | {"code_execution": no, "web_search": no},
        "structured_outputs": yes,
        "thinking": thinks | {"types": thinking},
        "tools": yes,
    }


def _rfc3339(seconds: int) -> str:
    # By hand, since rooms without a clock import no datetime. Days are counted from 0000-03-01, so that the leap day
    # is the last of its year; 146,097 days are 400 years, and months of 31 and 30 days repeat every 153.
    days, second = divmod(seconds, 86_400)
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += era * 400 + (month >= 10)
    month += -9 if month >= 10 else 3
    return f"{year:04}-{month:02}-{day + 1:02}T{second // 3_600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
