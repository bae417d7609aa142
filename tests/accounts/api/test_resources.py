"""Teams, aliases, prompts, audit, and the errors that all have in common."""

import re

import pytest
from django.db import IntegrityError, connection
from django.urls import path as url
from django.utils import timezone

from accounts.audit.context import unrecorded
from accounts.models import Alert, AlertChannel, ApiKey, AuditEntry, Team
from bridge.models import Login, MaintenanceWindow, ModelAlias, PromptTemplate, Version
from bridge.status.logins import LoginKind
from gateway_project import urls
from tests.accounts.api.conftest import Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def test_team_lives_from_creation_to_end(api, root):
    made = api("POST", "teams/", {"name": "core", "members": ["root"], "time_zone": "Asia/Shanghai", "rpm": 9})
    assert made.status_code == 201
    team = Team.objects.get()
    assert (team.time_zone, team.rpm, list(team.members.all())) == ("Asia/Shanghai", 9, [root])
    path = f"teams/{team.pk}/"
    assert api("GET", path).data == made.data
    changed = api("PATCH", path, {"members": [], "allowed_models": ["gpt-*"], "tokens_month": 10**12})
    assert (changed.data["members"], changed.data["allowed_models"], changed.data["rpm"]) == ([], ["gpt-*"], 9)
    assert api("PUT", path, {"name": "base"}).data["name"] == "base"
    assert api("DELETE", path).status_code == 204
    assert api("GET", path).status_code == 404


def test_team_with_keys_is_not_deleted(api, keys, teams):
    answer = api("DELETE", f"teams/{teams['core'].pk}/")
    assert answer.status_code == 409
    assert answer.data["detail"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "core"), ("name", None), ("members", ["nobody"]), ("time_zone", "Mars/Base"), ("tokens_day", 1.5),
        ("rpm", 2**31), ("name", "a\u202eb"),
    ],
)  # fmt: skip
def test_flaw_of_a_team_is_named(api, teams, field, value):
    answer = api("PATCH", f"teams/{teams['web'].pk}/", {field: value})
    assert (answer.status_code, list(answer.data["errors"])) == (400, [field])


@pytest.mark.parametrize(
    ("resource", "model", "body", "wrong"),
    [
        (
            "aliases",
            ModelAlias,
            {"pattern": "my-*", "lingma_model": "org_auto", "ask_mode": "agent"},
            {"ask_mode": "odd"},
        ),
        ("prompts", PromptTemplate, {"pattern": "my-*", "description_chars": 100}, {"template": "nothing in it"}),
    ],
)
def test_routing_row_lives_from_creation_to_end(api, resource, model, body, wrong):
    made = api("POST", f"{resource}/", body)
    assert made.status_code == 201
    assert made.data.items() >= body.items()
    path = f"{resource}/{made.data['id']}/"
    assert api("GET", f"{resource}/?pattern=MY-*").data["results"] == [made.data]
    assert list(api("POST", f"{resource}/", body | {"pattern": "MY-*"}).data["errors"]) == ["pattern"]
    assert list(api("PATCH", path, wrong).data["errors"]) == list(wrong)
    assert api("PATCH", path, {"enabled": False}).data["enabled"] is False
    assert api("DELETE", path).status_code == 204
    assert not model.objects.filter(pk=made.data["id"]).exists()


ROWS = {
    "aliases": (ModelAlias, {"pattern": "my-*"}, {"note": "x"}),
    "prompts": (PromptTemplate, {"pattern": "my-*"}, {"note": "x"}),
    "teams": (Team, {"name": "new"}, {"rpm": 5}),
    "logins": (Login, {"label": "new"}, {"label": "newer"}),
    "maintenance-windows": (
        MaintenanceWindow,
        {"name": "new", "starts_at": "2031-01-01T00:00Z", "ends_at": "2031-01-01T01:00Z"},
        {"enabled": False},
    ),
    "alert-channels": (
        AlertChannel, {"name": "new", "kind": "webhook", "address": "https://example.com/"}, {"enabled": False},
    ),
}  # fmt: skip


class Deleter:
    """Deletes a row once the statement comes that is looked for: as another request does at that moment."""

    def __init__(self, model, pk, statement, count=1):
        self.row, self.statement, self.count = model.objects.filter(pk=pk), re.compile(statement), count
        self.before = []

    def __call__(self, execute, sql, *rest):
        if self.count and self.statement.match(sql):
            self.count -= 1
            if not self.count:
                with unrecorded():
                    self.row.delete()
        elif self.count:
            self.before.append(sql)
        return execute(sql, *rest)


@pytest.mark.parametrize("resource", ROWS)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_row_deleted_meanwhile_is_404(api, resource, method):
    model, body, change = ROWS[resource]
    pk = api("POST", f"{resource}/", body).data["id"]
    recorded = AuditEntry.objects.count()
    # The last moment at which others can: from then on the row is held, in a transaction that is open already.
    table = model._meta.db_table
    deleter = Deleter(model, pk, rf'SELECT "{table}"."id" FROM "{table}" WHERE "{table}"."id" = ')
    with connection.execute_wrapper(deleter):
        answer = api(method, f"{resource}/{pk}/", change if method == "PATCH" else None)
    assert deleter.before[-1].startswith("SAVEPOINT")
    assert (answer.status_code, answer.data["code"]) == (404, "not_found")
    assert AuditEntry.objects.count() == recorded


ACTIONS = {
    "versions/{}/default/": lambda: Version.objects.create(version="2.9.0"),
    "logins/{}/relogin/": lambda: Login.objects.create(label="new", kind=LoginKind.BROWSER),
    "alerts/{}/acknowledge/": lambda: Alert.objects.create(
        kind="redis_away", began_at=timezone.now(), latest_at=timezone.now()
    ),
}


