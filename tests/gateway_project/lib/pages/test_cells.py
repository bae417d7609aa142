"""Times in cells are in words that fit their number."""

from datetime import timedelta

import pytest
from django.utils import timezone

from gateway_project.lib.counted import counted
from gateway_project.lib.pages.cells import ago, lasting


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"seconds": 0}, "just now"),
        ({"seconds": -5}, "just now"),
        ({"seconds": 50}, "just now"),
        ({"minutes": 1, "seconds": 20}, "1\N{NO-BREAK SPACE}minute ago"),
        ({"hours": 2, "minutes": 20}, "2\N{NO-BREAK SPACE}hours ago"),
    ],
)
def test_past_is_told_without_zero(span, words):
    assert ago(timezone.now() - timedelta(**span)) == words


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"seconds": -3}, "0 s"),
        ({"seconds": 59}, "59 s"),
        ({"seconds": 59.7}, "59 s"),
        ({"seconds": 61}, "1\N{NO-BREAK SPACE}minute"),
    ],
)
def test_span_is_told_in_seconds_at_first(span, words):
    now = timezone.now()
    assert lasting(now, now + timedelta(**span)) == words


def test_numbers_are_told_with_their_nouns():
    assert [counted(count, "row") for count in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]
    assert [counted(count, "entry", "entries") for count in (1, 2)] == ["1 entry", "2 entries"]
