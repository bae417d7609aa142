"""Whether an instance is asked at all."""

import pytest

from bridge.chat.errors import (
    ConnectionLost,
    ContentFiltered,
    Forbidden,
    LoggedOut,
    NoPlan,
    RateLimited,
    SlowClient,
    UpstreamFailed,
    UpstreamTimeout,
)
from bridge.pool.instances.breaker import (
    CALM_SEC,
    LEAST_FAILED,
    PROBE_SEC,
    WINDOW_SEC,
    Breaker,
    Cause,
    Outcome,
    outcome_of,
)

OUTCOMES = [
    (None, False, Outcome.GOOD), (RateLimited("x"), False, Outcome.LIMITED), (RateLimited("x"), True, Outcome.LIMITED),
    (UpstreamFailed("x"), False, Outcome.FAILED), (UpstreamTimeout("x"), True, Outcome.FAILED),
    (ConnectionLost("x"), False, Outcome.NOTHING), (ConnectionLost("x"), True, Outcome.GOOD),
    (SlowClient("x"), True, Outcome.GOOD), (ContentFiltered("x"), False, Outcome.GOOD),
    (Forbidden("x"), False, Outcome.NOTHING), (LoggedOut("x"), False, Outcome.GOOD),
    (NoPlan("x"), False, Outcome.NO_PLAN), (NoPlan("x"), True, Outcome.NO_PLAN),
    (NoPlan("x", of_login=False), False, Outcome.NOTHING),
]  # fmt: skip


@pytest.mark.parametrize(("error", "has_begun", "outcome"), OUTCOMES, ids=str)
def test_each_ending_says_something_of_the_instance(error, has_begun, outcome):
    assert outcome_of(error, has_begun=has_begun) is outcome


def limited(now=0.0, longest=60.0, outcome=Outcome.LIMITED):
    breaker = Breaker(longest)
    breaker.ended(outcome, now, 0)
    return breaker


@pytest.mark.parametrize("outcome", [Outcome.LIMITED, Outcome.NO_PLAN])
def test_pauses_grow_up_to_a_bound(outcome):
    breaker, now, pauses = limited(outcome=outcome), 0.0, []
    for _ in range(8):
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker.probe(now)
        breaker.probed(outcome, now, 0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert breaker.cause == outcome.value


def test_service_says_how_long_a_pause_is():
    breaker = Breaker(60)
    breaker.ended(Outcome.LIMITED, 0, 0, 7)
    assert (breaker.until, breaker.cause) == (7, Cause.LIMITED)
    breaker.ended(Outcome.LIMITED, 1, 0, 500)
    assert breaker.until == 61


def test_storm_is_one_pause():
    breaker = limited()
    for _ in range(20):
        breaker.ended(Outcome.LIMITED, 0.1, 0)
    assert (breaker.until, breaker.pauses) == (1, 1)


def test_one_turn_decides_after_a_pause():
    breaker = limited()
    assert [breaker.lets_in(now) for now in (0, 0.9, 1)] == [False, False, True]
    breaker.probe(1)
    assert [breaker.lets_in(now) for now in (1, 2, 1 + PROBE_SEC)] == [False, False, True]
    breaker.probed(Outcome.GOOD, 2, 0)
    assert (breaker.is_closed, breaker.lets_in(2)) == (True, True)


def test_turn_that_says_nothing_leaves_the_place():
    breaker = limited()
    breaker.probe(1)
    breaker.probed(Outcome.NOTHING, 2, 0)
    assert (breaker.is_closed, breaker.lets_in(2)) == (False, True)
    breaker.probe(2)
    breaker.give_up_probe()
    assert breaker.lets_in(2)


@pytest.mark.parametrize(("good", "failed", "opens"), [(0, 9, False), (0, 10, True), (10, 10, True), (11, 10, False)])
def test_half_of_the_turns_have_to_fail(good, failed, opens):
    breaker = Breaker(60)
    for outcome in [Outcome.GOOD] * good + [Outcome.FAILED] * failed:
        breaker.ended(outcome, 0, 0)
    assert (not breaker.is_closed) is opens
    assert breaker.cause is (Cause.FAILED if opens else Cause.NONE)


def test_old_failures_do_not_count():
    breaker = Breaker(60)
    for number in range(3 * LEAST_FAILED):
        breaker.ended(Outcome.FAILED, number * WINDOW_SEC / (LEAST_FAILED - 1.5), 0)
    assert breaker.is_closed


@pytest.mark.parametrize(("later", "pause"), [(CALM_SEC - 1, 2), (CALM_SEC + 1, 1)])
def test_calm_makes_pauses_short_again(later, pause):
    breaker = limited()
    breaker.probe(1)
    breaker.probed(Outcome.GOOD, 1, 0)
    breaker.ended(Outcome.LIMITED, 1 + later, 0)
    assert breaker.until == 1 + later + pause


def test_cleared_breaker_lets_in_and_forgets():
    breaker = limited()
    breaker.clear()
    assert (breaker.is_closed, breaker.lets_in(0)) == (True, True)
    breaker.ended(Outcome.LIMITED, 0, 0)
    assert breaker.until == 1


def test_breaker_that_is_off_never_opens():
    breaker = limited(longest=0)
    for _ in range(30):
        breaker.ended(Outcome.FAILED, 0, 0)
    assert (breaker.lets_in(0), breaker.pauses) == (True, 0)
