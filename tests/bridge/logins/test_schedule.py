"""When a login is made again by itself."""

import math

import pytest

from bridge.logins.schedule import (
    DAY,
    HOUR,
    LoginFacts,
    RefreshTimes,
    RunningAttempt,
    due_at,
    needs_person,
    pause_after,
    reason_to_log_in,
    renewed_from,
)
from bridge.status.accounts import AccountState

NOW = 1_800_000_000.0
TIMES = RefreshTimes(lead_days=7, period_days=0, jitter_hours=0)
GOOD = {
    "login": 1,
    "generation": 3,
    "account": AccountState.LOGGED_IN,
    "expires_at": NOW + 30 * DAY,
    "may_run_alone": True,
}


def facts(**more):
    return LoginFacts(**GOOD | more)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, None),
        ({"expires_at": NOW + 7 * DAY}, "schedule"),
        ({"expires_at": NOW + 7 * DAY + 60}, None),
        ({"expires_at": 0.0}, None),
        ({"account": AccountState.LOGGED_OUT}, "lost"),
        ({"account": AccountState.EXPIRED}, "lost"),
        ({"account": AccountState.LOGGED_OUT, "may_run_alone": False}, None),
        ({"account": AccountState.LOGGED_OUT, "failures": 2}, "lost"),
        ({"account": AccountState.LOGGED_OUT, "failures": 3}, None),
        ({"account": AccountState.LOGGED_OUT, "retry_at": NOW + 1}, None),
        ({"account": AccountState.LOGGED_OUT, "retry_at": NOW}, "lost"),
        ({"generation": 0, "account": AccountState.UNKNOWN, "expires_at": NOW}, None),
        ({"account": AccountState.UNKNOWN, "expires_at": NOW + DAY}, "schedule"),
    ],
)
def test_login_begins_when_it_is_due(more, reason):
    assert reason_to_log_in(facts(**more), TIMES, NOW) == reason


@pytest.mark.parametrize(
    ("more", "attempt", "since"),
    [
        ({}, None, 0.0),
        ({"retry_at": NOW + 300}, None, NOW + 300),
        ({"failures": 3}, None, math.inf),
        ({"may_run_alone": False}, None, math.inf),
        ({"failures": 3}, RunningAttempt(NOW, is_claimed=True, needs_person=False), NOW),
        ({"failures": 3}, RunningAttempt(NOW, is_claimed=False, needs_person=False), math.inf),
        ({}, RunningAttempt(NOW, is_claimed=False, needs_person=False), 0.0),
        ({}, RunningAttempt(NOW, is_claimed=True, needs_person=True), math.inf),
    ],
)
def test_login_is_waited_for_without_a_person(more, attempt, since):
    assert renewed_from(facts(**more), attempt) == since


@pytest.mark.parametrize(
    "account", [each for each in AccountState if each.remedy in ("administrator",)] + ["error", "network_error"]
)
def test_account_that_no_login_cures_begins_none(account):
    assert reason_to_log_in(facts(account=AccountState(account), expires_at=NOW + 60), TIMES, NOW) is None


def test_period_makes_a_login_due_before_its_end():
    times = RefreshTimes(lead_days=7, period_days=10, jitter_hours=0)
    assert due_at(facts(refreshed_at=NOW - 9 * DAY), times) == NOW + DAY
    assert reason_to_log_in(facts(refreshed_at=NOW - 10 * DAY), times, NOW) == "schedule"


def test_jitter_is_earlier_and_the_same_for_all():
    times = RefreshTimes(lead_days=7, jitter_hours=12)
    latest = NOW + 23 * DAY
    moments = [due_at(facts(login=number), times) for number in range(200)]
    assert moments == [due_at(facts(login=number), times) for number in range(200)]
    assert all(latest - 12 * HOUR <= each <= latest for each in moments)
    assert max(moments) - min(moments) > 10 * HOUR
    assert due_at(facts(generation=4), times) != due_at(facts(), times)


def test_fresh_login_is_not_due_at_once():
    # It lasts for less than the time before its end: then half of its life counts.
    fresh = facts(made_at=NOW, expires_at=NOW + DAY)
    assert reason_to_log_in(fresh, TIMES, NOW + 11 * HOUR) is None
    assert reason_to_log_in(fresh, TIMES, NOW + 12 * HOUR) == "schedule"
    assert due_at(fresh, RefreshTimes(period_days=0.01, jitter_hours=24)) == NOW + 0.01 * DAY


def test_pauses_grow():
    assert [pause_after(number) for number in (0, 1, 2, 3)] == [0, 300, 1200, 1200]


@pytest.mark.parametrize(
    ("more", "needed"),
    [
        ({"expires_at": NOW + 2 * DAY}, False),
        ({"expires_at": NOW + 2 * DAY, "may_run_alone": False}, True),
        ({"expires_at": NOW + 4 * DAY, "may_run_alone": False}, False),
        ({"account": AccountState.LOGGED_OUT}, False),
        ({"account": AccountState.LOGGED_OUT, "failures": 3}, True),
        ({"account": AccountState.LOGGED_OUT, "may_run_alone": False}, True),
        ({"account": AccountState.NO_LICENCE, "may_run_alone": False}, False),
    ],
)
def test_person_is_asked_days_before(more, needed):
    assert needs_person(facts(**more), 3, NOW) is needed
