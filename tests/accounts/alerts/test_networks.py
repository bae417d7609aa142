"""Keys that come from a network they did not come from for a month."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from accounts.alerts import networks, raising
from accounts.alerts.networks import network_of
from accounts.alerts.words import KINDS, Kind, sentence
from accounts.ledger.filing import file_rows
from accounts.models import Alert, AuditEntry, KeyNetwork, Team, Usage
from accounts.roles.groups import TEAM_LEAD, VIEWER
from tests.accounts.alerts.statements import once_before
from tests.accounts.roles.people import make_key, user_of
from tests.accounts.rows import row

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 9, 1, 5, 52, tzinfo=UTC)
DAY = timedelta(days=1)


class Worker:
    """Files rows as the worker does; each has an address and a time."""

    def __init__(self, spool):
        self.spool = spool
        self.filed = 0

    def file(self, key, *uses, **fields):
        lines = []
        for address, at in uses:
            self.filed += 1
            turn = row(f"req_{self.filed}", api_key_id=key.pk, client=address, started_at=at.timestamp(), **fields)
            lines.append(msgspec.json.encode(turn))
        assert file_rows(lines, self.spool) == len(uses)


@pytest.fixture
def worker(tmp_path):
    return Worker(tmp_path)


def facts():
    return [alert.facts for alert in Alert.objects.order_by("pk")]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_network_is_a_24_or_a_48(address, network):
    assert network_of(address) == network


def test_second_network_of_a_key_is_an_alert(worker):
    key = make_key("alice")
    worker.file(key, ("10.0.0.1", NOW), ("10.0.0.200", NOW))
    assert facts() == []
    worker.file(key, ("203.0.113.7", NOW + DAY), ("10.0.0.3", NOW + DAY), ("", NOW))
    alert = Alert.objects.get()
    assert (alert.facts, alert.key, alert.began_at) == (["203.0.113.0/24"], key, NOW + DAY)
    worker.file(key, ("203.0.113.9", NOW + 2 * DAY))
    assert Alert.objects.count() == 1
    entry = AuditEntry.objects.get(action="new_network")
    assert (entry.actor, entry.source, entry.object_id) == ("system", "schedule", str(key.pk))
    assert entry.changes == {"last_used_from": [None, "203.0.113.0/24"]}


def test_first_batch_knows_which_use_was_first(worker):
    key = make_key("alice")
    worker.file(key, ("203.0.113.7", NOW + timedelta(seconds=1)), ("10.0.0.1", NOW))
    assert facts() == [["203.0.113.0/24"]]


def test_network_unseen_for_a_month_is_new_again(worker):
    key = make_key("alice")
    worker.file(key, ("10.0.0.1", NOW))
    worker.file(key, ("10.0.0.1", NOW + 30 * DAY))
    assert facts() == []
    worker.file(key, ("10.0.0.1", NOW + 61 * DAY))
    assert facts() == [["10.0.0.0/24"]]
    assert KeyNetwork.objects.get().first_seen == NOW + 61 * DAY


def test_many_networks_in_an_hour_are_one_alert(worker):
    key, other = make_key("alice"), make_key("bob")
    for each in (key, other):
        worker.file(each, ("10.0.0.1", NOW))
    for minute in range(1, 50):
        worker.file(key, (f"203.0.{minute}.1", NOW + timedelta(minutes=minute)))
    worker.file(other, ("203.0.1.1", NOW))
    first, second = Alert.objects.order_by("pk")
    assert (first.count, len(first.facts), first.latest_at) == (49, 20, NOW + timedelta(minutes=49))
    assert sentence(first).startswith("49 new networks since 2026-09-01 05:53 UTC: 203.0.1.0/24, ")
    assert sentence(first).endswith("203.0.20.0/24, 29 more")
    assert second.key == other
    worker.file(key, ("198.51.100.1", NOW + timedelta(minutes=62)))
    assert Alert.objects.count() == 3
    assert AuditEntry.objects.filter(action="new_network").count() == 3


def test_refusals_of_closed_keys_are_no_use(worker):
    key = make_key("alice")
    worker.file(key, ("10.0.0.1", NOW))
    for reason in ("revoked", "quarantined", "network"):
        worker.file(key, ("203.0.113.7", NOW), status="refused", reason=reason)
    assert facts() == []
    worker.file(key, ("203.0.113.7", NOW), status="refused", reason="rpm")
    assert facts() == [["203.0.113.0/24"]]


def test_networks_of_a_key_are_bounded(worker, monkeypatch):
    monkeypatch.setattr(networks, "MOST", 3)
    key = make_key("alice")
    for number in range(6):
        worker.file(key, (f"10.0.{number}.1", NOW + number * DAY))
    assert set(key.networks.values_list("network", flat=True)) == {"10.0.3.0/24", "10.0.4.0/24", "10.0.5.0/24"}


def test_networks_of_an_earlier_version_are_learnt(worker):
    key = make_key("alice")
    worker.file(key, ("10.0.0.1", NOW - DAY), ("10.0.1.1", NOW - 2 * DAY), ("10.0.2.1", NOW - 40 * DAY))
    KeyNetwork.objects.all().delete()
    Alert.objects.all().delete()
    worker.file(key, ("10.0.1.1", NOW), ("10.0.0.9", NOW), ("10.0.2.1", NOW))
    assert facts() == [["10.0.2.0/24"]]
    assert key.networks.count() == 3


def test_busy_key_costs_one_look_a_batch(worker, django_assert_num_queries):
    key = make_key("alice")
    worker.file(key, ("10.0.0.1", NOW), ("10.0.1.1", NOW))
    turns = list(Usage.objects.all())
    with django_assert_num_queries(1):
        networks.note({key.pk: turns})


def open_alert(worker, name="alice", **fields):
    key = make_key(name, **fields)
    now = timezone.now()
    worker.file(key, ("10.0.0.1", now), ("203.0.113.7", now))
    return Alert.objects.latest("pk")


def test_alert_is_shown_until_it_is_acknowledged(worker, admin_client):
    alert = open_alert(worker)
    page = reverse("admin:accounts_apikey_change", args=[alert.key_id])
    words = f"new network 203.0.113.0/24 since {timezone.localtime(alert.began_at):%H:%M %Z}"
    for address in (page, reverse("admin:index")):
        assert words in admin_client.get(address).content.decode()
    answer = admin_client.post(reverse("admin:alert_acknowledge"), {"alert": alert.pk, "back": page})
    assert (answer.status_code, answer.url) == (302, page)
    for address in (page, reverse("admin:index")):
        assert words not in admin_client.get(address).content.decode()
    alert.refresh_from_db()
    assert alert.acknowledged_by == "admin"
    assert AuditEntry.objects.filter(action="acknowledged", object_id=str(alert.key_id)).count() == 1
    assert raising.acknowledge(alert, "other") is False


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_button_leads_nowhere_else(worker, admin_client, back):
    alert = open_alert(worker)
    answer = admin_client.post(reverse("admin:alert_acknowledge"), {"alert": alert.pk, "back": back})
    assert answer.url == reverse("admin:index")


@pytest.mark.parametrize("alert", ["", "x", "9" * 30, "0"])
def test_unknown_alert_is_403(admin_client, alert):
    assert admin_client.post(reverse("admin:alert_acknowledge"), {"alert": alert}).status_code == 403
    assert admin_client.get(reverse("admin:alert_acknowledge")).status_code == 405


def test_alerts_are_for_those_who_handle_the_key(worker, client):
    own, other = (Team.objects.create(name=name) for name in ("own", "other"))
    mine, theirs = open_alert(worker, "mine", team=own), open_alert(worker, "theirs", team=other)
    address = reverse("admin:alert_acknowledge")
    users = {
        "lead": user_of("lead", TEAM_LEAD, teams=[own]), "viewer": user_of("viewer", VIEWER), "staff": user_of("staff"),
        "root": User.objects.create_superuser("root"),
    }  # fmt: skip
    seen = {}
    for name, user in users.items():
        client.force_login(user)
        page = client.get(reverse("admin:index")).content.decode()
        seen[name] = [f"/apikey/{each.key_id}/" in page for each in (mine, theirs)], "Acknowledge" in page
    assert seen == {
        "lead": ([True, False], True), "viewer": ([True, True], False), "staff": ([False, False], False),
        "root": ([True, True], True),
    }  # fmt: skip
    for name, alert, status in (
        ("lead", theirs, 403), ("viewer", mine, 403), ("staff", mine, 403), ("lead", mine, 302),
    ):  # fmt: skip
        client.force_login(users[name])
        assert client.post(address, {"alert": alert.pk}).status_code == status
    assert list(raising.open_alerts()) == [theirs]


def test_alert_without_a_key_has_its_subject(admin_client, monkeypatch):
    monkeypatch.setitem(KINDS, "odd", Kind(lambda alert, since: f"{alert.facts[0]} since {since}", "subject"))
    raising.raise_alert("odd", ["went away"], timezone.now(), subject="w1.0")
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert "<strong>w1.0</strong>: went away since" in page


def test_fact_beside_acknowledgement_is_an_own_alert():
    key = make_key("ada")
    first = raising.raise_alert("new_network", ["203.0.113.0/24"], NOW, key=key)
    with once_before('UPDATE "accounts_alert"', lambda: raising.acknowledge(first, "root")):
        raising.raise_alert("new_network", ["198.51.100.0/24"], NOW, key=key)
    assert [alert.facts for alert in raising.open_alerts()] == [["198.51.100.0/24"]]
