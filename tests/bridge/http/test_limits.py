"""What a refusal by a limit says."""

from accounts.limits.admission import LimitExceeded
from accounts.limits.counters import LimitState, Seen
from bridge.http.limits import refusal_of

AT = 1_795_916_000.0


def refusal(name, resets_at, wait, limit=2, used=2, reserved=0):
    state = LimitState(name, "key", limit, used, resets_at, shadow=False, reserved=reserved)
    return refusal_of(LimitExceeded(state, wait, Seen((), (), AT)))


def message(*args, **fields):
    return str(refusal(*args, **fields))


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


def test_reserved_tokens_are_told_apart():
    error = refusal("tokens_day", AT + 9040, 1, limit=600, used=837, reserved=737)
    assert str(error) == (
        "The limit tokens_day of this API key is reached: 600 tokens per day, 100 used, 737 reserved by running turns. "
        "The next request is possible when one of these has ended; try again in 1s."
    )
    assert error.retryable
    assert (error.details["used"], error.details["reserved"]) == (100, 737)


def test_used_up_budget_ends_with_its_period():
    error = refusal("tokens_day", AT + 9040, 9040, limit=600, used=837, reserved=137)
    assert "700 used, 137 reserved by running turns. The next request is possible in 2h30m40s, at" in str(error)
    assert not error.retryable


def test_limit_of_one_has_the_singular():
    assert ": 1 turn at once, 2 used." in message("concurrency", None, 1, limit=1)
    assert ": 1 request per day, 2 used." in message("requests_day", AT + 42, 41.2, limit=1)
