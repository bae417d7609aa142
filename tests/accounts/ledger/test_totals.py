from datetime import timedelta

import pytest

from accounts.ledger import hours, prune, totals
from accounts.ledger.reconcile import reconcile
from accounts.models import UsageHour
from accounts.models.total import UsageTotal
from tests.accounts.ledger.test_hours import END, START, file, some_rows
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)


def stored():
    rows = UsageTotal.objects.order_by("digest").values_list("digest", *totals.NAMES, *totals.COLUMNS)
    return list(rows)


def wrong():
    return totals.wrong_days(START, END + timedelta(days=1))


@pytest.fixture
def filed(tmp_path):
    """In three batches, so that totals are added to."""
    rows = list(some_rows(600))
    for start in (0, 200, 400):
        file(rows[start : start + 200], tmp_path)


def test_totals_are_the_sums_of_hours(filed):
    assert {row[1] for row in stored()} == {"hour", "key", "kind"}
    assert wrong() == set()


def test_each_level_has_all_turns(filed):
    turns = sum(UsageHour.objects.values_list("turns", flat=True))
    for level in UsageTotal.Level.values:
        assert sum(UsageTotal.objects.filter(level=level).values_list("turns", flat=True)) == turns


def test_rebuilt_totals_are_the_same(filed):
    before = stored()
    hours.rebuild(START + timedelta(hours=5), START + timedelta(hours=30))
    assert stored() == before


def test_wrong_totals_are_found_and_rebuilt(filed):
    total = UsageTotal.objects.filter(level="key").first()
    UsageTotal.objects.filter(pk=total.pk).update(turns=total.turns + 1)
    assert wrong() == {total.period}
    assert total.period in reconcile(START, END).wrong_days
    hours.rebuild(total.period, total.period + timedelta(days=1))
    assert wrong() == set()


def test_pruned_hours_leave_their_days(filed):
    prune.prune(START + timedelta(hours=20))
    assert UsageHour.objects.exists()
    assert wrong() == set()
    assert totals.wrong_days(START - timedelta(days=2), END) == set()


def test_pruned_day_keeps_totals_of_later_hours(tmp_path):
    file([row("later", started_at=(START + timedelta(hours=8)).timestamp())], tmp_path)
    before = stored()
    prune.prune(START + timedelta(hours=5))
    assert stored() == before != []


def test_pruning_mends_what_an_ended_run_left(filed):
    before = START + timedelta(hours=20)
    UsageHour.objects.filter(hour__lt=before).delete()
    assert wrong()
    prune.prune(before)
    assert wrong() == set()


def test_hours_of_older_version_get_totals(filed):
    before = stored()
    UsageTotal.objects.all().delete()
    hours.build_missing_totals()
    assert stored() == before
    hours.build_missing_totals()
    assert stored() == before
