"""Every way in which a row of a watched model can change."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts.audit import hooks
from accounts.audit.context import Source, acting, unrecorded
from accounts.keys import services
from accounts.models import AlertChannel, ApiKey, AuditEntry, Team
from bridge.models import ModelAlias, PromptTemplate
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.audit.rows import new_rows
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db


def test_save_is_created_and_then_changed():
    with new_rows() as rows:
        key = make_key("alice", rpm=5)
        key.rpm = 7
        key.save()
        key.save()
    assert rows.names == [("created", "accounts.apikey"), ("changed", "accounts.apikey")]
    created, changed = rows
    assert created.changes == {
        "name": [None, "alice"], "hint": [None, key.hint], "digest": [None, "***"], "rpm": [None, "5"],
    }  # fmt: skip
    assert changed.changes == {"rpm": ["5", "7"]}
    assert (changed.object_id, changed.object_text) == (str(key.pk), str(key))


def test_values_are_those_of_the_table():
    key = make_key("alice", rpm=5)
    ApiKey.objects.filter(pk=key.pk).update(rpm=6)
    key.rpm = F("rpm") + 1
    with new_rows() as rows:
        key.save(update_fields=["rpm"])
    assert [row.changes for row in rows] == [{"rpm": ["6", "7"]}]


def test_deletion_leaves_what_was_there():
    team = Team.objects.create(name="Ads", rpm=3)
    key = team.pk
    with new_rows() as rows:
        team.delete()
    assert rows.names == [("deleted", "accounts.team")]
    assert (rows[0].object_id, rows[0].object_text) == (str(key), "Ads")
    assert rows[0].changes == {"name": ["Ads", None], "rpm": ["3", None]}


def test_update_is_one_row_an_object():
    for name in "abc":
        make_key(name, rpm=5 if name == "c" else 0)
    with new_rows() as rows:
        assert ApiKey.objects.update(rpm=5) == 3
    assert rows.names == [("changed", "accounts.apikey")] * 2
    assert sorted(row.object_text[0] for row in rows) == ["a", "b"]
    assert rows[0].changes == {"rpm": ["0", "5"]}


@pytest.mark.parametrize("change", ["update", "bulk_update", "related"])
def test_queries_of_many_rows_are_recorded(change):
    team = Team.objects.create(name="Ads")
    keys = [make_key(name, team=team) for name in "ab"]
    with new_rows() as rows:
        if change == "update":
            ApiKey.objects.filter(rpm=0).update(rpm=1)
        elif change == "bulk_update":
            for key in keys:
                key.rpm = 1
            ApiKey.objects.bulk_update(keys, ["rpm"])
        else:
            team.keys.update(rpm=1)
    assert [row.changes for row in rows] == [{"rpm": ["0", "1"]}] * 2


def test_plain_managers_are_recorded_too():
    with new_rows() as rows:
        Team.objects.bulk_create([Team(name="a"), Team(name="b")])
        Team.objects.filter(name="a").update(rpm=4)
        IntervalSchedule.objects.create(every=5, period="seconds")
        intervals, tasks = IntervalSchedule.objects.count(), PeriodicTask.objects.count()
        IntervalSchedule.objects.all().delete()
    assert [action for action, _ in rows.names][:4] == ["created", "created", "changed", "created"]
    assert [action for action, _ in rows.names][4:] == ["deleted"] * (intervals + tasks)


def test_updates_beyond_the_bound_are_one_row(monkeypatch):
    monkeypatch.setattr(hooks, "MOST", 2)
    Team.objects.bulk_create([Team(name=str(number)) for number in range(4)])
    with new_rows() as rows:
        Team.objects.update(rpm=9)
    assert [(row.object_id, row.object_text, row.changes) for row in rows] == [("", "4 × teams", {"rpm": [None, "9"]})]


def test_use_of_a_key_is_no_change():
    key = make_key("alice")
    user = User.objects.create_user("ann")
    with new_rows() as rows:
        ApiKey.objects.all().mark_last_used({key.pk: (timezone.now(), "10.0.0.1")})
        key.last_used_at = timezone.now()
        key.save(update_fields=["last_used_at"])
        user.last_login = timezone.now()
        user.save(update_fields=["last_login"])
        task = PeriodicTask.objects.first()
        task.last_run_at, task.total_run_count = timezone.now(), 7
        task.save()
    assert rows == []


def test_actions_on_keys_have_names():
    key = make_key("alice")
    with new_rows() as rows:
        services.rotate(key, timedelta(hours=1))
        services.pause(key, "leaked")
        services.resume(key)
        services.revoke(key)
        services.revoke(key)
    assert [row.action for row in rows] == ["rotated", "paused", "resumed", "revoked"]
    assert rows[0].changes["digest"] == ["***", "***"]
    assert rows[1].changes["pause_reason"] == ["", "leaked"]


def test_rows_of_changes_have_no_secrets():
    key = make_key("alice")
    digest = key.digest
    secret = services.create(ApiKey(name="bob"))
    services.rotate(key, timedelta(hours=1))
    user = User.objects.create_user("ann", password="open-sesame-1")
    user.set_password("open-sesame-2")
    user.save()
    key.refresh_from_db()
    text = str(list(AuditEntry.objects.values_list("changes", flat=True)))
    for hidden in (digest, key.digest, secret, "open-sesame", user.password):
        assert hidden not in text
    assert "'password': ['***', '***']" in text


def test_members_groups_and_permissions_are_changes():
    team, ann, bob = Team.objects.create(name="Ads"), User.objects.create_user("ann"), User.objects.create_user("bob")
    group = Group.objects.create(name="helpers")
    with new_rows() as rows:
        team.members.set([ann, bob])
        team.members.set([bob])
        team.members.add(bob)
        ann.teams.add(team)
        ann.groups.add(group)
        group.permissions.add(Permission.objects.get(codename="view_usage"))
        team.members.clear()
    assert [(row.object_text, row.changes) for row in rows] == [
        ("Ads", {"members": ["", "ann, bob"]}),
        ("Ads", {"members": ["ann, bob", "bob"]}),
        ("Ads", {"members": ["bob", "ann, bob"]}),
        ("ann", {"groups": ["", "helpers"]}),
        ("helpers", {"permissions": ["", str(Permission.objects.get(codename="view_usage"))]}),
        ("Ads", {"members": ["ann, bob", ""]}),
    ]


def test_one_form_is_one_row():
    ann = User.objects.create_user("ann")
    with new_rows() as rows, acting(Source.CONSOLE, "root", "10.0.0.1"), transaction.atomic():
        team = Team.objects.create(name="Ads")
        team.members.add(ann)
        team.rpm = 5
        team.save()
    assert rows.names == [("created", "accounts.team")]
    assert rows[0].changes == {"name": [None, "Ads"], "members": ["", "ann"], "rpm": ["0", "5"]}
    assert (rows[0].actor, rows[0].source, rows[0].address) == ("root", "console", "10.0.0.1")


def test_change_there_and_back_leaves_no_row():
    team = Team.objects.create(name="Ads")
    with new_rows() as rows, acting(Source.CONSOLE, "root"):
        for rpm in (5, 0):
            team.rpm = rpm
            team.save()
    assert rows == []


def test_row_of_a_lost_transaction_is_lost():
    with new_rows() as rows, acting(Source.CONSOLE, "root"):
        with transaction.atomic():
            team = Team.objects.create(name="Ads")
            transaction.set_rollback(True)
        other = Team.objects.create(name="Other")
        other.rpm = 5
        other.save()
    assert not Team.objects.filter(name=team.name).exists()
    assert [(row.object_text, row.changes) for row in rows] == [("Other", {"name": [None, "Other"], "rpm": ["0", "5"]})]


def test_values_are_text_of_bounded_length():
    team = Team.objects.create(name="Ads")
    key = make_key("alice")
    with new_rows() as rows:
        key.team, key.expires_at = team, (timezone.now() + timedelta(days=400)).replace(microsecond=0)
        key.save()
        ModelAlias.objects.filter(pattern="gpt-5").update(enabled=False)
        ModelAlias.objects.create(pattern="x", note="n" * 200, lingma_model="m")
    assert rows[0].changes["team"] == [None, "Ads"]
    assert rows[0].changes["expires_at"] == [None, key.expires_at.isoformat()]
    with new_rows() as rows:
        PromptTemplate.objects.create(pattern="long", template="$rules" + "x" * 5000)
    assert len(rows[0].changes["template"][1]) == 1000


def test_list_is_told_as_people_write_it():
    with new_rows() as rows:
        AlertChannel.objects.create(name="ops", address=Secret.of(b"https://example.com"), alert_kinds=["a", "b"])
    assert rows[0].changes["alert_kinds"] == [None, "a, b"]


def test_user_goes_and_the_history_stays():
    ann = User.objects.create_user("ann")
    with acting(Source.CONSOLE, ann.get_username):
        make_key("alice")
    ann.delete()
    assert AuditEntry.objects.get(object_type="accounts.apikey").actor == "ann"
    assert AuditEntry.objects.get(object_type="auth.user", action="deleted").object_text == "ann"


def test_unrecorded_changes_leave_no_row():
    with new_rows() as rows, unrecorded():
        team = Team.objects.create(name="Ads")
        team.members.add(User.objects.create_user("ann"))
        Team.objects.update(rpm=3)
        Team.objects.bulk_create([Team(name="b")])
        team.delete()
    assert rows == []


@pytest.mark.django_db(transaction=True)
def test_row_and_change_are_one_transaction(monkeypatch):
    """Without a transaction of the caller, a row that cannot be written takes the change along."""
    team = Team.objects.create(name="Ads")

    def fails(*args, **options):
        raise RuntimeError

    monkeypatch.setattr(AuditEntry, "save_base", fails)
    for change in (
        lambda: Team.objects.create(name="B"),
        lambda: Team.objects.update(rpm=3),
        team.delete,
        lambda: team.members.add(User(pk=1)),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - the last one has no user
            change()
    assert list(Team.objects.values_list("name", "rpm")) == [("Ads", 0)]
