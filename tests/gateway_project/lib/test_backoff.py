"""Pauses that grow."""

import pytest

from gateway_project.lib.backoff import growing


@pytest.mark.parametrize(
    ("doublings", "pause"), [(-1, 0.5), (0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (10**9, 30.0)]
)
def test_pauses_double_up_to_the_longest(doublings, pause):
    assert growing(0.5, doublings, 30.0) == pause


def test_jitter_adds_a_quarter_at_most():
    assert growing(0.5, 6, 30.0, jitter=1.0) == 37.5
