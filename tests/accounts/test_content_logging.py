"""Who switches content logging on, who is told, who reads what is kept, and who deletes it."""

import re
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from accounts.api.tokens import issue
from accounts.content.outbox import sealed
from accounts.content.turn_content import MadeCall, Picture, Piece, StoredMessage, TurnContent
from accounts.keys.reader import caller_of
from accounts.models import AuditEntry, Usage, UsageContent
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.api.conftest import Program

pytestmark = pytest.mark.django_db
DIGITS = "0123456789abcdef" * 2
ID = f"req_{DIGITS}"
ROLES = ("superuser", "operator", "viewer", "lead", "member")
BANNER = "What this key sends and receives is kept for 7 days."
CONTENT = TurnContent(
    [
        StoredMessage("system", "Be brief."),
        StoredMessage("user", "What is <b>this</b>?", [Picture("image/png", 1234), Picture()]),
        StoredMessage("assistant", calls=[MadeCall("call_1", "read", '{"path": "a"}')]),
        StoredMessage("tool", "content of a", answers="call_1"),
        StoredMessage("gap", left_out=12),
    ],
    ["read", "list"],
    [Piece("thinking", "Hm."), Piece("text", "A tag."), Piece("gap", left_out=1234), Piece("call", "{}", "list")],
)


@pytest.fixture
def kept(people):
    """A turn of a key of team a, with its content."""
    key, at = people.key_a, timezone.now()
    type(key).objects.filter(pk=key.pk).update(content_logging=True)
    Usage.objects.create(
        request_id=ID, api_key=key, team=key.team, protocol="openai", endpoint="/v1/chat/completions", model="m",
        stream=True, status="ok", queue_ms=0, total_ms=10, prompt_tokens=1, completion_tokens=1, started_at=at,
    )  # fmt: skip
    return UsageContent.objects.create(request_id=ID, api_key=key, started_at=at, content=Secret.of(b""))


@pytest.fixture
def explained(client, people, kept):
    """The text of the page that explains the turn, for one of these roles."""
    kept.content = Secret(sealed(CONTENT))
    kept.save()

    def explained(role, method="get"):
        answer = getattr(people.client(client, role), method)(f"/usage/r/{DIGITS}")
        assert answer.status_code == 200
        return answer.content.decode()

    return explained


def change_page(key):
    return reverse("admin:accounts_apikey_change", args=[key.pk])


def saved(client, key, **fields):
    form = client.get(change_page(key)).context["adminform"].form
    initial = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    data = {name: value for name, value in initial.items() if value not in (None, False)}
    return client.post(change_page(key), data | fields)


def program(people, role):
    return Program(issue(people.users[role], None, ()))


@pytest.mark.parametrize("role", ["superuser", "operator"])
def test_operators_switch_it_on_audited(client, people, role):
    key = people.key_a
    assert saved(people.client(client, role), key, content_logging="on").status_code == 302
    key.refresh_from_db()
    assert key.content_logging
    assert caller_of(key).content_logging
    entry = AuditEntry.objects.filter(object_type="accounts.apikey", actor=role).latest("at")
    assert entry.changes["content_logging"] == ["false", "true"]


def test_lead_switches_nothing_on(client, people):
    key = people.key_a
    page = people.client(client, "lead")
    assert "content_logging" not in page.get(change_page(key)).context["adminform"].form.fields
    saved(page, key, content_logging="on")
    answer = program(people, "lead")("PATCH", f"keys/{key.pk}/", {"content_logging": True})
    assert (answer.status_code, answer.data["errors"]["content_logging"]) == (400, ["Only operators change this."])
    answer = program(people, "lead")("POST", "keys/", {"name": "new", "team": "team-a", "content_logging": True})
    assert answer.status_code == 400
    key.refresh_from_db()
    assert not key.content_logging


@pytest.mark.parametrize(("role", "status"), [("operator", 200), ("lead", 403), ("viewer", 403)])
def test_api_deletes_what_is_kept(people, kept, role, status):
    answer = program(people, role)("DELETE", f"keys/{people.key_a.pk}/contents/")
    assert answer.status_code == status
    assert UsageContent.objects.exists() is (status != 200)
    if status == 200:
        assert answer.data == {"deleted": 1}
        assert AuditEntry.objects.filter(action="deleted", object_type="accounts.usagecontent").exists()


def test_api_switches_it_on_and_off(people):
    for value in (True, False):
        answer = program(people, "operator")("PATCH", f"keys/{people.key_a.pk}/", {"content_logging": value})
        assert (answer.status_code, answer.data["content_logging"]) == (200, value)


def test_content_logging_is_refused_without_retention(client, people, settings):
    settings.CONTENT_RETENTION_DAYS = 0
    answer = program(people, "operator")("PATCH", f"keys/{people.key_a.pk}/", {"content_logging": True})
    assert answer.data["errors"] == {"content_logging": ["CONTENT_RETENTION_DAYS is 0, so no contents are kept."]}
    answer = saved(people.client(client, "operator"), people.key_a, content_logging="on")
    assert set(answer.context["adminform"].form.errors) == {"content_logging"}


def test_key_that_had_it_may_be_changed(client, people, kept, settings):
    settings.CONTENT_RETENTION_DAYS = 0
    key = people.key_a
    key.refresh_from_db()
    assert not caller_of(key).content_logging
    assert BANNER not in people.client(client, "operator").get(change_page(key)).content.decode()
    assert program(people, "operator")("PATCH", f"keys/{key.pk}/", {"name": "renamed"}).status_code == 200


