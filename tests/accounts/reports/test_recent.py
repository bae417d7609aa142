from datetime import timedelta

import pytest

from accounts.models import Team
from accounts.reports import recent as module
from accounts.reports.recent import Interval, current, recent
from accounts.reports.visibility import Visibility
from tests.accounts.reports.sample import NOW, make, sums_of

pytestmark = pytest.mark.django_db
ALL = Visibility(everything=True)


@pytest.fixture(scope="module")
def sample(shared_rows):
    return make()


def within(rows, start, end):
    return sums_of([row for row in rows if start <= row.started_at < end])


def test_intervals_are_sums_of_their_rows(sample):
    found = recent(NOW, ALL)
    assert len(found) == 36
    assert (found[0].start, found[-1].end) == (NOW.replace(hour=11, minute=25, second=0, microsecond=0), NOW)
    for each in found:
        sums = within(sample, each.start, each.end + timedelta(seconds=1) * (each.end == NOW))
        assert (each.turns, each.faults) == (sums["turns"], sums["faults"])
    assert sum(each.turns for each in found) > 20


def test_team_is_counted_alone(sample):
    team = Team.objects.get(name="Ads")
    found = recent(NOW, Visibility(everything=False, teams=frozenset([team.pk])))
    own = [row for row in sample if row.team_id == team.pk]
    assert sum(each.turns for each in found) == within(own, found[0].start, NOW + timedelta(1))["turns"]


def test_busy_gateway_is_shown_by_the_hour(sample, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    found = recent(NOW, ALL)
    assert [each.start.hour for each in found] == [11, 12, 13, 14]
    assert [each.turns for each in found] == [
        within(sample, each.start, each.start + timedelta(hours=1))["turns"] for each in found
    ]


def test_interval_that_just_began_is_joined():
    before = Interval(start=NOW - timedelta(minutes=6), end=NOW - timedelta(minutes=1), turns=50)
    assert current([before, Interval(start=before.end, end=NOW, turns=4)]).per_minute == 9
    assert current([before, Interval(start=NOW - timedelta(minutes=4), end=NOW, turns=8)]).per_minute == 2


def test_rows_are_read_by_two_queries(sample, django_assert_num_queries):
    with django_assert_num_queries(2):
        recent(NOW, ALL)
