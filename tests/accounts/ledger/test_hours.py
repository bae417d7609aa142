import random
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.db.models import F, Sum

from accounts.ledger import filing, hours
from accounts.ledger.reconcile import reconcile
from accounts.models import AuditEntry, Usage, UsageHour
from accounts.models.hour import BOUNDS_MS
from tests.accounts.ledger.test_ledger import make_key
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 10, 30, 22, tzinfo=UTC)
END = START + timedelta(days=3)
TIMES_MS = [None, 0, 24, 25, 26, 999, 1000, 60_000, 60_001, 3_000_000]


def some_rows(number, keys=(0,), seed=1):
    chance = random.Random(seed)
    for each in range(number):
        status = chance.choice(["ok", "ok", "ok", "error", "cancelled", "refused"])
        yield row(
            f"r{seed}-{each}", status=status, reason=chance.choice(["", "stop", "rpm"]),
            started_at=START.timestamp() + chance.random() * 3 * 86400,
            api_key_id=chance.choice(keys), team_id=chance.choice([None, 7, 8]),
            protocol=chance.choice(["openai", "anthropic"]), lingma_model=chance.choice(["", "a", "b"]),
            instance=chance.choice(["", "w1-i1"]), session=chance.choice(["off", "reused"]),
            usage_source=chance.choice(["upstream", "estimate"]), agent=chance.choice(["", "codex"]),
            count=chance.choice([1, 1, 5]) if status == "refused" else 1,
            queue_ms=chance.choice(TIMES_MS[1:]), total_ms=chance.choice(TIMES_MS[1:]),
            first_token_ms=chance.choice(TIMES_MS),
        )  # fmt: skip


def file(rows, spool):
    filing.file_rows([msgspec.json.encode(each) for each in rows], spool)


def totals():
    return UsageHour.objects.aggregate(**{name: Sum(name, default=0) for name in hours.COLUMNS})


def test_hours_are_the_sums_of_rows(tmp_path):
    rows = list(some_rows(400, [0, make_key("a").pk, make_key("b").pk]))
    file(rows, tmp_path)
    busy = sum(max(0, r.total_ms - r.queue_ms) for r in rows if r.instance and r.status != "refused")
    expected = {
        "turns": sum(r.count for r in rows),
        "prompt_tokens": 10 * len(rows),
        "completion_tokens": 20 * len(rows),
        "busy_ms": busy,
        "queue_ms": sum(r.queue_ms for r in rows),
        "reused": sum(r.session == "reused" for r in rows),
    }
    for histogram in ("first_token", "queue", "total"):
        times = [time for r in rows if (time := getattr(r, f"{histogram}_ms")) is not None]
        counts = Counter(bisect_left(BOUNDS_MS, time) for time in times)
        expected |= {f"{histogram}_{bucket}": counts[bucket] for bucket in range(len(BOUNDS_MS) + 1)}
    assert totals() == expected
    assert hours.wrong_hours(START, END) == set()


@pytest.mark.parametrize("steps", range(1, 6))
def test_row_just_before_an_hour_is_balanced(tmp_path, steps):
    """By so many of the smallest steps that a number of seconds can have; times are stored to the microsecond."""
    end = 1_790_002_800.0
    file([row("one", admitted=True, started_at=end - steps * 2.0**-22)], tmp_path)
    hour = datetime.fromtimestamp(end, UTC)
    assert reconcile(hour - hours.HOUR, hour + hours.HOUR).adds_up
    assert UsageHour.objects.get().hour == hours.hour_of(Usage.objects.get().started_at)


def test_rows_filed_again_add_nothing(tmp_path):
    rows = list(some_rows(200))
    file(rows, tmp_path)
    before = totals()
    file([*rows, *some_rows(200)], tmp_path)
    assert totals() == before


def test_raised_count_adds_its_difference(tmp_path):
    for count in (2, 5, 3, 5, 9):
        file([row("one", status="refused", reason="rpm", count=count, total_ms=7)], tmp_path)
    sums = totals()
    assert (sums["turns"], sums["total_0"], Usage.objects.get().count) == (9, 1, 9)
    assert hours.wrong_hours(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)) == set()


def test_flushes_at_once_count_each_row_once(tmp_path):
    rows = list(some_rows(300))

    def run(_):
        try:
            for start in range(0, 300, 50):
                file(rows[start : start + 50], tmp_path)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(4)))
    assert totals()["turns"] == sum(each.count for each in rows)
    assert hours.wrong_hours(START, END) == set()


@pytest.fixture
def unique_index():
    """Makes the database refuse a second row with the same protocol in a table."""
    made = []

    def make(table):
        made.append(f"only_{table}")
        connection.cursor().execute(f"CREATE UNIQUE INDEX only_{table} ON {table} (protocol)")

    yield make
    for each in made:
        connection.cursor().execute(f"DROP INDEX {each}")


def test_batch_without_sums_leaves_no_rows(tmp_path, unique_index):
    unique_index("accounts_usagehour")
    with pytest.raises(IntegrityError):
        file([row("one"), row("two", status="error")], tmp_path)
    assert (Usage.objects.count(), UsageHour.objects.count()) == (0, 0)


def test_refused_row_is_set_aside_without_sums(tmp_path, unique_index):
    unique_index("accounts_usage")
    file([row("one"), row("two"), row("three", protocol="anthropic")], tmp_path)
    assert set(Usage.objects.values_list("request_id", flat=True)) == {"one", "three"}
    assert totals()["turns"] == 2
    assert b'"two"' in (tmp_path / "rejected.jsonl").read_bytes()


def test_wrong_hours_are_found_and_rebuilt(tmp_path):
    file(some_rows(300), tmp_path)
    before = totals()
    changed, gone = UsageHour.objects.order_by("hour")[0], UsageHour.objects.order_by("hour").last()
    UsageHour.objects.filter(pk=changed.pk).update(total_3=F("total_3") + 1)
    UsageHour.objects.filter(hour=gone.hour).delete()
    wrong = hours.wrong_hours(START, END)
    assert wrong == {changed.hour, gone.hour}
    hours.rebuild(START + timedelta(minutes=59), END - timedelta(minutes=59))
    assert (hours.wrong_hours(START, END), totals()) == (set(), before)


def test_command_rebuilds_whole_days(tmp_path, capsys):
    file(some_rows(100), tmp_path)
    before = totals()
    UsageHour.objects.all().delete()
    call_command("rebuild_usage", "--from", "2026-10-30", "--to", "2026-11-02")
    assert totals() == before
    assert capsys.readouterr().out.startswith("Rebuilt 2026-10-30 to 2026-11-02: ")
    made = AuditEntry.objects.get(object_type="accounts.usagehour")
    assert (made.actor, made.action, made.object_text) == (
        "rebuild_usage", "changed", f"{UsageHour.objects.count()} × hours of usage"
    )  # fmt: skip


@pytest.mark.parametrize("days", [("2026-11-02", "2026-10-30"), ("yesterday", "2026-10-30"), ("9999-12-31",) * 2])
def test_command_refuses_days_that_are_none(days):
    with pytest.raises(CommandError):
        call_command("rebuild_usage", "--from", days[0], "--to", days[1])
