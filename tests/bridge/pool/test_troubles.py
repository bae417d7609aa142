"""What the log says of an instance that comes and goes."""

import logging

import pytest

from bridge.pool.troubles import AGAIN_SEC, MOST, Troubles


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_outage_has_one_line_in_and_one_out(told):
    troubles = Troubles("w1-i1")
    troubles.over(0, "ready")
    troubles.met(10, "gone", "starting again")
    troubles.over(12.5, "ready")
    troubles.over(13, "ready")
    assert told() == ["w1-i1 is ready", "w1-i1: gone; starting again", "w1-i1 is ready after 2.5 s"]


def test_flapping_outage_does_not_fill_the_log(told):
    troubles = Troubles("w1-i1")
    for second in range(int(AGAIN_SEC) + 1):
        troubles.met(second, "gone", "starting again")
        troubles.over(second + 0.5, "ready")
    assert told() == [
        "w1-i1: gone; starting again",
        "w1-i1 is ready after 0.5 s",
        f"w1-i1: gone; starting again ({AGAIN_SEC - 1:.0f} times more since this was told last)",
        "w1-i1 is ready after 0.5 s",
    ]


def test_troubles_are_each_reported_and_few_remembered(told):
    troubles = Troubles("w1-i1")
    for number in range(2 * MOST):
        troubles.met(0, f"trouble {number}", "starting again")
        troubles.met(0, f"trouble {number}", "starting again")
    assert len(told()) == 2 * MOST
    assert len(troubles._logged) == MOST
