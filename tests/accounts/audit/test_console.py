"""The audit log's pages, and one row for each change in the console."""

import csv
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.db import connection
from django.forms import MultiWidget
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.audit import export
from accounts.audit.context import acting, unrecorded
from accounts.audit.entries import record
from accounts.audit.words import kinds
from accounts.models import ApiKey, AuditEntry, Team
from bridge.models import ModelAlias
from tests.accounts.audit.rows import new_rows
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db

LOG = reverse("admin:accounts_auditentry_changelist")
EXPORT = reverse("admin:accounts_auditentry_export")


def fields_of(client, page):
    """What the page's form would send."""
    form = client.get(page).context["adminform"].form
    sent = {}
    for name, field in form.fields.items():
        value = field.prepare_value(form.get_initial_for_field(field, name))
        if isinstance(field.widget, MultiWidget):
            parts = field.widget.decompress(value)
            sent |= {f"{name}_{number}": part for number, part in enumerate(parts) if part is not None}
        elif value is not None and value is not False:
            sent[name] = value
    return sent


def save(client, page, **fields):
    answer = client.post(page, fields_of(client, page) | fields)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    return answer


def page_of(instance, page="change"):
    return reverse(f"admin:{instance._meta.app_label}_{instance._meta.model_name}_{page}", args=[instance.pk])


def texts(rows):
    return [(row.action, row.object_type.partition(".")[2], row.object_text) for row in rows]


def test_team_with_members_is_one_row(admin_client):
    ann = User.objects.create_user("ann")
    page = reverse("admin:accounts_team_add")
    with new_rows() as rows:
        save(admin_client, page, name="Ads", members=[ann.pk])
    assert texts(rows) == [("created", "team", "Ads")]
    assert rows[0].changes == {"name": [None, "Ads"], "members": ["", "ann"]}
    assert (rows[0].actor, rows[0].source, rows[0].address) == ("admin", "console", "127.0.0.1")
    team = Team.objects.get()
    with new_rows() as rows:
        save(admin_client, page_of(team))
    assert rows == []
    with new_rows() as rows:
        save(admin_client, page_of(team), rpm=5, members=[])
    assert [row.changes for row in rows] == [{"rpm": ["0", "5"], "members": ["ann", ""]}]
    with new_rows() as rows:
        admin_client.post(page_of(team, "delete"), {"post": "yes"})
    assert texts(rows) == [("deleted", "team", "Ads")]


def test_key_is_one_row_for_each_thing_done(admin_client):
    with new_rows() as rows:
        admin_client.post(reverse("admin:accounts_apikey_add"), {"name": "alice", "rpm": 0, "tpm": 0, "concurrency": 0})
    key = ApiKey.objects.get()
    assert texts(rows) == [("created", "apikey", str(key))]
    with new_rows() as rows:
        save(admin_client, page_of(key), name="bob")
    assert [row.changes for row in rows] == [{"name": ["alice", "bob"]}]


def test_bulk_revocation_is_a_row_a_key(admin_client):
    keys = [make_key(name) for name in "abc"]
    revoke = {"action": "revoke_selected", "_selected_action": [key.pk for key in keys], "confirmed": "1"}
    with new_rows() as rows:
        admin_client.post(reverse("admin:accounts_apikey_changelist"), revoke)
        admin_client.post(reverse("admin:accounts_apikey_changelist"), revoke)
    assert sorted(texts(rows)) == sorted(("revoked", "apikey", str(key)) for key in keys)


def test_users_and_groups_are_one_row(admin_client):
    password = {"password1": "a-long-enough-1", "password2": "a-long-enough-1", "usable_password": "true"}
    with new_rows() as rows:
        admin_client.post(reverse("admin:auth_user_add"), {"username": "ann"} | password)
    assert texts(rows) == [("created", "user", "ann")]
    ann, group = User.objects.get(username="ann"), Group.objects.create(name="helpers")
    with new_rows() as rows:
        save(admin_client, page_of(ann), groups=[group.pk], email="ann@example.com")
    assert [row.changes for row in rows] == [{"email": ["", "ann@example.com"], "groups": ["", "helpers"]}]
    with new_rows() as rows:
        admin_client.post(reverse("admin:auth_user_password_change", args=[ann.pk]), password)
    assert [row.changes for row in rows] == [{"password": ["***", "***"]}]
    with new_rows() as rows:
        admin_client.post(page_of(ann, "delete"), {"post": "yes"})
    assert texts(rows) == [("deleted", "user", "ann")]


