import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from accounts.models import ApiKey, Team
from accounts.reports.filters import parse
from accounts.reports.period import weekly
from accounts.reports.summary import latest, rows, summarize, total
from accounts.reports.sums import COUNTS, HISTOGRAMS
from accounts.reports.visibility import Visibility
from tests.accounts.reports.sample import COLUMN, NOW, left_by, make, random_filters, sums_of, without

pytestmark = pytest.mark.django_db
ALL = Visibility(everything=True)
SHANGHAI, KOLKATA = ZoneInfo("Asia/Shanghai"), ZoneInfo("Asia/Kolkata")


@pytest.fixture(scope="module")
def sample(shared_rows):
    return make()


def told(sums):
    return {name: getattr(sums, name) for name in (*COUNTS, *HISTOGRAMS)}


def turns_by(rows, *columns):
    found = {}
    for row in rows:
        group = tuple(getattr(row, column) for column in columns)
        found[group] = found.get(group, 0) + row.count
    return found


@pytest.mark.parametrize("seed", range(30))
def test_sums_are_those_of_the_rows(sample, seed):
    random_ = random.Random(seed)
    given = without(random_filters(random_, sample), random_)
    filters = parse(given, NOW, SHANGHAI)
    left = left_by(given, filters, sample)
    assert set(rows(filters, ALL)) == set(left)
    assert told(total(filters, ALL)) == sums_of(left)
    callers = summarize(filters, ALL, ["team", "key"], histograms=False)
    assert {group: sums.turns for group, sums in callers.items()} == turns_by(left, "team_id", "api_key_id")
    kinds = summarize(filters, ALL, ["lingma_model", "client_app", "reason"], histograms=False)
    assert {group: sums.turns for group, sums in kinds.items()} == turns_by(left, "lingma_model", "agent", "reason")
    name = random_.choice(["team", "key", "model", "status", "reason", "client_app", "session"])
    expected = {}
    for row in left:
        expected.setdefault((getattr(row, COLUMN.get(name, name)),), []).append(row)
    grouped = summarize(filters, ALL, [name])
    assert {group: told(sums) for group, sums in grouped.items()} == {
        group: sums_of(those) for group, those in expected.items()
    }


@pytest.mark.parametrize("zone", [UTC, SHANGHAI, KOLKATA])
@pytest.mark.parametrize("query", [{}, {"range": ["24h"]}, {"model": ["org_auto"]}])
def test_days_are_those_of_the_zone(sample, zone, query):
    filters = parse(query, NOW, zone)
    expected = {}
    for row in left_by(query, filters, sample):
        expected.setdefault((row.status, row.started_at.astimezone(zone).date()), []).append(row)
    found = summarize(filters, ALL, ["status", "day"])
    assert {group: told(sums) for group, sums in found.items()} == {
        group: sums_of(those) for group, those in expected.items()
    }


@pytest.mark.parametrize("zone", [UTC, SHANGHAI, KOLKATA])
@pytest.mark.parametrize("query", [{}, {"model": ["org_auto"]}, {"to": ["2026-11-28T06:20:00Z"], "status": ["!ok"]}])
def test_hour_of_the_week_leaves_its_rows(sample, zone, query):
    given = {"from": ["2026-11-20T06:40:00Z"]} | query
    start = datetime(2026, 11, 26, 6, tzinfo=UTC).astimezone(zone)
    weekly = {"hour_of_week": [f"{start:%a}-{start:%H}".lower()]}
    filters = parse(given | weekly, NOW, zone)
    of_hour = [row for row in sample if f"{row.started_at:%d %H}" == "26 06"]
    left = left_by(given, filters, of_hour)
    assert set(rows(filters, ALL)) == set(left)
    assert latest(filters, ALL, 5) == sorted(left, key=lambda row: (row.started_at, row.pk), reverse=True)[:5]
    assert told(total(filters, ALL)) == sums_of(left)
    assert left


def test_hours_of_weeks_are_those_of_the_clock():
    """Where clocks are changed, an hour of the week is another one of UTC, comes twice, or does not come."""
    zone, start = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 1, 0, 30, tzinfo=UTC)
    found = list(weekly(start, datetime(2026, 11, 5, 2, tzinfo=UTC), (3, 2), zone))
    assert [f"{each.start:%m-%d %H:%M}" for each in found] == [
        "10-01 00:30", "10-08 00:00", "10-15 00:00", "10-22 00:00", "10-29 01:00", "11-05 01:00",
    ]  # fmt: skip
    twice = list(weekly(start, datetime(2026, 10, 26, tzinfo=UTC), (6, 2), zone))
    assert [each.start.hour for each in twice] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("month", [1, 4, 7, 10])
