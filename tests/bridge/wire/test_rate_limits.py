"""Durations as Go writes them, and the names of the headers."""

import pytest

from bridge.wire import formats
from bridge.wire.rate_limits import RateLimit, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0s"), (-3, b"0s"), (0.0121, b"13ms"), (1, b"1s"), (58.2, b"59s"), (60, b"1m0s"), (360, b"6m0s"),
        (3600, b"1h0m0s"), (86_340.5, b"23h59m1s"), (31 * 86_400, b"744h0m0s"),
    ],
)  # fmt: skip
def test_duration_is_rounded_up(seconds, text):
    assert duration(seconds) == text


def test_each_format_has_its_own_headers():
    state = RateLimit(100, 3, 12.2, lambda: "2026-11-28T22:00:00Z")
    headers = {each.path: dict(each.limit_headers(b"tokens", state)) for each in formats.FORMATS}
    openai = {
        b"x-ratelimit-limit-tokens": b"100", b"x-ratelimit-remaining-tokens": b"3", b"x-ratelimit-reset-tokens": b"13s",
    }  # fmt: skip
    anthropic = {
        b"anthropic-ratelimit-tokens-limit": b"100", b"anthropic-ratelimit-tokens-remaining": b"3",
        b"anthropic-ratelimit-tokens-reset": b"2026-11-28T22:00:00Z",
    }  # fmt: skip
    assert headers == {
        "/v1/chat/completions": openai, "/v1/responses": openai, "/v1/messages": anthropic,
    }  # fmt: skip