def test_lists_that_are_edited_in_place_are_recorded(admin_client):
    alias = ModelAlias.objects.order_by("position", "id").first() or ModelAlias.objects.create(pattern="x")
    rows_there = list(ModelAlias.objects.order_by("position", "id"))
    form = {"form-TOTAL_FORMS": len(rows_there), "form-INITIAL_FORMS": len(rows_there), "_save": "Save"}
    for number, row in enumerate(rows_there):
        form |= {f"form-{number}-id": row.pk, f"form-{number}-position": row.position}
        form |= {f"form-{number}-enabled": "on"} if row.enabled and row != alias else {}
    with new_rows() as rows:
        admin_client.post(reverse("admin:bridge_modelalias_changelist"), form)
    assert texts(rows) == [("changed", "modelalias", alias.pattern)]
    assert rows[0].changes == {"enabled": ["true", "false"]}


@pytest.mark.parametrize("action", ["disable_tasks", "toggle_tasks"])
def test_schedules_switched_in_bulk_are_recorded(admin_client, action):
    tasks = list(PeriodicTask.objects.filter(enabled=True))
    chosen = {"action": action, "_selected_action": [task.pk for task in tasks]}
    with new_rows() as rows:
        admin_client.post(reverse("admin:django_celery_beat_periodictask_changelist"), chosen)
    assert {row.object_id for row in rows} == {str(task.pk) for task in tasks}
    assert [row.changes for row in rows] == [{"enabled": ["true", "false"]}] * len(tasks)


def test_page_views_leave_no_audit_row(admin_client):
    key = make_key("alice")
    with new_rows() as rows:
        for page in (LOG, page_of(key), page_of(key, "history"), reverse("admin:index"), EXPORT):
            admin_client.get(page)
    assert rows == []


@pytest.fixture
def some(client):
    with unrecorded():
        client.force_login(User.objects.create_superuser("reader"))
    with acting("command", "pytest"):
        key = make_key("alice", rpm=5)
    with acting("command", "pytest"):
        key.rpm = 7
        key.save()
        record("forgotten", "session", "s-1", "=cmd|' /C calc'!A0")
    return client


def shown(answer):
    return [row.action for row in answer.context["cl"].result_list]


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("", ["forgotten", "changed", "created"]),
        ("action=changed", ["changed"]),
        ("object_type=accounts.apikey", ["changed", "created"]),
        ("object_type__exact=session&object_id__exact=s-1", ["forgotten"]),
        ("source__exact=console", []),
        ("actor=NOBODY", []),
        ("actor=Pytest", ["forgotten", "changed", "created"]),
        ("at_from_0=2000-01-01&at_from_1=00:00:00&at_to_0=2000-01-02&at_to_1=00:00:00", []),
        ("at_from_0=2000-13-01&at_from_1=x", ["forgotten", "changed", "created"]),
        ("at_from_0=2000-01-01&at_from_1=00:00:00", ["forgotten", "changed", "created"]),
        ("q=alice", ["changed", "created"]),
    ],
)
def test_filters_leave_what_they_name(some, query, actions):
    assert shown(some.get(f"{LOG}?{query}")) == actions
    assert [row["action"] for row in exported(some, query)] == actions


def exported(client, query=""):
    async def parts(answer):
        return b"".join([part async for part in answer.streaming_content]).decode()

    answer = client.get(f"{EXPORT}?{query}")
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    return list(csv.DictReader(async_to_sync(parts)(answer).splitlines()))


def test_export_is_whole_and_runs_nothing(some, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 2)
    rows = exported(some)
    assert [row["action"] for row in rows] == ["forgotten", "changed", "created"]
    assert rows[0]["object_text"] == "'=cmd|' /C calc'!A0"
    assert rows[1]["changes"] == "rpm: 5 → 7"


@pytest.mark.parametrize("query", ["p=99999999999999999999", "at__lt=odd", "digest=a"])
def test_export_of_no_such_list_is_refused(some, query):
    assert some.get(f"{EXPORT}?{query}").status_code == 400


