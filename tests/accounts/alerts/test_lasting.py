"""Alerts about states: they begin once, end by themselves, and do not flap."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.alerts import lasting, words
from accounts.alerts.lasting import MOST_MEMBERS, Member, observe, settle
from accounts.alerts.raising import MOST_FACTS, acknowledge, open_alerts
from accounts.alerts.words import Kind
from accounts.models import Alert, Observation
from tests.accounts.alerts.statements import once_before

NOW = datetime(2026, 9, 1, 5, 52, tzinfo=UTC)
KIND = Kind(lambda alert, since: f"{words.listed(alert)} since {since}", begins_after=60, ends_after=30)


@pytest.fixture
def look(monkeypatch):
    """`look(seconds, *names)`: what a look finds so long after the first one."""
    monkeypatch.setitem(words.KINDS, "unwell", KIND)
    return lambda seconds, *names: observe("unwell", {"": names}, NOW + timedelta(seconds=seconds))


def facts():
    return [(alert.facts, alert.ended_at is None) for alert in Alert.objects.order_by("pk")]


def test_state_has_to_last():
    now, members = 1000.0, {}
    for seconds, is_part in ((0, False), (59, False), (60, True), (600, True)):
        members = settle(members, {"i1"}, now + seconds, KIND)
        assert members["i1"].confirmed is is_part
    assert settle({"i1": Member(now, False)}, set(), now + 30, KIND) == {}


@pytest.mark.parametrize("pace", [5, 15, 29])
def test_flapping_neither_begins_nor_ends(pace):
    members = {}
    for second in range(0, 3600, pace):
        members = settle(members, {"i1"} if second // pace % 2 else set(), second, KIND)
        assert not any(each.confirmed for each in members.values())
    members = {"i1": Member(0.0, True)}
    for second in range(0, 3600, pace):
        members = settle(members, {"i1"} if second // pace % 2 else set(), second, KIND)
        assert members["i1"].confirmed


def test_clock_set_back_holds_up_no_state():
    members, day = {"i1": Member(0.0, True)}, 86_400.0
    members = settle(members, {"i2"}, day, KIND)
    assert members == {"i1": Member(0.0, True, day), "i2": Member(day, False)}
    for seconds in (0.0, 30.0, 60.0):
        members = settle(members, {"i2"}, seconds, KIND)
    assert members == {"i2": Member(0.0, True)}


@pytest.mark.django_db
def test_alert_begins_once_and_ends_by_itself(look):
    for seconds in range(0, 300, 15):
        look(seconds, "i1")
    assert facts() == [(["i1"], True)]
    assert Alert.objects.get().began_at == NOW
    look(300)
    assert facts() == [(["i1"], True)]
    look(330)
    assert facts() == [(["i1"], False)]
    assert not open_alerts().exists()
    assert not Observation.objects.exists()
    look(400, "i1")
    look(460, "i1")
    assert facts() == [(["i1"], False), (["i1"], True)]


@pytest.mark.django_db
def test_instances_in_one_state_are_one_alert(look):
    names = [f"i{number:02}" for number in range(39)]
    look(0, *names)
    look(60, *names)
    alert = Alert.objects.get()
    assert (alert.count, alert.facts) == (39, names[:MOST_FACTS])
    assert words.listed(alert).endswith("i19, 19 more")
    look(75, *names[:2])
    look(105, *names[:2])
    alert.refresh_from_db()
    assert (alert.count, alert.facts, alert.ended_at) == (2, names[:2], None)


@pytest.mark.django_db
def test_acknowledged_alert_is_open_again_for_others(look):
    look(0, "i1")
    look(60, "i1")
    acknowledge(Alert.objects.get(), "root")
    look(75, "i1", "i2")
    assert not open_alerts().exists()
    look(135, "i1", "i2")
    assert [alert.facts for alert in open_alerts()] == [["i1", "i2"]]


@pytest.mark.django_db
def test_acknowledgement_outlives_a_look_beside_it(look):
    look(0, "i1", "i2")
    look(60, "i1", "i2")
    look(75, "i1")
    alert = Alert.objects.get()
    with once_before('UPDATE "accounts_alert"', lambda: acknowledge(alert, "root")):
        look(105, "i1")
    alert.refresh_from_db()
    assert (alert.facts, alert.acknowledged_by) == (["i1"], "root")


@pytest.mark.django_db
def test_subjects_are_alerts_of_their_own(monkeypatch):
    monkeypatch.setitem(words.KINDS, "unwell", KIND._replace(begins_after=0))
    observe("unwell", {"a": ["i1"], "b": ["i2", "i3"]}, NOW)
    assert list(Alert.objects.order_by("subject").values_list("subject", "facts")) == [
        ("a", ["i1"]), ("b", ["i2", "i3"]),
    ]  # fmt: skip


@pytest.mark.django_db
def test_lasting_alert_is_there_once(look):
    look(0, "i1")
    look(60, "i1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(kind="unwell", lasts=True)
    # Another process sees what this one has not written yet: it gives way.
    Observation.objects.all().delete()
    lasting.observe("unwell", {"": ["i1"]}, NOW)
    assert Alert.objects.count() == 1


def test_names_of_an_alert_are_bounded():
    assert len(settle({}, {str(number) for number in range(2 * MOST_MEMBERS)}, 0.0, KIND)) == MOST_MEMBERS
