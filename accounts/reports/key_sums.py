"""What a key was used for, by model and by reason, and how long it took.

Of hours, which an index finds by their key: the columns of finished days have all keys, and cost the more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from django.db.models import Model, Q, QuerySet, Sum

from accounts.ledger.compiled import Compiled, compiled
from accounts.ledger.hours import ROW_SUMS
from accounts.models import UsageHour
from accounts.models.hour import bucket_column
from accounts.reports.percentiles import percentile
from accounts.reports.period import Span, pieces
from accounts.reports.sources import aggregates, hours_in, rows_in
from accounts.reports.sums import BUCKETS, Sums

TIMES: Final = ("first_token", "total")


@dataclass(kw_only=True)
class KeySums:
    """`first_token` and `total` are turns by these times, in the buckets of `BOUNDS_MS`."""

    by_model: dict[str, Sums] = field(default_factory=dict)
    by_reason: dict[str, Sums] = field(default_factory=dict)
    first_token: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    total: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, row: dict[str, Any]) -> None:
        for groups, name in ((self.by_model, "lingma_model"), (self.by_reason, "reason")):
            groups.setdefault(row[name], Sums()).add(row)
        for name in TIMES:
            counts = getattr(self, name)
            for bucket in range(BUCKETS):
                counts[bucket] += row[f"in_{bucket_column(name, bucket)}"] or 0

    def within(self, name: str, share: float) -> int | None:
        """The milliseconds that this share of all turns stays within; None when no turn has such a time."""
        return percentile(getattr(self, name), share)


def sums_of_key(key_id: int, start: datetime) -> KeySums:
    """Of all its turns since then."""
    found = KeySums()
    for source in _sources(key_id, start):
        model: Any = source.model
        for row in source.values("lingma_model", "reason").annotate(**_selected(model)):
            found.add(row)
    return found


def _sources(key_id: int, start: datetime) -> Iterator[QuerySet[Any]]:
    cut, condition = pieces(Span(start, None)), Q(api_key=key_id)
    if cut.whole is not None:
        yield hours_in((cut.whole,), condition)
    if cut.cuts:
        yield rows_in(cut.cuts, condition)


# The statements in them are made at the first use, so they are kept.
@cache
def _selected(model: type[Model]) -> dict[str, Compiled]:
    names = [bucket_column(name, bucket) for name in TIMES for bucket in range(BUCKETS)]
    times = {f"in_{name}": Sum(name) if model is UsageHour else ROW_SUMS[name] for name in names}
    return {**aggregates(model, histograms=False), **compiled(model, times)}
