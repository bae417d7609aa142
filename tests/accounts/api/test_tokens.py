from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import ApiToken
from tests.accounts.api.conftest import Program, program_of

pytestmark = pytest.mark.django_db


def made_by_command(*arguments):
    output = StringIO()
    call_command("create_api_token", *arguments, stdout=output)
    return output.getvalue()


def test_command_prints_the_token_alone(root):
    text = made_by_command("root", "--expires", "30d", "--scopes", "keys,read")
    assert text.count("\n") == 1
    row = ApiToken.objects.get()
    assert text.strip() not in (row.digest, row.hint)
    assert text.startswith(row.hint)
    assert row.expires_at - timezone.now() > timedelta(days=29)
    assert Program(text.strip())("GET", "keys/").status_code == 200


@pytest.mark.parametrize(
    "arguments", [("nobody",), ("root", "--scopes", "kesy"), ("root", "--expires", "soon"), ("root", "--expires", "0h")]
)
def test_command_refuses_what_makes_no_sense(root, arguments):
    with pytest.raises(CommandError):
        made_by_command(*arguments)
    assert not ApiToken.objects.exists()


def test_unknown_and_expired_tokens_are_refused(root):
    expired = program_of(root, timezone.now() - timedelta(seconds=1))
    for program in (Program(), Program("lgw_api_unknown"), Program("ünknown"), Program("x" * 500), expired):
        answer = program("GET", "keys/")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Token")
    assert "Authorization: Token …, of manage.py create_api_token" in Program()("GET", "keys/").data["detail"]


def test_token_ends_with_its_user(root, api):
    User.objects.update(is_active=False)
    assert api("GET", "keys/").status_code == 401


def test_use_of_a_token_is_noted(api):
    api("GET", "keys/")
    first = ApiToken.objects.get().last_used_at
    api("GET", "keys/")
    assert first is not None
    assert ApiToken.objects.get().last_used_at == first


def test_scopes_limit_resources_and_changes(root, teams):
    reader, of_teams = program_of(root, scopes=["read"]), program_of(root, scopes=["teams", "keys"])
    both = program_of(root, scopes=["read", "teams"])
    assert reader("GET", "keys/").status_code == 200
    assert reader("POST", "keys/", {"name": "a"}).data["code"] == "scope"
    assert of_teams("POST", "teams/", {"name": "new"}).status_code == 201
    assert of_teams("GET", "usage/").status_code == 403
    assert both("GET", "teams/").status_code == 200
    assert both("GET", "keys/").status_code == 403
    assert both("DELETE", f"teams/{teams['web'].pk}/").status_code == 403
    assert both("GET", "schema/").status_code == 200
    refused = both("GET", "keys/").data["detail"], both("DELETE", f"teams/{teams['web'].pk}/").data["detail"]
    assert refused == (
        "The token's scopes do not allow this: it takes keys, and they are read, teams.",
        "The token's scopes do not allow this: with read it changes nothing. They are read, teams.",
    )


def test_session_needs_the_csrf_token(root):
    browser = Program(enforce_csrf_checks=True)
    browser.client.force_login(root)
    assert browser("GET", "keys/").status_code == 200
    assert browser("POST", "keys/", {"name": "a"}).status_code == 403


@pytest.mark.parametrize("path", ["audit/", "keys/"])
def test_session_adds_nothing_to_a_token(root, path):
    narrow = program_of(root, scopes=["read", "usage"])
    narrow.client.force_login(root)
    for method in ("GET", "OPTIONS"):
        assert narrow(method, path).status_code == 403
    narrow.headers = {"Authorization": narrow.headers["Authorization"].replace("Token", "Bearer")}
    answer = narrow("GET", path)
    assert (answer.status_code, answer.data["code"]) == (401, "not_authenticated")
    assert "Authorization: Token" in answer.data["detail"]
    narrow.headers = {"Authorization": "Basic b3BzOm9wcw=="}  # of a proxy in front
    assert narrow("GET", path).status_code == 200


def test_console_ends_a_token(admin_client, root, api):
    token = ApiToken.objects.get()
    page = admin_client.get("/admin/accounts/apitoken/").content.decode()
    assert token.hint in page
    assert token.digest not in page + admin_client.get(f"/admin/accounts/apitoken/{token.pk}/change/").content.decode()
    assert admin_client.get("/admin/accounts/apitoken/add/").status_code == 403
    admin_client.post(f"/admin/accounts/apitoken/{token.pk}/delete/", {"post": "yes"})
    assert api("GET", "keys/").status_code == 401


@pytest.mark.parametrize(("group", "status"), [("Operator", 200), ("Viewer", 200), ("Team lead", 403)])
def test_tokens_are_seen_by_those_who_operate(client, api, group, status):
    user = User.objects.create_user("somebody", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    assert client.get("/admin/accounts/apitoken/").status_code == status
    assert client.get("/admin/accounts/apitoken/add/").status_code == 403
