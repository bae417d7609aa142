"""What a line on its way says: a row, that a turn begins, or what is known late. As the columns can hold it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from accounts.ledger.row import AMENDMENT, OPENING, Amendment, Opening, UsageRow
from accounts.models import OpenTurn, Usage

MOST: Final = 2**31 - 1  # what the database's integers hold
WIDTHS: Final = {field.name: getattr(field, "max_length", None) for field in Usage._meta.get_fields()}
LONGEST_RUN: Final = OpenTurn._meta.get_field("run").max_length

_row = msgspec.json.Decoder(UsageRow).decode
_opening = msgspec.json.Decoder(Opening).decode
_amendment = msgspec.json.Decoder(Amendment).decode


class Batch(NamedTuple):
    """Lines read, by request id; `rejected` are those that cannot be."""

    rows: dict[str, UsageRow]
    openings: dict[str, Opening]
    amendments: dict[str, Amendment]
    rejected: list[bytes]


def read(lines: list[bytes]) -> Batch:
    rows, openings, amendments, rejected = [], {}, {}, []
    for line in lines:
        try:
            if line.startswith(OPENING):
                opening = _cleaned_opening(_opening(line))
                openings[opening.row.request_id] = opening
            elif line.startswith(AMENDMENT):
                amendment = _cleaned_amendment(_amendment(line))
                amendments[amendment.amends] = amendment
            else:
                rows.append(_cleaned(_row(line), Usage.Status.values))
        except (msgspec.DecodeError, ValueError, OverflowError):
            rejected.append(line)
    # The same refusal may wait with several counts: the highest is last, and wins in the dict.
    rows.sort(key=lambda row: row.count)
    return Batch({row.request_id: row for row in rows}, openings, amendments, rejected)


def _cleaned_opening(opening: Opening) -> Opening:
    opening.opened_by = opening.opened_by.replace("\0", "")[:LONGEST_RUN]
    _cleaned(opening.row, ("open",))
    return opening


def _cleaned_amendment(amendment: Amendment) -> Amendment:
    datetime.fromtimestamp(amendment.started_at, UTC)
    amendment.amends = amendment.amends.replace("\0", "")[: WIDTHS["request_id"]]
    amendment.prompt_tokens = min(max(amendment.prompt_tokens, 0), MOST)
    amendment.completion_tokens = min(max(amendment.completion_tokens, 0), MOST)
    return amendment


def _cleaned(row: UsageRow, states: tuple[str, ...] | list[str]) -> UsageRow:
    """The row as the columns can hold it. Raise ValueError when no cutting helps."""
    # Checked here and not by the database: its constraint would refuse the whole batch.
    if row.status not in states:
        raise ValueError(row.status)
    datetime.fromtimestamp(row.started_at, UTC)  # raises when it is no time
    for name in UsageRow.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, str):
            # PostgreSQL takes no NUL in text, and refuses what is too long; a shorter text is better than no row.
            setattr(row, name, value.replace("\0", "")[: WIDTHS[name]])
        # bool is an int to Python, and must stay a bool.
        elif isinstance(value, int) and not isinstance(value, bool):
            setattr(row, name, min(max(value, 0), MOST))
    return row
