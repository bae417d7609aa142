"""Who gets what: operators and viewers all, team leads and members what is of their teams."""

import pytest
from django.contrib.auth.models import Permission, User

from accounts.keys import services
from accounts.models import ApiKey
from tests.accounts.api.conftest import program_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
READABLE = ["teams", "keys", "usage", "usage/summary", "sessions", "instances", "aliases", "prompts", "audit"]


@pytest.mark.parametrize("path", READABLE)
def test_viewer_reads_and_changes_nothing(api, viewer, path):
    assert viewer("GET", f"{path}/").status_code == api("GET", f"{path}/").status_code == 200
    assert viewer("POST", f"{path}/", {"name": "x"}).status_code in (403, 405)


def test_viewer_changes_no_key(viewer, keys):
    path = f"keys/{keys['core'].pk}/"
    for method, below in (
        ("PATCH", ""),
        ("POST", "rotate/"),
        ("POST", "pause/"),
        ("POST", "resume/"),
        ("POST", "revoke/"),
    ):
        assert viewer(method, path + below, {}).status_code == 403


@pytest.mark.parametrize("path", [*READABLE, "schema", "docs"])
def test_staff_without_rights_reads_nothing(path):
    staff = program_of(User.objects.create_user("staff", is_staff=True))
    stranger = program_of(User.objects.create_user("stranger"))
    assert stranger("GET", f"{path}/").status_code == 403
    if path not in ("schema", "docs"):
        assert staff("GET", f"{path}/").status_code == 403


@pytest.mark.parametrize("path", READABLE)
def test_member_reads_usage_alone(member, path):
    assert member("GET", f"{path}/").status_code == (200 if path.startswith("usage") else 403)


def test_lead_sees_the_own_teams_alone(lead, keys, teams):
    assert [key["name"] for key in lead("GET", "keys/").data["results"]] == ["key of core"]
    assert [team["name"] for team in lead("GET", "teams/").data["results"]] == ["core"]
    assert lead("GET", "keys/?team=web").data["results"] == []
    assert lead("GET", f"teams/{teams['web'].pk}/").status_code == 404
    for path in ("audit/", "sessions/", "instances/", "aliases/", "prompts/"):
        assert lead("GET", path).status_code == 403


@pytest.mark.parametrize("other", ["web", "alone"])
def test_keys_of_others_are_not_there_for_leads(lead, keys, other):
    path = f"keys/{keys[other].pk}/"
    for method, below in (
        ("GET", ""), ("PATCH", ""), ("POST", "rotate/"), ("POST", "pause/"), ("POST", "resume/"), ("POST", "revoke/"),
    ):  # fmt: skip
        assert lead(method, path + below, {} if method != "GET" else None).status_code == 404
    key = ApiKey.objects.get(pk=keys[other].pk)
    assert (key.digest, key.paused_at, key.revoked_at) == (keys[other].digest, None, None)


def test_lead_manages_keys_of_the_own_team(lead, keys):
    made = lead("POST", "keys/", {"name": "new", "team": "core", "rpm": 3})
    assert made.status_code == 201
    path = f"keys/{made.data['id']}/"
    assert lead("PATCH", path, {"rpm": 4}).data["rpm"] == 4
    assert lead("POST", f"{path}rotate/", {"grace": "1h"}).data["secret"]
    assert lead("POST", f"{path}pause/", {}).data["state"] == "paused"
    assert lead("POST", f"{path}resume/").data["state"] == "live"
    assert lead("POST", f"{path}quarantine/", {}).data["code"] == "operators_only"
    services.quarantine(ApiKey.objects.get(name="new"), "leaked")
    refused = lead("POST", f"{path}resume/")
    assert (refused.status_code, refused.data["code"]) == (403, "quarantined")
    assert ApiKey.objects.get(name="new").quarantine_reason == "leaked"
    assert lead("POST", f"{path}revoke/").data["state"] == "revoked"


@pytest.mark.parametrize("team", ["web", None, "left out", "nobody's"])
def test_lead_gives_no_key_to_others(lead, keys, team):
    body = {"name": "new"} | ({} if team == "left out" else {"team": team})
    assert list(lead("POST", "keys/", body).data["errors"]) == ["team"]
    if team != "left out":
        assert list(lead("PATCH", f"keys/{keys['core'].pk}/", body).data["errors"]) == ["team"]
    assert ApiKey.objects.filter(name="new").count() == 0


def test_lead_changes_no_team(lead, teams):
    assert lead("PATCH", f"teams/{teams['core'].pk}/", {"rpm": 100}).status_code == 403
    assert lead("POST", "teams/", {"name": "x"}).status_code == 403


def test_lead_gives_no_more_than_the_team_has(lead, keys, teams):
    teams["core"].rpm = 10
    teams["core"].save()
    path = f"keys/{keys['core'].pk}/"
    assert list(lead("PATCH", path, {"rpm": 11}).data["errors"]) == ["rpm"]
    assert list(lead("PATCH", path, {"scopes": ["metrics"]}).data["errors"]) == ["scopes"]
    assert lead("PATCH", path, {"rpm": 10}).status_code == 200


def test_rights_given_by_hand_are_about_all(keys):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
    program = program_of(user)
    assert len(program("GET", "keys/").data["results"]) == 3
    assert program("POST", "keys/", {"name": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "alerts/", "This takes the right accounts.view_apikey, which staff does not have."),
        ("POST", "keys/", "This takes the right accounts.add_apikey, which staff does not have."),
        ("POST", "keys/1/rotate/", "This takes the right accounts.change_apikey, which staff does not have."),
        ("DELETE", "teams/1/", "This takes the right accounts.delete_team, which staff does not have."),
        ("GET", "usage/", "You are in no team, and have no right to see the usage of all. Ask an operator for either."),
        ("POST", "versions/1/default/", "This takes the right bridge.change_version, which staff does not have."),
        ("POST", "versions/", "Only superusers may do this."),
    ],
)
def test_refusal_names_the_right_that_lacks(method, path, words):
    user = User.objects.create_user("staff", is_staff=True)
    answer = program_of(user)(method, path, {})
    assert (answer.status_code, answer.data["code"], answer.data["detail"]) == (403, "permission_denied", words)
    if path != "usage/":
        User.objects.update(is_staff=False)
        assert program_of(user)(method, path, {}).data["detail"] == (
            "This takes staff status, which staff does not have."
        )
