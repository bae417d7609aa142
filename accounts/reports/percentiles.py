"""Percentiles of times that were counted in the buckets of usage by the hour. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.models import BOUNDS_MS


def percentile(counts: Sequence[int], share: float) -> int | None:
    """The time in milliseconds that this share of all stays within; None when nothing was counted.

    Within a bucket the times are taken as evenly spread. The last bucket has no upper bound, so whatever lies in it
    counts as its lower one.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            if bucket == len(BOUNDS_MS):
                return BOUNDS_MS[-1]
            lower = BOUNDS_MS[bucket - 1] if bucket else 0
            return round(lower + (BOUNDS_MS[bucket] - lower) * (wanted - below) / count)
        below += count
    return BOUNDS_MS[-1]
