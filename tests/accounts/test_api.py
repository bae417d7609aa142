from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission, User

from accounts.models import ApiKey, Team, Usage

pytestmark = pytest.mark.django_db


@pytest.fixture
def key():
    key = ApiKey(name="alice", team=Team.objects.create(name="core"))
    key.renew_secret(b"pepper")
    key.save()
    return key


@pytest.fixture
def turns(key):
    for number in range(3):
        Usage.objects.create(
            request_id=f"r{number}", api_key=key if number else None, protocol="openai", endpoint="/v1/x", model="m",
            stream=False, status="ok" if number else "error", queue_ms=0, total_ms=1, prompt_tokens=1,
            completion_tokens=1, started_at=datetime(2026, 1, 1 + number, tzinfo=UTC),
            agent="codex" if number == 1 else "other", tools="2 parsed" if number == 1 else "",
        )  # fmt: skip


def ids(response):
    return [row["request_id"] for row in response.json()["results"]]


def test_keys_are_listed_without_digests(admin_client, key):
    response = admin_client.get("/api/keys/")
    (told,) = response.json()["results"]
    assert (told["name"], told["hint"], told["team"], told["state"]) == ("alice", key.hint, "core", "live")
    assert key.digest not in response.content.decode()


def test_usage_comes_latest_first_in_pages(admin_client, turns):
    first = admin_client.get("/api/usage/", {"page_size": 2})
    assert ids(first) == ["r2", "r1"]
    assert ids(admin_client.get(first.json()["next"])) == ["r0"]


def test_usage_is_filtered_and_found(admin_client, turns, key):
    assert ids(admin_client.get("/api/usage/", {"api_key": key.pk})) == ["r2", "r1"]
    assert ids(admin_client.get("/api/usage/", {"status": "error"})) == ["r0"]
    assert ids(admin_client.get("/api/usage/", {"agent": "codex"})) == ["r1"]
    told = admin_client.get("/api/usage/r1/").json()
    assert (told["request_id"], told["agent"], told["tools"]) == ("r1", "codex", "2 parsed")


@pytest.mark.parametrize("wrong", [{"api_key": "x"}, {"api_key": "9" * 40}, {"status": "odd"}, {"agent": "x"}])
def test_a_filter_that_makes_no_sense_is_refused(admin_client, wrong):
    assert admin_client.get("/api/usage/", wrong).status_code == 400


@pytest.mark.parametrize("path", ["/api/keys/", "/api/usage/"])
def test_only_staff_with_view_rights_get_in(client, path):
    assert client.get(path).status_code == 403
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert client.get(path).status_code == 403
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_apikey", "view_usage"]))
    assert client.get(path).status_code == 200


def test_unauthorised_reader_is_refused_before_filters_are_read(client):
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get("/api/usage/", {"api_key": "x"}).status_code == 403


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_any_look_needs_the_permission(client, method):
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert getattr(client, method)("/api/keys/").status_code == 403


def test_viewer_gets_method_not_allowed(client):
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
    client.force_login(staff)
    answer = client.post("/api/keys/")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(admin_client, key, method):
    for path in ("/api/keys/", f"/api/keys/{key.pk}/", "/api/usage/"):
        assert getattr(admin_client, method)(path).status_code == 405