@pytest.mark.parametrize("role", ["operator", "lead"])
def test_page_of_key_has_the_banner(client, people, kept, role):
    page = people.client(client, role)
    assert BANNER in page.get(change_page(people.key_a)).content.decode()
    if role == "operator":
        assert BANNER not in page.get(change_page(people.key_b)).content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_explained_request_has_the_banner(explained, role):
    assert BANNER in explained(role)


def test_superuser_reads_content_audited(explained):
    text = explained("superuser")
    assert "What is &lt;b&gt;this&lt;/b&gt;?" in text
    found = re.findall(r"<h4>(.*?)</h4>", text)
    assert found == [
        "System", "User", "Call of read", "Result of a tool", "12 messages left out",
        "Thinking", "Answer", "1,234 characters left out", "Call of list",
    ]  # fmt: skip
    assert "An image: image/png, 1,234 bytes" in text
    assert "<code>read</code>, <code>list</code>" in text
    entry = AuditEntry.objects.get(action="viewed")
    assert (entry.actor, entry.object_type, entry.object_id) == ("superuser", "accounts.usagecontent", ID)
    assert entry.object_text.startswith(f"{ID}: key-team-a")
    explained("superuser")
    assert AuditEntry.objects.filter(action="viewed").count() == 2


def test_content_stays_in_no_cache(client, people, explained):
    assert people.client(client, "superuser").get(f"/usage/r/{DIGITS}")["Cache-Control"] == "no-store"


@pytest.mark.parametrize("role", ROLES[1:])
def test_shipped_roles_read_no_content(explained, role):
    text = explained(role)
    assert "A tag." not in text
    assert 'aria-labelledby="content"' not in text
    assert not AuditEntry.objects.filter(action="viewed").exists()


def test_right_by_name_ends_with_teams(explained, people, client, kept):
    right = Permission.objects.get(codename="view_content")
    for role in ("lead", "staff"):
        people.users[role].user_permissions.add(right)
    assert "A tag." in explained("lead")
    # A stranger to the team does not even learn that there is such a request.
    assert people.client(client, "staff").get(f"/usage/r/{DIGITS}").status_code == 404


def test_head_shows_nothing_and_records_nothing(explained):
    assert explained("superuser", "head") == ""
    assert not AuditEntry.objects.filter(action="viewed").exists()


def test_wrong_key_is_told_on_the_page(explained, settings):
    settings.SECRET_KEYS = ["a key of another installation"]
    text = explained("superuser")
    assert "not among SECRET_KEYS" in text
    assert not AuditEntry.objects.filter(action="viewed").exists()


def test_damaged_content_is_told_on_the_page(client, people, kept):
    kept.content = Secret.of(b"no content")
    kept.save()
    text = people.client(client, "superuser").get(f"/usage/r/{DIGITS}").content.decode()
    assert "It is damaged and cannot be read." in text


def test_content_too_old_is_shown_no_more(explained, kept):
    UsageContent.objects.update(started_at=timezone.now() - timedelta(days=8))
    text = explained("superuser")
    assert "A tag." not in text
    assert "Nothing is kept of this request" in text


def test_content_stands_nowhere_else(explained, people, client):
    page = people.client(client, "superuser")
    usage = Usage.objects.get()
    places = (
        "/usage/", "/usage/rows/", "/usage/export.csv", "/usage/export.json", "/api/usage/", change_page(people.key_a),
        reverse("admin:accounts_usage_changelist"), reverse("admin:accounts_usage_change", args=[usage.pk]),
    )  # fmt: skip
    for place in places:
        answer = page.get(place)
        text = async_to_sync(streamed)(answer) if answer.streaming else answer.content
        assert text
        assert b"A tag." not in text, place
    assert "A tag." not in str(AuditEntry.objects.all().values())


async def streamed(answer):
    return b"".join([part async for part in answer])


def delete_page(key):
    return reverse("admin:accounts_apikey_delete_contents", args=[key.pk])


@pytest.mark.parametrize("role", ["superuser", "operator"])
def test_operators_delete_what_is_kept(client, people, kept, role):
    page, key = people.client(client, role), people.key_a
    type(key).objects.filter(pk=key.pk).revoke()
    assert delete_page(key) in page.get(change_page(key)).content.decode()
    assert "1 turn " in page.get(delete_page(key)).content.decode()
    assert UsageContent.objects.count() == 1
    assert page.post(delete_page(key)).status_code == 302
    assert UsageContent.objects.count() == 0
    assert Usage.objects.count() == 1
    entry = AuditEntry.objects.get(action="deleted")
    assert (entry.actor, entry.object_text.startswith("1 × logged contents: key-team-a")) == (role, True)
    assert delete_page(key) not in page.get(change_page(key)).content.decode()


@pytest.mark.parametrize("role", ["lead", "viewer", "staff"])
def test_other_roles_delete_no_content(client, people, kept, role):
    page, key = people.client(client, role), people.key_a
    if role != "staff":
        assert delete_page(key) not in page.get(change_page(key)).content.decode()
    assert page.post(delete_page(key)).status_code == 403
    assert UsageContent.objects.count() == 1
