"""What the log says of an instance that comes and goes."""

import logging

import pytest

from bridge.pool.instances.outage_log import AGAIN_SEC, MOST, OutageLog


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_outage_has_one_line_in_and_one_out(logged):
    outages = OutageLog("w1-i1")
    outages.recovered(0, "ready")
    outages.failed(10, "gone", "starting again")
    outages.recovered(12.5, "ready")
    outages.recovered(13, "ready")
    assert logged() == ["w1-i1 is ready", "w1-i1: gone; starting again", "w1-i1 is ready after 2.5 s"]


def test_flapping_outage_does_not_fill_the_log(logged):
    outages = OutageLog("w1-i1")
    for second in range(int(AGAIN_SEC) + 1):
        outages.failed(second, "gone", "starting again")
        outages.recovered(second + 0.5, "ready")
    assert logged() == [
        "w1-i1: gone; starting again",
        "w1-i1 is ready after 0.5 s",
        f"w1-i1: gone; starting again ({AGAIN_SEC - 1:.0f} times more since this was told last)",
        "w1-i1 is ready after 0.5 s",
    ]


def test_each_failure_is_logged_and_few_remembered(logged):
    outages = OutageLog("w1-i1")
    for number in range(2 * MOST):
        outages.failed(0, f"failure {number}", "starting again")
        outages.failed(0, f"failure {number}", "starting again")
    assert len(logged()) == 2 * MOST
    assert len(outages._logged) == MOST
