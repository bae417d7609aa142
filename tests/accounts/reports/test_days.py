"""Sums over finished days are those of the rows, whichever way they are read."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.ledger import day_sums, days
from accounts.models import Usage, UsageDay
from accounts.reports import days as reports_days
from accounts.reports.filters import COLUMNS, parse
from accounts.reports.period import Span
from accounts.reports.summary import latest, summarize, total
from accounts.reports.visibility import Visibility
from tests.accounts.reports.sample import COLUMN, NOW, left_by, make, sums_of, without
from tests.accounts.reports.test_summary import told, turns_by

pytestmark = pytest.mark.django_db
ALL = Visibility(everything=True)
ZONES = [UTC, ZoneInfo("Asia/Shanghai"), ZoneInfo("Asia/Kolkata")]
NAMES = list(COLUMNS)
MIDNIGHT = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample(shared_rows):
    rows = make()
    days.make_missing(NOW)
    return rows


def queries(random_, rows):
    """Up to four filters with one or two values, over a span that begins and ends within days, or with them."""
    given = {
        name: [
            str(getattr(random_.choice(rows), COLUMN.get(name, name)) or "none") for _ in range(random_.randrange(1, 3))
        ]
        for name in random_.sample(NAMES, random_.randrange(5))
    }
    start = random_.choice([NOW - timedelta(days=2, minutes=random_.randrange(2_000)), MIDNIGHT - timedelta(days=1)])
    end = random_.choice([NOW - timedelta(minutes=random_.randrange(900)), MIDNIGHT + timedelta(days=1), None])
    return given | {key: [at.isoformat()] for key, at in (("from", start), ("to", end)) if at}


@pytest.mark.parametrize("seed", range(30))
def test_sums_are_those_of_the_rows(sample, seed, django_assert_max_num_queries):
    random_ = random.Random(seed)
    given, zone = without(queries(random_, sample), random_), random_.choice(ZONES)
    filters = parse(given, NOW, zone)
    left = left_by(given, filters, sample)
    assert told(total(filters, ALL)) == sums_of(left)
    with django_assert_max_num_queries(5):
        callers = summarize(filters, ALL, ["team", "key"], histograms=False)
    assert {group: sums.turns for group, sums in callers.items()} == turns_by(left, "team_id", "api_key_id")
    kinds = summarize(filters, ALL, ["reason", "lingma_model"], histograms=False)
    assert {group: sums.turns for group, sums in kinds.items()} == turns_by(left, "reason", "lingma_model")
    for by, group_of in (
        ("hour", lambda row: row.started_at.replace(minute=0, second=0, microsecond=0)),
        ("day", lambda row: row.started_at.astimezone(zone).date()),
    ):
        expected = {}
        for row in left:
            expected.setdefault((group_of(row),), []).append(row)
        found = summarize(filters, ALL, [by])
        assert {group: told(sums) for group, sums in found.items()} == {
            group: sums_of(those) for group, those in expected.items()
        }


@pytest.mark.parametrize("given", [{}, {"status": ["ok", "refused"], "session": ["!new"]}])
def test_sums_of_many_groups_are_those_of_few(sample, monkeypatch, given):
    filters = parse(given, NOW, UTC)
    groups = ["key", "reason", "hour"]
    few = summarize(filters, ALL, groups)
    monkeypatch.setattr("accounts.reports.columns.SPARSE", -(10**9))
    monkeypatch.setattr("accounts.reports.columns.PENDING", 10)
    # Days are added up one by one.
    monkeypatch.setattr("accounts.reports.day_tables.MOST_WAITING", 10)
    assert summarize(filters, ALL, groups) == few


@pytest.mark.parametrize("given", [{"model": ["org_auto"]}, {"outcome": ["failed"]}, {"status": ["ok", "error"]}])
@pytest.mark.parametrize(("groups", "histograms"), [(["hour"], True), (["team", "key"], False), ([], True)])
def test_finished_days_are_all_that_is_read(sample, given, groups, histograms, django_assert_max_num_queries):
    whole = {"from": [(MIDNIGHT - timedelta(days=1)).isoformat()], "to": [(MIDNIGHT + timedelta(days=1)).isoformat()]}
    # Which days there are, and for the first page what is in them.
    for queries in (2, 1):
        with django_assert_max_num_queries(queries) as asked:
            assert summarize(parse(whole | given, NOW, UTC), ALL, groups, histograms)
        assert {'FROM "accounts_usageday"' in each["sql"] for each in asked} == {True}


TABLES = [(["hour"], True), (["day"], True), (["status", "reason"], False), (["team", "key"], False),
          (["lingma_model", "client_app", "reason"], False), ([], True)]  # fmt: skip
FEW = [{}, {"status": ["ok"]}, {"status": ["!ok"], "source": ["partial", "estimate", "none"]}, {"outcome": ["failed"]}]


@pytest.mark.parametrize("given", FEW)
@pytest.mark.parametrize(("groups", "histograms"), TABLES)
def test_sums_of_days_spare_their_rows(sample, given, groups, histograms, django_assert_max_num_queries):
    span = {"from": [(MIDNIGHT - timedelta(days=2)).isoformat()], "to": [(MIDNIGHT + timedelta(days=1)).isoformat()]}
    filters = parse(span | given, NOW, ZONES[1])
    with django_assert_max_num_queries(2):
        found = summarize(filters, ALL, groups, histograms)
    UsageDay.objects.exclude(name__in=day_sums.SUMS).exclude(name="").delete()
    with django_assert_max_num_queries(1):
        assert found
        assert summarize(filters, ALL, groups, histograms) == found
    UsageDay.objects.all().delete()
    assert summarize(filters, ALL, groups, histograms) == found


@pytest.mark.parametrize("outcome", ["failed", "turned_away"])
def test_outcome_goes_with_other_filters(sample, outcome):
    filters = parse({"outcome": [outcome], "session": ["new", "none"], "team": ["Ads", "none"]}, NOW, UTC)
    left = [row for row in getattr(Usage.objects, outcome)() if row.session in ("new", "")]
    left = [row for row in left if row.team is None or row.team.name == "Ads"]
    assert told(total(filters, ALL)) == sums_of(left)
    assert left


@pytest.mark.parametrize("seed", range(30))
def test_latest_rows_are_found_in_the_columns(sample, seed):
    random_ = random.Random(seed)
    given = without(queries(random_, sample), random_)
    filters = parse(given, NOW, random_.choice(ZONES))
    if seed % 3 == 0:
        UsageDay.drop([NOW - timedelta(days=random_.randrange(4))])
    left = sorted(left_by(given, filters, sample), key=lambda row: (row.started_at, row.pk), reverse=True)
    for most in (1, 51, 2_000):
        assert latest(filters, ALL, most) == left[:most]


@pytest.mark.parametrize("given", [{"model": ["nothing"]}, {"model": ["gpt-5"], "reason": ["rpm"]}])
def test_finished_days_are_walked_by_no_filter(sample, given, django_assert_max_num_queries):
    """What is not there costs no look at the rows of a month."""
    whole = {"from": [(MIDNIGHT - timedelta(days=1)).isoformat()], "to": [(MIDNIGHT + timedelta(days=1)).isoformat()]}
    with django_assert_max_num_queries(3) as asked:
        latest(parse(whole | given, NOW, UTC), ALL, 51)
    assert not [
        each["sql"] for each in asked if 'FROM "accounts_usage"' in each["sql"] and 'started_at" IN' not in each["sql"]
    ]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it reads the plan of SQLite")
def test_columns_are_found_by_the_day(sample, django_assert_num_queries):
    with django_assert_num_queries(1) as asked:
        list(reports_days._stored(Span(NOW - timedelta(days=2), None), ["by_hour"], ["end", "status"]))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked[0]['sql']}")
        plan = [row[-1] for row in cursor.fetchall()]
    assert [step.partition(" USING ")[0] for step in plan] == ["SEARCH accounts_usageday"]


def test_day_that_changes_is_read_from_its_rows(sample):
    given = {"session": ["new"]}
    before = told(total(parse(given, NOW, UTC), ALL))
    UsageDay.drop([MIDNIGHT])
    assert told(total(parse(given, NOW, UTC), ALL)) == before


def test_value_without_sums_is_read_from_the_rows(sample, monkeypatch):
    monkeypatch.setattr(days, "MOST_VALUES", 2)
    UsageDay.objects.all().delete()
    days.make_missing(NOW)
    for value in Usage.objects.order_by().values_list("model", flat=True).distinct():
        for given in ({"model": [value, "gpt-5"]}, {"model": [f"!{value}"]}):
            filters = parse(given, NOW, UTC)
            assert told(total(filters, ALL)) == sums_of(left_by(given, filters, sample))


def test_members_see_sums_of_their_teams_only(sample):
    own = next(row.team_id for row in sample if row.team_id)
    given = {"status": ["ok"]}
    filters = parse(given, NOW, UTC)
    left = [row for row in left_by(given, filters, sample) if row.team_id == own]
    assert told(total(filters, Visibility(everything=False, teams=frozenset([own])))) == sums_of(left)


@pytest.mark.parametrize("given", [{"status": ["ok"]}, {"session": ["new"]}])
def test_groups_beyond_the_bound_are_refused(sample, given):
    filters = parse(given, NOW, UTC)
    count = len(summarize(filters, ALL, ["team", "key"], histograms=False))
    assert len(summarize(filters, ALL, ["team", "key"], histograms=False, most=count)) == count
    with pytest.raises(ValidationError, match="too many groups"):
        summarize(filters, ALL, ["team", "key"], histograms=False, most=count - 1)
