"""The operators' API over the wire: a team and its keys are made, used, limited, rotated and revoked by programs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import django, environment, until
from tests.prepared import manage


@pytest.fixture(scope="module")
def token(gateway):
    made = manage("create_api_token", "admin", "--expires", "1d", env=environment(gateway.data_dir))
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture
def api(gateway, token):
    def api(method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return send(gateway, method, f"/api/{path}", body=body, headers={"authorization": f"Token {token}"} | named)

    return api


def status(gateway, secret):
    return gateway.ask(OPENAI, "[[sim: text=hello]] x", key=secret).status


def test_key_lives_and_ends_through_the_api(gateway, api):
    team = api("POST", "teams/", {"name": "made by a program"}).json()
    made = api("POST", "keys/", {"name": "of a program", "team": team["id"], "rpm": 3}).json()
    path, old = f"keys/{made['id']}/", made["secret"]
    assert [status(gateway, old) for _ in range(4)] == [200, 200, 200, 429]
    assert api("PATCH", path, {"rpm": 0}).status == 200
    until(lambda: status(gateway, old) == 200)
    new = api("POST", f"{path}rotate/", {"grace": "1h"}).json()["secret"]
    until(lambda: status(gateway, new) == 200)
    assert status(gateway, old) == 200
    assert api("POST", f"{path}pause/", {"reason": "holiday"}).json()["state"] == "paused"
    until(lambda: status(gateway, new) in (401, 403))
    assert api("POST", f"{path}resume/").json()["state"] == "live"
    until(lambda: status(gateway, new) == 200)
    assert api("POST", f"{path}revoke/").json()["state"] == "revoked"
    until(lambda: (status(gateway, new), status(gateway, old)) == (401, 401))
    assert old not in gateway.output()
    assert new not in gateway.output()


def test_usage_of_the_key_adds_up(gateway, api):
    made = api("POST", "keys/", {"name": "counted"}, Idempotency_Key="counted").json()
    assert [status(gateway, made["secret"]) for _ in range(3)] == [200] * 3
    django(gateway.data_dir, "from accounts.tasks import flush_usage\nflush_usage()")
    (row,) = until(lambda: api("GET", "usage/summary/?key=counted&group_by=key").json()["results"])
    assert (row["key_id"], row["turns"], row["failed"]) == (made["id"], 3, 0)
    rows = api("GET", f"usage/?key={made['id']}&range=1h").json()["results"]
    assert [(each["key"], each["status"]) for each in rows] == [("counted", "ok")] * 3
    again = api("POST", "keys/", {"name": "counted"}, Idempotency_Key="counted")
    assert (again.status, again.json()) == (201, made)


def test_errors_of_every_kind_are_problems(api):
    for method, path, status, headers in (
        ("GET", "nothing/", 404, {}), ("DELETE", "keys/", 405, {}), ("POST", "keys/", 400, {}),
        ("GET", "keys/?x=1", 400, {}), ("GET", "keys/", 401, {"authorization": "Token lgw_api_x"}),
    ):  # fmt: skip
        answer = api(method, path, **headers)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status


def test_document_and_its_page_are_served(api):
    assert api("GET", "schema/").json()["openapi"] == "3.1.0"
    page = api("GET", "docs/", accept="text/html")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert api("GET", "docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")


def test_parallel_creations_with_one_key_make_one(api):
    def create(_):
        return api("POST", "keys/", {"name": "at once"}, Idempotency_Key="at-once")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert [answer.status for answer in answers] == [201] * 8
    assert len({(answer.json()["id"], answer.json()["secret"]) for answer in answers}) == 1
    assert len(api("GET", "keys/?name=at%20once").json()["results"]) == 1