def test_days_of_half_hour_summer_time_are_split(month):
    """Its offset is of whole hours in one half of the year alone."""
    now = datetime(2026, month, 15, tzinfo=UTC)
    zones = [ZoneInfo(name) for name in ("Australia/Lord_Howe", "Europe/Berlin", "Asia/Kolkata")]
    assert [parse({}, now, zone).splits_days(["day"]) for zone in zones] == [True, False, True]


def test_hours_begin_in_utc(sample):
    found = summarize(parse({"range": ["24h"]}, NOW, KOLKATA), ALL, ["hour", "day"])
    assert sum(sums.turns for sums in found.values()) == total(parse({"range": ["24h"]}, NOW, KOLKATA), ALL).turns
    assert all(hour.minute == 0 for hour, _ in found)


def test_names_find_what_ids_find(sample):
    team, key = Team.objects.get(name="Ads"), ApiKey.objects.get(name="caller 3")
    for by_name, by_id in (
        [{"team": ["Ads"]}, {"team": [str(team.pk)]}],
        [{"key": ["caller 3"]}, {"key": [str(key.pk)]}],
    ):
        assert told(total(parse(by_name, NOW, UTC), ALL)) == told(total(parse(by_id, NOW, UTC), ALL))
    assert total(parse({"team": ["Ads"]}, NOW, UTC), ALL).turns > 0


@pytest.mark.parametrize("outcome", ["failed", "turned_away"])
def test_outcome_leads_to_what_is_counted(sample, outcome):
    whole = total(parse({"range": ["24h"]}, NOW, UTC), ALL)
    counted = {"failed": whole.faults, "turned_away": whole.turned_away}[outcome]
    assert total(parse({"range": ["24h"], "outcome": [outcome]}, NOW, UTC), ALL).turns == counted > 0


def test_members_see_sums_of_their_teams_only(sample):
    ads, maps = (Team.objects.get(name=name) for name in ("Ads", "Maps"))
    of_ads = Visibility(everything=False, teams=frozenset([ads.pk]))
    everything = parse({}, NOW, UTC)
    assert told(total(everything, of_ads)) == sums_of([row for row in sample if row.team_id == ads.pk])
    assert set(summarize(everything, of_ads, ["team", "key"])) == {(ads.pk, key.pk) for key in ads.keys.all()}
    for given in ({"team": [str(maps.pk)]}, {"team": ["Maps"]}, {"team": ["none"]}, {"key": ["caller 5"]}):
        assert total(parse(given, NOW, UTC), of_ads).turns == 0
        assert not rows(parse(given, NOW, UTC), of_ads).exists()


def test_member_without_a_team_sees_no_turns(sample):
    assert total(parse({}, NOW, UTC), Visibility(everything=False)).turns == 0


WHOLE = {"from": ["2026-11-26T00:00Z"], "to": ["2026-11-28T00:00Z"]}
WITHIN = {"from": ["2026-11-26T00:10Z"], "to": ["2026-11-27T05:10Z"]}
CUT = {"from": ["2026-11-26T00:10Z"], "to": ["2026-11-28T05:10Z"]}


@pytest.mark.parametrize(
    ("query", "groups", "tables"),
    [
        (WHOLE, ["team"], ["total"]),
        (WHOLE, ["team", "key"], ["day", "total"]),
        (WHOLE, ["reason"], ["day", "total"]),
        (WHOLE | {"status": ["ok"]}, ["team"], ["day", "hour"]),
        (CUT, ["hour"], ["day", "total", "rows"]),
        (CUT, ["team", "key"], ["day", "total", "hour", "rows"]),
        (WITHIN, ["hour"], ["total", "rows"]),
        (WHOLE | {"session": ["new"]}, ["team"], ["day", "rows"]),
    ],
)
def test_sums_are_read_where_they_are_fewest(sample, query, groups, tables, django_assert_num_queries):
    with django_assert_num_queries(len(tables)) as queries:
        summarize(parse(query, NOW, UTC), ALL, groups, histograms=groups != ["team", "key"] and groups != ["reason"])
    names = {
        "total": "accounts_usagetotal",
        "day": "accounts_usageday",
        "hour": "accounts_usagehour",
        "rows": "accounts_usage",
    }
    for each, table in zip(queries, tables, strict=True):
        assert f'FROM "{names[table]}"' in each["sql"]


def test_unknown_group_is_refused():
    with pytest.raises(ValidationError, match="client_app"):
        summarize(parse({}, NOW, UTC), ALL, ["client"])


@pytest.mark.parametrize("zone", [UTC, SHANGHAI, KOLKATA])
def test_days_are_bounded_by_their_own_number(sample, zone):
    filters = parse({}, NOW, zone)
    for groups in (["day"], ["team", "day"], ["status", "day"]):
        count = len(summarize(filters, ALL, groups))
        assert len(summarize(filters, ALL, groups, most=count)) == count
        with pytest.raises(ValidationError, match="too many groups"):
            summarize(filters, ALL, groups, most=count - 1)