def test_change_is_readable_in_list_and_page(some):
    page = some.get(LOG).content.decode()
    assert "requests per minute: 5 → 7" in page
    entry = AuditEntry.objects.get(action="changed", object_type="accounts.apikey")
    page = some.get(reverse("admin:accounts_auditentry_change", args=[entry.pk])).content.decode()
    assert "object_type__exact=accounts.apikey" in page
    for cell in ("requests per minute", ">5<", ">7<"):
        assert cell in page


def test_rows_have_no_form_and_no_deletion(some):
    entry = AuditEntry.objects.first()
    for page in ("change", "delete"):
        assert (
            some.post(reverse(f"admin:accounts_auditentry_{page}", args=[entry.pk]), {"post": "yes"}).status_code == 403
        )
    assert some.get(reverse("admin:accounts_auditentry_add")).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    some.post(LOG, chosen)
    assert AuditEntry.objects.filter(pk=entry.pk).exists()


def test_history_of_an_object_is_ours(some):
    key = ApiKey.objects.get()
    page = some.get(page_of(key, "history")).content.decode()
    assert "changed" in page
    assert f"{LOG}?object_type__exact=accounts.apikey&amp;object_id__exact={key.pk}" in page
    for cell in ("requests per minute", ">5<", ">7<"):
        assert cell in page


def test_queries_of_the_list_do_not_grow(some, django_assert_num_queries):
    some.get(LOG)  # what is read once only
    with CaptureQueriesContext(connection) as few:
        some.get(LOG)
    for number in range(60):
        record("forgotten", "session", f"s-{number}")
    with django_assert_num_queries(len(few)):
        some.get(LOG)
    assert len(few) <= 5


@pytest.mark.parametrize(
    ("action", "fields", "done"),
    [
        ("pause_selected", {"reason": "leaked"}, "paused"), ("limit_selected", {"rpm": 7}, "changed"),
        ("quarantine_selected", {"reason": "leaked"}, "quarantined"),
        ("extend_selected", {"days": 3}, "changed"), ("move_selected", {}, "changed"),
        ("revoke_selected", {}, "revoked"),
    ],
)  # fmt: skip
def test_bulk_changes_are_a_row_a_key(admin_client, action, fields, done):
    team = Team.objects.create(name="Ads")
    now = timezone.now()
    keys = [make_key(name, expires_at=now + timedelta(days=days)) for name, days in (("a", -1), ("b", 1), ("c", 2))]
    chosen = {"action": action, "_selected_action": [key.pk for key in keys], "confirmed": "1", "team": team.pk}
    with new_rows() as rows:
        admin_client.post(reverse("admin:accounts_apikey_changelist"), chosen | fields)
    assert sorted(texts(rows)) == sorted((done, "apikey", str(key)) for key in keys)


@pytest.mark.parametrize(
    ("what", "done"),
    [
        ("rotate", "rotated"), ("pause", "paused"), ("quarantine", "quarantined"), ("resume", "resumed"),
        ("revoke", "revoked"),
    ],
)  # fmt: skip
def test_buttons_of_a_key_are_one_row(admin_client, what, done):
    key = make_key("alice", paused_at=timezone.now() if what == "resume" else None)
    page = f"{reverse('admin:accounts_apikey_changelist')}{key.pk}/{what}/"
    with new_rows() as rows:
        admin_client.get(page)
        for _ in range(2):
            admin_client.post(page, {"confirmed": "1", "grace": "24", "hint": key.hint, "reason": "x"})
    assert [row.action for row in rows] == [done]


def test_kinds_are_those_that_people_look_for(admin_client):
    names = dict(kinds())
    assert names["bridge.instanceorder"] == "order to an instance"
    assert names["mfa.authenticator"] == "second factor"
    assert not {"django_celery_beat.solarschedule", "accounts.idempotentrequest"} & names.keys()
    assert list(names.values()) == sorted(names.values(), key=str.casefold)


def test_log_in_says_what_with(admin_client, admin_user):
    record("logged_in", "auth.user", admin_user.pk, "admin", {"by": [None, "password, totp"]})
    page = admin_client.get(reverse("admin:accounts_auditentry_changelist")).content.decode()
    assert "logged in with: a password, a code of an app" in page
