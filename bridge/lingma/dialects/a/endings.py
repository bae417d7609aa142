"""What a `chat/finish` means: its code, read with its reason (PROTOCOL 9.6)."""

from __future__ import annotations

from bridge.chat.errors import (
    ContentFiltered,
    Forbidden,
    GatewayError,
    InvalidRequest,
    LoggedOut,
    NoPlan,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from bridge.lingma.dialects import reasons
from bridge.lingma.dialects.a.messages import FinishParams, decode_finish
from bridge.lingma.dialects.base import Ending

_FAILED_CODES: dict[int, type[GatewayError]] = {
    110: RateLimited,
    112: NoPlan,
    400: InvalidRequest,
    401: LoggedOut,
    403: Forbidden,
    406: ContentFiltered,
    408: UpstreamTimeout,
    429: RateLimited,
    601: ContentFiltered,
    10010: RateLimited,
    10011: NoPlan,
    10605: RateLimited,
}
_RATE_LIMITED = "The Lingma service is rate limited; try again later."
_NO_PLAN = "The plan of the Lingma account is used up, or it has none."
_MESSAGES: dict[int, str] = {
    110: _RATE_LIMITED,
    112: _NO_PLAN,
    400: "The Lingma service refused the request.",
    401: "The Lingma login of this instance is gone; an operator must log in unless it comes back by itself.",
    403: "The Lingma account may not do this, or its quota is used up.",
    406: "The Lingma service blocked this conversation; start a new one.",
    408: "The Lingma service timed out.",
    429: _RATE_LIMITED,
    601: "The Lingma service filtered the content.",
    10010: _RATE_LIMITED,
    10011: _NO_PLAN,
    10605: "The Lingma service has put the request into a queue of its own; try again later.",
}
_CODES_OF_KIND: dict[int, str] = {406: "content_filter", 601: "content_filter"}
_WRAPPERS = frozenset({403, 418})
_GOOD_REASONS = frozenset({"success", "completed", "end_turn", "cancelled"})


def error_of(finish: FinishParams) -> GatewayError | None:
    """The error that code and reason of a `chat/finish` mean (PROTOCOL 9.6); None for 200, the only success."""
    try:
        # It may be a number or a text; 0 is an error to the plugin too (PROTOCOL 9.6).
        code = int(finish.statusCode or 0)
    except ValueError:
        code = 0
    if code == 200:
        return None
    reason = finish.reason or ""
    if code in _WRAPPERS:
        code = reasons.wrapped_code(reason) or code
    kind = _FAILED_CODES.get(code, UpstreamFailed)
    message = _quoting(_MESSAGES.get(code, f"The Lingma service failed the turn with code {code}."), reason)
    error = NoPlan(message) if kind is NoPlan else kind(message, code=_CODES_OF_KIND.get(code))
    return reasons.read(reason, error)


def error_if_empty(finish: FinishParams) -> GatewayError | None:
    """Of a good ending without any text: its reason says what no other attempt would change."""
    if finish.fullAnswer or not finish.reason or finish.reason in _GOOD_REASONS:
        return None
    return reasons.lasting(finish.reason)


def _quoting(message: str, reason: str) -> str:
    return f"{message} It said: {reason[:200]}" if reason else message


def read_finish(params: bytes) -> Ending:
    """The ending in a `chat/finish`, with the error that its code means. Raise what is UNREADABLE."""
    finish = decode_finish(params)
    error = error_of(finish)
    return Ending(
        finish.requestId,
        finish.sessionId or "",
        finish.fullAnswer or "",
        error,
        error_if_empty(finish) if error is None else None,
        str(finish.statusCode) == "401",
    )
