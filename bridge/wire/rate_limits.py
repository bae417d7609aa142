"""The headers that say how much of a limit is left: OpenAI's, and Anthropic's. Pure."""

from __future__ import annotations

import msgspec

Headers = list[tuple[bytes, bytes]]


class RateLimit(msgspec.Struct, frozen=True):
    """One limit. `reset_sec` are the seconds until all of it is free again, `resets_at` is that time as RFC 3339."""

    limit: int
    remaining: int
    reset_sec: float
    resets_at: str


def openai_headers(kind: bytes, state: RateLimit) -> Headers:
    """`kind` is b"requests" or b"tokens"."""
    return [
        (b"x-ratelimit-limit-" + kind, b"%d" % state.limit),
        (b"x-ratelimit-remaining-" + kind, b"%d" % state.remaining),
        (b"x-ratelimit-reset-" + kind, duration(state.reset_sec)),
    ]


def anthropic_headers(kind: bytes, state: RateLimit) -> Headers:
    """`kind` is b"requests" or b"tokens"."""
    name = b"anthropic-ratelimit-" + kind
    return [
        (name + b"-limit", b"%d" % state.limit),
        (name + b"-remaining", b"%d" % state.remaining),
        (name + b"-reset", state.resets_at.encode()),
    ]


def duration(seconds: float) -> bytes:
    """As Go writes it: `0s`, `12ms`, `59s`, `6m0s`, `23h59m1s`. Rounded up: nobody is told to come too early."""
    if 0 < seconds < 1:
        return b"%dms" % -int(-seconds * 1000 // 1)
    whole = int(-(-max(seconds, 0) // 1))
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, whole % 60)
    return b"%dm%ds" % (minutes, whole % 60) if minutes else b"%ds" % whole
