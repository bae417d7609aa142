"""What a line on its way says: a row, that a turn begins, or what is known late. As the columns can hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, NamedTuple, cast, get_type_hints

import msgspec
from django.db.models import PositiveBigIntegerField

from accounts.ledger.row import AMENDMENT, OPENED, OPENING, Amendment, Opening, UsageRow
from accounts.models import OpenTurn, Usage

WIDTHS: Final = {field.name: getattr(field, "max_length", None) for field in Usage._meta.get_fields()}
MOST: Final = {
    each.attname: 2**63 - 1 if isinstance(each, PositiveBigIntegerField) else 2**31 - 1
    for each in Usage._meta.concrete_fields
}
"""What the database's integers hold. A budget of tokens may be larger than one of 32 bits."""
LONGEST_RUN: Final = OpenTurn._meta.get_field("run").max_length

LAST: Final = 2.0**32  # from 0 to here every number surely is a time, and so are its hour and the one after it
NUL: Final = b"\\u0000"
AT_ONCE: Final = 100
"""Rows that are read in one go. Where one needs cleaning, so many are read twice."""
UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)


def _within(name: str, kind: Any, states: tuple[str, ...]) -> Any:
    """The type of a column, no longer or larger than the database takes it."""
    # Each kind as narrow as its column: what the decoder lets pass, the database takes, so one row spoils no batch.
    if name == "status":
        return Literal[states]
    if kind is str:
        return Annotated[str, msgspec.Meta(max_length=WIDTHS[name])]
    if kind is float:
        return Annotated[float, msgspec.Meta(ge=0.0, le=LAST)]
    if kind is bool:
        return bool
    whole = Annotated[int, msgspec.Meta(ge=0, le=MOST[name])]
    return whole if kind is int else whole | None


def _clean(states: tuple[str, ...]) -> type[UsageRow]:
    """A row that needs no cleaning: checked while it is decoded, which costs a tenth of a look at each column."""
    hints = get_type_hints(UsageRow)
    fields = [
        (each.name, _within(each.name, hints[each.name], states), each.default)
        if each.default is not msgspec.NODEFAULT
        else (each.name, _within(each.name, hints[each.name], states))
        for each in msgspec.structs.fields(UsageRow)
    ]
    made = msgspec.defstruct("CleanRow", fields, bases=(UsageRow,), kw_only=True, omit_defaults=True)
    return cast("type[UsageRow]", made)


_CleanRow = _clean(tuple(Usage.Status.values))
_clean_row = msgspec.json.Decoder(_CleanRow).decode
_clean_rows: Final[Callable[[bytes], list[UsageRow]]] = msgspec.json.Decoder(list[_CleanRow]).decode  # type: ignore[valid-type]
_clean_opening = msgspec.json.Decoder(
    msgspec.defstruct("CleanOpening", [
        ("opened_by", Annotated[str, msgspec.Meta(max_length=LONGEST_RUN)]), ("row", _clean(("open",)))
    ], bases=(Opening,))
).decode  # fmt: skip
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
    """Rows, openings and amendments in lines of any order. Never raises: what cannot be read is `rejected`."""
    openings, amendments, rejected = {}, {}, []
    ends = []
    for line in lines:
        try:
            if line.startswith(OPENING):
                opening = read_opening(line)
                openings[opening.row.request_id] = opening
            elif line.startswith(AMENDMENT):
                amendment = _cleaned_amendment(_amendment(line))
                amendments[amendment.amends] = amendment
            else:
                ends.append(line)
        except UNREADABLE:
            rejected.append(line)
    rows = []
    for line, row in zip(ends, _rows(ends), strict=True):
        if row is None:
            rejected.append(line)
            continue
        rows.append(row)
        if line.startswith(OPENED):
            # The row itself: a copy of it would cost as much as to read it.
            openings[row.request_id] = Opening("", row)
    # The same refusal may wait with several counts: the highest is last, and wins in the dict. So does the row of the
    # process that had the turn over that of one which had handed it over.
    rows.sort(key=lambda row: (row.count, row.admitted))
    return Batch({row.request_id: row for row in rows}, openings, amendments, rejected)


def _rows(lines: list[bytes]) -> Iterator[UsageRow | None]:
    """The row of each line, None where it cannot be read. Many at once: each call takes half as long as its line."""
    for start in range(0, len(lines), AT_ONCE):
        some = lines[start : start + AT_ONCE]
        whole = b"[%b]" % b",\n".join(some)
        # What is none of ours may be half a row, or two in a line, and must stay that beside others.
        if NUL not in whole and whole.count(b"},\n{") == len(some) - 1:
            with suppress(*UNREADABLE):
                rows = _clean_rows(whole)
                if len(rows) == len(some):
                    yield from rows
                    continue
        yield from map(_row_if_readable, some)


def _row_if_readable(line: bytes) -> UsageRow | None:
    try:
        return read_row(line)
    except UNREADABLE:
        return None


def read_row(line: bytes) -> UsageRow:
    """The row as the columns can hold it. Raise msgspec.DecodeError or ValueError."""
    # The decoder has no check for NUL, so lines with one go the slow way at once.
    if NUL not in line:
        try:  # and not `suppress`, which takes half as long as the decoding
            return _clean_row(line)
        except msgspec.ValidationError:
            pass
    return _cleaned(_row(line), Usage.Status.values)


def read_opening(line: bytes) -> Opening:
    """The same of an opening."""
    if NUL not in line:
        try:
            return cast("Opening", _clean_opening(line))
        except msgspec.ValidationError:
            pass
    return _cleaned_opening(_opening(line))


def _cleaned_opening(opening: Opening) -> Opening:
    opening.opened_by = opening.opened_by.replace("\0", "")[:LONGEST_RUN]
    _cleaned(opening.row, ("open",))
    return opening


def _cleaned_amendment(amendment: Amendment) -> Amendment:
    _check_time(amendment.started_at)
    amendment.amends = amendment.amends.replace("\0", "")[: WIDTHS["request_id"]]
    amendment.prompt_tokens = min(max(amendment.prompt_tokens, 0), MOST["prompt_tokens"])
    amendment.completion_tokens = min(max(amendment.completion_tokens, 0), MOST["completion_tokens"])
    return amendment


def _check_time(at: float) -> None:
    """Raise ValueError."""
    if not 0 <= at <= LAST:
        raise ValueError(at)


def _cleaned(row: UsageRow, states: tuple[str, ...] | list[str]) -> UsageRow:
    """The row as the columns can hold it. Raise ValueError when no cutting helps."""
    # Checked here and not by the database: its constraint would refuse the whole batch.
    if row.status not in states:
        raise ValueError(row.status)
    _check_time(row.started_at)
    for name in UsageRow.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, str):
            # PostgreSQL takes no NUL in text, and refuses what is too long; a shorter text is better than no row.
            setattr(row, name, value.replace("\0", "")[: WIDTHS[name]])
        # bool is an int to Python, and must stay a bool.
        elif isinstance(value, int) and not isinstance(value, bool):
            setattr(row, name, min(max(value, 0), MOST[name]))
    return row
