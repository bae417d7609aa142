"""References to items of stored responses, resolved within a bound: one small reference may mean megabytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bridge.chat.errors import InvalidRequest
from bridge.wire.bodies import FieldError, Path, text_at
from bridge.wire.bounds import shown
from bridge.wire.responses.input_items import Item, read_item
from bridge.wire.responses.output_items import response_of_item
from bridge.wire.responses.stored import StoredRecord

MOST_REFERRED = 512
"""Stored responses that one request may refer to."""

MOST_BYTES = 32 << 20
"""Of the items that references stand for: as much as a body may have."""

Read = tuple[msgspec.Raw, Item, Path]
"""An item as it was sent, as it was read, and where it stands."""


def resolved(items: Sequence[Read], records: Mapping[str, StoredRecord]) -> list[Read]:
    """The items, with those that were referred to in their places. Raise InvalidRequest, or a FieldError."""
    found: list[Read] = []
    items_of: dict[str, dict[str, msgspec.Raw]] = {}
    left = MOST_BYTES
    for each in items:
        if each[1].kind != "item_reference":
            found.append(each)
            continue
        raw, at = _referred(each, records, items_of), each[2]
        left -= len(raw)
        if left < 0:
            raise FieldError(
                "invalid_value", at, reason=f"The items that are referred to exceed {MOST_BYTES >> 20} MiB."
            )
        found.append((raw, read_item(raw, at), at))
    return found


def _referred(
    each: Read, records: Mapping[str, StoredRecord], items_of: dict[str, dict[str, msgspec.Raw]]
) -> msgspec.Raw:
    _, item, at = each
    wanted = text_at(item.id, (*at, "id"))
    holder = response_of_item(wanted)
    if holder not in items_of and holder in records:
        items_of[holder] = records[holder].by_id(holder)
    raw = items_of.get(holder, {}).get(wanted)
    if raw is None:
        raise InvalidRequest(f"Item with id '{shown(wanted)}' not found.", param=(*at, "id"), code="invalid_value")
    return raw
