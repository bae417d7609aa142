from datetime import UTC, datetime, timedelta

import pytest

from accounts.ledger import day_sums, days, hours, prune
from accounts.ledger.day_column import Column
from accounts.ledger.reconcile import reconcile
from accounts.models import Usage, UsageDay
from accounts.tasks import sum_days
from tests.accounts.ledger.test_hours import END, START, file, some_rows
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)
NOW = END + timedelta(days=1)
DAYS = {datetime(2026, 10, 30, tzinfo=UTC) + timedelta(days=number) for number in range(4)}


@pytest.fixture
def filed(tmp_path):
    file(list(some_rows(600)), tmp_path)


def ready():
    return set(UsageDay.objects.filter(name="", ready=True).values_list("day", flat=True))


def stored():
    return sorted(UsageDay.objects.exclude(name="").values_list("day", "name", "data"))


def test_finished_days_get_sums(filed):
    assert days.make_missing(datetime(2026, 11, 1, 1, 59, tzinfo=UTC)) == 1
    assert ready() == {datetime(2026, 10, 30, tzinfo=UTC)}
    assert days.make_missing(NOW) == 3
    assert ready() == DAYS
    assert days.make_missing(NOW) == 0
    assert days.wrong(START, END) == set()


def test_columns_have_each_row(filed):
    days.make_missing(NOW)
    for day in DAYS:
        rows = Usage.objects.filter(started_at__gte=day, started_at__lt=day + days.DAY).order_by("started_at", "pk")
        for name in (*days.IDS, *days.TEXTS, "count", "prompt_tokens"):
            assert unpacked(day, name) == list(rows.values_list(name, flat=True))
        assert unpacked(day, days.AT) == [(row.started_at - day) // timedelta(microseconds=1) for row in rows]


def unpacked(day, name):
    column = Column.unpacked(UsageDay.objects.get(day=day, name=name).data)
    numbers = memoryview(column.numbers).cast({1: "B", 2: "H", 4: "I", 8: "Q"}[column.size]).tolist()
    return numbers if column.values is None else [column.values[place] for place in numbers]


def test_sums_are_of_all_rows(filed):
    days.make_missing(NOW)
    for day in DAYS:
        rows = Usage.objects.filter(started_at__gte=day, started_at__lt=day + days.DAY)
        stored = {name: day_sums.unpacked(UsageDay.objects.get(day=day, name=name).data) for name in day_sums.SUMS}
        assert {sum(sums[day_sums.ROWS].read()) for sums in stored.values()} == {rows.count()}
        for sums in (stored[name] for name in day_sums.SUMS.keys() - day_sums.COUNTED_ONLY):
            for column in ("count", "prompt_tokens", "completion_tokens"):
                assert sum(sums[column].read()) == sum(rows.values_list(column, flat=True))
        caller = stored[day_sums.BY_CALLER]
        seen = {caller["api_key_id"].values[place] for place in caller["api_key_id"].read()}
        assert seen == set(rows.values_list("api_key_id", flat=True))


def test_days_without_mark_are_made_anew(filed):
    days.make_missing(NOW)
    whole = stored()
    UsageDay.objects.filter(day=min(DAYS), name__in=day_sums.SUMS).delete()
    UsageDay.objects.filter(day=min(DAYS), name="").update(data=b"")
    assert days.wrong(START, END) == set()
    assert days.make_missing(NOW) == 1
    assert stored() == whole


@pytest.mark.parametrize("change", ["new", "count", "rebuilt"])
def test_changed_rows_drop_their_day_alone(filed, tmp_path, change):
    refused = {"status": "refused", "reason": "rpm", "started_at": datetime(2026, 10, 31, 5, tzinfo=UTC).timestamp()}
    if change == "count":
        file([row("flood", count=2, **refused)], tmp_path)
    days.make_missing(NOW)
    if change == "rebuilt":
        hours.rebuild(datetime(2026, 10, 31, 5, tzinfo=UTC), datetime(2026, 10, 31, 6, tzinfo=UTC))
    else:
        file([row("flood", count=9, **refused)], tmp_path)
    assert ready() == DAYS - {datetime(2026, 10, 31, tzinfo=UTC)}
    days.make_missing(NOW)
    assert ready() == DAYS
    assert days.wrong(START, END) == set()


def test_rows_filed_again_drop_nothing(filed, tmp_path):
    days.make_missing(NOW)
    file(list(some_rows(600)), tmp_path)
    assert ready() == DAYS


def test_late_row_wins_over_its_day(filed, tmp_path, monkeypatch):
    day, snapshot = datetime(2026, 10, 31, tzinfo=UTC), days.snapshot

    def late():
        monkeypatch.setattr(days, "snapshot", snapshot)
        file([row("late", started_at=day.timestamp() + 60)], tmp_path)
        return snapshot()

    monkeypatch.setattr(days, "snapshot", late)
    assert not days.make(day)
    assert not UsageDay.objects.exists()
    assert days.make(day)
    assert days.wrong(START, END) == set()


def test_wrong_sums_are_found_and_rebuilt(filed):
    days.make_missing(NOW)
    before = stored()
    each = UsageDay.objects.filter(name="model").earliest("day")
    UsageDay.objects.filter(pk=each.pk).update(data=Column(1, b"\0", ["m"]).packed())
    assert days.wrong(START, END) == {each.day}
    assert each.day in reconcile(START, END).wrong_days
    hours.rebuild(each.day, each.day + timedelta(days=1))
    days.make_missing(NOW)
    assert stored() == before


def test_pruned_days_go(filed):
    days.make_missing(NOW)
    prune.prune(START + timedelta(hours=30))
    assert ready() == {datetime(2026, 11, 2, tzinfo=UTC)}
    days.make_missing(NOW)
    assert days.wrong(START - timedelta(days=2), END) == set()


def test_words_of_clients_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(days, "MOST_VALUES", 100)
    at = START.timestamp()
    file([row(f"m{number}", model=f"m{number % 102}", started_at=at) for number in range(300)], tmp_path)
    days.make_missing(NOW)
    column = Column.unpacked(UsageDay.objects.filter(name="model").earliest("day").data)
    assert column.values == [f"m{number}" for number in range(100)]
    assert not column.whole


def test_task_makes_the_sums_of_days(tmp_path):
    file([row("old", started_at=(datetime.now(UTC) - timedelta(days=3)).timestamp())], tmp_path)
    assert sum_days() in (2, 3)  # within two hours of midnight the day before is left
    assert len(ready()) >= 2
