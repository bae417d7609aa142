"""Sums of a finished day by what pages ask most, made of its columns: a tenth of the rows to add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from accounts.ledger.day_column import Column, compressed, decompressed, narrow

END: Final = "end"
"""All that the counts of `totals.counts_of` are made of: status, reason, source of tokens, and whether reused."""
QUARTER: Final = "quarter"
ROWS: Final = "rows"
BY_HOUR, BY_FIRST_TOKEN, BY_QUEUE, BY_CALLER, BY_KIND = (
    "by_hour", "by_first_token", "by_queue", "by_caller", "by_kind",
)  # fmt: skip
SUMS: Final[Mapping[str, tuple[str, ...]]] = {
    BY_HOUR: (QUARTER, END),
    BY_FIRST_TOKEN: (QUARTER, END, "first_token"),
    BY_QUEUE: (QUARTER, END, "queue"),
    BY_CALLER: ("team_id", "api_key_id", END),
    BY_KIND: ("lingma_model", "agent", END),
}
"""Names of sums, and the columns that rows must have in common to be one of them.

With END, so that filters by status, reason and source need no rows. A quarter is the first of its hour here.
"""
ADDED: Final = ("count", "prompt_tokens", "completion_tokens", "busy_ms")
COUNTED_ONLY: Final = frozenset({BY_FIRST_TOKEN, BY_QUEUE})
"""Of these no more is kept than how many ROWS they are of."""

Columns = dict[str, Column]
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Columns).decode


def packed(sums: Columns) -> bytes:
    return compressed(_encode(sums))


def unpacked(data: bytes | memoryview) -> Columns:
    return _decode(decompressed(data))


def sums_of(columns: Mapping[str, Column]) -> dict[str, Columns]:
    """All sums of a day by their names."""
    numbers = {name: columns[name].read() for name in {*ADDED, *(each for by in SUMS.values() for each in by)}}
    numbers[QUARTER] = [quarter - quarter % 4 for quarter in numbers[QUARTER]]
    ones = [1] * len(numbers[QUARTER])
    found = {}
    for name, by in SUMS.items():
        added = () if name in COUNTED_ONLY else ADDED
        groups = _added_up([numbers[each] for each in by], [ones, *(numbers[each] for each in added)])
        parts = [*by, ROWS, *added]
        read = list(zip(*[(*group, *groups[group]) for group in sorted(groups)], strict=True)) or [()] * len(parts)
        found[name] = {part: narrow(values, _like(columns, part)) for part, values in zip(parts, read, strict=True)}
    return found


def _like(columns: Mapping[str, Column], name: str) -> Column | None:
    """Numbers that are places of values are places of the same ones here."""
    return columns[name] if name not in (ROWS, *ADDED) else None


def _added_up(by: Sequence[Sequence[int]], added: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for group, values in zip(zip(*by, strict=True), zip(*added, strict=True), strict=True):
        sums = groups.get(group)
        groups[group] = list(values) if sums is None else [a + b for a, b in zip(sums, values, strict=True)]
    return groups
