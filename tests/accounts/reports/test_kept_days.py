"""What pages have read of finished days is used again, and never after it has changed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from accounts.ledger import days
from accounts.ledger.day_column import narrow
from accounts.models import Usage, UsageDay
from accounts.reports.filters import parse
from accounts.reports.kept_days import KeptDays, KeptJoins, Making
from accounts.reports.summary import total
from accounts.reports.visibility import Visibility
from tests.accounts.ledger.test_hours import END, file, some_rows

pytestmark = pytest.mark.django_db(transaction=True)
NOW = END + timedelta(days=2)
DAY = datetime(2026, 10, 31, tzinfo=UTC)
SPAN = {"from": ["2026-10-30"], "to": ["2026-11-02"]}
ALL = Visibility(everything=True)
FIRST, SECOND = Making(1, b"a"), Making(1, b"b")


@pytest.fixture
def filed(tmp_path):
    file(list(some_rows(400)), tmp_path)
    days.make_missing(NOW)


def elsewhere(what, is_made):
    """Change DAY in another process, with the database of this test."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        url = f"sqlite:///{name}"
    else:
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    command = [sys.executable, "-m", "tests.accounts.reports.day_changer", DAY.isoformat(), what, is_made]
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


GIVEN = [{"session": ["reused"]}, {"status": ["ok", "error"]}]
"""What is read from the columns, and from sums."""


def figures(given):
    """Turns, tokens and reused sessions; and how many queries read columns."""
    with CaptureQueriesContext(connection) as asked:
        found = total(parse(SPAN | given, NOW, UTC), ALL)
    sums = found.turns, found.prompt_tokens, found.completion_tokens, found.sessions_reused
    return sums, sum("IN ('', " in each["sql"] for each in asked)


def of_rows(condition):
    rows = list(Usage.objects.filter(condition))
    turns = sum(row.count for row in rows)
    tokens = [sum(getattr(row, name) for row in rows) for name in ("prompt_tokens", "completion_tokens")]
    return turns, *tokens, sum(row.session == "reused" for row in rows)


@pytest.mark.parametrize("what", ["late", "changed"])
@pytest.mark.parametrize("is_made", ["dropped", "made"])
def test_page_follows_what_another_process_changes(filed, what, is_made):
    conditions = [Q(**{f"{name}__in": values for name, values in given.items()}) for given in GIVEN]
    before = [figures(given)[0] for given in GIVEN]
    assert [figures(given) for given in GIVEN] == [(each, 0) for each in before]
    assert before == [of_rows(each) for each in conditions]
    elsewhere(what, is_made)
    after = [of_rows(each) for each in conditions]
    assert after != before
    assert [figures(given) for given in GIVEN] == [(each, is_made == "made") for each in after]
    assert [figures(given) for given in GIVEN] == [(each, 0) for each in after]


def test_makings_of_one_number_are_told_apart(filed):
    """The numbers of a transaction that was rolled back come again."""
    given = {"session": ["reused"]}
    figures(given)
    marker = UsageDay.objects.get(day=DAY, name="")
    Usage.objects.filter(started_at__date=DAY.date()).update(session="reused")
    UsageDay.drop([DAY])
    days.make_missing(NOW)
    UsageDay.objects.filter(day=DAY, name="").update(id=marker.pk)
    assert figures(given)[0] == of_rows(Q(session="reused"))


def test_days_without_a_mark_are_not_kept(filed):
    """An earlier version has made them."""
    UsageDay.objects.filter(name="").update(data=b"")
    given = {"session": ["reused"]}
    assert [figures(given) for _ in range(2)] == [(of_rows(Q(session="reused")), 1)] * 2


def column(size):
    return {"x": narrow([1] * size)}


def test_first_days_make_room_for_later_ones():
    kept = KeptDays(10_000)
    others = [DAY + timedelta(days=number) for number in range(1, 4)]
    for day in (*others, DAY):
        kept.put(day, FIRST, ["x"], {"x": column(3_000)})
    assert kept.get(DAY, FIRST, ["x"]) is None
    assert [kept.get(day, FIRST, ["x"]) for day in others] == [{"x": column(3_000)}] * 3
    kept.put(others[2], FIRST, ["y"], {"y": column(3_000)})
    assert [kept.get(day, FIRST, ["x"]) is not None for day in others] == [False, True, True]


def test_day_larger_than_the_room_is_not_kept():
    kept = KeptDays(1_000)
    kept.put(DAY, FIRST, ["x"], {"x": column(2_000)})
    assert kept.get(DAY, FIRST, ["x"]) is None
    kept.put(DAY, FIRST, ["x"], {"x": column(500)})
    assert kept.get(DAY, FIRST, ["x"]) == {"x": column(500)}


def test_another_making_takes_the_place():
    kept = KeptDays(10_000)
    for number in range(20):
        kept.put(DAY, SECOND if number % 2 else FIRST, ["x", "y"], {"x": column(3_000)})
    assert kept.get(DAY, FIRST, ["x"]) is None
    assert kept.get(DAY, SECOND, ["x", "y"]) == {"x": column(3_000)}
    assert kept.get(DAY, SECOND, ["x", "z"]) is None


def test_threads_keep_within_the_room():
    kept = KeptDays(50_000)

    def page(number):
        day = DAY + timedelta(days=number % 13)
        making = (FIRST, SECOND)[number % 2]
        kept.put(day, making, ["x"], {"x": column(number % 7_000)})
        found = kept.get(day, making, ["x"])
        return found is None or len(found["x"]["x"].numbers) < 7_000

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(page, range(4_000)))
    sizes = [
        len(found["x"]["x"].numbers)
        for day in range(13)
        for making in (FIRST, SECOND)
        if (found := kept.get(DAY + timedelta(days=day), making, ["x"]))
    ]
    assert 0 < sum(sizes) <= 50_000


def some_days(number, size):
    return [(DAY + timedelta(days=each), column(size)) for each in range(number)]


def test_joins_are_of_these_very_days():
    kept, those = KeptJoins(1 << 20), some_days(3, 100)
    kept.put("by_hour", those, column(300))
    assert kept.get("by_hour", those) == column(300)
    for others in (those[1:], those[:2], [*those[:2], (those[2][0], column(100))], some_days(4, 100)):
        assert kept.get("by_hour", others) is None
    assert kept.get("by_kind", those) is None


def test_joins_that_are_used_make_no_room():
    kept, spans = KeptJoins(10_000), [some_days(number, 500) for number in (1, 2, 3)]
    kept.put("by_hour", spans[0], column(2_000))
    kept.put("by_hour", spans[1], column(2_000))
    assert kept.get("by_hour", spans[0])
    kept.put("by_hour", spans[2], column(2_000))
    assert [kept.get("by_hour", each) is not None for each in spans] == [True, False, True]
    kept.put("by_kind", some_days(1, 500), column(20_000))
    assert [kept.get("by_hour", each) for each in spans] == [None] * 3


def test_join_of_changed_days_takes_the_place():
    kept = KeptJoins(10_000)
    for _ in range(20):
        those = some_days(2, 1_000)
        kept.put("by_hour", those, column(3_000))
        assert kept.get("by_hour", those) == column(3_000)
