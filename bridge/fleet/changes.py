"""What happened to instances within a time, for the page that explains a request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import redis

from accounts.explain.changes import Change, Changes
from bridge.fleet import timelines
from bridge.status.transitions import MOST, MOST_OF_LOAD, OF_LOAD, Transition, TransitionReason


def changes(redis_url: str, names: Sequence[str], start: datetime, end: datetime) -> Changes | None:
    """The steps of these instances from `start` to `end`; None while Redis is away."""
    try:
        found = timelines.read_all(redis_url, names)
    except redis.RedisError:
        return None
    steps = [each for name in names for each in _within(name, found[name], start, end)]
    return Changes(sorted(steps), are_kept=all(_is_whole(found[name], start) for name in names))


def _is_whole(timeline: Sequence[Transition], start: datetime) -> bool:
    """Nothing of what came after `start` is missing, as far as one can tell. Load is kept apart, and dropped sooner."""
    load = [each for each in timeline if each.why in OF_LOAD]
    others = [each for each in timeline if each.why not in OF_LOAD]
    if not others or (len(load) >= MOST_OF_LOAD and load[-1].at > start.timestamp()):
        return False
    first = others[-1]
    # One that begins later may have lost what was before, unless it begins with the first start of the instance.
    return first.at <= start.timestamp() or (first.why is TransitionReason.STARTED and len(others) < MOST)


def _within(name: str, timeline: list[Transition], start: datetime, end: datetime) -> list[Change]:
    earlier: list[Transition | None] = [None, *reversed(timeline)]
    return [
        Change(_time(step), name, before.state.label if before else "", step.state.label, step.why.label, step.detail)
        for before, step in pairwise(earlier)
        if step is not None and start.timestamp() <= step.at <= end.timestamp()
    ]


def _time(step: Transition) -> datetime:
    return datetime.fromtimestamp(step.at, UTC)
