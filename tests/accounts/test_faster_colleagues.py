"""A form is checked, and somebody else is faster before it is saved: what it would break now is said in the form."""

from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse

from accounts.keys import services
from accounts.models import ApiKey, Team
from tests.accounts.roles.people import make_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]

KEYS = reverse("admin:accounts_apikey_changelist")
TAKEN = "A live key of this team has this name already."


class Colleague:
    """Does something right before the first statement of a kind is sent; rolled back, it stands all the same."""

    def __init__(self, begins, act, is_done):
        self.begins, self.act, self.is_done = begins, act, is_done
        self.began, self.is_acting = False, False

    def __call__(self, execute, sql, params, many, context):
        if not self.is_acting and not self.began and sql.startswith(self.begins):
            self.began = True
            self._act()
        found = execute(sql, params, many, context)
        # As it is where the other one has committed: our own rollback takes nothing of it back.
        if self.began and not self.is_acting and sql.startswith("ROLLBACK TO SAVEPOINT"):
            self._act()
        return found

    def _act(self):
        self.is_acting = True
        try:
            if not self.is_done():
                self.act()
        finally:
            self.is_acting = False


def taking(name, model, begins, make):
    return connection.execute_wrapper(Colleague(begins, make, model.objects.filter(name=name).exists))


def test_new_key_with_taken_name_is_asked_again(admin_client):
    page = reverse("admin:accounts_apikey_add")
    with taking("alice", ApiKey, 'INSERT INTO "accounts_apikey"', lambda: make_key("alice")):
        answer = admin_client.post(page, {"name": "alice"})
    assert (answer.status_code, TAKEN in answer.content.decode()) == (200, True)
    assert ApiKey.objects.count() == 1


def test_new_team_with_taken_name_is_asked_again(admin_client):
    page = reverse("admin:accounts_team_add")
    with taking("core", Team, 'INSERT INTO "accounts_team"', lambda: Team.objects.create(name="core")):
        answer = admin_client.post(page, {"name": "core"})
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["name"]
    assert Team.objects.count() == 1


def test_moved_key_with_taken_name_is_asked_again(admin_client):
    key, team = make_key("alice"), Team.objects.create(name="core")
    sent = {"action": "move_selected", "_selected_action": [key.pk], "confirmed": "yes", "team": team.pk}
    in_team = ApiKey.objects.filter(team=team).exists
    colleague = Colleague('UPDATE "accounts_apikey"', lambda: make_key("alice", team=team), in_team)
    with connection.execute_wrapper(colleague):
        answer = admin_client.post(KEYS, sent)
    assert answer.status_code == 200
    assert "Two live keys of this team would have the name alice." in answer.content.decode()
    key.refresh_from_db()
    assert key.team is None


@pytest.mark.parametrize("by_list", [False, True])
def test_team_that_gets_a_key_stays(admin_client, by_list):
    team = Team.objects.create(name="core")
    in_team = ApiKey.objects.filter(team=team).exists
    page = reverse("admin:accounts_team_delete", args=[team.pk])
    sent = {"post": "yes"}
    if by_list:
        page = reverse("admin:accounts_team_changelist")
        sent |= {"action": "delete_selected", "_selected_action": [team.pk]}
    # Django's own log is written between the look for keys and the deletion.
    colleague = Colleague('INSERT INTO "django_admin_log"', lambda: make_key("alice", team=team), in_team)
    with connection.execute_wrapper(colleague):
        answer = admin_client.post(page, sent)
    assert colleague.began
    assert (answer.status_code, "core has 1 key." in answer.content.decode()) == (200, True)
    assert Team.objects.exists()


def rotated_after(client, key, act):
    """Send the form of a rotation; somebody does this when it has been checked."""
    done = []
    # The first savepoint is that of the rotation itself.
    colleague = Colleague("SAVEPOINT", lambda: done.append(act()), lambda: bool(done))
    with connection.execute_wrapper(colleague):
        page = reverse("admin:accounts_apikey_rotate_one", args=[key.pk])
        answer = client.post(page, {"grace": "0", "hint": key.hint}, follow=True)
    assert done
    return answer.content.decode()


def test_key_revoked_meanwhile_is_not_rotated(admin_client):
    key = make_key("alice")
    shown = rotated_after(admin_client, key, lambda: services.revoke(ApiKey.objects.get()))
    assert "There is no such key to rotate." in shown


def test_key_rotated_meanwhile_keeps_its_secret(admin_client):
    key = make_key("alice")
    shown = rotated_after(admin_client, key, lambda: services.rotate(ApiKey.objects.get(), timedelta(0)))
    assert "This key has a new secret already; it is not shown again." in shown
    assert ApiKey.objects.get().previous_digest == key.digest
