import pytest

from accounts.limits.admission import LimitExceeded
from accounts.limits.counters import LimitState, Seen
from bridge.http.limits import refusal_of

MIDNIGHT = 1_795_968_000.0


@pytest.mark.parametrize(("left", "wait"), [(51_719.4, "14h22m0s"), (0.2, "1s")])
def test_next_request_is_possible_by_the_reset(left, wait):
    state = LimitState("requests_day", "key", 5, 5, MIDNIGHT, False)
    refusal = refusal_of(LimitExceeded(state, left, Seen([], [], MIDNIGHT - left)))
    assert (
        f"possible in {wait}, at 2026-11-29T16:00:00Z; the whole limit is free again at 2026-11-29T16:00:00Z."
        in str(refusal)
    )
