"""Token counts that come later than the row: the row and all sums take them, once, in any order."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.core.management import call_command

from accounts.ledger import amendments, filing, hours, prune, reconcile
from accounts.ledger.row import Amendment, Opening
from accounts.models import AdmittedHour, OpenTurn, Usage, UsageHour, UsageTotal, WaitingAmendment
from tests.accounts.ledger.test_ledger import make_key
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = 1_790_000_000.5


def closed(id_, **fields):
    return row(id_, **{"admitted": True, "usage_source": "estimate"} | fields)


def amended(id_, prompt=495, completion=62, at=BEGAN):
    return Amendment(id_, at, prompt, completion)


def file(spool, *lines):
    return filing.file_rows([msgspec.json.encode(line) for line in lines], spool)


def tokens(id_="one"):
    return Usage.objects.values_list("prompt_tokens", "completion_tokens", "usage_source").get(request_id=id_)


def adds_up():
    everything = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    return reconcile.reconcile(*everything).adds_up


def test_row_takes_late_counts(tmp_path):
    file(tmp_path, closed("one"), closed("two"))
    assert file(tmp_path, amended("one")) == 0
    assert tokens() == (495, 62, "upstream")
    assert tokens("two") == (10, 20, "estimate")
    by_source = UsageHour.objects.values_list("usage_source", "turns", "prompt_tokens", "completion_tokens")
    assert sorted(by_source) == [("estimate", 1, 10, 20), ("upstream", 1, 495, 62)]
    assert set(UsageTotal.objects.values_list("estimated_turns", "prompt_tokens")) == {(1, 505)}
    assert adds_up()


def test_rows_of_sums_are_never_left_empty(tmp_path):
    file(tmp_path, closed("one"))
    file(tmp_path, amended("one", 1, 2))  # fewer than estimated
    assert UsageHour.objects.values_list("usage_source", "turns", "prompt_tokens").get() == ("upstream", 1, 1)
    assert adds_up()


def test_late_counts_are_taken_once(tmp_path):
    file(tmp_path, closed("one"))
    file(tmp_path, amended("one"))
    file(tmp_path, amended("one"), amended("one"), closed("one"))
    file(tmp_path, amended("one", 7, 7))
    assert tokens() == (495, 62, "upstream")
    assert (adds_up(), WaitingAmendment.objects.count()) == (True, 0)


def test_own_counts_of_the_service_stay(tmp_path):
    file(tmp_path, closed("one", usage_source="upstream"))
    file(tmp_path, amended("one"))
    assert tokens() == (10, 20, "upstream")


@pytest.mark.parametrize("together", [True, False])
def test_late_counts_wait_for_their_row(tmp_path, together):
    opening = Opening("w1-a", closed("one", status="open"))
    file(tmp_path, *([opening, amended("one"), closed("one")] if together else [opening, amended("one")]))
    if not together:
        assert (WaitingAmendment.objects.count(), OpenTurn.objects.count()) == (1, 1)
        file(tmp_path, closed("one"))
    assert tokens() == (495, 62, "upstream")
    assert (adds_up(), WaitingAmendment.objects.count()) == (True, 0)


def test_late_counts_of_no_row_are_dropped(tmp_path):
    file(tmp_path, amended("nobody's"))
    WaitingAmendment.objects.update(since=datetime.now(UTC) - amendments.KEPT - timedelta(seconds=1))
    file(tmp_path, amended("another"))
    assert list(WaitingAmendment.objects.values_list("pk", flat=True)) == ["another"]
    assert AdmittedHour.objects.values_list("admitted", "unmatched").get() == (0, 1)
    balance = reconcile.reconcile(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert (balance.adds_up, balance.as_json()["unmatched"]) == (True, 1)


def test_row_that_was_pruned_takes_none(tmp_path):
    file(tmp_path, closed("one"))
    prune.prune(hours.hour_of(datetime.fromtimestamp(BEGAN, UTC)) + hours.HOUR)
    file(tmp_path, amended("one"))
    assert (Usage.objects.count(), UsageHour.objects.count(), adds_up()) == (0, 0, True)


def test_orphaned_row_takes_none_its_successor_does(tmp_path):
    file(tmp_path, closed("one", status="error", reason="orphaned", usage_source=""))
    file(tmp_path, amended("one"))
    assert tokens() == (10, 20, "")
    file(tmp_path, closed("one"))
    assert tokens() == (495, 62, "upstream")
    assert adds_up()


def test_numbers_that_no_column_holds_are_cut(tmp_path):
    file(tmp_path, closed("one"))
    file(tmp_path, amended("one", 2**40, -5))
    assert tokens() == (2**31 - 1, 0, "upstream")


def test_line_that_is_none_is_set_aside(tmp_path):
    assert filing.file_rows([b'{"amends":"one"}'], tmp_path) == 0
    assert (tmp_path / "rejected.jsonl").exists()


@pytest.mark.parametrize("seed", range(6))
def test_order_of_late_counts_changes_nothing(tmp_path, seed):
    """Rows, openings and late counts in any order, some twice, in batches of any size."""
    chance, lines, key = random.Random(seed), [], make_key("a").pk
    for number in range(80):
        fields = {"api_key_id": chance.choice([0, key]), "session": chance.choice(["", "reused"])}
        fields |= {"started_at": BEGAN + 900 * number, "status": chance.choice(["ok", "error", "cancelled"])}
        turn = closed(f"r{number}", **fields)
        lines += [turn] * chance.choice([1, 1, 2])
        lines += [Opening("w1-a", closed(f"r{number}", **fields | {"status": "open"}))] * chance.choice([0, 1])
        if number < 50:
            lines += [amended(f"r{number}", number, number + 1, turn.started_at)] * chance.choice([1, 1, 2])
    chance.shuffle(lines)
    while lines:
        size = chance.randint(1, 30)
        file(tmp_path, *lines[:size])
        del lines[:size]
    counts = {id_: (prompt, source) for id_, prompt, source in
              Usage.objects.values_list("request_id", "prompt_tokens", "usage_source")}  # fmt: skip
    assert counts == {f"r{n}": (n, "upstream") if n < 50 else (10, "estimate") for n in range(80)}
    assert (adds_up(), WaitingAmendment.objects.count(), OpenTurn.objects.count()) == (True, 0, 0)
    stored = hours.sums_of_hours(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)).by_dimensions
    call_command("rebuild_usage", "--from", "2026-01-01", "--to", "2027-01-01")
    rebuilt = hours.sums_of_hours(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)).by_dimensions
    assert stored == rebuilt
