"""Which orders of a short chat are obeyed."""

import time

from bridge.pool.instances.smoke_record import SmokeRecord


def test_order_is_obeyed_once():
    record, ordered_at = SmokeRecord(), time.time() + 1
    assert [record.takes(ordered_at), record.takes(ordered_at), record.takes(ordered_at + 1)] == [True, False, True]


def test_order_from_before_is_over():
    assert not SmokeRecord().takes(1.0)


def test_order_counts_though_a_clock_was_ahead(monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 3600)
    before, record = SmokeRecord(), SmokeRecord()
    assert [before.takes(now - 86_400), before.takes(now)] == [False, True]
    record.succeed(before)
    assert [record.takes(now), record.takes(now + 1)] == [False, True]


def test_successor_obeys_no_order_again():
    before, record, ordered_at = SmokeRecord(), SmokeRecord(), time.time() + 60
    before.takes(ordered_at)
    record.succeed(before)
    assert [record.takes(ordered_at), record.takes(ordered_at + 1)] == [False, True]
