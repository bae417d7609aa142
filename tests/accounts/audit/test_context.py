"""Who acts: commands, tasks, requests, and programs with tokens."""

from io import StringIO

import pytest
from celery import shared_task
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse

from accounts.audit.context import current
from accounts.models import ApiKey, ApiToken, Team
from tests.accounts.audit.rows import new_rows
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db


def run(name, *args):
    out = StringIO()
    call_command(name, *args, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def who(rows):
    return [(row.actor, row.source, row.action, row.object_type) for row in rows]


def test_key_by_command_is_recorded_under_its_name():
    with new_rows() as rows:
        secret = run("create_api_key", "alice", "--team", "Ads")
    assert who(rows) == [
        ("create_api_key", "command", "created", "accounts.team"),
        ("create_api_key", "command", "created", "accounts.apikey"),
    ]
    assert secret not in str([row.changes for row in rows])


def test_token_by_command_is_recorded_without_it():
    User.objects.create_user("ann", is_staff=True)
    with new_rows() as rows:
        token = run("create_api_token", "ann")
    assert who(rows) == [("create_api_token", "command", "created", "accounts.apitoken")]
    assert rows[0].changes["user"] == [None, "ann"]
    assert rows[0].changes["digest"] == [None, "***"]
    assert token not in str(rows[0].changes)
    with new_rows() as rows:
        ApiToken.objects.all().delete()
    assert [row.action for row in rows] == ["deleted"]


def test_first_start_is_recorded_once():
    with new_rows() as rows:
        run("bootstrap")
        run("bootstrap")
    assert who(rows) == [
        ("bootstrap", "command", "created", "auth.user"),
        ("bootstrap", "command", "created", "accounts.apikey"),
    ]


def test_commands_of_django_are_recorded_too(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/manage.py", "createsuperuser"])
    with new_rows() as rows:
        run("createsuperuser", "--noinput", "--username", "root", "--email", "")
    assert who(rows) == [("createsuperuser", "command", "created", "auth.user")]


@pytest.mark.parametrize(
    ("argv", "actor", "source"),
    [
        (["/x/manage.py", "shell"], "shell", "command"),
        (["/x/gateway_project/server/__main__.py"], "server", "command"),
        (["/x/bin/celery", "-A", "gateway_project", "beat"], "celery", "schedule"),
        (["-c"], "-c", "command"),
    ],
)
def test_process_acts_where_nobody_else_does(monkeypatch, argv, actor, source):
    monkeypatch.setattr("sys.argv", argv)
    assert (current().actor(), current().source) == (actor, source)


def test_task_is_recorded_under_its_name():
    @shared_task(name="tests.rename")
    def rename():
        Team.objects.update(name="renamed")

    Team.objects.create(name="Ads")
    with new_rows() as rows:
        rename()
    assert who(rows) == [("tests.rename", "schedule", "changed", "accounts.team")]


def test_request_names_user_and_address(admin_client, client):
    key = make_key("alice")
    revoke = {"action": "revoke_selected", "_selected_action": [key.pk], "confirmed": "1"}
    with new_rows() as rows:
        admin_client.post(reverse("admin:accounts_apikey_changelist"), revoke, REMOTE_ADDR="10.0.0.9")
    assert who(rows) == [("admin", "console", "revoked", "accounts.apikey")]
    assert rows[0].address == "10.0.0.9"


def test_program_with_a_token_is_its_user(client):
    User.objects.create_superuser("robot")
    token = run("create_api_token", "robot")
    key = make_key("alice")
    with new_rows() as rows:
        for what in ("pause", "resume", "rotate", "revoke"):
            answer = client.post(
                f"/api/keys/{key.pk}/{what}/", {}, content_type="application/json",
                headers={"Authorization": f"Token {token}"}, REMOTE_ADDR="10.0.0.9",
            )  # fmt: skip
            assert answer.status_code == 200
    assert who(rows) == [
        ("robot", "rest", action, "accounts.apikey") for action in ("paused", "resumed", "rotated", "revoked")
    ]
    assert {row.address for row in rows} == {"10.0.0.9"}
    assert not ApiKey.objects.get().paused_at
