"""Alerts on their way to channels."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.alerts import words
from accounts.alerts.lasting import observe
from accounts.alerts.notices import LONGEST_PAUSE_SEC, NoticeOptions, deliver, send_test
from accounts.alerts.post import PostOptions
from accounts.alerts.words import Kind, Severity
from accounts.models import Alert, AlertChannel, AlertNotice, AuditEntry
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.alerts.receivers import receiving
from tests.accounts.alerts.statements import once_before
from tests.accounts.roles.people import user_of

pytestmark = pytest.mark.django_db
OPTIONS = NoticeOptions(PostOptions(private=True, seconds=60), "gateway@example.com")
NOW = timezone.now()
UNWELL = Kind(lambda alert, since: f"{words.listed(alert)} unwell", name="unwell", severity=Severity.CRITICAL)


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    monkeypatch.setitem(words.KINDS, "unwell", UNWELL)
    monkeypatch.setitem(words.KINDS, "odd", UNWELL._replace(severity=Severity.INFO, name="odd"))


@pytest.fixture
def channel(receiver):
    return channel_to(receiver)


def channel_to(receiver, name="ops", **fields):
    return AlertChannel.objects.create(name=name, address=Secret.of(receiver.url.encode()), **fields)


def sent(receiver):
    return [[(each["event"], each["kind"], each["text"]) for each in json.loads(body)["alerts"]]
            for _, _, body in receiver.got]  # fmt: skip


def test_beginning_and_end_are_told_once(receiver, channel):
    for seen in ({"": ["i1"]}, {"": ["i1"]}, {}, {}):
        observe("unwell", seen, NOW)
        deliver(OPTIONS, NOW)
    text = "unwell: i1 unwell"
    assert sent(receiver) == [[("began", "unwell", text)], [("ended", "unwell", text)]]
    channel.refresh_from_db()
    assert (channel.last_result, channel.last_tried_at > NOW, AlertNotice.objects.count()) == ("", True, 0)


def test_many_alerts_are_one_message(receiver, channel):
    observe("unwell", {f"s{number:02}": ["i1"] for number in range(60)}, NOW)
    assert deliver(OPTIONS, NOW) == 1
    assert [len(alerts) for alerts in sent(receiver)] == [50]
    assert AlertNotice.objects.count() == 0


def test_channel_is_told_what_it_is_for(receiver):
    channel_to(receiver, "all", least=0)
    channel_to(receiver, "one", least=0, alert_kinds=["odd"])
    channel_to(receiver, "off", least=0, enabled=False)
    channel_to(receiver, "bad")
    for kind in ("unwell", "odd"):
        observe(kind, {"": ["i1"]}, NOW)
    found = AlertNotice.objects.values_list("channel__name", "alert__kind")
    assert sorted(found) == [("all", "odd"), ("all", "unwell"), ("bad", "unwell"), ("one", "odd")]


def test_pauses_between_tries_grow_to_a_bound(receiver, channel):
    receiver.answer = (500, {}, b"")
    observe("unwell", {"": ["i1"]}, NOW)
    now, pauses = NOW, []
    for _ in range(9):
        assert deliver(OPTIONS, now) == 1
        channel.refresh_from_db()
        assert channel.last_result == "status 500"
        assert deliver(OPTIONS, channel.retry_at - timedelta(seconds=1)) == 0
        pauses.append((channel.retry_at - channel.last_tried_at).total_seconds())
        now = channel.retry_at
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, LONGEST_PAUSE_SEC, LONGEST_PAUSE_SEC]
    receiver.answer = (200, {}, b"")
    deliver(OPTIONS, now)
    channel.refresh_from_db()
    assert (channel.failures, channel.retry_at, AlertNotice.objects.count()) == (0, None, 0)


def test_pause_begins_with_the_try(receiver):
    """And not with the round, in which another channel may take its time."""
    receiver.answer = (500, {}, b"")
    for name in ("c1", "c2"):
        channel_to(receiver, name)
    observe("unwell", {"": ["i1"]}, NOW)
    assert deliver(OPTIONS, NOW) == 2
    first, second = AlertChannel.objects.order_by("last_tried_at")
    assert NOW < first.last_tried_at < second.last_tried_at
    assert all(each.retry_at - each.last_tried_at == timedelta(seconds=30) for each in (first, second))


def test_notice_goes_after_a_day(receiver, channel):
    receiver.answer = (500, {}, b"")
    observe("unwell", {"": ["i1"]}, NOW)
    deliver(OPTIONS, NOW)
    assert deliver(OPTIONS, timezone.now() + timedelta(days=2)) == 0
    assert AlertNotice.objects.count() == 0


def test_one_process_sends(receiver, channel):
    observe("unwell", {"": ["i1"]}, NOW)
    AlertChannel.objects.update(claimed_until=NOW + timedelta(seconds=60))
    assert deliver(OPTIONS, NOW) == 0
    assert deliver(OPTIONS, NOW + timedelta(seconds=61)) == 1


@pytest.mark.parametrize("column", ["retry_at", "claimed_until"])
def test_clock_set_back_holds_up_no_channel(receiver, channel, column):
    observe("unwell", {"": ["i1"]}, NOW)
    AlertChannel.objects.update(**{column: NOW + timedelta(days=1)})
    assert deliver(OPTIONS, NOW) == 1


@pytest.mark.parametrize(("status", "failures"), [(200, 0), (500, 1)])
def test_channel_served_meanwhile_is_left_alone(receiver, status, failures):
    """Another process delivers between the look for channels and the claim of the first."""
    receiver.answer = (status, {}, b"")
    for name in ("c1", "c2"):
        channel_to(receiver, name)
    observe("unwell", {"": ["i1"]}, NOW)
    with once_before('UPDATE "accounts_alertchannel"', lambda: deliver(OPTIONS, NOW)):
        assert deliver(OPTIONS, NOW) == 0
    assert [len(alerts) for alerts in sent(receiver)] == [1, 1]
    assert set(AlertChannel.objects.values_list("failures", "claimed_until")) == {(failures, None)}


def test_channel_changed_meanwhile_is_tried_as_it_is(receiver, channel):
    old = Secret.of(b"http://127.0.0.1:1/")
    AlertChannel.objects.update(address=old)
    observe("unwell", {"": ["i1"]}, NOW)
    new = Secret.of(receiver.url.encode())
    with once_before('UPDATE "accounts_alertchannel"', lambda: AlertChannel.objects.update(address=new)):
        assert deliver(OPTIONS, NOW) == 1
    assert len(receiver.got) == 1


def test_channel_whose_alerts_are_gone_gets_nothing(receiver, channel):
    observe("unwell", {"": ["i1"]}, NOW)
    with once_before('SELECT "accounts_alertnotice"', Alert.objects.all().delete):
        assert deliver(OPTIONS, NOW) == 0
    assert receiver.got == []
    channel.refresh_from_db()
    assert (channel.claimed_until, channel.last_tried_at) == (None, None)


def test_message_is_in_the_language_of_the_channel(receiver):
    channel_to(receiver, kind="feishu", language="zh-hans", secret=Secret.of(b"demo"))
    observe("worker_away", {"": ["gateway"]}, NOW - timedelta(seconds=60))
    observe("worker_away", {"": ["gateway"]}, NOW)
    deliver(OPTIONS, NOW)
    body = json.loads(receiver.got[0][2])
    assert "后台进程" in body["content"]["text"]
    assert body.keys() == {"timestamp", "sign", "msg_type", "content"}


def test_mail_has_all_alerts(mailoutbox):
    AlertChannel.objects.create(name="mail", kind="email", address=Secret.of(b"a@example.com, b@example.com"))
    observe("unwell", {"": ["i1"]}, NOW)
    deliver(OPTIONS, NOW)
    (letter,) = mailoutbox
    assert (letter.to, letter.from_email) == (["a@example.com", "b@example.com"], "gateway@example.com")
    assert "i1 unwell" in letter.body
    deliver(OPTIONS._replace(sender=""), NOW)
    assert len(mailoutbox) == 1


def test_mail_of_a_channel_with_lines_is_sent(mailoutbox):
    channel = AlertChannel.objects.create(name="on\ncall", kind="email", address=Secret.of(b"a@example.com"))
    assert send_test(channel, OPTIONS, NOW) == ""
    assert mailoutbox[0].subject.endswith("alert channel on call")


def test_address_that_no_letter_takes_stops_nobody(receiver, mailoutbox):
    # As the form takes it: one label of a host name is too long as ASCII.
    AlertChannel.objects.create(name="mail", kind="email", address=Secret.of(f"a@{'ü' * 60}.de".encode()))
    channel_to(receiver)
    observe("unwell", {"": ["i1"]}, NOW)
    deliver(OPTIONS, NOW)
    assert len(sent(receiver)) == 1
    mail = AlertChannel.objects.get(name="mail")
    assert (mail.failures, mailoutbox) == (1, [])
    assert "too long" in send_test(mail, OPTIONS, NOW)


def test_mail_without_a_server_says_so():
    AlertChannel.objects.create(name="mail", kind="email", address=Secret.of(b"a@example.com"))
    observe("unwell", {"": ["i1"]}, NOW)
    deliver(OPTIONS._replace(sender=""), NOW)
    assert AlertChannel.objects.get().last_result == "EMAIL_HOST is not set"


def test_private_receiver_is_refused_by_default(receiver, channel):
    observe("unwell", {"": ["i1"]}, NOW)
    deliver(NoticeOptions(), NOW)
    channel.refresh_from_db()
    assert "private address" in channel.last_result
    assert receiver.got == []


def test_channel_is_made_and_tried_in_the_console(admin_client, receiver, settings):
    settings.ALERT_OPTIONS = {**settings.ALERT_OPTIONS, "private_webhooks": True}
    form = {"name": "ops", "kind": "webhook", "least": "1", "language": "en", "enabled": "on",
            "new_address": f"{receiver.url}/x?token=hidden", "new_secret": "signing-secret"}  # fmt: skip
    assert admin_client.post(reverse("admin:accounts_alertchannel_add"), form).status_code == 302
    channel = AlertChannel.objects.get()
    admin_client.post(reverse("admin:accounts_alertchannel_change", args=[channel.pk]), form | {"new_address": ""})
    channel.refresh_from_db()
    assert channel.address.read().decode() == f"{receiver.url}/x?token=hidden"
    address = f"/admin/accounts/alertchannel/{channel.pk}/test/"
    assert "this is a test" in admin_client.get(address).content.decode()
    assert receiver.got == []
    page = admin_client.post(address, follow=True).content.decode()
    assert "The test was taken by the receiver." in page
    assert "token=hidden" not in page
    assert "signing-secret" not in page
    assert len(receiver.got) == 1
    logged = str(list(AuditEntry.objects.filter(object_type="accounts.alertchannel").values_list("changes", flat=True)))
    assert "token=hidden" not in logged
    assert "ops" in logged


@pytest.mark.parametrize("address", ["", "ftp://a.example", "not a URL"])
def test_odd_channel_is_refused(admin_client, address):
    form = {"name": "ops", "kind": "webhook", "least": "1", "language": "en", "new_address": address}
    assert admin_client.post(reverse("admin:accounts_alertchannel_add"), form).status_code == 200
    assert not AlertChannel.objects.exists()


def test_alert_list_has_those_that_are_over(admin_client):
    observe("unwell", {"": ["i1"]}, NOW)
    observe("unwell", {}, NOW)
    observe("odd", {"": ["i2"]}, NOW)
    for query, found in (("", [True, True]), ("?state=open", [False, True]), ("?severity=CRITICAL", [True, False])):
        page = admin_client.get(reverse("admin:accounts_alert_changelist") + query).content.decode()
        assert ["i1 unwell" in page, "i2 unwell" in page] == found
    admin_client.post(
        reverse("admin:accounts_alert_changelist"),
        {"action": "acknowledge_selected", "_selected_action": [Alert.objects.get(kind="odd").pk]},
    )
    assert Alert.objects.get(kind="odd").acknowledged_by == "admin"


@pytest.mark.parametrize(("permissions", "offered"), [(["view_apikey"], False), (["change_apikey"], True)])
def test_reader_is_not_offered_to_acknowledge(client, permissions, offered):
    observe("odd", {"": ["i2"]}, NOW)
    client.force_login(user_of("colleague", permissions=permissions))
    page = client.get(reverse("admin:accounts_alert_changelist")).content.decode()
    assert ("i2 unwell" in page, "acknowledge_selected" in page) == (True, offered)


def test_channel_that_nobody_has_gets_no_test(admin_client):
    answer = admin_client.get("/admin/accounts/alertchannel/abc/test/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/accounts/alertchannel/")
