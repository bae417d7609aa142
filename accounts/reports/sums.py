"""Sums of usage, which add up, and what they are called in tables and in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Any, Final

from accounts.models import BOUNDS_MS
from accounts.models.total import TOTAL_HISTOGRAMS, TOTALS
from accounts.reports.percentiles import percentile

BUCKETS: Final = len(BOUNDS_MS) + 1
COUNTS: Final = TOTALS
HISTOGRAMS: Final = TOTAL_HISTOGRAMS


def _zeros() -> list[int]:
    return [0] * BUCKETS


@dataclass(slots=True)
class Sums:
    """The sums of any rows. `failed`, `refused`, `cancelled` and `ok` are by status, and add up to `turns`.

    `faults` are failures of the gateway or Lingma, `turned_away` those of a limit or the caller's own mistake;
    `counted_turns` are those whose tokens somebody counted or estimated: without any, tokens are not 0 but unknown.
    """

    turns: int = 0
    ok: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    faults: int = 0
    turned_away: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_turns: int = 0
    counted_turns: int = 0
    busy_ms: int = 0
    sessions_reused: int = 0
    first_token: list[int] = field(default_factory=_zeros)
    """Turns by the time of their first token, in the buckets of `BOUNDS_MS`; `queue` by the time they waited."""
    queue: list[int] = field(default_factory=_zeros)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of the database: names of COUNTS, and `first_token_0` … where histograms were read."""
        for name in COUNTS:
            # NULL is the sum of a filter that no row has met.
            setattr(self, name, getattr(self, name) + (row[f"sum_{name}"] or 0))
        for histogram in HISTOGRAMS:
            if f"sum_{histogram}_0" in row:
                counts = getattr(self, histogram)
                for bucket in range(BUCKETS):
                    counts[bucket] += row[f"sum_{histogram}_{bucket}"] or 0

    def merge(self, other: Sums, *, histograms: bool = True) -> None:
        # One by one: pages add up some thousand of them, and loops over names take four times as long.
        self.turns += other.turns
        self.ok += other.ok
        self.failed += other.failed
        self.refused += other.refused
        self.cancelled += other.cancelled
        self.faults += other.faults
        self.turned_away += other.turned_away
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.estimated_turns += other.estimated_turns
        self.counted_turns += other.counted_turns
        self.busy_ms += other.busy_ms
        self.sessions_reused += other.sessions_reused
        if histograms:
            self.first_token = list(map(add, self.first_token, other.first_token))
            self.queue = list(map(add, self.queue, other.queue))

    @property
    def first_token_ms_p50(self) -> int | None:
        return percentile(self.first_token, 0.5)

    @property
    def first_token_ms_p95(self) -> int | None:
        return percentile(self.first_token, 0.95)

    @property
    def queue_ms_p95(self) -> int | None:
        return percentile(self.queue, 0.95)

    @property
    def tokens(self) -> dict[str, int | None]:
        """Tokens in and out for programs. Of no turn they are 0; of turns that nobody counted, None."""
        is_known = self.counted_turns or not self.turns
        return {name: getattr(self, name) if is_known else None for name in TOKENS}

    def as_row(self) -> dict[str, int | None]:
        """The fields of a row of `/api/usage/summary/`, beside those of its group."""
        return {name: getattr(self, name) for name in SUMMARY_FIELDS} | self.tokens


TOKENS: Final = ("prompt_tokens", "completion_tokens")
SUMMARY_FIELDS: Final = (
    "turns", "failed", "refused", "prompt_tokens", "completion_tokens", "estimated_turns", "busy_ms",
    "first_token_ms_p50", "first_token_ms_p95", "queue_ms_p95", "sessions_reused",
)  # fmt: skip
