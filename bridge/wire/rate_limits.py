"""The headers that say how much of a limit is left: OpenAI's, and Anthropic's. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

Headers = list[tuple[bytes, bytes]]


_OPENAI: Final = {
    kind: tuple(b"x-ratelimit-%b-%b" % (part, kind) for part in (b"limit", b"remaining", b"reset"))
    for kind in (b"requests", b"tokens")
}
_ANTHROPIC: Final = {
    kind: tuple(b"anthropic-ratelimit-%b-%b" % (kind, part) for part in (b"limit", b"remaining", b"reset"))
    for kind in (b"requests", b"tokens")
}


class RateLimit(msgspec.Struct, frozen=True):
    """One limit. `reset_sec` are the seconds until all of it is free again, `resets_at` is that time as RFC 3339."""

    limit: int
    remaining: int
    reset_sec: float
    resets_at: Callable[[], str]
    """Spelled out for those that show it."""


def openai_headers(kind: bytes, state: RateLimit) -> Headers:
    """`kind` is b"requests" or b"tokens"."""
    limit, remaining, reset = _OPENAI[kind]
    return [
        (limit, b"%d" % state.limit),
        (remaining, b"%d" % state.remaining),
        (reset, duration(state.reset_sec)),
    ]


def anthropic_headers(kind: bytes, state: RateLimit) -> Headers:
    """`kind` is b"requests" or b"tokens"."""
    limit, remaining, reset = _ANTHROPIC[kind]
    return [
        (limit, b"%d" % state.limit),
        (remaining, b"%d" % state.remaining),
        (reset, state.resets_at().encode()),
    ]


def duration(seconds: float) -> bytes:
    """As Go writes it: `0s`, `12ms`, `59s`, `6m0s`, `23h59m1s`. Rounded up: nobody is told to come too early."""
    if 0 < seconds < 1:
        return b"%dms" % -int(-seconds * 1000 // 1)
    return _spelled(int(-(-seconds // 1)) if seconds > 0 else 0)


@lru_cache(256)
def _spelled(whole: int) -> bytes:
    minutes, hours = whole // 60 % 60, whole // 3600
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, whole % 60)
    return b"%dm%ds" % (minutes, whole % 60) if minutes else b"%ds" % whole
