"""`/api/alert-channels/`."""

import json

import pytest
from django.contrib.auth.models import Group, User

from accounts.models import AlertChannel, AuditEntry
from tests.accounts.alerts.receivers import receiving
from tests.accounts.api.conftest import program_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
HOOK = {"name": "ops", "address": "https://hook.example/s3cret-path", "secret": "signs"}


def test_channel_lives_from_creation_to_end(api):
    made = api("POST", "alert-channels/", HOOK | {"least": "critical", "alert_kinds": ["redis_away"]})
    assert made.status_code == 201
    assert made.data.items() >= {"name": "ops", "kind": "webhook", "least": "critical", "has_secret": True}.items()
    path = f"alert-channels/{made.data['id']}/"
    assert api("GET", path).data == made.data
    assert api("GET", "alert-channels/?kind=webhook").data["results"] == [made.data]
    AlertChannel.objects.update(failures=3)
    changed = api("PATCH", path, {"enabled": False, "secret": ""}).data
    assert (changed["enabled"], changed["has_secret"], changed["failures"]) == (False, False, 0)
    assert AlertChannel.objects.get().address.read() == HOOK["address"].encode()
    assert api("DELETE", path).status_code == 204


def test_address_and_secret_are_never_read(api):
    made = api("POST", "alert-channels/", HOOK, Idempotency_Key="k")
    told = [made, api("GET", "alert-channels/"), api("GET", "audit/"), api("POST", "alert-channels/", HOOK)]
    assert {field for each in told for field in ("s3cret-path", "signs") if field in str(each.data)} == set()
    assert AuditEntry.objects.filter(object_type="accounts.alertchannel").count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "ftp://x"}, "address"), ({"kind": "feishu"}, "address"), ({"least": "odd"}, "least"),
        ({"kind": "email", "address": "a@example.com"}, "kind"), ({"alert_kinds": ["odd"]}, "alert_kinds"),
        ({"least": []}, "least"), ({"name": ""}, "name"), ({"language": "xx"}, "language"),
    ],
)  # fmt: skip
def test_flaw_of_a_channel_is_named(api, change, field):
    path = f"alert-channels/{api('POST', 'alert-channels/', HOOK).data['id']}/"
    answer = api("PATCH", path, change)
    assert (answer.status_code, list(answer.data["errors"])) == (400, [field])
    answer = api("POST", "alert-channels/", {"name": "none"})
    assert list(answer.data["errors"]) == ["address"]


def test_test_is_sent_and_says_why_not(api, settings):
    settings.ALERT_OPTIONS = settings.ALERT_OPTIONS | {"private_webhooks": True}
    with receiving() as receiver:
        path = f"alert-channels/{api('POST', 'alert-channels/', HOOK | {'address': receiver.url}).data['id']}/"
        assert api("POST", f"{path}test/").data == {"ok": True, "error": ""}
        assert [json.loads(body)["alerts"] for _, _, body in receiver.got] == [[{"event": "test"}]]
        receiver.answer = (500, {}, b"")
        failed = api("POST", f"{path}test/").data
    assert (failed["ok"], "500" in failed["error"]) == (False, True)
    assert api("GET", path).data["last_result"] == failed["error"]


def test_permissions_are_those_of_the_console(api, viewer, lead, member):
    path = f"alert-channels/{api('POST', 'alert-channels/', HOOK).data['id']}/"
    assert viewer("GET", path).status_code == 200
    assert [viewer(*call).status_code for call in (("PATCH", path, {}), ("POST", f"{path}test/"))] == [403, 403]
    assert [program("GET", path).status_code for program in (lead, member)] == [403, 403]
    operator = User.objects.create_user("olga", is_staff=True)
    operator.groups.add(Group.objects.get(name="Operator"))
    assert program_of(operator)("PATCH", path, {"enabled": False}).status_code == 200
    assert program_of(operator, scopes=["alerts"])("GET", path).status_code == 403
    assert program_of(operator, scopes=["alert-channels", "read"])("POST", f"{path}test/").status_code == 403
