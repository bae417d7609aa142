"""What happened within the last minute."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.status.live import LiveRates
from bridge.telemetry.rates import MOST_SAMPLES, Rates


def test_rates_are_those_of_the_last_minute():
    rates = Rates()
    rates.sample(0)
    rates.count(5, 1, 100, 4, 400)
    assert rates.last_minute(10) == LiveRates(5, 1, 100, 100, 4)
    rates.sample(50)
    rates.count(1, 0, 10, 0, 0)
    assert rates.last_minute(60) == LiveRates(6, 1, 110, 100, 4)
    assert rates.last_minute(100) == LiveRates(1, 0, 10, None)
    assert rates.last_minute(200) == LiveRates()


def test_samples_are_bounded():
    rates = Rates()
    for second in range(10 * MOST_SAMPLES):
        rates.sample(second)
    assert len(rates._samples) == MOST_SAMPLES


def test_many_samples_cut_no_minute_short():
    rates = Rates()
    rates.sample(0)
    rates.count(5, 0, 100, 0, 0)
    for tenth in range(10 * MOST_SAMPLES):  # an instance that comes and goes
        rates.sample(20 + tenth / 20)
    rates.count(1, 0, 10, 0, 0)
    assert rates.last_minute(55) == LiveRates(6, 0, 110, None)


@pytest.fixture
def impatient_threads():
    """They take turns at every few steps, so that what one of them can do amid another's work happens."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_counts_of_two_threads_add_up(impatient_threads):
    rates = Rates()
    rates.sample(0)

    def count():
        for _ in range(5_000):
            rates.count(1, 0, 2, 1, 3)

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(count), pool.submit(count)]:
            each.result()
    assert rates.last_minute(1) == LiveRates(10_000, 0, 20_000, 3, 10_000)
