"""What clients see of their limits: the headers of every answer, and the refusal of a request beyond one."""

from __future__ import annotations

from functools import partial
from typing import Final

from accounts.explain.sentences import LIMITS
from accounts.ledger.trace import MOST_LIMITS
from accounts.limits.admission import LimitExceeded
from accounts.limits.counters import REQUESTS, TOKENS, LimitState, Seen
from bridge.chat.errors import LimitReached, QuotaUsedUp, RateLimited
from bridge.wire.format import WireFormat
from bridge.wire.rate_limits import Headers, RateLimit, duration

KINDS: Final = ((b"requests", REQUESTS), (b"tokens", TOKENS))
OWNERS: Final = {"key": "this API key", "team": "this API key's team"}
LONG_SEC: Final = 60
"""Whoever has to wait for longer is not asked to try again by itself."""


def limit_headers(wire_format: WireFormat, seen: Seen) -> Headers:
    """Of requests and of tokens the limit that is nearest to be exhausted; none of a kind without a limit."""
    headers: Headers = []
    for kind, places in KINDS:
        if nearest := seen.nearest(places):
            limit, left, resets_at = nearest
            state = RateLimit(limit, left, resets_at - seen.at, partial(LimitState.time_text, resets_at))
            headers += wire_format.limit_headers(kind, state)
    return headers


def nearest_limits(seen: Seen | None) -> list[tuple[str, str, int, int]]:
    """For a trace: the limits as they stood, those first that are nearest to be exhausted."""
    states = sorted(seen.states() if seen else (), key=lambda state: state.used / state.limit, reverse=True)
    return [(state.scope, state.name, state.used, state.limit) for state in states[:MOST_LIMITS]]


def refusal_of(exceeded: LimitExceeded) -> RateLimited:
    """The error of a request beyond a limit."""
    state, wait = exceeded.state, exceeded.retry_after
    error = QuotaUsedUp if wait > LONG_SEC else LimitReached
    # The wait is whole seconds, rounded up: it may end after the limit is free.
    at = exceeded.seen.at + wait
    again = LimitState.time_text(at if state.resets_at is None else min(at, state.resets_at))
    resets_at = state.resets_at_text or again
    if state.resets_at_text is None or (state.reserved and state.spent < state.limit):
        # Turns at once, or what turns have reserved: nobody knows when one of them ends.
        when = f"The next request is possible when one of these has ended; try again in {duration(wait).decode()}."
    else:
        possible = f"The next request is possible in {duration(wait).decode()}, at {again}"
        when = f"{possible}; the whole limit is free again at {resets_at}."
    what = LIMITS[state.name] if state.limit != 1 else LIMITS[state.name].replace("s ", " ", 1)
    used = f"{state.spent:,} used"
    if state.reserved:
        used += f", {state.reserved:,} reserved by running turns"
    return error(
        f"The limit {state.name} of {OWNERS[state.scope]} is reached: {state.limit:,} {what}, "
        f"{used}. {when}",
        retry_after=wait,
        reason=state.name,
        limit_scope=state.scope,
        allowed=state.limit,
        value=state.used,
        details={
            "limit": state.name, "scope": state.scope, "allowed": state.limit, "used": state.spent,
            "resets_at": resets_at,
        } | ({"reserved": state.reserved} if state.reserved else {}),
    )  # fmt: skip
