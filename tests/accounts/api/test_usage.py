from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission, User

from accounts.ledger import hours
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
            completion_tokens=1, usage_source="estimated", started_at=datetime(2026, 1, 1 + number, tzinfo=UTC),
            team=key.team if number else None, agent="codex" if number == 1 else "other",
            tools="2 parsed" if number == 1 else "",
        )  # fmt: skip
    hours.rebuild(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC))


def ids(response):
    return [row["request_id"] for row in response.json()["results"]]


def test_usage_comes_latest_first_in_pages(admin_client, turns):
    first = admin_client.get("/api/usage/", {"page_size": 2})
    assert ids(first) == ["r2", "r1"]
    assert ids(admin_client.get(first.json()["next"])) == ["r0"]


def test_usage_is_filtered_and_found(admin_client, turns, key):
    assert ids(admin_client.get("/api/usage/", {"key": key.pk})) == ["r2", "r1"]
    assert ids(admin_client.get("/api/usage/", {"key": "alice", "to": "2026-01-02"})) == ["r1"]
    assert ids(admin_client.get("/api/usage/", {"status": "error"})) == ["r0"]
    assert ids(admin_client.get("/api/usage/", {"client_app": "codex"})) == ["r1"]
    assert ids(admin_client.get("/api/usage/", {"ordering": "started_at"})) == ["r0", "r1", "r2"]
    row = admin_client.get("/api/usage/r1/").json()
    assert (row["request_id"], row["client_app"], row["tools"]) == ("r1", "codex", "2 parsed")
    assert (row["key"], row["key_id"], row["team"]) == ("alice", key.pk, "core")


@pytest.mark.parametrize("path", ["/api/usage/", "/api/usage/summary/"])
@pytest.mark.parametrize(
    "wrong",
    [{"key": "9" * 40}, {"status": "odd"}, {"range": "9d"}, {"from": "soon"}, {"statsu": "ok"}, {"ordering": "odd"},
     {"from": "2026-02-01", "to": "2026-01-01"}],
)  # fmt: skip
def test_wrong_filter_is_refused_by_name(admin_client, path, wrong):
    answer = admin_client.get(path, wrong)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) <= set(wrong)


def test_row_is_found_by_any_id(admin_client, turns):
    digits = "0123456789abcdef" * 2
    Usage.objects.filter(request_id="r1").update(request_id=f"req_{digits}")
    for id_ in (f"req_{digits}", f"chatcmpl-{digits}", f"msg_{digits}", f"resp_{digits}", digits):
        assert admin_client.get(f"/api/usage/{id_}/").json()["request_id"] == f"req_{digits}"


def summary(client, **query):
    answer = client.get("/api/usage/summary/", query)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def test_summary_without_groups_is_one_row(admin_client, turns):
    (row,) = summary(admin_client)
    assert (row["turns"], row["failed"], row["prompt_tokens"], row["first_token_ms_p50"]) == (3, 1, 3, None)


def test_summary_has_a_row_for_each_group(admin_client, turns, key):
    by_key = summary(admin_client, group_by="key")
    assert [(row["key"], row["key_id"], row["turns"]) for row in by_key] == [("alice", key.pk, 2), (None, None, 1)]
    by_day = summary(admin_client, group_by="day,status")
    assert [(row["day"], row["status"]) for row in by_day] == [
        ("2026-01-01", "error"), ("2026-01-02", "ok"), ("2026-01-03", "ok"),
    ]  # fmt: skip
    (hour, *_) = summary(admin_client, group_by="hour", ordering="-hour")
    assert hour["hour"] == "2026-01-03T00:00:00Z"
    assert [row["turns"] for row in summary(admin_client, group_by="key", ordering="turns")] == [1, 2]
    assert summary(admin_client, group_by="key", status="refused") == []


def test_group_that_there_is_not_is_refused(admin_client):
    assert list(admin_client.get("/api/usage/summary/", {"group_by": "digest"}).json()["errors"]) == ["group_by"]


def test_summary_has_at_most_three_groups(admin_client, turns):
    assert admin_client.get("/api/usage/summary/", {"group_by": "team,key,status,team"}).status_code == 200
    answer = admin_client.get("/api/usage/summary/", {"group_by": "team,key,status,reason"})
    assert (answer.status_code, answer.json()["errors"]) == (400, {"group_by": ["At most 3 names at once, not 4."]})


def test_member_reads_the_usage_of_the_own_team(client, turns, key):
    member = User.objects.create_user("member")
    client.force_login(member)
    assert client.get("/api/usage/").status_code == 403
    member.teams.add(Team.objects.create(name="web"))
    assert ids(client.get("/api/usage/")) == []
    assert summary(client, key=key.pk)[0]["turns"] == 0
    assert client.get("/api/usage/r1/").status_code == 404
    member.teams.add(key.team)
    assert ids(client.get("/api/usage/")) == ["r2", "r1"]
    assert summary(client)[0]["turns"] == 2
    assert client.get("/api/usage/r1/").status_code == 200
    assert client.get("/api/usage/r0/").status_code == 404


def test_list_costs_three_queries(admin_client, turns, django_assert_num_queries):
    with django_assert_num_queries(3):  # session, user, rows
        admin_client.get("/api/usage/")


def test_usage_is_open_to_its_readers_alone(client):
    assert client.get("/api/usage/").status_code == 401
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert client.get("/api/usage/", {"key": "9" * 40}).status_code == 403  # before filters are read
    staff.user_permissions.set(Permission.objects.filter(codename="view_usage"))
    assert client.get("/api/usage/").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_usage_rows_cannot_be_written(admin_client, turns, method):
    for path in ("/api/usage/", "/api/usage/r1/", "/api/usage/summary/"):
        assert getattr(admin_client, method)(path).status_code == 405