@pytest.mark.parametrize("path", ACTIONS)
def test_action_on_row_deleted_meanwhile_is_404(api, path):
    row = ACTIONS[path]()
    model, table = type(row), row._meta.db_table
    # At the first statement about it after the one that has found it.
    deleter = Deleter(model, row.pk, rf'\w+ .*"{table}"(?!_)', 2)
    with connection.execute_wrapper(deleter):
        answer = api("POST", path.format(row.pk))
    assert (deleter.count, answer.status_code) == (0, 404)


def test_audit_is_read_and_filtered(api):
    for actor in ("alice", "bob"):
        AuditEntry.objects.create(
            actor=actor, source="console", action="changed", object_type="key", changes={"rpm": ["1", "2"]}
        )
    (entry,) = api("GET", "audit/?actor=bob").data["results"]
    assert (entry["actor"], entry["changes"]) == ("bob", {"rpm": ["1", "2"]})
    for method, path in (("POST", "audit/"), ("DELETE", f"audit/{entry['id']}/"), ("PATCH", f"audit/{entry['id']}/")):
        assert api(method, path, {}).status_code == 405


@pytest.mark.parametrize("body", ["[1]", "{", "", '"x"', "null", '{"name": "a"', "\xff"])
def test_body_that_is_no_object_is_refused(api, body):
    answer = api.client.post("/api/teams/", body.encode("latin-1"), "application/json", headers=api.headers)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "[" * 40 + "]" * 40])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "deep"}])
def test_deep_body_is_refused(api, body, headers):
    answer = api.client.post("/api/teams/", body, "application/json", headers=api.headers | headers)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("body", ['{"name": "\\ud800"}', '{"\\udfff": 1}', '["\\ud83d"]'])
def test_half_a_character_is_refused(api, body):
    answer = api.client.post("/api/teams/", body, "application/json", headers=api.headers)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_other_types_of_bodies_are_refused(api):
    answer = api.client.post("/api/teams/", {"name": "x"}, headers=api.headers)
    assert (answer.status_code, answer["Content-Type"]) == (415, "application/problem+json")


@pytest.mark.parametrize(
    "path",
    ["nothing/", "keys/x/", "keys/999999999999999999999/", "keys/1/odd/", "usage/nope/", "x",
     "instances/a%00b/", "sessions/a%00b/"],
)  # fmt: skip
def test_unknown_path_is_a_problem(api, path):
    assert api("GET", path).status_code == 404


def fails(request):
    raise RuntimeError


def collides(request):
    raise IntegrityError


def test_error_of_ours_is_a_problem(api, settings, monkeypatch):
    monkeypatch.setattr(urls, "urlpatterns", [url("api/fails/", fails), *urls.urlpatterns])
    settings.ROOT_URLCONF = tuple(urls.urlpatterns)
    answer = api("GET", "fails/")
    assert (answer.status_code, answer.data) == (
        500,
        {"type": "about:blank", "title": "Internal Server Error", "status": 500},
    )


def test_unacceptable_type_is_a_problem(api):
    assert api("GET", "keys/", Accept="image/png").status_code == 406


def test_head_and_options_are_answered(api, keys):
    assert api("HEAD", "keys/").status_code == 200
    assert api("OPTIONS", "keys/").status_code == 200


def test_page_of_documents_loads_from_here(client, root):
    assert client.get("/api/docs/", headers={"Accept": "text/html"}).url.startswith("/login/?next=")
    client.force_login(root)
    page = client.get("/api/docs/", headers={"Accept": "text/html"})
    assert page["Content-Security-Policy"].startswith("default-src 'self'")
    assert "://" not in page.content.decode().replace("http://www.w3.org", "")
    assert b"<script>" not in page.content
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f'"/api/docs/{asset}"' in page.content.decode()
        answer = client.get(f"/api/docs/{asset}")
        assert (answer.status_code, len(b"".join(answer.streaming_content)) > 100_000) == (200, True)


def test_document_is_openapi(api):
    document = api("GET", "schema/").data
    assert document["openapi"] == "3.1.0"
    for path in ("teams/", "keys/", "keys/{id}/rotate/", "usage/", "usage/summary/", "sessions/", "instances/",
                 "aliases/", "prompts/", "audit/"):  # fmt: skip
        assert f"/api/{path}" in document["paths"]
    named = {each["name"] for each in document["paths"]["/api/usage/summary/"]["get"]["parameters"]}
    assert {"from", "to", "range", "team", "key", "client_app", "status", "reason", "group_by"} <= named
    assert Program()("GET", "schema/").status_code == 401


def test_document_is_in_the_language_that_is_asked(api):
    told = [api("GET", f"schema/?lang={language}").data for language in ("en", "zh-hans", "en")]
    assert told[0] == told[2] == api("GET", "schema/").data
    assert told[0]["paths"].keys() == told[1]["paths"].keys()
    assert told[0] != told[1]


def test_secret_stands_in_two_answers_of_the_document(api):
    schemas = api("GET", "schema/").data["components"]["schemas"]
    # What a client sends may hold one: the secret that signs what a channel is told.
    answers = {name: schema for name, schema in schemas.items() if not name.endswith("Request")}
    assert [name for name, schema in answers.items() if "secret" in schema.get("properties", {})] == ["NewKey"]
    assert not {"digest", "previous_digest"} & set(schemas["Key"]["properties"])
    assert ApiKey._meta.get_field("digest")
