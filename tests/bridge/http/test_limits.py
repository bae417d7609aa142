"""What a refusal by a limit says."""

from accounts.limits.admission import LimitExceeded
from accounts.limits.counters import LimitState, Seen
from bridge.http.limits import refusal_of

AT = 1_795_916_000.0


def message(name, resets_at, wait, limit=2):
    state = LimitState(name=name, scope="key", limit=limit, used=2, resets_at=resets_at, shadow=False)
    return str(refusal_of(LimitExceeded(state, wait, Seen((), (), AT))))


def test_time_of_next_request_is_told():
    assert message("rpm", AT + 42, 41.2) == (
        "The limit rpm of this API key is reached: 2 requests per minute, 2 used. The next request is possible in 42s, "
        "at 2026-11-29T01:34:02Z; the whole limit is free again at 2026-11-29T01:34:02Z."
    )


def test_end_of_running_turns_is_not_promised():
    assert message("concurrency", None, 1) == (
        "The limit concurrency of this API key is reached: 2 turns at once, 2 used. "
        "The next request is possible when one of these has ended; try again in 1s."
    )


def test_limit_of_one_has_the_singular():
    assert ": 1 turn at once, 2 used." in message("concurrency", None, 1, limit=1)
    assert ": 1 request per day, 2 used." in message("requests_day", AT + 42, 41.2, limit=1)
