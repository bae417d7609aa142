"""The ledger adds up, and what does not is found."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F

from accounts.ledger import days, hours, totals
from accounts.ledger.auditor import EVERY_SEC, Auditor
from accounts.ledger.day_column import Column
from accounts.ledger.filing import file_rows
from accounts.ledger.prune import oldest_kept, prune
from accounts.ledger.reconcile import reconcile
from accounts.models import AdmittedHour, AuditEntry, OpenTurn, Usage, UsageDay, UsageHour
from accounts.models.total import UsageTotal
from gateway_project.lib import degraded
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC)
START, END = NOW - timedelta(days=500), NOW + timedelta(days=1)


def opening(request_id, ago):
    began = row(request_id, status="open", admitted=True, started_at=(NOW - ago).timestamp())
    return b'{"opened_by":"w1-a","row":' + msgspec.json.encode(began) + b"}"


def closing(request_id, ago, **fields):
    return msgspec.json.encode(row(request_id, admitted=True, started_at=(NOW - ago).timestamp(), **fields))


@pytest.fixture
def filed(tmp_path):
    """Ten turns, two of them open, one orphaned, and a refusal, over three days."""
    lines = [msgspec.json.encode(row("refused", status="refused", count=9, started_at=NOW.timestamp()))]
    for number in range(10):
        ago = timedelta(hours=7 * number, minutes=1)
        lines.append(opening(f"r{number}", ago))
        if number == 2:
            lines.append(closing(f"r{number}", ago, status="error", reason="orphaned"))
        elif number not in (3, 4):
            lines.append(closing(f"r{number}", ago))
    file_rows(lines, tmp_path)


def balance():
    return reconcile(START, END)


def test_admitted_is_closed_and_open_and_orphaned(filed):
    found = balance()
    assert (found.admitted, found.closed, found.open, found.orphaned, found.unopened) == (10, 7, 2, 1, 0)
    assert (found.difference, found.adds_up) == (0, True)


def test_command_prints_the_balance(filed, capsys):
    call_command("reconcile_usage")
    call_command("reconcile_usage", "--json")
    text, found = capsys.readouterr().out.splitlines()
    assert text.startswith("The ledger adds up: admitted 10 = closed 7 + open 2 + orphaned 1")
    assert json.loads(found) | {"adds_up": True, "admitted": 10, "difference": 0} == json.loads(found)


def lose_row():
    Usage.objects.filter(request_id="r0").delete()


def lose_open_turn():
    OpenTurn.objects.filter(request_id="r3").delete()


def invent_row():
    turn = Usage.objects.get(request_id="r9")
    turn.pk, turn.request_id = None, "invented"
    turn.save(force_insert=True)


def change_sum():
    UsageHour.objects.filter(turns=9).update(completion_tokens=F("completion_tokens") + 1)


def change_count():
    AdmittedHour.objects.filter(hour=hours.hour_of(NOW - timedelta(hours=14, minutes=1))).update(admitted=0)


@pytest.mark.parametrize("harm", [lose_row, lose_open_turn, invent_row, change_sum, change_count])
def test_sums_that_do_not_add_up_are_found(filed, capsys, harm):
    harm()
    with pytest.raises(SystemExit) as exit_:
        call_command("reconcile_usage", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (exit_.value.code, found["adds_up"]) == (1, False)
    assert len({*found["unbalanced_hours"], *found["wrong_sums"]}) == 1
    assert found["wrong_days"] == []


def test_two_faults_do_not_cancel_out(filed):
    lose_row()
    invent_row()
    assert (balance().difference, len(balance().unbalanced_hours)) == (0, 2)


def test_snapshot_has_no_row_filed_meanwhile(filed, tmp_path):
    """A row that is filed between two looks is in both or in none."""
    with hours.snapshot():
        before = Usage.objects.count()
        asyncio.run(asyncio.to_thread(file_elsewhere, [closing("later", timedelta(0))], tmp_path))
        assert Usage.objects.count() == before
    assert Usage.objects.count() == before + 1
    assert balance().adds_up


def file_elsewhere(lines, spool):
    try:
        file_rows(lines, spool)
    finally:
        connection.close()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def check():
    """Has an auditor look so many times; whether it finds the ledger wrong."""
    clock = Clock()
    auditors = {days: Auditor(days, clock) for days in (2, 400)}

    def check(times=1, days=400):
        for _ in range(times):
            clock.now += EVERY_SEC * 100
            auditors[days].check()
        return degraded.is_on("ledger")

    yield check
    degraded.end("ledger")


def test_auditor_reports_until_it_is_right(filed, check, caplog):
    assert not check(8)
    change_sum()
    assert check(8)
    assert "1 hour (" in caplog.text
    hours.rebuild(START, END)
    assert not check(8)


def test_auditor_finds_old_faults_in_turn(filed, check):
    Usage.objects.filter(request_id="r9").delete()
    found = [check() for _ in range(4)]
    # Of three days before today, or of two.
    assert found in ([False, False, True, True], [False, False, False, True])


def test_fault_of_pruned_day_ends(check, tmp_path):
    old, new = timedelta(hours=46), timedelta(hours=20)
    file_rows([closing("old", old), closing("new", new)], tmp_path)
    AdmittedHour.objects.filter(hour=hours.hour_of(NOW - old)).update(admitted=2)
    assert check(8, days=2)
    prune(oldest_kept(NOW, 2) + timedelta(hours=4))
    assert not check(8, days=2)


def test_fault_of_oldest_day_stays(check, tmp_path):
    ago = NOW - oldest_kept(NOW, 2) - timedelta(minutes=90)
    file_rows([closing("old", ago), closing("new", timedelta(hours=20))], tmp_path)
    AdmittedHour.objects.filter(hour=hours.hour_of(NOW - ago)).update(admitted=2)
    assert check(8, days=2)
    assert all(check(days=2) for _ in range(8))


def test_fault_ends_with_its_empty_day(filed, check, tmp_path):
    file_rows([closing("older", timedelta(days=20))], tmp_path)
    hour = AdmittedHour.objects.create(hour=hours.hour_of(NOW - timedelta(days=10)), admitted=1)
    assert check(8)
    hour.delete()
    assert not check(8)


def change_total():
    total = UsageTotal.objects.filter(level="key").earliest("period")
    UsageTotal.objects.filter(pk=total.pk).update(turns=F("turns") + 1)
    return total.period


def change_column():
    column = UsageDay.objects.filter(name="model").earliest("day")
    UsageDay.objects.filter(pk=column.pk).update(data=Column(1, b"\0", ["m"]).packed())
    return column.day


@pytest.mark.parametrize("harm", [change_total, change_column])
def test_auditor_finds_wrong_finished_day(filed, check, caplog, harm):
    days.make_missing(NOW)
    assert not check(8)
    day = harm()
    assert check(8)
    assert f"totals or columns of 1 day ({day:%Y-%m-%d})" in caplog.text
    hours.rebuild(START, END)
    assert not check(8)


def test_auditor_leaves_day_that_is_pruned(filed, check, tmp_path):
    """Rows, hours and totals of it do not go in one transaction."""
    first = oldest_kept(NOW, 2)
    file_rows([closing("first", NOW - first - timedelta(minutes=30))], tmp_path)
    UsageTotal.objects.filter(period=totals.day_of(first)).delete()
    assert not check(8, days=2)
    assert check(8)


def test_prune_keeps_what_is_left_in_balance(filed, capsys, settings):
    before = oldest_kept(NOW, 1)
    settings.USAGE_RETENTION_DAYS = 1
    call_command("prune_usage")
    assert not Usage.objects.filter(started_at__lt=before).exists()
    assert not UsageHour.objects.filter(hour__lt=before).exists()
    assert (Usage.objects.count(), balance().adds_up) == (4, True)
    assert capsys.readouterr().out.startswith("Deleted 5 usage rows and 5 sums of hours, from before ")


def test_prune_goes_on_where_time_was_over(filed, monkeypatch):
    monkeypatch.setattr("accounts.ledger.prune.BATCH", 2)
    monkeypatch.setattr("accounts.ledger.prune.PAUSE_SEC", 0.2)
    before = oldest_kept(NOW, 1)
    assert prune(before, within=0.1) == (2, 0)
    assert prune(before) == (3, 5)
    assert prune(before) == (0, 0)
    # A row of the audit log for each time that something went.
    deleted = AuditEntry.objects.filter(object_type="accounts.usage").order_by("pk")
    assert [(each.action, each.object_text) for each in deleted] == [("deleted", "2 × usage"), ("deleted", "3 × usage")]


def test_sums_of_older_versions_are_made(filed):
    before = list(UsageHour.objects.order_by("digest").values("digest", *hours.COLUMNS))
    UsageHour.objects.filter(hour__lt=NOW - timedelta(days=1)).delete()
    hours.after_migrate()
    assert list(UsageHour.objects.order_by("digest").values("digest", *hours.COLUMNS)) == before
    UsageHour.objects.all().delete()
    hours.after_migrate()
    assert list(UsageHour.objects.order_by("digest").values("digest", *hours.COLUMNS)) == before
